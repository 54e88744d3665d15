"""Claims where clones share a remote: the lease first, which one of all gets, then the event that says so.

Our own rows can be told apart by their events: the nonce of a row is in the claim that it was taken for. While we hold
the link no other process of this clone is in the middle of a claim; a row of ours without its event is left over from one
that died there.
"""

from __future__ import annotations

import sqlite3

from gitcoord.errors import Refused
from gitcoord.features.tasks.notices import SHORT
from gitcoord.features.tasks.read import Row, best, rows
from gitcoord.features.tasks.ready import held_tasks
from gitcoord.features.tasks.write import claiming, write
from gitcoord.lean import Any, Callable, Collection, Iterable, NamedTuple, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import mailbox, split_mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import Homes, display
from gitcoord.sessions.presence import holder_mark, published_gone
from gitcoord.store.objects import Oid
from gitcoord.sync.leases import Row as Lease
from gitcoord.sync.leases import Table, change, connected, lease_ref, nonce, observe, read_table
from gitcoord.sync.link import Link, Refs

KIND = "tasks"
TTL = 12 * 3600
"""Seconds for which a claim outlives the last sign of its holder's clone; who dies at home is found gone at once."""


HINT = "try again later, or --offline: tentative, until the remote says whose it is"
Choose = Callable[[sqlite3.Connection, Collection[str]], Row | None]


def claim(clone: Clone, me: Identity, task: Oid) -> Oid:
    """Take a task, with its lease. Raises Refused, or RemoteError when the remote is out of reach."""
    with connected(clone, HINT) as at:
        _claim(at, me, lambda db, taken: _row(db, task))
    return task


def take_next(clone: Clone, me: Identity) -> Oid | None:
    """Claim the best ready task; None if there is none. Raises RemoteError."""
    with connected(clone, HINT) as at:
        held = held_tasks(clone)
        return _claim(at, me, lambda db, taken: best(db, clone, me, taken={*taken, *held}))


def _claim(at: Link, me: Identity, choose: Choose) -> Oid | None:
    """Choose, lease, claim. `choose` is told which tasks others have leased."""
    clone, fresh = at.clone, nonce()
    found: list[tuple[Row, Look]] = []
    """What was chosen last, and what was seen then."""

    def decide(table: Table) -> Table | None:
        found.clear()
        look = clone.read(lambda db: _look(db, clone, table))
        row = clone.read(lambda db: choose(db, look.taken))
        if row is None:
            return None
        found.append((row, look))
        if not clone.read(lambda db: claiming(db, clone, me, row, {"lease": fresh}, look.silent)):
            return None
        if row.id in look.taken:
            holder = next(r.holder for r in table.rows.values() if r.key == row.id and r.nonce not in look.free)
            raise Refused(f"{row.id[:SHORT]} is held by {display(holder, clone.id)}", "git coord task next --claim")
        left = [n for n, r in table.rows.items() if r.key == row.id]
        return table.without(left).plus(Lease(fresh, row.id, mailbox(me.name, clone.settled_id()), TTL))

    change(at, KIND, decide)
    if not found:
        return None
    task, silent = found[0][0].id, found[0][1].silent
    try:
        write(clone, me, lambda db: claiming(db, clone, me, _row(db, task), {"lease": fresh}, silent))
    except Refused:
        change(at, KIND, lambda table: table.without([fresh]))
        raise
    return task


def _row(db: sqlite3.Connection, task: Oid) -> Row:
    (row,) = rows(db, "t.id = ?", (task,))
    return row


# who has what


class Look(NamedTuple):
    """What the leases and claims of others come to: tasks that are `taken`, claims that fell `silent` and may be taken
    over, and rows that are `free` to be replaced."""

    taken: frozenset[str]
    silent: frozenset[str]
    free: frozenset[str]


def _look(db: sqlite3.Connection, clone: Clone, table: Table) -> Look:
    claims = [row for row in rows(db, "t.claim <> ''") if not clone.has(row.holder)]
    leases = [r for r in table.rows.values() if not _is_over(db, clone, r)]
    homes = Homes(db)
    marks = {row.claim: f"{row.claim} {holder_mark(db, row.holder)}" for row in claims}
    marks |= {r.nonce: f"{r.nonce} {holder_mark(db, homes.of(r.holder))}" for r in leases}
    ages = observe(clone, KIND, marks.values())
    silent = {row.claim for row in claims if ages[marks[row.claim]] >= TTL}
    dead = {r.nonce for r in leases if published_gone(db, clone, homes.of(r.holder)) or ages[marks[r.nonce]] >= r.ttl}
    live = {r.nonce for r in leases} - dead
    taken = {r.key for r in leases if r.nonce in live}
    return Look(frozenset(taken), frozenset(silent), frozenset(table.rows) - live)


def _is_over(db: sqlite3.Connection, clone: Clone, lease: Lease) -> bool:
    """The claim that it was taken for is no longer the task's; or it is ours, and there never was a claim."""
    found = db.execute("SELECT claim FROM task_leases WHERE nonce = ?", (lease.nonce,)).fetchall()
    if not found:
        return clone.has(lease.holder)
    current = db.execute("SELECT claim FROM tasks WHERE id = ?", (lease.key,)).fetchone()
    return current is None or all(claim != current[0] for (claim,) in found)


# with every sync


def settle(at: Link, there: Refs) -> None:
    """Take leases for what was claimed offline, all in one push; complete what was interrupted. Raises RemoteError."""
    clone = at.clone
    pending = clone.read(lambda db: _pending(db, clone))
    won: dict[str, str] = {}

    def decide(table: Table) -> Table | None:
        won.clear()
        look = clone.read(lambda db: _look(db, clone, table))
        fresh = []
        for claim, row in clone.read(lambda db: _current(db, pending)):
            if row.id not in look.taken:
                won[claim] = nonce()
                fresh.append(Lease(won[claim], row.id, row.holder, TTL))
        over = {n for n, r in table.rows.items() if n in look.free and r.key in {lease.key for lease in fresh}}
        return table.without(over).plus(*fresh) if fresh else None

    if pending:
        if clone.read(lambda db: _current(db, pending)):
            change(at, KIND, decide)
        clone.append(lambda db: [draft for claim in pending for draft in _verdict(db, clone, claim, won.get(claim, ""))])
    if there.get(lease_ref(KIND)):
        _complete(clone, read_table(clone, KIND, there[lease_ref(KIND)]))


def is_pending(clone: Clone) -> bool:
    """Whether claims made offline wait for the remote's word."""
    return bool(clone.read(lambda db: _pending(db, clone)))


def _pending(db: sqlite3.Connection, clone: Clone) -> list[str]:
    found = db.execute("SELECT claim FROM offline_claims WHERE clone = ? AND settled = 0 ORDER BY claim", (clone.id,))
    return [claim for (claim,) in found]


def _current(db: sqlite3.Connection, claims: Iterable[str]) -> list[tuple[str, Row]]:
    """Those of `claims` by which their task is held still."""
    return [(claim, row) for claim in claims for row in rows(db, "t.claim = ? AND t.tentative = 1", (claim,))]


def _verdict(db: sqlite3.Connection, clone: Clone, claim: str, lease: str) -> list[Draft]:
    """How a claim that was made offline ended; who lost it is told, unless he gave it back or finished meanwhile."""
    (task,) = db.execute("SELECT task FROM offline_claims WHERE claim = ? AND clone = ?", (claim, clone.id)).fetchone()
    author, at = db.execute("SELECT author, clone FROM events WHERE id = ?", (claim,)).fetchone()
    row = _row(db, task)
    held = row.claim == claim
    data: dict[str, Any] = {"task": task, "supersedes": [claim]} | ({"lease": lease} if lease and held else {})
    outcome = "is yours now" if "lease" in data else "is not yours"
    drafts = [Draft("task.settle", f"{author}'s offline claim of: {row.title}\n\n{outcome}", data, author=author)]
    if "lease" in data or _ended_here(db, clone, task, claim):
        return drafts
    by = f"{display(row.holder, clone.id)} was first at the remote" if row.holder and not held else "somebody was quicker"
    text = f"Your offline claim of {task[:SHORT]} {row.title} did not hold: {by}"
    return [*drafts, Draft("message", text, {"to": [mailbox(author, at)], "notice": "task", "about": task}, author=author)]


def _ended_here(db: sqlite3.Connection, clone: Clone, task: str, claim: str) -> bool:
    """Somebody of this clone did something to the task after the claim that ends it."""
    query = (
        "SELECT 1 FROM task_events x JOIN events e ON e.id = x.id WHERE x.task = ? AND e.clone = ?"
        " AND e.type IN ('task.done', 'task.drop', 'task.release', 'task.reopen')"
        " AND e.lc > (SELECT lc FROM events WHERE id = ?)"
    )
    return db.execute(query, (task, clone.id, claim)).fetchone() is not None


def _complete(clone: Clone, table: Table) -> None:
    """Leases of ours whose claim was interrupted: the claim, if the session is there still and the task to be had."""
    for lease in table.rows.values():
        name, at = split_mailbox(lease.holder)
        unknown = clone.read(lambda db, n=lease.nonce: db.execute("SELECT 1 FROM task_leases WHERE nonce = ?", (n,)).fetchone())  # type: ignore[misc]
        if at != clone.id or unknown is not None:
            continue
        me = _session(clone, name)
        if me is None:
            continue
        with suppress(Refused, ValueError):
            clone.append(lambda db, of=lease, me=me: claiming(db, clone, me, _row(db, Oid(of.key)), {"lease": of.nonce}))  # type: ignore[misc]


def _session(clone: Clone, name: str) -> Identity | None:
    """Who holds a lease of ours, if he is not gone."""
    from gitcoord.sessions.membership import states
    from gitcoord.sessions.records import Records

    record = Records(clone.repo.coord_dir).get(name)
    box = clone.box(name)
    if record is None or states(clone, [box])[box][0] == "gone":
        return None
    return Identity(name, "--as", record, record.harness, record.harness_id, record.person)


def finished(clone: Clone, table: Table) -> list[str]:
    """Rows of ours that are over."""
    mine = [r for r in table.rows.values() if clone.has(r.holder)]
    return [r.nonce for r in mine if clone.read(lambda db, r=r: _is_over(db, clone, r))]  # type: ignore[misc]
