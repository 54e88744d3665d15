"""Decide whose events a ref contains, which events a checkpoint covers, and which the root of an epoch may carry.

A checkpoint covers the events that are reachable from its commit in the log it names, and no others: those below it in
the chain, and those that the root of this chain carries. An event's `place` in its chain is counted from the root, so
that the index knows it without opening an object.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord.lean import sqlite3
from gitcoord.log.event import Event, Malformed
from gitcoord.log.schemas import ID, NAME, Schema, line, number
from gitcoord.store.ref_names import MAX_EPOCH_DIGITS, NAMESPACE, epoch_of, is_old_presence, owner

EPOCH, CHECKPOINT = "epoch", "checkpoint"
NEVER_CARRIED = (EPOCH, CHECKPOINT)
"""Types that are only about the chain that they are in."""

SCHEMAS = {
    EPOCH: Schema({"carried": number(0, 10**9), "lowest": number(1, 10**MAX_EPOCH_DIGITS - 1), "after": ID, "continues": NAME}),
    CHECKPOINT: Schema({"ref": line(100)}),
}

TABLES = """
CREATE TABLE roots (ref TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (id TEXT PRIMARY KEY, clone TEXT NOT NULL, lc INTEGER NOT NULL, old INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE carried (id TEXT NOT NULL, clone TEXT NOT NULL, epoch INTEGER NOT NULL, PRIMARY KEY (id, clone, epoch))
    WITHOUT ROWID;
CREATE TABLE named (id TEXT PRIMARY KEY, clone TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE awaited (target TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (target, id)) WITHOUT ROWID;
CREATE TABLE words (box TEXT PRIMARY KEY, lc INTEGER NOT NULL, id TEXT NOT NULL, leads TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX words_leads ON words (leads) WHERE leads != '';
CREATE TABLE relays (box TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (box, id)) WITHOUT ROWID;
CREATE TABLE unsigned (clone TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (clone, id)) WITHOUT ROWID;
CREATE TABLE newly_signed (clone TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE unsettled (box TEXT PRIMARY KEY) WITHOUT ROWID;
"""
FORGET = (
    "INSERT OR IGNORE INTO again SELECT id FROM events WHERE type IN ('join', 'rename', 'adopt')"
    " AND EXISTS (SELECT 1 FROM words WHERE id IN (SELECT id FROM forgotten))",
    "INSERT OR IGNORE INTO unsettled SELECT box FROM words WHERE id IN (SELECT id FROM forgotten)",
    *(
        f"DELETE FROM {table} WHERE id IN (SELECT id FROM forgotten)"
        for table in ("checkpoints", "carried", "named", "awaited", "words", "relays", "unsigned")
    ),
)
"""SQL statements that take events back, as those of a feature."""
INDEXES = "CREATE INDEX checkpoints_clone ON checkpoints (clone, lc);"

TRUSTED = (
    "(m.clone = ? OR EXISTS (SELECT 1 FROM json_each(?) s WHERE e.place > 0 AND e.local = 0"
    " AND json_extract(s.value, '$[0]') = m.clone AND json_extract(s.value, '$[1]') = e.epoch"
    " AND json_extract(s.value, '$[2]') >= e.place)"
    " OR EXISTS (SELECT 1 FROM carried c JOIN json_each(?) s ON json_extract(s.value, '$[0]') = c.clone"
    " AND json_extract(s.value, '$[1]') = c.epoch WHERE c.id = m.id AND c.clone = m.clone))"
)
"""SQL condition: message `m`, which is event `e`, is ours or covered; the values come from `trusted_values`."""


OWN = "e.clone = ?"
"""SQL condition: event `e` is ours; the value is our id."""


def speaker(ref: str) -> str:
    """The clone whose events a ref contains, no matter what the commits in it say."""
    return owner(ref)


def check_speaker(event: Event, clone: str) -> None:
    """Check that an event in the log of `clone` is in its name. Raises Malformed."""
    if event.clone != clone:
        raise Malformed(f"written under another clone's name: {event.clone[:60]}")


def is_root(event: Event, ref: str) -> bool:
    """Whether an event is the root of an epoch of the log that it stands in."""
    return event.type == EPOCH and event.author == event.clone == owner(ref)


def is_presence_of(event: Event, ref: str) -> bool:
    """Whether an event is the presence that the ref names, of a clone or of one session, by that clone."""
    if is_old_presence(ref):
        return [event.clone, event.author] == ref.split("/")[-2:] and event.type == "presence"
    return event.clone == event.author == owner(ref) and event.type == "presences"


def cut(presence: Event) -> Event:
    """The presence that an unsigned one counts as where signatures are required: the session exists, in an unknown state."""
    return presence._replace(data={"session": presence.author, "state": "unknown", "unsigned": True})


def is_cut(data: Mapping[str, object]) -> bool:
    """Whether these are the facts of a presence that was cut."""
    return data.get("unsigned") is True


def is_others(clone: str, event: Event) -> bool:
    """Whether the clone that an event names is not `clone`, in whose log it is."""
    return event.clone != clone


def note_checkpoint(db: sqlite3.Connection, event: Event, raw: bytes, ref: str) -> None:
    """Remember a checkpoint. Raises Malformed for one that is not exactly what the format says.

    One without `ref` (gitcoord 0.1) covers nothing: its signed bytes do not name its log.
    """
    if event.author != event.clone:
        raise Malformed("checkpoint: its author is not its clone")
    if b"\ngpgsig" not in raw.partition(b"\n\n")[0]:
        raise Malformed("checkpoint: it has no signature")
    named = event.data.get("ref", "")
    if set(event.data) - {"ref"} or named not in ("", ref) or not ref.startswith(NAMESPACE + "log/"):
        raise Malformed("checkpoint: it does not name the log it stands in")
    db.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?)", (event.id, event.clone, event.lc, not named))
    db.execute("INSERT OR IGNORE INTO newly_signed VALUES (?)", (event.clone,))


def as_carried(event: Event, root: Event) -> Event | None:
    """An event as the root of an epoch carries it; None for one that is never carried. Raises Malformed.

    A carried event is older than the root. If it names another clone (as when a clone took a new id), it counts as written
    by the clone that carries it, which could have written anything.
    """
    if event.type in NEVER_CARRIED:
        return None
    if event.lc >= root.lc:
        raise Malformed("carried, but not older than the epoch")
    if event.clone not in (root.clone, root.data.get("continues")):
        raise Malformed(f"carried under another clone's name: {event.clone[:60]}")
    return event._replace(clone=root.clone)


def note_named(db: sqlite3.Connection, event: Event) -> None:
    """Remember the clone that an event names which another carries. Call it before the event is taken in: what waits for
    the event may be the word of either."""
    db.execute("INSERT OR IGNORE INTO named VALUES (?, ?)", (event.id, event.clone))


def lowest_epochs(db: sqlite3.Connection) -> dict[str, int]:
    """The lowest epoch that counts, for logs with a new epoch that is not in doubt."""
    return dict(db.execute("SELECT log, lowest FROM epochs WHERE doubted = 0").fetchall())


def note_carried(db: sqlite3.Connection, event: Event, ref: str) -> None:
    """Note that checkpoints of the chain at `ref` cover `event`, which its root carries."""
    if ref.startswith(NAMESPACE + "log/"):
        db.execute("INSERT OR IGNORE INTO carried VALUES (?, ?, ?)", (event.id, event.clone, epoch_of(ref)))
        db.execute("INSERT OR IGNORE INTO newly_signed VALUES (?)", (event.clone,))
