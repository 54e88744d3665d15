"""Find out whether anything is locked. Usually nothing is, and no further module is loaded."""

from __future__ import annotations

from gitcoord.lean import sqlite3


def is_anything_held(db: sqlite3.Connection) -> bool:
    """Whether anything is locked, or a session waits for a lock."""
    return db.execute("SELECT 1 FROM held LIMIT 1").fetchone() is not None
