"""Full disks, read-only places, strange refs, odd clocks: one clear line, the right exit code, nothing lost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
from conftest import Cli, Ran, git, make_repo
from forkserver import Program

from gitcoord import Coord
from gitcoord.store import ref_lock


def texts(repo: Path) -> list[str]:
    with Coord.open(repo, as_name="a") as coord:
        return [event.text for event in reversed(coord.events.log(kind="message", limit=10_000))]


def talking(repo: Path, *said: str) -> Path:
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        for text in said:
            coord.send("a", text)
    return repo


def say(cli: Cli, repo: Path, text: str) -> Ran:
    return cli(repo, "send", "a", text, env={"GIT_COORD_SESSION": "a"})


@contextmanager
def mounted(where: Path, *args: str) -> Iterator[Path]:
    """Something mounted at `where`; skips where that is not permitted."""
    where.mkdir(exist_ok=True)
    if shutil.which("mount") is None or subprocess.run(["mount", *args, str(where)], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(where: Path, leave: int) -> None:
    """Write until `leave` bytes are free, and not one block more."""
    with (where / "filler").open("ab") as file:
        while (free := os.statvfs(where).f_bavail * os.statvfs(where).f_frsize) > leave:
            file.write(b"\0" * min(free - leave, 1 << 16))
            file.flush()


@pytest.mark.parametrize("store", ["plumbing", "libgit2"])
def test_a_full_disk_is_one_line_at_every_step_and_loses_nothing(
    tmp_path: Path, cli: Cli, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COORD_STORE", store)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=3m", "none") as disk:
        repo = talking(make_repo(disk / "project"), "before")
        acknowledged, refused = ["before"], 0
        for leave in [*range(0, 80 * 1024, 10_240)]:
            fill(disk, leave)
            for attempt in range(2):
                ran = say(cli, repo, f"{leave} {attempt}")
                if ran.code == 0:
                    acknowledged.append(f"{leave} {attempt}")
                else:
                    refused += 1
                    assert (ran.code, ran.out) == (3, ""), ran
                    errors = [line for line in ran.err.splitlines() if not line.startswith("warning: ")]
                    assert len(errors) == 2 and errors[0].startswith("error: ") and errors[1].startswith("hint: "), ran
                    assert "No space left on device" in errors[0]
            (disk / "filler").unlink()
            seen = texts(repo)
            assert [text for text in seen if text in acknowledged] == acknowledged
            assert git(repo, "fsck", "--strict", "--no-dangling") == ""
        assert refused > 0 and len(acknowledged) > 1
        assert say(cli, repo, "after").code == 0


@pytest.mark.parametrize("limit", range(0, 4096 * 4, 1024))
def test_a_write_cut_off_anywhere_leaves_nothing_half_written(repo: Path, limit: int) -> None:
    """A limit on the size of files stops each writer, in our files and in git's, at another byte."""
    talking(repo, "before")
    script = dedent(
        """
        import resource, signal, sys
        from gitcoord import Coord
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
        with Coord.open(sys.argv[1], as_name="a") as coord:
            coord.send("a", "cut off" * 100)
        print("acknowledged")
        """
    )
    program = Program(["-c", script, str(repo), str(limit)], repo)
    out, err = program.communicate()
    expected = ["before", "cut off" * 100] if out else ["before"]
    if program.returncode == 0:
        assert out == "acknowledged\n"
    else:
        assert "\ngitcoord.errors." in err
    assert texts(repo) == expected
    talking(repo, "after")
    assert texts(repo) == [*expected, "after"]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


READS = [["log"], ["inbox", "--peek"], ["sessions"], ["notes"], ["sent"], ["whoami"], ["search", "one"]]


def untimed(text: str) -> str:
    """Output without how long ago things were."""
    return re.sub(r"just now|\d+ \w+ ago", "AGO", text)


def test_a_read_only_repository_can_be_read(repo: Path, tmp_path: Path, cli: Cli) -> None:
    talking(repo, "one")
    outside = {tuple(read): cli(repo, *read, "--json", env={"GIT_COORD_SESSION": "a"}).out for read in READS}
    with mounted(tmp_path / "ro", "--bind", str(repo)) as where:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(where)], check=True)
        git(repo, "config", "--global", "--add", "safe.directory", "*")
        for read in READS:
            ran = cli(where, *read, "--json", env={"GIT_COORD_SESSION": "a"})
            assert (ran.code, ran.err) == (0, ""), (read, ran)
            if read[0] not in ("sessions", "whoami"):  # which say where they run
                assert untimed(ran.out) == untimed(outside[tuple(read)])
        ran = say(cli, where, "two")
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith(f"error: cannot write to {where}") and "Read-only file system\nhint: make it" in ran.err
    assert texts(repo) == ["one"]


def test_a_read_only_repository_with_a_stale_or_no_index_can_be_read(repo: Path, tmp_path: Path, cli: Cli) -> None:
    talking(repo, "one")
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"no index"), lambda path: None):
        damage(repo / ".git/coord/index.sqlite")
        with mounted(tmp_path / "ro", "--bind", str(repo)) as where:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(where)], check=True)
            git(repo, "config", "--global", "--add", "safe.directory", "*")
            ran = cli(where, "search", "one")
            assert (ran.code, ran.err) == (0, "") and "one" in ran.out
        talking(repo, "one more")


def test_another_user_may_read_and_is_told_why_writing_fails(tmp_path: Path, cli: Cli) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become somebody else")
    shared = Path("/tmp") / f"gitcoord-{os.getpid()}"
    try:
        repo = talking(make_repo(shared / "project"), "one")
        subprocess.run(["chmod", "-R", "a+rX", str(shared)], check=True)
        home = shared / "home"
        home.mkdir(mode=0o777)
        home.chmod(0o777)
        (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
        outsider = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "gitcoord"]
        package = Path(sys.modules["gitcoord"].__file__ or "").parent.parent
        probe = [*outsider[:4], sys.executable, "-c", "import gitcoord.cli"]
        env = {**os.environ, "HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"), "PYTHONPATH": str(package)}
        if subprocess.run(probe, env=env, capture_output=True, cwd=repo).returncode:
            pytest.skip("another user cannot import the program from here")
        read = subprocess.run([*outsider, "search", "one"], env=env, capture_output=True, text=True, cwd=repo)
        assert (read.returncode, read.stderr) == (0, "") and "one" in read.stdout
        written = subprocess.run([*outsider, "send", "a", "two"], env=env, capture_output=True, text=True, cwd=repo)
        assert (written.returncode, written.stdout) == (3, "")
        assert written.stderr.startswith("error: cannot write to ") and "Permission denied\nhint: " in written.stderr
    finally:
        shutil.rmtree(shared, ignore_errors=True)


# wrong refs


def put(repo: Path, ref: str, content: str) -> Path:
    path = repo / ".git" / ref
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


Strange = Callable[[Path, str], object]
STRANGE: dict[str, Strange] = {
    "empty": lambda repo, ref: put(repo, ref, ""),
    "garbled": lambda repo, ref: put(repo, ref, "not an id\n"),
    "missing object": lambda repo, ref: put(repo, ref, "1" * 40 + "\n"),
    "dangling symref": lambda repo, ref: git(repo, "symbolic-ref", ref, "refs/heads/nowhere"),
    "a blob": lambda repo, ref: git(repo, "update-ref", ref, git(repo, "hash-object", "-w", "readme.txt").strip()),
}


@pytest.mark.parametrize("what", STRANGE)
@pytest.mark.parametrize("kind", ["log/grace-00000001/0001", "sessions/grace-00000001/g", "sessions/OWN/lost"])
def test_a_strange_ref_of_our_format_does_not_stop_anybody(repo: Path, cli: Cli, what: str, kind: str) -> None:
    talking(repo, "one")
    with Coord.open(repo, as_name="a") as coord:
        ref = "refs/coord/" + kind.replace("OWN", coord.clone.id)
    STRANGE[what](repo, ref)
    for said in ("two", "three"):
        ran = say(cli, repo, said)
        assert ran.code == 0, ran
        assert len(ran.err.splitlines()) <= (said == "two"), ran
    assert texts(repo) == ["one", "two", "three"]
    assert cli(repo, "sessions").code == 0
    git(repo, "gc", "-q")
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("what", STRANGE)
def test_refs_of_somebody_else_are_left_alone(repo: Path, cli: Cli, what: str) -> None:
    talking(repo, "one")
    STRANGE[what](repo, "refs/coord/other/x")
    before = (repo / ".git/refs/coord/other/x").read_bytes()
    ran = say(cli, repo, "two")
    assert ran.code == 0 and len(ran.err.splitlines()) <= 1, ran
    ran = cli(repo, "log")
    assert (ran.code, ran.err) == (0, "")
    assert (repo / ".git/refs/coord/other/x").read_bytes() == before
    assert texts(repo) == ["one", "two"]


def test_a_log_with_an_unreadable_epoch_name_is_not_ours(repo: Path, cli: Cli) -> None:
    talking(repo, "one")
    with Coord.open(repo, as_name="a") as coord:
        prefix = f"refs/coord/log/{coord.clone.id}"
    git(repo, "update-ref", f"{prefix}/zzzz", "HEAD")
    assert say(cli, repo, "two").code == 0
    assert git(repo, "rev-parse", f"{prefix}/zzzz") == git(repo, "rev-parse", "HEAD")
    assert texts(repo) == ["one", "two"]


def test_a_lock_left_by_a_killed_process_is_cleared_by_the_next_writer(repo: Path, cli: Cli) -> None:
    talking(repo, "one")
    with Coord.open(repo, as_name="a") as coord:
        lock = put(repo, f"refs/coord/log/{coord.clone.id}/0001.lock", "")
    old = lock.stat().st_mtime - ref_lock.STALE_AFTER - 1
    os.utime(lock, (old, old))
    ran = say(cli, repo, "two")
    assert (ran.code, ran.err) == (0, "")
    assert not lock.exists()
    assert texts(repo) == ["one", "two"]


def test_a_clock_that_jumps_back_changes_no_order(repo: Path) -> None:
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        for at in (2_000_000_000, 1_000_000_000, 0, -5, 1_500_000_000):
            coord.clone.clock = lambda at=at: float(at)  # type: ignore[misc]
            coord.send("a", f"at {at}")
    assert texts(repo) == ["at 2000000000", "at 1000000000", "at 0", "at -5", "at 1500000000"]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_the_user_sees_nothing_of_us(repo: Path, cli: Cli) -> None:
    git(repo, "config", "core.logAllRefUpdates", "always")
    git(repo, "checkout", "-q", "-b", "work")
    git(repo, "status")

    def seen() -> tuple[object, ...]:
        logs = sorted((path.relative_to(repo), path.read_bytes()) for path in (repo / ".git/logs").rglob("*") if path.is_file())
        refs = git(repo, "for-each-ref", "refs/heads", "refs/tags")
        index = (repo / ".git/index").read_bytes()
        head = (repo / ".git/HEAD").read_bytes()
        return (
            git(repo, "status", "--porcelain", "--ignored"),
            logs,
            refs,
            index,
            head,
            git(repo, "config", "--list", "--local"),
        )

    before = seen()
    talking(repo, *(f"message {n}" for n in range(20)))
    assert say(cli, repo, "by git").code == 0
    assert cli(repo, "leave", env={"GIT_COORD_SESSION": "a"}).code == 0
    assert cli(repo, "sessions").code == 0
    assert seen() == before
