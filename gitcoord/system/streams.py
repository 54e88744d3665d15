"""The standard streams of a command: remarks beside the output, and whether the output reached its reader."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import time
from collections.abc import Iterable, Iterator

from gitcoord.lean import TYPE_CHECKING, TypeVar, suppress
from gitcoord.text import ago as ago
from gitcoord.text import inert as inert
from gitcoord.text import one_line as one_line
from gitcoord.text import quoted as quoted
from gitcoord.text import rfc3339 as rfc3339
from gitcoord.text import said as said

if TYPE_CHECKING:
    from typing import TextIO

T = TypeVar("T")
GRACE = 0.025
"""Seconds after the reader took all output; if it has not closed the pipe by then, the output counts as shown."""


PATIENCE = 1.0
"""Seconds after which progress is shown."""
EVERY = 0.2
"""Seconds between two lines of progress."""
_was_closed = False
"""Whether standard output was closed when we were started, so that nobody reads the output."""


def open_streams() -> None:
    """Open closed standard streams, so that no file of ours gets their numbers. A character that a stream cannot show (an
    old locale, PYTHONIOENCODING, which our Python ignores) is replaced."""
    global _was_closed
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _was_closed = _was_closed or fd == 1
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115
    asked = os.environ.get("PYTHONIOENCODING", "").partition(":")[0] or None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            try:
                stream.reconfigure(encoding=asked, errors="replace")
            except LookupError:
                stream.reconfigure(errors="replace")


def shows_everything() -> bool:
    """Whether standard output can show every character."""
    return (sys.stdout.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")


def in_pager() -> bool:
    """Whether standard output leads to a pager: ours, or the one that `git --paginate` started."""
    return os.environ.get("GIT_PAGER_IN_USE", "") in ("1", "true")


def columns_of(stream: TextIO) -> int:
    """The width of the terminal behind a stream; 0 if there is none. COLUMNS overrides, as for git."""
    if not stream.isatty() and not (stream is sys.stdout and in_pager()):
        return 0
    named = os.environ.get("COLUMNS", "")
    if named.isdigit() and int(named):
        return int(named)
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def remark(text: str) -> None:
    """Print a line on stderr."""
    line = inert(text)
    if width := columns_of(sys.stderr):
        from gitcoord.system.screen import fitted

        line = fitted(line, width)
    print(line, file=sys.stderr)


class Progress:
    """Progress of work that takes longer than a second: one line on a terminal, removed at the end. Only a command shows it
    (`allowed`), because the Python API must not write on its program's terminal."""

    allowed = False

    def __init__(self, what: str) -> None:
        self._what = what
        self._count = 0
        self._next = time.monotonic() + PATIENCE
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def add(self, count: int) -> None:
        """Count `many` more as done."""
        self._count += count
        now = time.monotonic()
        if now < self._next or not Progress.allowed or not sys.stderr.isatty():
            return
        self._next, self._shown = now + EVERY, True
        self._write(f"\r{self._what}: {self._count:,}\x1b[K")

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def counted(what: str, items: Iterable[T]) -> Iterator[T]:
    """The same items, with progress."""
    with Progress(what) as progress:
        for item in items:
            progress.add(1)
            yield item


def reached_reader(fd: int | None = None) -> bool:
    """Flush, and return whether the output counts as shown: False if the reader at the other end of a pipe is gone. `inbox
    | head -1` takes one line and closes the pipe; the other messages must not be marked read. So if stdout is a pipe, wait
    until it is empty, wait a moment more, and check whether it was closed."""
    if fd is None:
        if _was_closed:
            return False
        sys.stdout.flush()
        fd = sys.stdout.fileno()
    if not hasattr(select, "poll") or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return True
    poller = select.poll()
    poller.register(fd, 0)  # only POLLERR: the reader is gone
    deadline = time.monotonic() + 2
    while _waiting_in_pipe(fd):
        if poller.poll(2) or time.monotonic() > deadline:
            return False
    return not poller.poll(GRACE * 1000)


def _waiting_in_pipe(fd: int) -> bool:
    if sys.platform == "win32":
        return False
    try:
        import fcntl
        import termios

        left = fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4)
    except (ImportError, OSError):
        return False
    return int.from_bytes(left, sys.byteorder) > 0
