"""Run a program and take its output, without `subprocess` on the quick path (its import costs 9 ms)."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Mapping, Sequence

from gitcoord.errors import RepositoryError, Unreadable
from gitcoord.lean import NamedTuple

PIPE_SAFE = 32 * 1024
"""Bytes that fit any pipe at once, so that writing them cannot block on a child that is not reading yet."""


class Result(NamedTuple):
    """The exit code of a child, and its output."""

    code: int
    out: bytes
    err: bytes

    @property
    def error_text(self) -> str:
        return self.err.decode("utf-8", "replace").strip()


def collect_children() -> None:
    """Make sure that the exit codes of children are known: we inherit it if our parent ignores SIGCHLD."""
    try:
        import _signal  # type: ignore[import-not-found]  # `signal` makes enums of it, which takes 2 ms

        if _signal.getsignal(_signal.SIGCHLD) == _signal.SIG_IGN:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    except (ImportError, AttributeError, ValueError):
        pass  # Windows has no such signal; outside the main thread `run` raises an error that says what is wrong


def run(argv: Sequence[str], env: Mapping[str, str], stdin: bytes = b"", keep_fd: int | None = None) -> Result:
    """Run `argv` to its end. `keep_fd` stays open in the child: a lock that must be held even if the parent is killed.

    Raises Unreadable for a child that was killed, because its output is not an answer.
    """
    result = _run(argv, env, stdin, keep_fd)
    if result.code < 0:
        words = [word for word in argv[1:] if not word.startswith("-") and "=" not in word and os.sep not in word]
        what = f"{argv[0]} {words[0]}" if words else argv[0]
        raise Unreadable(f"{what} was killed by signal {-result.code}", "run the command again")
    return result


def _run(argv: Sequence[str], env: Mapping[str, str], stdin: bytes, keep_fd: int | None) -> Result:
    if sys.platform == "win32" or not hasattr(os, "posix_spawn") or len(stdin) > PIPE_SAFE:
        return _run_portably(argv, env, stdin, keep_fd)
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    err_read, err_write = os.pipe()
    actions: list[tuple[int, int, int]] = [
        (os.POSIX_SPAWN_DUP2, in_read, 0),
        (os.POSIX_SPAWN_DUP2, out_write, 1),
        (os.POSIX_SPAWN_DUP2, err_write, 2),
    ]
    if keep_fd is not None:
        actions.append((os.POSIX_SPAWN_DUP2, keep_fd, _free_fd(keep_fd)))
    try:
        pid = os.posix_spawnp(argv[0], list(argv), env, file_actions=actions)
    except BaseException:
        for fd in (in_write, out_read, err_read):
            os.close(fd)
        raise
    finally:
        for fd in (in_read, out_write, err_write):
            os.close(fd)
    _feed(in_write, stdin)
    out, err = _drain(out_read, err_read)
    try:
        return Result(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), out, err)
    except ChildProcessError:
        hint = "in the main thread: signal.signal(signal.SIGCHLD, signal.SIG_DFL)"
        raise RepositoryError("this process ignores SIGCHLD, so the exit code of git is not known", hint) from None


def _free_fd(fd: int) -> int:
    """A number for the child's copy; a duplicate onto the same number would keep close-on-exec on some systems."""
    return max(fd + 1, 64)


def _feed(fd: int, data: bytes) -> None:
    try:
        if data:
            os.write(fd, data)
    except BrokenPipeError:
        pass  # the child's exit code says what happened
    finally:
        os.close(fd)


def _drain(*fds: int) -> list[bytes]:
    """Read all of `fds` to their end at the same time, so that no full pipe blocks the child."""
    if sys.platform == "win32":
        raise NotImplementedError
    parts: dict[int, list[bytes]] = {fd: [] for fd in fds}
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN | select.POLLHUP)
    left = len(fds)
    while left:
        for fd, _ in poller.poll():
            chunk = os.read(fd, 1 << 16)
            if chunk:
                parts[fd].append(chunk)
            else:
                poller.unregister(fd)
                os.close(fd)
                left -= 1
    return [b"".join(parts[fd]) for fd in fds]


def _run_portably(argv: Sequence[str], env: Mapping[str, str], stdin: bytes, keep_fd: int | None) -> Result:
    import subprocess

    keep = () if keep_fd is None or os.name == "nt" else (keep_fd,)
    done = subprocess.run(argv, input=stdin, capture_output=True, env=dict(env), pass_fds=keep, check=False)
    return Result(done.returncode, done.stdout, done.stderr)
