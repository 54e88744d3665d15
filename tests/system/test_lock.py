"""The write lock: a waiter names its holder, time limits are kept, and forks do not keep it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.errors import Busy, RepositoryError
from gitcoord.system import lock
from gitcoord.system.lock import at_least, at_most, file_lock, try_lock

HOLD = (
    "import sys\nfrom gitcoord.system.lock import file_lock\nwith file_lock(sys.argv[1]):\n"
    "    print(1, flush=True)\n    sys.stdin.read()"
)
FORK = (
    "import os, sys, time\nfrom gitcoord.system.lock import file_lock\nwith file_lock(sys.argv[1]):\n"
    "    if os.fork() == 0:\n        print(os.getpid(), flush=True); sys.stdin.read(); os._exit(0)\n    os.wait()"
)


@contextmanager
def running(program: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has said its line, which is that it has the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        process.stdout.read()
        process.wait()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines about holders, after a tenth of a second instead of five."""
    lines: list[str] = []
    monkeypatch.setattr(lock, "SAY_AFTER", 0.1)
    monkeypatch.setattr(lock, "say", lines.append)
    return lines


def until(holds: Callable[[], object]) -> None:
    while not holds():
        time.sleep(0.01)


def test_who_waits_long_is_told_who_holds_it_and_gets_it_in_the_end(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "lock"
    with running(HOLD, path) as holder:
        assert holder.stdin
        got = threading.Event()

        def wait() -> None:
            with file_lock(str(path)):
                got.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        until(lambda: said)
        assert not got.is_set()
        holder.stdin.close()
        waiter.join()
        assert got.is_set()
    program = Path(sys.executable).name
    assert said == [f"note: waiting for {path}, which process {holder.pid} ({program} -c) has held for {said[0].split()[-2]} s"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_stopped_holder_is_called_so_and_time_is_kept(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "lock"
    with running(HOLD, path) as holder:
        holder.send_signal(signal.SIGSTOP)
        until(lambda: " T " in Path(f"/proc/{holder.pid}/stat").read_text())
        began = time.monotonic()
        with pytest.raises(Busy, match="is stopped") as raised, at_most(0.2), file_lock(str(path)):
            raise AssertionError
        assert lock.LEAST <= time.monotonic() - began < 5
        assert raised.value.hint == f"kill -CONT {holder.pid}"
        with at_most(60), pytest.raises(Busy), at_most(0.2), file_lock(str(path)):
            raise AssertionError
        with try_lock(str(path)) as free:
            assert not free
    with at_most(0.0), at_least(30), file_lock(str(path)):  # a thread that gave up does not get the lock when its turn comes
        pass


def test_the_child_of_a_fork_does_not_keep_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with running(FORK, path) as parent:
        parent.kill()
        parent.wait()
        with at_most(20), file_lock(str(path)):  # the child still runs
            pass


def test_the_child_of_a_fork_has_to_lock_for_itself(repo: Path) -> None:
    with Coord.open(repo) as coord, coord.clone.locked():
        read, write = os.pipe()
        if (child := os.fork()) == 0:
            with at_most(0.1):
                try:
                    with coord.clone.locked():
                        os.write(write, b"twice")
                except Busy:
                    os.write(write, b"busy")
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 10) == b"busy"
        os.close(read)
        os.close(write)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_where_the_file_system_cannot_lock_nothing_is_written(repo: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with Coord.open(repo) as coord, pytest.raises(RepositoryError, match="cannot lock files") as raised:
        coord.notes.add("hello")
    assert raised.value.exit_code == 3 and raised.value.hint
    assert git(repo, "for-each-ref", "refs/coord") == ""


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("wait", "session:beta=gone", "--timeout", "2"), 1),
        (("wait", "--timeout", "2"), 1),
        (("inbox", "--wait=2"), 1),
        (("lock", "a.txt", "--wait=2"), 3),
        (("task", "next", "--claim", "--wait=2"), 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_time_limits_are_kept_while_somebody_has_the_lock(
    worktrees: tuple[Path, Path], cli: Cli, args: tuple[str, ...], code: int
) -> None:
    (worktrees[0].parent / "project" / ".git" / "coord" / "index.sqlite").unlink(missing_ok=True)
    with running(HOLD, worktrees[0].parent / "project" / ".git" / "coord" / "lock") as holder:
        began = time.monotonic()
        ran = cli(worktrees[0], *args)
        assert time.monotonic() - began < 15, ran  # two seconds, on a machine with much to do
        assert ran.code == code, ran
        if code == 3:
            assert f"which process {holder.pid}" in ran.err.splitlines()[0]
            assert ran.err.splitlines()[1].startswith("hint: ")


def test_a_command_says_after_five_seconds_whom_it_waits_for(worktrees: tuple[Path, Path]) -> None:
    with running(HOLD, worktrees[0].parent / "project" / ".git" / "coord" / "lock") as holder:
        command = subprocess.Popen(
            [sys.executable, "-m", "gitcoord", "note", "hello"], cwd=worktrees[0], stderr=subprocess.PIPE, text=True
        )
        assert command.stderr and holder.stdin
        line = command.stderr.readline()
        assert line.startswith("note: waiting for ") and f"which process {holder.pid} " in line
        holder.stdin.close()
        assert command.wait() == 0
        assert command.stderr.read() == ""
