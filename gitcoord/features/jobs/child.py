"""Start a command as a child, in a session and process group of its own, held at a gate until it may run.

The gate makes the records true: if a supervisor dies before it has recorded the child's process, the child never
becomes the command.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence

from gitcoord.lean import NamedTuple, signal, suppress
from gitcoord.system import terminal

assert sys.platform != "win32"  # jobs do not start on Windows


class Child(NamedTuple):
    """The parent's ends: `master` of the pseudo-terminal, and pipes of the streams that are not on it; -1 for a missing
    one."""

    pid: int
    master: int
    out: int
    err: int
    gate: int
    status: int


def fork(argv: Sequence[str], env: Mapping[str, str], on_terminal: Sequence[bool], detached: bool) -> Child:
    """Start a child that waits at the gate. `on_terminal` says whether stdin, stdout and stderr are terminals."""
    master, slave = terminal.open_pty() if any(on_terminal) else (-1, -1)
    out = (-1, -1) if on_terminal[1] else os.pipe()
    err = (-1, -1) if on_terminal[2] else os.pipe()
    gate, status = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            streams = [slave if on_terminal[0] else _null() if detached else 0]
            streams += [slave if on_terminal[1] else out[1], slave if on_terminal[2] else err[1]]
            _become(argv, env, slave, streams, gate, status[1])
        finally:
            os._exit(125)
    for fd in (slave, out[1], err[1], gate[0], status[1]):
        if fd >= 0:
            os.close(fd)
    return Child(pid, master, out[0], err[0], gate[1], status[0])


def _null() -> int:
    return os.open(os.devnull, os.O_RDWR)


def _become(
    argv: Sequence[str], env: Mapping[str, str], slave: int, streams: Sequence[int], gate: tuple[int, int], status: int
) -> None:
    """In the child: take the terminal and the streams, wait at the gate, become the command."""
    os.close(gate[1])
    os.setsid()
    if slave >= 0:
        terminal.make_controlling(slave)
    moved = [os.dup(fd) for fd in streams]  # so that no stream has the number that another one gets
    for number, fd in enumerate(moved):
        os.dup2(fd, number)
        os.close(fd)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTTOU):  # signals that Python or we had changed
        signal.signal(number, signal.SIG_DFL)
    if os.read(gate[0], 1) != b"g":
        os._exit(125)
    try:
        _exec(argv, env)
    except OSError as error:
        os.write(status, str(error.errno).encode())
    os._exit(125)


def _exec(argv: Sequence[str], env: Mapping[str, str]) -> None:
    try:
        os.execvpe(argv[0], list(argv), dict(env))
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        os.execve("/bin/sh", ["sh", argv[0], *argv[1:]], dict(env))  # a script without a #! line, as a shell runs it


def open_gate(child: Child) -> int:
    """Let the child run; returns 0 once it is the command, or the error number if it could not become it."""
    with suppress(BrokenPipeError):
        os.write(child.gate, b"g")
    os.close(child.gate)
    said = os.read(child.status, 16)
    os.close(child.status)
    return int(said) if said else 0


def turn_away(child: Child) -> None:
    """Close the gate for good: the child ends without having run anything."""
    os.close(child.gate)
    os.waitpid(child.pid, 0)
    for fd in (child.master, child.out, child.err, child.status):
        if fd >= 0:
            os.close(fd)


def exit_code(error: int) -> int:
    """The exit code of a shell for a command that could not be started."""
    return 127 if error in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP) else 126
