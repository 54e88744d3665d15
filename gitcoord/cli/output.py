"""What people and agents see: lines, JSON, colour; and whether it really reached its reader."""

from __future__ import annotations

import json
import os
import re
import select
import stat
import sys
import time
from collections.abc import Collection
from typing import Any

from gitcoord.text import ago as ago
from gitcoord.text import as_json, block
from gitcoord.text import inert as inert
from gitcoord.text import one_line as one_line
from gitcoord.text import quoted as quoted
from gitcoord.text import rfc3339 as rfc3339
from gitcoord.text import said as said

_COLOUR = r"(\x1b\[(?:0|2|31|32|33|35|36)m)"
GRACE = 0.025
"""Seconds for which a reader that has taken all output may still go away before it counts as shown."""


def say(*lines: str) -> None:
    """Print lines of output, an empty one if there is none. No foreign value in one can end it, or hide in it."""
    sys.stdout.write("".join(f"{_painted(line)}\n" for line in lines or ("",)))


def say_block(text: str) -> None:
    """Print lines that were put together before: each is ours, or was made `inert` or `quoted`."""
    sys.stdout.write(block(text) + "\n")


def _painted(line: str) -> str:
    """A line made inert, but for the colours that `paint` gives."""
    if "\x1b" not in line:
        return inert(line)
    return "".join(part if place % 2 else inert(part) for place, part in enumerate(re.split(_COLOUR, line)))


def remark(text: str) -> None:
    """A line beside the output, on stderr."""
    print(inert(text), file=sys.stderr)


def not_signed(oid: str, held: Collection[str]) -> str:
    """The mark beside what `coord.requireSigned` holds back, where it was asked for."""
    return f"  ({paint('not signed', '31')})" if oid in held else ""


def say_json(value: Any) -> None:
    """Print one JSON document; what is hidden in its texts stays escaped."""
    sys.stdout.write(as_json(json.dumps(value, ensure_ascii=False, separators=(", ", ": "))) + "\n")


def coloured() -> bool:
    """Colour only on a terminal, and not where the user asked for none (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """`text` in an ANSI colour, on a terminal."""
    return f"\x1b[{code}m{text}\x1b[0m" if coloured() else text


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
    try:
        import fcntl
        import termios

        left = fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4)
    except (ImportError, OSError):
        return False
    return int.from_bytes(left, sys.byteorder) > 0
