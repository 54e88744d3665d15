"""What overlap events make of the tables: which pairs were told of which paths."""

from __future__ import annotations

import sqlite3

from gitcoord.log.event import Event, Malformed
from gitcoord.log.index.feature import Feature, want_strings

MAX_PATHS = 200
"""Paths in one notice."""


def _fold(db: sqlite3.Connection, event: Event) -> None:
    pair, paths = want_strings(event, "between"), want_strings(event, "paths")
    if len(pair) != 2 or len(paths) > MAX_PATHS:
        raise Malformed("overlap: between is no pair, or too many paths")
    for path in paths:
        db.execute("INSERT OR IGNORE INTO overlaps VALUES (?, ?, ?)", (*sorted(pair), path))


FEATURE = Feature(
    "overlaps",
    frozenset({"overlap"}),
    "CREATE TABLE overlaps (a TEXT NOT NULL, b TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (a, b, path)) WITHOUT ROWID;",
    _fold,
)
