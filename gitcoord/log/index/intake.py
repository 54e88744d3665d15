"""Limit how much of each other clone the index reads: enough for an honest clone, and no more than a disk and a command
can bear.

Beyond a limit the rest of a clone is left out: events that were read stay, its refs are ignored, `status` and `doctor`
name it. A rebuild of the index (`doctor --fix`) looks again. This clone's own events have no limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gitcoord.lean import NamedTuple, sqlite3

MAX_EVENTS = 5_000_000
"""Events of one clone."""
MAX_STRANGE = 50_000
"""Commits of one clone that are not events, or whose payload cannot be used."""
MAX_BYTES = 4 * 1024**3
"""Bytes of one clone's commits, inflated."""

TABLES = """
CREATE TABLE intake (clone TEXT PRIMARY KEY, events INTEGER NOT NULL, strange INTEGER NOT NULL, bytes INTEGER NOT NULL,
    why TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX intake_left_out ON intake (clone) WHERE why != '';
"""


class LeftOut(NamedTuple):
    """A clone of which nothing more is read, and the limit that it exceeded."""

    clone: str
    why: str


def count(db: sqlite3.Connection, clone: str, events: int, strange: int, size: int) -> bool:
    """Add to the counts of another clone; returns whether more may be read."""
    db.execute(
        "INSERT INTO intake VALUES (?1, ?2, ?3, ?4, '') ON CONFLICT DO UPDATE SET events = events + ?2,"
        " strange = strange + ?3, bytes = bytes + ?4",
        (clone, events, strange, size),
    )
    row = db.execute("SELECT events, strange, bytes FROM intake WHERE clone = ?", (clone,)).fetchone()
    why = next(_passed(row), "")
    if why:
        db.execute("UPDATE intake SET why = ? WHERE clone = ?", (why, clone))
    return not why


def count_anew(db: sqlite3.Connection, clone: str) -> None:
    """Count what is left of a clone of which epochs were dropped; the bytes in proportion."""
    query = "SELECT (SELECT count(*) FROM events WHERE clone = ?1 AND local = 0), (SELECT count(*) FROM strange WHERE newer = 0"
    events, strange = db.execute(f"{query} AND ref LIKE 'refs/coord/log/' || ?1 || '/%')", (clone,)).fetchone()
    db.execute(
        "UPDATE intake SET bytes = bytes * ?2 / max(events, ?2, 1), events = ?2, strange = ?3 WHERE clone = ?1 AND why = ''",
        (clone, events, strange),
    )


def _passed(row: Sequence[int]) -> Iterator[str]:
    events, strange, size = row
    if events > MAX_EVENTS:
        yield f"it has more than {MAX_EVENTS:,} events"
    if strange > MAX_STRANGE:
        yield f"more than {MAX_STRANGE:,} of its commits are not events"
    if size > MAX_BYTES:
        yield f"its log is larger than {MAX_BYTES >> 20:,} MiB"


def left_out(db: sqlite3.Connection) -> list[LeftOut]:
    """The clones past a limit."""
    return [LeftOut(*row) for row in db.execute("SELECT clone, why FROM intake WHERE why != '' ORDER BY clone")]


def set_aside(db: sqlite3.Connection, clone: str, limit: int) -> list[tuple[str, str]]:
    """Some commits in the logs of a clone that are not events or cannot be used: id and reason, first one for each
    reason."""
    return db.execute(
        "SELECT id, reason FROM (SELECT id, reason, row_number() OVER (PARTITION BY reason ORDER BY id) AS place FROM strange"
        " WHERE newer = 0 AND (ref LIKE 'refs/coord/%/' || ?1 || '/%')) ORDER BY place, reason, id LIMIT ?2",
        (clone, limit),
    ).fetchall()
