"""Fold overlap events into the tables: the paths of which each pair was told."""

from __future__ import annotations

from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import MAILBOX, PATH, Schema, listed

MAX_PATHS = 200
"""Largest number of paths in one notice."""


def _fold(db: sqlite3.Connection, event: Event) -> None:
    pair = sorted(event.data["between"])
    for path in event.data["paths"]:
        db.execute("INSERT OR IGNORE INTO overlaps VALUES (?, ?, ?)", (*pair, path))


FEATURE = Feature(
    "overlaps",
    {"overlap": Schema({"between": listed(MAILBOX, 2, 2), "paths": listed(PATH, MAX_PATHS)}, ("between", "paths"))},
    "CREATE TABLE overlaps (a TEXT NOT NULL, b TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (a, b, path)) WITHOUT ROWID;",
    _fold,
)
