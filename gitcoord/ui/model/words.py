"""Words of a row: inert, bounded, short; ages and names as a person reads them."""

from __future__ import annotations

from gitcoord.names import lives_in, name_in
from gitcoord.text import block, inert, one_line

SHORT = 10
"""Digits of an id that are shown."""
BODY = 20_000
"""Characters of a text that are shown whole; a message may have three times as many."""


def age(at: float | None, now: float) -> str:
    """How long ago, in at most four characters; empty for never. No seconds, so that the view is calm."""
    if at is None:
        return ""
    seconds = max(0, int(now - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return "now"


def left(until: float, now: float) -> str:
    """How much time is left, in at most four characters."""
    seconds = until - now
    return age(now - seconds, now) if seconds >= 60 else "<1m" if seconds > 0 else "over"


def body(text: str, limit: int = BODY) -> str:
    """Somebody's text with its lines, nothing in it hidden; cut at `limit` characters, which is said."""
    whole = block(text.replace("\t", "    ").replace("\r\n", "\n"))
    return whole if len(whole) <= limit else f"{whole[:limit]}… (cut: {len(whole) - limit} characters more)"


def line(text: str, limit: int = 200) -> str:
    """Somebody's words on one line."""
    return one_line(text, limit)


def name(box: str | None, here: str) -> str:
    """A mailbox as a reader of this clone writes it; empty for nobody."""
    if not box:
        return ""
    return inert(name_in(box) if lives_in(box, here) else box)
