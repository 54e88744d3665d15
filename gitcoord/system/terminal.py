"""The terminal between a person and a command: a pseudo-terminal of the same size and modes, ours in raw mode."""

from __future__ import annotations

import os
import sys

from gitcoord.lean import Any, signal, suppress

assert sys.platform != "win32"  # jobs do not start on Windows

import fcntl  # noqa: E402
import termios  # noqa: E402
import tty  # noqa: E402


def terminals() -> list[bool]:
    """Whether each of stdin, stdout and stderr is a terminal."""
    return [_is_terminal(fd) for fd in (0, 1, 2)]


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def open_pty() -> tuple[int, int]:
    """Master and slave of a new pseudo-terminal, with the size and the modes of our own terminal. It does not translate the
    ends of lines, because ours does."""
    master, slave = os.openpty()
    ours = terminals().index(True) if any(terminals()) else -1
    if ours >= 0:
        with suppress(termios.error):
            modes = termios.tcgetattr(ours)
            modes[1] &= ~termios.OPOST
            termios.tcsetattr(slave, termios.TCSANOW, modes)
        copy_size(ours, master)
    return master, slave


def copy_size(source: int, target: int) -> None:
    """Give `target` the size of `source`; the kernel sends SIGWINCH to the programs on it."""
    with suppress(OSError):
        fcntl.ioctl(target, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, b"\0" * 8))


def end_lines(master: int) -> None:
    """Let the pseudo-terminal translate the ends of lines from now on, because ours, in raw mode, does not."""
    with suppress(OSError, termios.error):
        modes = termios.tcgetattr(master)
        modes[1] |= termios.OPOST
        termios.tcsetattr(master, termios.TCSANOW, modes)


def make_controlling(slave: int) -> None:
    """Make a terminal the controlling one of a new session."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


class Keyboard:
    """Our stdin in raw mode, so that every key, Ctrl-C too, goes to the command; only while we are in the foreground."""

    def __init__(self, fd: int = 0) -> None:
        self.fd = fd
        self._modes: list[Any] | None = None

    @property
    def raw(self) -> bool:
        return self._modes is not None

    def take(self) -> bool:
        """Enter raw mode if we are in the foreground; returns whether we are."""
        try:
            if os.tcgetpgrp(self.fd) != os.getpgrp():
                return False
            modes = termios.tcgetattr(self.fd)
            tty.setraw(self.fd, termios.TCSANOW)
        except (OSError, termios.error):
            return False
        self._modes = self._modes or modes
        return True

    def give_back(self) -> None:
        """Restore the modes of the terminal."""
        if self._modes is None:
            return
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # so that it works from the background, too
        with suppress(OSError, termios.error):
            termios.tcsetattr(self.fd, termios.TCSANOW, self._modes)
        signal.signal(signal.SIGTTOU, before)
        self._modes = None
