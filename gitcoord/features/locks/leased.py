"""Locks that hold in all clones of a remote: `lock --global`.

The row of a lock contains its patterns, so that a second session is refused even before it has the event. A row ends with
its lock, or when its time is over. An observer counts the time from when it first saw the row, so each clone trusts only
its own clock.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from gitcoord.errors import RemoteError
from gitcoord.features.locks import read, take
from gitcoord.features.locks.patterns import overlap, spell_as, why_not
from gitcoord.features.locks.read import Lock, LockHeld
from gitcoord.features.locks.take import Wish
from gitcoord.lean import sqlite3
from gitcoord.log.clone import Clone
from gitcoord.names import mailbox, name_in
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import canonical, display
from gitcoord.sessions.presence import published_gone, register
from gitcoord.store.objects import Oid
from gitcoord.sync.leases import Lease, LeaseTable, change, check_room, connected, nonce, observe
from gitcoord.sync.link import Link

KIND = "locks"
LOOK_AGAIN = 5.0
"""Seconds between two looks at the remote while waiting."""
HINT = "try again later, or lock in this clone alone, without --global"


def lock(clone: Clone, me: Identity, wish: Wish, wait: float | None = 0) -> Lock:
    """Lock, waiting for at most `wait` seconds (None: for ever). Raises LockHeld, RemoteError."""
    from gitcoord.store.watch import RefWatch

    take.check(wish)
    deadline = None if wait is None else time.monotonic() + wait
    while True:
        try:
            return _lock(clone, me, wish)
        except LockHeld:
            left = LOOK_AGAIN if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise
        with RefWatch(clone.repo) as watch:
            watch.wait(min(left, LOOK_AGAIN))


def _lock(clone: Clone, me: Identity, wish: Wish) -> Lock:
    """Write the lock, then its row, and send both in one push; a lock without a row ends."""
    fresh = nonce()
    made: list[Oid] = []

    def decide(table: LeaseTable) -> LeaseTable:
        over = clone.read(lambda db: _over(db, clone, table))
        if not made:
            clone.read(lambda db: take.take(db, clone, me, wish))
        _check(clone, table, over, wish)
        if not made:
            check_room(table, KIND)
            with clone.locked():
                register(clone, me)
                made.append(clone.append(lambda db: take.take(db, clone, me, wish, lease=fresh))[0].id)
                take.keep_marker(clone)
        return table.without(over).plus(_row(clone, me.name, made[0], fresh, wish))

    with connected(clone, HINT, "without --global: a lock of this clone") as link:
        try:
            change(link, KIND, decide)
        except (LockHeld, RemoteError):
            if made:
                take.end(clone, made[0], me.name)
            raise
    return read.lock_of(clone, made[0])


def _row(clone: Clone, name: str, lock: Oid, lease: str, wish: Wish) -> Lease:
    return Lease(lease, "lock", mailbox(name, clone.settled_id()), wish.ttl, wish.patterns, wish.shared, lock[:16])


def _check(clone: Clone, table: LeaseTable, over: Collection[str], wish: Wish) -> None:
    """Refuse a lock if a row of another clone excludes it. Raises LockHeld."""
    hindering = [row for row in table.rows.values() if row.nonce not in over and _hinders(row, clone, wish)]
    if hindering:
        raise _held(hindering, clone)


def _hinders(row: Lease, clone: Clone, wish: Wish) -> bool:
    """Whether a row excludes a lock; between sessions of one clone its own events decide, which they all have."""
    if clone.has(row.holder) or (row.shared and wish.shared):
        return False
    spell_as(clone.repo)
    return any(overlap(p, q) for p in wish.patterns for q in row.patterns if not why_not(q))


def _held(rows: Sequence[Lease], clone: Clone) -> LockHeld:
    first = rows[0]
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    who = display(first.holder, clone.id)
    return LockHeld(f"{', '.join(first.patterns)} is locked by {who}{more}", f"git coord send {who} …", ())


def _over(db: sqlite3.Connection, clone: Clone, table: LeaseTable) -> list[str]:
    """Rows whose lock has ended, whose time is over or whose holder is gone; and our rows without a lock."""
    ages = observe(clone, KIND, table.rows)
    standing = {lock.id for lock in read.standing(db, clone).valid}
    return [n for n, row in table.rows.items() if _is_over(db, clone, row, ages[n], standing)]


def _is_over(db: sqlite3.Connection, clone: Clone, row: Lease, age: float, standing: set[Oid]) -> bool:
    found = [lock for (lock,) in db.execute("SELECT lock FROM lock_leases WHERE nonce = ?", (row.nonce,))]
    if clone.has(row.holder):
        return all(lock not in standing for lock in found)
    ended = found and all(db.execute("SELECT 1 FROM held WHERE lock = ?", (lock,)).fetchone() is None for lock in found)
    return bool(ended) or age >= row.ttl or published_gone(db, clone, canonical(db, row.holder))


def finished(clone: Clone, table: LeaseTable) -> list[str]:
    """Our rows that have ended."""
    over = set(clone.read(lambda db: _over(db, clone, table)))
    return [n for n, row in table.rows.items() if n in over and clone.has(row.holder)]


# with every sync


def is_pending(clone: Clone, table: LeaseTable) -> bool:
    """Whether a lock of this clone has no row in `table`: it was interrupted, or the remote lost its table."""
    return bool(_bare(clone, table))


def _bare(clone: Clone, table: LeaseTable) -> list[tuple[Lock, str]]:
    """Locks of this clone that are for all clones and have no row, each with the nonce of its lease."""

    def ask(db: sqlite3.Connection) -> list[tuple[Lock, str]]:
        leased = dict(db.execute("SELECT lock, nonce FROM lock_leases").fetchall())
        if not leased:
            return []
        mine = [lock for lock in read.standing(db, clone).valid if clone.is_ours(lock.clone) and lock.id in leased]
        rows = [(lock, leased[lock.id]) for lock in mine]
        return [(lock, n) for lock, n in rows if n not in table.rows or not clone.has(table.rows[n].holder)]

    return clone.read(ask)


def settle(link: Link) -> None:
    """Get rows for the locks without one; a lock that another clone has taken meanwhile ends, and its holder is told."""
    clone = link.clone
    lost: dict[Lock, LockHeld] = {}

    def decide(table: LeaseTable) -> LeaseTable | None:
        lost.clear()
        over = clone.read(lambda db: _over(db, clone, table))
        fresh = []
        for lock, lease in _bare(clone, table):
            wish = Wish(lock.patterns, lock.shared, "", max(1, int(lock.expires - clone.clock())))
            try:
                _check(clone, table, over, wish)
            except LockHeld as held:
                lost[lock] = held
            else:
                fresh.append(_row(clone, name_in(lock.holder), lock.id, lease, wish))
        return table.without(over).plus(*fresh) if fresh else None

    change(link, KIND, decide)
    for lock, held in lost.items():
        why = f"Your lock on {', '.join(lock.patterns)} did not hold: {held.what}"
        take.end(clone, lock.id, name_in(lock.holder), why)
