"""Texts of a row: inert, bounded, short; ages and names for a person."""

from __future__ import annotations

from gitcoord.names import lives_in, name_in
from gitcoord.text import block, inert, one_line

SHORT = 10
"""Digits of an id that are shown."""
HELD = "(held back: it is not signed, and coord.requireSigned is set)"
"""In the place of words that count for nothing."""
BODY = 20_000
"""Largest length of a text that is shown whole; a message may have three times as many characters."""


def age(at: float | None, now: float) -> str:
    """The age of something, in at most four characters; empty for never. Without seconds, so that the view is calm."""
    if at is None:
        return ""
    seconds = max(0, int(now - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return "now"


def left(until: float, now: float) -> str:
    """The time that is left, in at most four characters."""
    seconds = until - now
    return age(now - seconds, now) if seconds >= 60 else "<1m" if seconds > 0 else "over"


def body(text: str, limit: int = BODY) -> str:
    """Others' text with its lines, with hidden characters shown; cut at `limit` characters, with a remark."""
    whole = block(text.replace("\t", "    ").replace("\r\n", "\n"))
    return whole if len(whole) <= limit else f"{whole[:limit]}… (cut: {len(whole) - limit} characters more)"


def line(text: str, limit: int = 200) -> str:
    """Others' words on one line."""
    return one_line(text, limit)


def name(box: str | None, here: str) -> str:
    """A mailbox as this clone's readers see it; empty for nobody."""
    if not box:
        return ""
    return inert(name_in(box) if lives_in(box, here) else box)
