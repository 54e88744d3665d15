"""Local logs are in files that no git command sends, and survive damage to their file."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from clones import clone_id
from conftest import Cli, git

from gitcoord import Coord, doctor
from gitcoord.log.apart.files import LocalFile
from gitcoord.store.objects import Oid, make_object

ME = {"GIT_COORD_SESSION": "a"}


def say(repo: Path, *words: str) -> None:
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        for word in words:
            coord.send("a", word, local=True)


def heard(repo: Path) -> list[str]:
    with Coord.open(repo, as_name="a") as coord:
        return [event.text for event in reversed(coord.events.log(kind="message", limit=100))]


def file_of(repo: Path) -> Path:
    (path,) = (repo / ".git/coord/local").iterdir()
    return path


def all_objects(repo: Path) -> str:
    """The content of every object of a repository, with or without a ref."""
    names = git(repo, "cat-file", "--batch-check=%(objectname)", "--batch-all-objects").split()
    return "".join(git(repo, "cat-file", "-p", name) for name in names)


WAYS: dict[str, list[list[str]]] = {
    "push --mirror": [["init", "-q", "--bare", "../there"], ["push", "-q", "--mirror", "../there"]],
    "clone --mirror": [["clone", "-q", "--mirror", ".", "../there"]],
    "clone --mirror, with a transport": [["clone", "-q", "--mirror", "--no-local", ".", "../there"]],
    "fetch everything": [
        ["init", "-q", "--bare", "../there"],
        ["--git-dir=../there", "fetch", "-q", ".", "+refs/*:refs/*"],
    ],
    "bundle": [["bundle", "create", "-q", "../all", "--all"], ["clone", "-q", "--mirror", "../all", "../there"]],
}


@pytest.mark.parametrize("way", list(WAYS))
def test_no_git_command_takes_what_is_local(repo: Path, cli: Cli, way: str) -> None:
    cli(repo, "send", "a", "--queue", "for all of you", env=ME)
    assert cli(repo, "send", "a", "between us", "--local", env=ME).code == 0
    script = "import sys; sys.stderr.write('it broke'); sys.exit(3)"
    assert cli(repo, "run", "--name", "build", "--", sys.executable, "-c", script, "s3cret", env=ME).code == 3
    for command in WAYS[way]:
        git(repo, *command)
    published = all_objects(repo.parent / "there")
    assert "for all of you" in published and "build" in published
    assert not any(word in published for word in ("between us", "s3cret", "it broke"))
    shown = cli(repo, "job", "show", "build", "--json").out
    assert "s3cret" in shown and "it broke" in shown and "between us" in heard(repo)


def test_a_gc_that_prunes_at_once_takes_nothing(repo: Path) -> None:
    say(repo, "one", "two")
    git(repo, "gc", "-q", "--prune=now")
    (repo / ".git/coord/index.sqlite").unlink()
    assert heard(repo) == ["one", "two"]
    assert "dangling" not in git(repo, "fsck", "--strict")


def as_before(repo: Path) -> tuple[str, Oid]:
    """Put the local log where versions before 0.2 kept it: in a ref of git's."""
    with Coord.open(repo, as_name="a") as coord:
        store = coord.clone.store
        ((ref, tip),) = store.logs.tips().items()
        commits = [make_object("commit", raw, "sha1") for _, raw in store.chain(tip, None)]
        store.git.write([make_object("tree", b"", "sha1"), *commits])
    file_of(repo).unlink()
    git(repo, "update-ref", ref, tip)
    return ref, tip


def test_a_local_log_of_an_earlier_version_moves_by_itself(repo: Path, cli: Cli) -> None:
    say(repo, "one", "two")
    _, tip = as_before(repo)
    assert "two" in cli(repo, "log", "--limit", "9").out, "a command that only reads reads it where it is"
    say(repo, "three")
    assert git(repo, "for-each-ref", "refs/coord/local") == ""
    with Coord.open(repo, as_name="a") as coord:
        (now,) = coord.clone.store.logs.tips().values()
        assert tip in [oid for oid, _ in coord.clone.store.chain(now, None)]
    (repo / ".git/coord/index.sqlite").unlink()
    assert heard(repo) == ["one", "two", "three"]


def test_what_an_earlier_version_added_meanwhile_moves_too(repo: Path) -> None:
    say(repo, "one")
    kept = file_of(repo).read_bytes()
    say(repo, "two")
    name = file_of(repo)
    as_before(repo)
    name.write_bytes(kept)
    say(repo, "three")
    assert git(repo, "for-each-ref", "refs/coord/local") == ""
    assert heard(repo) == ["one", "two", "three"]


def test_a_forged_local_log_beside_ours_is_set_aside(repo: Path, cli: Cli) -> None:
    say(repo, "one")
    blob = make_object("commit", git(repo, "cat-file", "commit", "HEAD").encode(), "sha1").oid
    git(repo, "update-ref", f"refs/coord/local/{clone_id(repo)}/0001", blob)
    ran = cli(repo, "send", "a", "two", "--local", env=ME)
    assert ran.code == 0 and "commits that this clone never wrote" in ran.err, ran
    assert git(repo, "for-each-ref", "refs/coord/local") == "" and "refs/coord/aside" in git(repo, "for-each-ref")
    assert heard(repo) == ["one", "two"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def zeros(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-200] + b"\0" * 200)


def half_a_batch(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"o commit 0123456789012345678901234567890123456789 900\nhalf of it")


def garbled(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(bytes(data))


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [cut, zeros, half_a_batch, garbled, gone], ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_repaired_from_what_the_index_has_seen(repo: Path, damage: Callable[[Path], None]) -> None:
    say(repo, "one", "two", "three")
    damage(file_of(repo))
    say(repo, "four")
    with Coord.open(repo) as coord:
        doctor.examine(coord.clone, fix=True)
    (repo / ".git/coord/index.sqlite").unlink()
    assert sorted(heard(repo)) == ["four", "one", "three", "two"]


def test_a_batch_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "log"
    items = [make_object("commit", b"x" * size, "sha1") for size in (10, 2000, 70_000)]
    for item in items:
        LocalFile(str(path), 40, False).append(item.oid, [item])
    whole = path.read_bytes()
    ends = {0: None}
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        found = LocalFile(str(path), 40, False)
        tip = found.tip()
        ends.setdefault(length, tip)
        assert tip is None or found.read(tip) == next(item for item in items if item.oid == tip)
    assert [tip for length, tip in ends.items() if tip != ends.get(length - 1)] == [item.oid for item in items]


def test_a_full_disk_leaves_the_log_as_it_was(repo: Path) -> None:
    say(repo, "one")
    before = file_of(repo).read_bytes()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)} + 50, -1))\n"
        "from gitcoord.log.apart.files import LocalFile; from gitcoord.store.objects import make_object\n"
        "from gitcoord.errors import RepositoryError\n"
        "item = make_object('commit', bytes(range(256)) * 4, 'sha1')\n"
        "try: LocalFile(sys.argv[1], 40, False).append(item.oid, [item])\n"
        "except RepositoryError: sys.exit(9)"
    )
    if os.name == "posix":
        assert subprocess.run([sys.executable, "-c", code, file_of(repo)]).returncode == 9
        assert file_of(repo).read_bytes() == before


def test_a_waiter_hears_of_the_first_local_message(repo: Path) -> None:
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
    timer = threading.Timer(0.3, lambda: say(repo, "wake up"))
    timer.start()
    with Coord.open(repo, as_name="a") as coord:
        found = coord.messages.wait(8.0)
    timer.join()
    assert found and [m.text for m in found.messages] == ["wake up"]
