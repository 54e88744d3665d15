"""Read the present locks: those that hold, those that have ended, and the queue."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from gitcoord.errors import Refused
from gitcoord.features.locks import waiters
from gitcoord.features.locks.patterns import overlap, spell_as
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.names import lives_in, mailbox, name_in
from gitcoord.sessions.mailboxes import Homes
from gitcoord.sessions.membership import states_in
from gitcoord.sessions.presence import clock_ahead
from gitcoord.store.objects import Oid
from gitcoord.text import span


class Lock(NamedTuple):
    """A lock, or a place in the queue for one (`waits`). Times are Unix seconds, `holder` is a mailbox."""

    id: Oid
    holder: str
    patterns: tuple[str, ...]
    reason: str
    shared: bool
    at: int
    expires: int
    waits: bool
    lc: int
    clone: str
    local: bool = False
    """Whether it stays in this clone."""

    def hinders(self, patterns: Iterable[str], shared: bool) -> bool:
        """Whether this lock excludes a lock on `patterns`."""
        return not (shared and self.shared) and any(overlap(p, q) for p in patterns for q in self.patterns)


class LockHeld(Refused):
    """Another session holds a lock on the path. `locks` are those that exclude the wanted lock."""

    def __init__(self, what: str, hint: str, locks: Sequence[Lock]) -> None:
        super().__init__(what, hint)
        self.locks = tuple(locks)


class LockTable(NamedTuple):
    """All locks at one moment: those that hold, those whose time or holder is over, and the waiting ones, in order."""

    valid: list[Lock]
    over: list[Lock]
    waits: list[Lock]


def standing(db: sqlite3.Connection, clone: Clone, now: float | None = None) -> LockTable:
    """Sort the locks that no event has ended; patterns are compared by this repository's `core.ignorecase`."""
    spell_as(clone.repo)
    now = time.time() if now is None else now
    found = [_by_our_clock(db, clone, lock) for lock in all_locks(db)]
    if not found:
        return LockTable([], [], [])
    life = states_in(db, clone, {lock.holder for lock in found}, now, patient=True)
    there = [lock for lock in found if lock.expires > now and life[lock.holder][0] != "gone"]
    waits = [lock for lock in there if lock.waits and clone.is_ours(lock.clone) and waiters.is_waiting(clone, lock.id)]
    valid = [lock for lock in there if not lock.waits]
    return LockTable(valid, [lock for lock in found if lock not in valid and lock not in waits], waits)


def _by_our_clock(db: sqlite3.Connection, clone: Clone, lock: Lock) -> Lock:
    """A lock with its end by our clock. Another clone's lock ends by its writer's clock, whose offset is estimated from
    its presence; the delay of the presence counts in the holder's favour."""
    if clone.is_ours(lock.clone):
        return lock
    return lock._replace(expires=lock.expires + int(clock_ahead(db, lock.clone)))


def _holder(homes: Homes, author: str, clone: str) -> str:
    """The holder of a lock by its present name. A clone that adopts a session does not adopt its locks, because it
    could not end them."""
    box = mailbox(author, clone)
    now = homes.of(box)
    return now if lives_in(now, clone) else box


def all_locks(db: sqlite3.Connection) -> list[Lock]:
    rows = db.execute(
        "SELECT l.id, h.pattern, l.author, l.clone, l.reason, l.shared, l.at, l.expires, l.waits, l.lc, e.local"
        " FROM held h JOIN locks l ON l.id = h.lock LEFT JOIN events e ON e.id = l.id ORDER BY l.lc, l.id, h.place"
    ).fetchall()
    patterns: dict[Oid, list[str]] = {}
    for row in rows:
        patterns.setdefault(Oid(row[0]), []).append(row[1])
    first = {row[0]: row for row in reversed(rows)}
    homes = Homes(db)
    return [
        Lock(oid, _holder(homes, r[2], r[3]), tuple(of), r[4], bool(r[5]), r[6], r[7], bool(r[8]), r[9], r[3], bool(r[10]))
        for oid, of in patterns.items()
        for r in [first[oid]]
    ]  # fmt: skip


def lock_of(clone: Clone, oid: Oid) -> Lock:
    return next(lock for lock in clone.read(all_locks) if lock.id == oid)


def held(hindering: Sequence[Lock], clone: Clone, now: float, wanted: Sequence[str] = ()) -> LockHeld:
    """The error, which names the first holder: its patterns, reason, beginning and end."""
    first = hindering[0]
    name = name_in(first.holder) if clone.is_ours(first.clone) else first.holder
    verb = "is waited for by" if first.waits else "is locked by"
    until = "" if first.waits else f", {span(first.expires - now)} left"
    patterns = [p for p in first.patterns if any(overlap(p, q) for q in wanted)] or first.patterns
    because = f": {first.reason}" if first.reason else ""
    more = f" (and {len(hindering) - 1} more)" if len(hindering) > 1 else ""
    what = f"{', '.join(patterns)} {verb} {name} (for {span(now - first.at)}{until}){because}{more}"
    return LockHeld(what, f"git coord lock --wait …, or ask its holder: git coord send {name} …", hindering)


def merged(chosen: Sequence[Lock]) -> list[Lock]:
    """One entry for each lock, with all its patterns that were named."""
    patterns: dict[Oid, list[str]] = {}
    for lock in chosen:
        patterns.setdefault(lock.id, []).extend(p for p in lock.patterns if p not in patterns.get(lock.id, ()))
    first = {lock.id: lock for lock in chosen}
    return [first[oid]._replace(patterns=tuple(of)) for oid, of in patterns.items()]
