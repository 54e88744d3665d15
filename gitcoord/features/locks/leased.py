"""Locks that hold in all clones of a remote: `lock --global`.

The row of a lock has its patterns, so that who comes second is refused although he has not seen the event yet. A row ends
with its lock, or with its time: counted by an observer from when it first saw the row, so no clock is trusted but one's own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from gitcoord.features.locks import read, take
from gitcoord.features.locks.patterns import overlap, spell_as, why_not
from gitcoord.features.locks.read import Held, Lock
from gitcoord.features.locks.take import Wish
from gitcoord.log.clone import Clone
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import canonical, display
from gitcoord.sessions.presence import published_gone, register
from gitcoord.store.objects import Oid
from gitcoord.sync.leases import Row, Table, change, connected, nonce, observe

KIND = "locks"
LOOK_AGAIN = 5.0
"""Seconds between two looks at the remote by one who waits."""
HINT = "try again later, or without --global: a lock of this clone"


def lock(clone: Clone, me: Identity, wish: Wish, wait: float | None = 0) -> Lock:
    """Lock, waiting for at most `wait` seconds (None: for ever). Raises Held, RemoteError."""
    from gitcoord.store.watch import RefWatch

    take.check(wish)
    deadline = None if wait is None else time.monotonic() + wait
    while True:
        try:
            return _lock(clone, me, wish)
        except Held:
            left = LOOK_AGAIN if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise
        with RefWatch(clone.repo) as watch:
            watch.wait(min(left, LOOK_AGAIN))


def _lock(clone: Clone, me: Identity, wish: Wish) -> Lock:
    fresh = nonce()

    def decide(table: Table) -> Table:
        clone.read(lambda db: take.take(db, clone, me, wish))
        over = clone.read(lambda db: _over(db, clone, table))
        hindering = [row for row in table.rows.values() if row.nonce not in over and _hinders(row, clone, wish)]
        if hindering:
            raise _held(hindering, clone)
        holder = mailbox(me.name, clone.settled_id())
        return table.without(over).plus(Row(fresh, "lock", holder, wish.ttl, wish.patterns, wish.shared))

    with connected(clone, HINT) as at:
        change(at, KIND, decide)
        try:
            with clone.locked():
                register(clone, me)
                event = clone.append(lambda db: take.take(db, clone, me, wish, lease=fresh))[0]
                take.keep_marker(clone)
        except Held:
            change(at, KIND, lambda table: table.without([fresh]))
            raise
    return read.lock_of(clone, event.id)


def _hinders(row: Row, clone: Clone, wish: Wish) -> bool:
    """Between sessions of one clone its own events decide, which all of them have."""
    if clone.has(row.holder) or (row.shared and wish.shared):
        return False
    spell_as(clone.repo)
    return any(overlap(p, q) for p in wish.patterns for q in row.patterns if not why_not(q))


def _held(rows: Sequence[Row], clone: Clone) -> Held:
    first = rows[0]
    more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
    who = display(first.holder, clone.id)
    return Held(f"{', '.join(first.patterns)} is locked by {who}{more}", f"git coord send {who} …", ())


def _over(db: sqlite3.Connection, clone: Clone, table: Table) -> list[str]:
    """Rows whose lock has ended, whose time is over or whose holder is gone; of ours also those that never became one."""
    ages = observe(clone, KIND, table.rows)
    standing = {lock.id for lock in read.standing(db, clone).valid}
    return [n for n, row in table.rows.items() if _is_over(db, clone, row, ages[n], standing)]


def _is_over(db: sqlite3.Connection, clone: Clone, row: Row, age: float, standing: set[Oid]) -> bool:
    found = [lock for (lock,) in db.execute("SELECT lock FROM lock_leases WHERE nonce = ?", (row.nonce,))]
    if clone.has(row.holder):
        return all(lock not in standing for lock in found)
    ended = found and all(db.execute("SELECT 1 FROM held WHERE lock = ?", (lock,)).fetchone() is None for lock in found)
    return bool(ended) or age >= row.ttl or published_gone(db, clone, canonical(db, row.holder))


def finished(clone: Clone, table: Table) -> list[str]:
    """Rows of ours that are over."""
    over = set(clone.read(lambda db: _over(db, clone, table)))
    return [n for n, row in table.rows.items() if n in over and clone.has(row.holder)]
