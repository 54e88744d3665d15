"""Find events in the index: by id prefix, by thread, by text, newest first."""

from __future__ import annotations

from collections.abc import Collection

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.store.objects import Oid

COLUMNS = "id, type, lc, clone, author, email, at, text, data, v"
MIN_PREFIX = 4
_HEX = frozenset("0123456789abcdefABCDEF")


def event_of(row: tuple[str, str, int, str, str, str, int, str, str, int]) -> Event:
    """An event from a row of COLUMNS."""
    oid, kind, lc, clone, author, email, at, text, data, v = row
    return Event(Oid(oid), kind, lc, clone, author, email, at, text, json.loads(data), v)


_LISTED = {"task": "git coord tasks", "message": "git coord inbox --all", "job.start": "git coord jobs"}
"""The command that lists the ids of events of a type."""


def resolve_id(db: sqlite3.Connection, prefix: str, kind: str | None = None) -> Oid:
    """The full id of a unique prefix of at least 4 digits. Raises UsageError with the candidates."""
    listed = _LISTED.get(kind or "", "git coord log")
    if not MIN_PREFIX <= len(prefix) <= 64 or not _HEX.issuperset(prefix):
        raise UsageError(f"{prefix!a} is not an id", f"an id is at least {MIN_PREFIX} hexadecimal digits: {listed}")
    low = prefix.lower()
    wanted = " AND type = ?" if kind else ""
    rows = db.execute(
        f"SELECT id, type, author, substr(text, 1, 40) FROM events WHERE id >= ? AND id < ?{wanted} LIMIT 6",
        (low, low + "g", *([kind] if kind else [])),
    ).fetchall()
    if not rows:
        raise UsageError(f"no {kind or 'event'} has the id {prefix}", listed)
    if len(rows) > 1:
        candidates = ", ".join(f"{oid[:12]} ({author})" for oid, _, author, _ in rows[:5])
        raise UsageError(f"{prefix} is ambiguous", f"give more digits: {candidates}")
    return Oid(rows[0][0])


def get_event(db: sqlite3.Connection, oid: Oid) -> Event:
    """The event with a full id."""
    return event_of(db.execute(f"SELECT {COLUMNS} FROM events WHERE id = ?", (oid,)).fetchone())


def list_events(
    db: sqlite3.Connection,
    since: int | None,
    kinds: Collection[str],
    limit: int,
    boxes: Collection[str] = (),
    words: str = "",
) -> list[Event]:
    """The newest events, newest first: at most `limit`, not older than `since` (Unix seconds), of `kinds`, by `boxes`,
    containing `words`; case does not matter. Without kinds or boxes, of all."""
    conditions, values = ["1"], list[object]()
    if len(kinds) == 1:
        conditions.append("type = ?")
        values += kinds
    elif kinds:
        conditions.append("type IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(kinds)))
    if words:
        conditions.append("text LIKE ? ESCAPE '\\'")
        values.append("%" + "".join(f"\\{c}" if c in "%_\\" else c for c in words) + "%")
    if since is not None:
        conditions.append("at >= ?")
        values.append(since)
    if boxes:
        conditions.append("author || '@' || clone IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(boxes)))
    rows = db.execute(
        f"SELECT {COLUMNS} FROM events WHERE {' AND '.join(conditions)} ORDER BY lc DESC, id DESC LIMIT ?", (*values, limit)
    )
    return [event_of(row) for row in rows]


def known_types(db: sqlite3.Connection) -> set[str]:
    """The event types in the index."""
    return {kind for (kind,) in db.execute("SELECT DISTINCT type FROM events")}
