"""Decide who speaks for a mailbox at a place in the order: its own clone, or the one that had adopted it by then.

Every event about a name is kept, because the last one alone does not say whose it was before. An adopter's word about a
name counts while the name leads to it. An event that arrives late may change that, so receipts of adopters are then
folded again.
"""

from __future__ import annotations

from collections.abc import Iterator

from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.query import COLUMNS, event_of

HOPS = 16
"""Names that are followed one after the other; honest ones change hands a few times."""


def note(db: sqlite3.Connection, event: Event) -> None:
    """Keep what an event says of names, or that it is a receipt of an adopter."""
    if event.type == "receipt":
        if (box := _box(event, "session", event.data.get("of", event.clone))) and not box.endswith(f"@{event.clone}"):
            db.execute("INSERT OR IGNORE INTO relays VALUES (?, ?)", (box, event.id))
        return
    for box, leads in _words(event):
        db.execute("INSERT OR IGNORE INTO words VALUES (?, ?, ?, ?)", (box, event.lc, event.id, leads))
        if db.execute("SELECT 1 FROM relays WHERE box = ? LIMIT 1", (box,)).fetchone():
            db.execute("INSERT OR IGNORE INTO unsettled VALUES (?)", (box,))


def _words(event: Event) -> list[tuple[str, str]]:
    """Mailboxes, and where each leads from this event on: to another, or (empty) nowhere else."""
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


def speaks_for(db: sqlite3.Connection, clone: str, box: str, lc: int, oid: str) -> bool:
    """Whether `clone` spoke for a mailbox at the place (`lc`, `oid`) in the order."""
    query = "SELECT leads FROM words WHERE box = ? AND (lc, id) < (?, ?) ORDER BY lc DESC, id DESC LIMIT 1"
    for _ in range(HOPS):
        row = db.execute(query, (box, lc, oid)).fetchone()
        if row is None or not row[0]:
            return box.partition("@")[2] == clone
        box = row[0]
    return False


def reconsidered(db: sqlite3.Connection) -> Iterator[Event]:
    """The receipts of adopters about names of which something new is known. To be folded again, once all has arrived."""
    if db.execute("SELECT 1 FROM unsettled LIMIT 1").fetchone() is None:
        return
    columns = ", ".join(f"e.{name}" for name in COLUMNS.split(", "))
    query = f"SELECT {columns} FROM unsettled u JOIN relays r ON r.box = u.box JOIN events e ON e.id = r.id"
    found = db.execute(query).fetchall()
    db.execute("DELETE FROM unsettled")
    yield from (event_of(row) for row in found)
