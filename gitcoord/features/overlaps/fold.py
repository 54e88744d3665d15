"""Fold overlap events into the tables: what each pair of sessions was told last about each path."""

from __future__ import annotations

from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import MAILBOX, PATH, Schema, listed, one_of

MAX_PATHS = 200
"""Paths in one notice."""
CONFLICT, CLEAN, UNKNOWN, OVER = VERDICTS = ("conflict", "clean", "unknown", "over")
"""Results of merging both sides' changes of a path: they conflict, or merge; git is too old to say; the two no longer both
change it."""


def _fold(db: sqlite3.Connection, event: Event) -> None:
    pair, verdict = sorted(event.data["between"]), event.data.get("verdict", UNKNOWN)
    for path in event.data["paths"]:
        db.execute(
            "INSERT INTO overlaps VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET verdict = excluded.verdict,"
            " lc = excluded.lc, id = excluded.id WHERE (excluded.lc, excluded.id) > (lc, id)",
            (*pair, path, verdict, event.lc, event.id),
        )


FEATURE = Feature(
    "overlaps",
    {
        "overlap": Schema(
            {"between": listed(MAILBOX, 2, 2), "paths": listed(PATH, MAX_PATHS), "verdict": one_of(*VERDICTS)},
            ("between", "paths"),
        )
    },
    """
    CREATE TABLE overlaps (a TEXT NOT NULL, b TEXT NOT NULL, path TEXT NOT NULL, verdict TEXT NOT NULL, lc INTEGER NOT NULL,
        id TEXT NOT NULL, PRIMARY KEY (a, b, path)) WITHOUT ROWID;
    """,
    _fold,
    forget=(
        "INSERT OR IGNORE INTO again SELECT id FROM events WHERE type = 'overlap' AND clone IN (SELECT e.clone"
        " FROM overlaps o JOIN events e ON e.id = o.id WHERE o.id IN (SELECT id FROM forgotten))",
        "DELETE FROM overlaps WHERE id IN (SELECT id FROM forgotten)",
    ),
)
