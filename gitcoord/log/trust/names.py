"""Decide which clones speak for a mailbox: its own, and those that adopted it one after the other. An adopter's receipts
count as long as the name leads to the adopter. When the owner takes its name back, they no longer count: mail that the
adopter had marked read is unread again, so that the owner loses none. An event about a name may arrive late, so the
receipts of adopters are folded again."""

from __future__ import annotations

from collections.abc import Iterator

from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.query import COLUMNS, event_of

HOPS = 16
"""Number of names that are followed one after the other; honest names change hands a few times."""


def is_relayed(event: Event) -> bool:
    """Whether a receipt speaks for a mailbox of another clone, as its adopter does."""
    return bool(event.data.get("of", event.clone) != event.clone)


def note(db: sqlite3.Connection, event: Event) -> None:
    """Note what an event says about names, or that it is a receipt of an adopter."""
    if event.type == "receipt":
        if (box := _box(event, "session", event.data.get("of", event.clone))) and is_relayed(event):
            db.execute("INSERT OR IGNORE INTO relays VALUES (?, ?)", (box, event.id))
        return
    for box, leads in _words(event):
        db.execute(_LAST_WORD, (box, event.lc, event.id, leads))
        if db.execute("SELECT 1 FROM relays LIMIT 1").fetchone():
            db.execute("INSERT OR IGNORE INTO unsettled VALUES (?)", (box,))


_LAST_WORD = (
    "INSERT INTO words VALUES (?, ?, ?, ?) ON CONFLICT (box) DO UPDATE SET lc = excluded.lc, id = excluded.id,"
    " leads = excluded.leads WHERE (excluded.lc, excluded.id) > (lc, id)"
)


def _words(event: Event) -> list[tuple[str, str]]:
    """Mailboxes, and the one to which each leads from this event on; empty if it leads to none."""
    if event.type == "join":
        found = [(_box(event, "session", event.clone), "")]
    elif event.type == "rename":
        new = _box(event, "new", event.clone)
        found = [(_box(event, "old", event.clone), new), (new, "")]
    elif event.type == "adopt":
        own = _box(event, "session", event.clone)
        found = [(_box(event, "session", event.data.get("from")), own), (own, "")]
    else:
        found = []
    return [(box, leads) for box, leads in found if box]


def _box(event: Event, key: str, clone: object) -> str:
    name = event.data.get(key)
    return f"{name}@{clone}" if isinstance(name, str) and isinstance(clone, str) else ""


def speaks_for(db: sqlite3.Connection, clone: str, box: str) -> bool:
    """Whether `box` leads to a mailbox of `clone` now: it adopted the name, and the owner has not taken it back."""
    for _ in range(HOPS):
        row = db.execute("SELECT leads FROM words WHERE box = ?", (box,)).fetchone()
        if row is None or not row[0]:
            return False
        box = row[0]
        if box.partition("@")[2] == clone:
            return True
    return False


def reconsidered(db: sqlite3.Connection) -> Iterator[Event]:
    """The receipts of adopters about names with new events, to be folded again once all has arrived."""
    if db.execute("SELECT 1 FROM unsettled LIMIT 1").fetchone() is None:
        return
    columns = ", ".join(f"e.{name}" for name in COLUMNS.split(", "))
    found = db.execute(
        "WITH RECURSIVE up(box) AS (SELECT box FROM unsettled UNION SELECT w.box FROM up JOIN words w ON w.leads = up.box)"
        f" SELECT {columns} FROM up JOIN relays r ON r.box = up.box JOIN events e ON e.id = r.id"
    ).fetchall()
    db.execute("DELETE FROM unsettled")
    yield from (event_of(row) for row in found)
