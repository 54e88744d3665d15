"""What people and agents see: inert text, relative times, JSON; and whether it really reached its reader."""

from __future__ import annotations

import json
import os
import select
import stat
import sys
import time
from datetime import UTC, datetime
from typing import Any

_BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
GRACE = 0.025
"""Seconds for which a reader that has taken all output may still go away before it counts as shown."""


def inert(text: str) -> str:
    """`text` without power over a terminal: controls, bidirectional marks and lone surrogates as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if _has_power(c) else c for c in text)


def _has_power(c: str) -> bool:
    code = ord(c)
    control = (code < 0x20 and c not in "\t\n") or 0x7F <= code < 0xA0
    return control or c in _BIDI or 0xD800 <= code < 0xE000


def one_line(text: str, limit: int = 100) -> str:
    """The beginning of `text` on one line."""
    flat = inert(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def quoted(text: str, indent: str = "  > ") -> str:
    """Somebody's words as data: every line marked, nothing in it can pass for ours."""
    return "\n".join(indent + inert(line) for line in text.rstrip("\n").split("\n"))


def say(text: str = "") -> None:
    """Print one line or block of output."""
    sys.stdout.write(text + "\n")


def remark(text: str) -> None:
    """A line beside the output, on stderr."""
    print(inert(text), file=sys.stderr)


def say_json(value: Any) -> None:
    """Print one JSON document; characters with power over a terminal stay escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    say(text if text.isascii() and "\x7f" not in text else "".join(f"\\u{ord(c):04x}" if _has_power(c) else c for c in text))


def rfc3339(at: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(at: float | None, now: float | None = None) -> str:
    """How long ago, for people."""
    if at is None:
        return "never"
    seconds = max(0, int((time.time() if now is None else now) - at))
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return f"{seconds} s ago" if seconds > 5 else "just now"


def coloured() -> bool:
    """Colour only on a terminal, and not where the user asked for none (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """`text` in an ANSI colour, on a terminal."""
    return f"\x1b[{code}m{text}\x1b[0m" if coloured() else text


def reached_reader() -> bool:
    """Flush, and say whether the output can count as shown: False when the reader at the other end of a pipe is gone.

    `inbox | head -1` takes one line and closes the pipe; what it did not show must not be marked read. So when
    stdout is a pipe, wait until it is empty and for a moment more, and see whether it was closed.
    """
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
