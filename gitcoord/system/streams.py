"""The standard streams of a command: remarks beside the output, and whether the output reached its reader."""

from __future__ import annotations

import os
import select
import stat
import sys
import time

from gitcoord.text import ago as ago
from gitcoord.text import inert as inert
from gitcoord.text import one_line as one_line
from gitcoord.text import quoted as quoted
from gitcoord.text import rfc3339 as rfc3339
from gitcoord.text import said as said

GRACE = 0.025
"""Seconds for which a reader that has taken all output may still go away before it counts as shown."""


def remark(text: str) -> None:
    """A line beside the output, on stderr."""
    print(inert(text), file=sys.stderr)


def reached_reader(fd: int | None = None) -> bool:
    """Flush, and say whether the output can count as shown: False when the reader at the other end of a pipe is gone.

    `inbox | head -1` takes one line and closes the pipe; what it did not show must not be marked read. So when
    stdout is a pipe, wait until it is empty and for a moment more, and see whether it was closed.
    """
    if fd is None:
        sys.stdout.flush()
        fd = sys.stdout.fileno()
    if not hasattr(select, "poll") or not stat.S_ISFIFO(os.fstat(fd).st_mode):
        return True
    poller = select.poll()
    poller.register(fd, 0)  # only POLLERR, which says that nobody reads any more
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
