"""Text for people and models: inert, quoted, measured. Others' words are data and cannot pass for ours.

Every foreign value goes through one function here before it is printed: `inert` within a line, `quoted` for others' words
on lines of their own, `said` for them within a line, `shell_word` in a command to copy, `harmless` in a document.
Characters that have no visible shape, but change how the rest is read, are shown as escapes or counted.
"""

from __future__ import annotations

import time
from functools import cache

from gitcoord.lean import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re

_HIDDEN = (
    "\x00-\x1f\x7f-\x9f"  # C0, C1: ends of lines, commands to terminals
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"  # no width; marks of direction
    "\u2028-\u202e\u2060-\u206f"  # ends of lines, embeddings, overrides, isolates
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\U000f0000-\U0010ffff"  # tags, selectors, private
)
_SELECTORS = "\ufe0e\ufe0f"
"""A selector behind a character, which says whether it is a picture; more than one hides something."""
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")
"""A shell reads a word of these characters unchanged."""
_SHOWN = 8
"""Hidden characters in a row that are shown one by one; more are counted."""


@cache
def _hidden(but: str) -> re.Pattern[str]:
    """A pattern for runs of characters that are not shown by themselves, `but` some; compiled at its first use."""
    import re

    return re.compile(f"(?:(?![{but}])[{_HIDDEN}])+" if but else f"[{_HIDDEN}]+")


def inert(text: str) -> str:
    """`text` as a part of one line: no end of a line, no control, no mark of direction, nothing hidden."""
    return text if text.isascii() and text.isprintable() else _hidden("").sub(_shown, text)


def block(text: str) -> str:
    """`text` of several lines, each of them ours or made inert: nothing hidden but line ends and tabs."""
    return _hidden("\n\t").sub(_shown, text)


def _shown(run: re.Match[str]) -> str:
    found = run[0]
    if found in _SELECTORS and run.start() > 0:
        return found
    if len(found) > _SHOWN:
        return f"[{len(found)} hidden characters]"
    return "".join(c.encode("unicode_escape").decode() for c in found)


def harmless(value: Any) -> Any:
    """A value for a JSON document, with every text in it as `block` shows it."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else block(value.replace("\r\n", "\n"))
    if isinstance(value, dict):
        return {harmless(key): harmless(item) for key, item in value.items()}
    return [harmless(item) for item in value] if isinstance(value, list | tuple) else value


def as_json(text: str) -> str:
    """A JSON document in which hidden characters are JSON's own escapes."""
    if text.isascii() and "\x7f" not in text:
        return text
    import json

    return _hidden("").sub(lambda run: json.dumps(run[0])[1:-1], text)


def shell_word(text: str) -> str:
    """`text` as one word of a command to copy: on one line, and unchanged when a shell reads it."""
    if inert(text) == text:
        return quote(text)
    plain = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _hidden("").sub(lambda run: _bytes(run[0]), plain) + "'"


def quote(word: str) -> str:
    """Quote as `shlex.quote`, whose import takes 6 ms, does; most words need no quotes."""
    if word and _PLAIN.issuperset(word):
        return word
    import shlex

    return shlex.quote(word)


def _bytes(text: str) -> str:
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a pair that stands for no byte of a file name
        raw = text.encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: it has no half of a surrogate pair."""
    return not any(0xD800 <= ord(c) < 0xE000 for c in text)


def one_line(text: str, limit: int = 100) -> str:
    """The beginning of `text` on one line."""
    flat = inert(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def quoted(text: str, indent: str = "  > ") -> str:
    """Others' words as data: every line is marked, in any way a program could split it; nothing in it can pass for
    ours."""
    return "\n".join(indent + _with_tabs(line) for line in text.splitlines() or [""])


def _with_tabs(line: str) -> str:
    return "\t".join(map(inert, line.split("\t")))


def said(text: str, limit: int = 60) -> str:
    """Others' words within a line of ours, in quotation marks that they cannot close."""
    unquoted = text.replace("“", '"').replace("”", '"')
    return f"“{one_line(unquoted, limit)}”"


def ago(at: float | None, now: float | None = None) -> str:
    """The time since then, for people."""
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
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def moment(at: float) -> str:
    """A time for a text that is kept, because "just now" would not stay true."""
    return time.strftime("%d %b %H:%M UTC", time.gmtime(at))


def tokens(text: str) -> int:
    """About how many tokens a model sees in `text`: the larger of 1.35 a word and one for 4 characters, rounded up."""
    return int(max(len(text.split()) * 1.35, len(text) / 4) + 1)


def span(seconds: float) -> str:
    """A duration as people say it: `40 s`, `12 min`, `3 h`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{max(0, int(seconds))} s"


UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds_in(text: str) -> int | None:
    """`90`, `30s`, `15m`, `2h`, `1d` or `1w` in seconds; None for anything else."""
    digits, unit = (text[:-1], text[-1:]) if text[-1:] in UNITS else (text, "s")
    right = digits.isascii() and digits.isdigit() and len(digits) < 10 and int(digits) > 0
    return int(digits) * UNITS[unit] if right else None


def duration(seconds: float) -> str:
    """A duration for people."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{max(0.0, seconds):.1f} s" if whole < 10 else f"{whole} s"
    minutes, seconds = divmod(whole, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
