"""Take events back out of the index, when a new epoch of a log has left them out. The tables are then what they would be
had these events never come. Each feature says which of its rows an event touched, and which other events did
(`Feature.forget`); those are judged and folded again."""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.query import COLUMNS, event_of


def forget(db: sqlite3.Connection, ids: Iterable[str], parts: Iterable[Iterable[str]]) -> list[Event]:
    """Take events back by the statements of the trust room and of each feature; returns those to be folded again, in
    order."""
    for table in ("forgotten", "again"):
        db.execute(f"CREATE TEMP TABLE {table} (id TEXT PRIMARY KEY) WITHOUT ROWID")
    db.executemany("INSERT OR IGNORE INTO forgotten VALUES (?)", [(oid,) for oid in ids])
    for statements in parts:
        for statement in statements:
            db.execute(statement)
        db.execute("DROP TABLE IF EXISTS temp.harmed")
    db.execute("DELETE FROM again WHERE id IN (SELECT id FROM forgotten)")
    db.execute("DELETE FROM strange WHERE id IN (SELECT id FROM forgotten) OR newer = 0 AND id IN (SELECT id FROM again)")
    db.execute("DELETE FROM events WHERE id IN (SELECT id FROM forgotten)")
    rows = db.execute(f"SELECT {COLUMNS} FROM events WHERE id IN (SELECT id FROM again) ORDER BY lc, id").fetchall()
    for table in ("forgotten", "again"):
        db.execute(f"DROP TABLE temp.{table}")
    return [event_of(row) for row in rows]
