"""Fold lock events into the tables.

The write lock puts the decisions of one clone in order, so a `lock` event is legal by construction: it ends the locks that
it `supersedes` and holds until it is ended, its time is over, or its holder is gone. Between clones nothing decides: if two
lock the same path before they sync, both locks hold, and both clones see both.
"""

from __future__ import annotations

from gitcoord.features.locks.patterns import MAX_LENGTH, why_not
from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import FLAG, ID, MANY, Kind, Schema, line, listed, mapped, number, text

TTL = 2 * 3600
"""Seconds for which a lock holds by default."""
MAX_TTL = 365 * 86400
MAX_PATTERNS = 100


def _fold(db: sqlite3.Connection, event: Event) -> None:
    if event.type == "unlock":
        for oid, patterns in event.data["locks"].items():
            for pattern in patterns or [""]:
                _end(db, oid, pattern)
        return
    data = event.data
    until, shared, reason = event.at + data.get("ttl", TTL), data.get("shared", False), data.get("reason", "")
    row = (event.id, event.lc, event.clone, event.author, event.at, until, shared, reason, event.type == "lock.wait")
    db.execute("INSERT OR IGNORE INTO locks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    for place, pattern in enumerate(dict.fromkeys(data["patterns"])):
        ended = "SELECT 1 FROM lock_ends WHERE lock = ? AND pattern IN (?, '')"
        if db.execute(ended, (event.id, pattern)).fetchone() is None:
            db.execute("INSERT OR IGNORE INTO held VALUES (?, ?, ?)", (event.id, pattern, place))
    if lease := data.get("lease"):
        db.execute("INSERT OR IGNORE INTO lock_leases VALUES (?, ?)", (lease, event.id))
    for oid in data.get("supersedes", ()):
        _end(db, oid, "")


def _end(db: sqlite3.Connection, oid: str, pattern: str) -> None:
    """End a lock, even if it arrives after its end, so that the order of arrival does not matter."""
    db.execute("INSERT OR IGNORE INTO lock_ends VALUES (?, ?)", (oid, pattern))
    db.execute("DELETE FROM held WHERE lock = ? AND ? IN (pattern, '')", (oid, pattern))


PATTERN = Kind("a pattern", lambda value: type(value) is str and not why_not(value))
REASON = line(1000)
_LOCK = Schema(
    {
        "patterns": listed(PATTERN, MAX_PATTERNS, 1),
        "ttl": number(1, MAX_TTL),
        "shared": FLAG,
        "reason": REASON,
        "supersedes": listed(ID, MANY),
        "lease": line(64),
    },
    ("patterns",),
)
_UNLOCK = Schema({"locks": mapped(ID, listed(text(MAX_LENGTH), MAX_PATTERNS), MANY)}, ("locks",))

FEATURE = Feature(
    "locks",
    {"lock": _LOCK, "lock.wait": _LOCK, "unlock": _UNLOCK},
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
    forget=(
        "CREATE TEMP TABLE harmed AS SELECT id FROM forgotten UNION SELECT j.value FROM forgotten f"
        " JOIN events e ON e.id = f.id, json_each(e.data, '$.supersedes') j WHERE e.type IN ('lock', 'lock.wait')"
        " UNION SELECT j.key FROM forgotten f JOIN events e ON e.id = f.id, json_each(e.data, '$.locks') j"
        " WHERE e.type = 'unlock'",
        "INSERT OR IGNORE INTO again SELECT e.id FROM events e WHERE type IN ('lock', 'lock.wait')"
        " AND (e.id IN (SELECT id FROM harmed) OR EXISTS (SELECT 1 FROM json_each(e.data, '$.supersedes') j"
        " WHERE j.value IN (SELECT id FROM harmed))) OR type = 'unlock' AND EXISTS"
        " (SELECT 1 FROM json_each(e.data, '$.locks') j WHERE j.key IN (SELECT id FROM harmed))",
        "DELETE FROM locks WHERE id IN (SELECT id FROM forgotten)",
        "DELETE FROM lock_leases WHERE lock IN (SELECT id FROM forgotten)",
        "DELETE FROM held WHERE lock IN (SELECT id FROM harmed)",
        "DELETE FROM lock_ends WHERE lock IN (SELECT id FROM harmed)",
    ),
)
