"""Text for people and models: inert, quoted, measured. What others wrote is data and cannot pass for ours."""

from __future__ import annotations

import time
from datetime import UTC, datetime

_BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def inert(text: str) -> str:
    """`text` without power over a terminal: controls, bidirectional marks and lone surrogates as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if has_power(c) else c for c in text)


def has_power(c: str) -> bool:
    """Whether a character could steer a terminal or change the order of what is read."""
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


def shell_word(text: str) -> str:
    """`text` as one word of a command that can be pasted into a shell: somebody's path or name cannot become a command."""
    from shlex import quote

    return quote(text)


def said(text: str, limit: int = 60) -> str:
    """Somebody's words within a line of ours, in quotation marks that they cannot close."""
    unquoted = text.replace("“", '"').replace("”", '"')
    return f"“{one_line(unquoted, limit)}”"


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


def rfc3339(at: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tokens(text: str) -> int:
    """About how many tokens a model sees in `text`: the larger of 1.35 a word and one for 4 characters, rounded up."""
    return int(max(len(text.split()) * 1.35, len(text) / 4) + 1)


def span(seconds: float) -> str:
    """A duration as people say it: `40 s`, `12 min`, `3 h`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{max(0, int(seconds))} s"


def duration(seconds: float) -> str:
    """A duration for people."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{max(0.0, seconds):.1f} s" if whole < 10 else f"{whole} s"
    minutes, seconds = divmod(whole, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
