"""Compare the table of leases with the claims: which tasks others hold, and which rows may be replaced."""

from __future__ import annotations

from collections.abc import Collection

from gitcoord.features.tasks.fold import events_of, replay
from gitcoord.features.tasks.read import rows
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.sessions.mailboxes import Homes, display
from gitcoord.sessions.presence import holder_mark, published_gone
from gitcoord.sync.leases import Lease, LeaseTable, observe

KIND = "tasks"
TTL = 12 * 3600
"""Seconds for which a claim holds after the last sign of its holder's clone; a session that dies alone is noticed at
once. A row that asks for more gets no more."""


class LeaseView(NamedTuple):
    """The effect of others' leases and claims: tasks that are `taken`, claims that are `silent` and may be taken over,
    rows that are `free` to be replaced, and tasks whose holder is silent, but not for long enough (`unripe`)."""

    taken: frozenset[str]
    silent: frozenset[str]
    free: frozenset[str]
    unripe: frozenset[str] = frozenset()


def look_at(db: sqlite3.Connection, clone: Clone, table: LeaseTable, asking: Collection[str] = ()) -> LeaseView:
    """The present claims and leases; `asking` are claims of ours that have no lease yet, and so end no other claim."""
    claims = [row for row in rows(db, "t.claim <> ''") if not clone.has(row.holder)]
    leases = [r for r in table.rows.values() if not _is_over(db, clone, r, asking)]
    homes = Homes(db)
    marks = {row.claim: f"{row.claim} {holder_mark(db, row.holder)}" for row in claims}
    marks |= {r.nonce: f"{r.nonce} {holder_mark(db, homes.of(r.holder))}" for r in leases}
    ages = observe(clone, KIND, marks.values())
    silent = {row.claim for row in claims if ages[marks[row.claim]] >= TTL}
    dead = {r.nonce for r in leases if published_gone(db, clone, homes.of(r.holder)) or ages[marks[r.nonce]] >= min(r.ttl, TTL)}
    live = {r.nonce for r in leases} - dead
    taken = {r.key for r in leases if r.nonce in live}
    unripe = {row.id for row in claims if row.claim not in silent and not published_gone(db, clone, row.holder)}
    return LeaseView(frozenset(taken), frozenset(silent), frozenset(table.rows) - live, frozenset(unripe))


def _is_over(db: sqlite3.Connection, clone: Clone, lease: Lease, asking: Collection[str] = ()) -> bool:
    """Whether a row's claim no longer holds the task; or the row is ours and never had a claim."""
    known = db.execute("SELECT 1 FROM task_leases WHERE nonce = ?", (lease.nonce,)).fetchone()
    return has_ended(db, lease, asking) if known else clone.has(lease.holder)


def has_ended(db: sqlite3.Connection, lease: Lease, asking: Collection[str] = ()) -> bool:
    """Whether the claim of a row is known, and no longer holds the task."""
    found = [claim for (claim,) in db.execute("SELECT claim FROM task_leases WHERE nonce = ?", (lease.nonce,))]
    return bool(found) and _current(db, lease.key, asking) not in found


def _current(db: sqlite3.Connection, task: str, asking: Collection[str]) -> str:
    """The claim by which a task is held, as if those that are `asking` had not been made."""
    found = db.execute("SELECT claim FROM tasks WHERE id = ?", (task,)).fetchone()
    if found is None or found[0] not in asking:
        return str(found[0]) if found else ""
    state = replay([event for event in events_of(db, [task])[task] if event.id not in asking]).state
    return state.claim if state else ""


def replaces(db: sqlite3.Connection, table: LeaseTable, task: str, asking: Collection[str] = ()) -> tuple[str, ...]:
    """The nonces of a task's rows whose claims have not ended as far as we know, and of the rows that those replaced."""
    found = [row for row in table.rows.values() if row.key == task and not has_ended(db, row, asking)]
    return tuple(dict.fromkeys(n for row in found for n in (row.nonce, *row.replaced)))[:100]


def holder_of(clone: Clone, table: LeaseTable, look: LeaseView, task: str) -> str:
    """The holder of a task's lease, as this clone writes it."""
    holder = next(r.holder for r in table.rows.values() if r.key == task and r.nonce not in look.free)
    return display(holder, clone.id)


def finished(clone: Clone, table: LeaseTable) -> list[str]:
    """Our rows that have ended. Asked with every sync, so it is also from when on the silence of others is counted."""
    if any(not clone.has(r.holder) for r in table.rows.values()):
        clone.read(lambda db: look_at(db, clone, table))
    mine = [r for r in table.rows.values() if clone.has(r.holder)]
    return [r.nonce for r in mine if clone.read(lambda db, r=r: _is_over(db, clone, r))]  # type: ignore[misc]
