"""The Lamport clock: one more than the largest believable clock seen."""

from __future__ import annotations

from gitcoord.errors import RepositoryError
from gitcoord.lean import sqlite3
from gitcoord.log.event import MAX_CLOCK, MAX_CLOCK_STEP
from gitcoord.store.objects import Oid

FREE = 100_000_000
"""Up to here any clock is believed: more events than a repository could hold."""
PER_EVENT = 1000
"""Added for every event known here, to allow for events that were dropped or never came here."""


def seen_clock(db: sqlite3.Connection) -> int:
    """The largest clock seen that a history like this one can explain.

    An honest clock never exceeds the number of events ever written. A clock that is far above both the number of events
    known here and a hundred million is forged, and ours does not follow it. (From a hundred million nobody can use up the
    range.)
    """
    return db.execute("SELECT max(lc) FROM events WHERE lc <= ?", (_ceiling(db),)).fetchone()[0] or 0


def _ceiling(db: sqlite3.Connection) -> int:
    return FREE + PER_EVENT * (db.execute("SELECT max(seq) FROM events").fetchone()[0] or 0)


def next_clock(db: sqlite3.Connection, parent: Oid | None) -> int:
    """The clock of the event after `parent`, the last of our own log; one step is limited."""
    seen = seen_clock(db)
    ours = db.execute("SELECT lc FROM events WHERE id = ?", (parent,)).fetchone()
    lc = max(ours[0] + 1, min(seen + 1, ours[0] + MAX_CLOCK_STEP)) if ours else seen + 1
    if lc > MAX_CLOCK:
        raise RepositoryError("the clock of this log has reached its limit", "git coord gc")
    return int(lc)


def ahead_of_time(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """The clones with clocks that no honest history explains, and the number of such events."""
    return db.execute(
        "SELECT clone, count(*) FROM events WHERE lc > ? GROUP BY clone ORDER BY clone", (_ceiling(db),)
    ).fetchall()
