"""What lock events make of the tables.

The write lock makes decisions in one clone follow each other, so a `lock` event is legal by construction: it ends what
it `supersedes` and stands until it is ended, its time is over, or its holder is gone. Between clones nothing was
promised: what both locked before they met, both hold, and both see it.
"""

from __future__ import annotations

import sqlite3

from gitcoord.features.locks.patterns import why_not
from gitcoord.log.event import Event, Malformed
from gitcoord.log.index.feature import Feature, want, want_strings

TTL = 2 * 3600
"""Seconds for which a lock holds when nobody says how long."""
MAX_TTL = 365 * 86400
MAX_PATTERNS = 100


def _fold(db: sqlite3.Connection, event: Event) -> None:
    if event.type == "unlock":
        for oid, patterns in want(event, "locks", dict).items():
            if type(patterns) is not list or not all(type(p) is str for p in patterns):
                raise Malformed("unlock: locks is no map of patterns")
            for pattern in patterns or [""]:
                _end(db, oid, pattern)
        return
    patterns, ttl = want_strings(event, "patterns"), want(event, "ttl", int, TTL)
    if not 0 < len(patterns) <= MAX_PATTERNS or any(why_not(p) for p in patterns) or not 0 < ttl <= MAX_TTL:
        raise Malformed(f"{event.type}: patterns or ttl cannot be used")
    shared, reason = want(event, "shared", bool, False), want(event, "reason", str, "")
    over = want_strings(event, "supersedes")
    row = (event.id, event.lc, event.clone, event.author, event.at, event.at + ttl, shared, reason, event.type == "lock.wait")
    db.execute("INSERT OR IGNORE INTO locks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    for place, pattern in enumerate(dict.fromkeys(patterns)):
        ended = "SELECT 1 FROM lock_ends WHERE lock = ? AND pattern IN (?, '')"
        if db.execute(ended, (event.id, pattern)).fetchone() is None:
            db.execute("INSERT OR IGNORE INTO held VALUES (?, ?, ?)", (event.id, pattern, place))
    if lease := want(event, "lease", str, ""):
        db.execute("INSERT OR IGNORE INTO lock_leases VALUES (?, ?)", (lease, event.id))
    for oid in over:
        _end(db, oid, "")


def _end(db: sqlite3.Connection, oid: str, pattern: str) -> None:
    """Remembered, too, for a lock that arrives later: no order of arrival matters."""
    db.execute("INSERT OR IGNORE INTO lock_ends VALUES (?, ?)", (oid, pattern))
    db.execute("DELETE FROM held WHERE lock = ? AND ? IN (pattern, '')", (oid, pattern))


FEATURE = Feature(
    "locks",
    frozenset({"lock", "lock.wait", "unlock"}),
    """
    CREATE TABLE locks (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, clone TEXT NOT NULL, author TEXT NOT NULL,
        at INTEGER NOT NULL, expires INTEGER NOT NULL, shared INTEGER NOT NULL, reason TEXT NOT NULL,
        waits INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE held (lock TEXT NOT NULL, pattern TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (lock, pattern)) WITHOUT ROWID;
    CREATE TABLE lock_ends (lock TEXT NOT NULL, pattern TEXT NOT NULL, PRIMARY KEY (lock, pattern)) WITHOUT ROWID;
    CREATE TABLE lock_leases (nonce TEXT NOT NULL, lock TEXT NOT NULL, PRIMARY KEY (nonce, lock)) WITHOUT ROWID;
    """,
    _fold,
    living=("SELECT id FROM locks WHERE expires > :now",),
)
