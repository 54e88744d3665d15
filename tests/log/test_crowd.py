"""Many processes at once at critical moments: the first write, a purge, an old index, another user, and a machine with low
limits."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import pathspec
import pytest
import watchdog
from conftest import Cli, git, make_repo

import gitcoord
from gitcoord import Coord
from gitcoord.log.index import SCHEMA

WRITER = Path(__file__).parents[1] / "writer.py"
CROWD = int(os.environ.get("GITCOORD_CROWD", "12"))
"""Processes that write first at the same moment; the promise names 32."""


def writer(repo: Path, name: str, count: int, acknowledged: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, str(WRITER), str(repo), name, str(count), str(acknowledged)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)


def test_first_writes_in_a_virgin_repository_are_one_clones(repo: Path, tmp_path: Path) -> None:
    """Nobody has an id, a log, a folder or an index yet."""
    argv = [sys.executable, "-m", "gitcoord", "note"]
    names = [{**os.environ, "GIT_COORD_SESSION": f"w{n}"} for n in range(CROWD)]
    runs = [subprocess.Popen([*argv, f"note {n}"], cwd=repo, env=env, stdout=subprocess.DEVNULL) for n, env in enumerate(names)]
    assert [run.wait() for run in runs] == [0] * CROWD
    with Coord.open(repo) as coord:
        events = coord.events.log(kind="note", limit=1000)
        assert sorted(event.text for event in events) == sorted(f"note {n}" for n in range(CROWD))
        assert {event.clone for event in events} == {coord.clone.id}
    logs = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split()
    assert logs == [f"refs/coord/log/{coord.clone.id}/0001"]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def sleeps(pid: int) -> bool:
    """Whether a process watches files, which it does as soon as it waits."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if os.readlink(fd) == "anon_inode:inotify":
                return True
    return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_a_purge_beside_writers_and_waiters_stays_one(
    worktrees: tuple[Path, Path], repo: Path, tmp_path: Path, cli: Cli
) -> None:
    with Coord.open(repo, as_name="sink") as coord:
        coord.sessions.join()
    writers = [writer(repo, f"w{n}", 100_000, tmp_path / f"ack{n}") for n in range(3)]
    waits = (["wait", "session:sink=waiting"], ["watch"], ["inbox", "--wait"], ["lock", "a.txt", "--wait"])
    assert cli(worktrees[1], "lock", "a.txt").code == 0
    waiters = [
        subprocess.Popen(
            [sys.executable, "-m", "gitcoord", *wait],
            cwd=worktrees[0],
            env={**os.environ, "GIT_COORD_SESSION": "alpha"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for wait in waits
    ]
    while not all((tmp_path / f"ack{n}").exists() and (tmp_path / f"ack{n}").stat().st_size for n in range(3)):
        assert all(run.poll() is None for run in writers)
    while not all(sleeps(run.pid) for run in waiters):
        assert all(run.poll() is None for run in waiters)
    ran = cli(repo, "purge", "--yes")
    assert ran.code == 0, ran
    for run in [*writers, *waiters]:
        _, err = run.communicate(timeout=60)
        assert run.returncode not in (0, None), run.args
        assert "gitcoord was removed from this repository" in err, (run.args, err)
    assert not (repo / ".git" / "coord").exists()
    assert git(repo, "for-each-ref", "refs/coord") == ""
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("version", [0, 1, SCHEMA - 1, SCHEMA + 1, 2_000_000_000])
def test_an_index_of_another_schema_is_made_anew(repo: Path, version: int, cli: Cli) -> None:
    assert cli(repo, "note", "before").code == 0
    place = repo / ".git" / "coord" / "index.sqlite"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{place}{suffix}").unlink(missing_ok=True)
    with sqlite3.connect(place) as db:
        db.executescript(f"CREATE TABLE events (id, what); INSERT INTO events VALUES (1, 2); PRAGMA user_version = {version}")
    db.close()
    assert "before" in cli(repo, "notes").out
    assert cli(repo, "note", "after").code == 0
    assert [line.split()[0] for line in cli(repo, "doctor").out.splitlines()].count("BAD") == 0


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))


def little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (60 << 20, 60 << 20))


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


@pytest.mark.parametrize("limit", [few_files, little_memory, small_files], ids=lambda f: f.__name__)
@pytest.mark.parametrize("args", [("note", "under a limit"), ("inbox",), ("doctor", "--fix"), ("status",)], ids=lambda a: a[0])
def test_a_machine_that_grants_little_costs_a_refusal(repo: Path, limit: Callable[[], None], args: tuple[str, ...]) -> None:
    with Coord.open(repo, as_name="w") as coord:
        before = [coord.send("w", f"text {n}", queue=True).id for n in range(3)]
    done = subprocess.run(
        [sys.executable, "-m", "gitcoord", *args], cwd=repo, preexec_fn=limit, capture_output=True, text=True, timeout=120
    )
    assert done.returncode in (0, 1, 3) and "Traceback" not in done.stderr, done
    with Coord.open(repo, as_name="w") as coord:
        messages = [event.id for event in reversed(coord.events.log(kind="message", limit=100))]
        assert messages == before
        if args[0] == "note":
            assert len(coord.notes.list()) == (done.returncode == 0)
        coord.notes.add("and on it goes")
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def anybodys_python(place: Path) -> list[str]:
    """A Python with gitcoord that every user may run; skips where there is none."""
    lib = place / "lib"
    for module in (gitcoord, click, pathspec, watchdog):
        source = Path(module.__file__ or "").parent
        shutil.copytree(source, lib / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    argv = ["/usr/bin/env", f"PYTHONPATH={lib}", "/usr/bin/python3", "-m", "gitcoord"]
    if subprocess.run([*argv, "help"], user=STRANGER, extra_groups=[], cwd="/", capture_output=True).returncode:
        pytest.skip("another user cannot run gitcoord with /usr/bin/python3")
    return argv


STRANGER = 12345


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to be two users")
@pytest.mark.parametrize("shared", [True, False])
def test_two_users_of_one_repository(shared: bool) -> None:
    """With core.sharedRepository the second of a group can do everything; without it they can read, and are told."""
    place = Path(tempfile.mkdtemp(prefix="gitcoord-two-users-"))  # the folders of pytest are for their owner alone
    place.chmod(0o755)
    try:
        home = place / "home"
        home.mkdir()
        (home / "gitconfig").write_text("[safe]\n\tdirectory = *\n[user]\n\tname = Two\n\temail = two@example.org\n")
        argv = anybodys_python(place)
        env = {**os.environ, "HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / "gitconfig"), "GIT_COORD_SESSION": "two"}
        repo = make_repo(place / "project", *(["--shared=group"] if shared else []))
        with Coord.open(repo, as_name="one") as coord:
            coord.notes.add("from one")

        def second(*args: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*argv, *args], cwd=repo, env=env, user=STRANGER, group=os.getgid(), extra_groups=[], umask=0o077,
                capture_output=True, text=True,
            )  # fmt: skip

        assert "from one" in second("notes").stdout
        wrote = second("note", "from two")
        assert wrote.returncode == (0 if shared else 3), wrote.stderr
        assert "Traceback" not in wrote.stderr
        with Coord.open(repo, as_name="one") as coord:
            coord.notes.add("from one again")
            assert len(coord.notes.list()) == (3 if shared else 2)
    finally:
        shutil.rmtree(place, ignore_errors=True)
