"""Claims of clones that share a remote: the event and its lease go out in one push, and the remote decides who gets it.

A claim is in our log before its row is asked for, so a row in our name without a claim is another clone's
(`leases.change`). A claim that did not get its row is voided by a `task.settle` with `void`. A process that dies in between
leaves a claim that the next sync settles (`settling`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from gitcoord.errors import Refused, RemoteError
from gitcoord.features.tasks import settling
from gitcoord.features.tasks.notices import SHORT
from gitcoord.features.tasks.read import TaskFacts, best, rows
from gitcoord.features.tasks.ready import held_tasks
from gitcoord.features.tasks.standing import KIND, TTL, LeaseView, finished, holder_of, look_at, replaces
from gitcoord.features.tasks.write import Drafts, claiming, write
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.store.objects import Oid
from gitcoord.sync import asked
from gitcoord.sync.leases import Lease, LeaseTable, Unanswered, change, check_room, connected, nonce
from gitcoord.sync.link import Link

HINT = "try again later, or claim it with --offline: tentative until the next sync"
Choose = Callable[[sqlite3.Connection, Collection[str]], TaskFacts | None]


def claim(clone: Clone, me: Identity, task: Oid) -> Oid:
    """Take a task, with its lease. Raises Refused, or RemoteError when the remote cannot be reached."""
    with connected(clone, HINT) as link:
        _claim(link, me, lambda db, taken: _row(db, task))
    return task


def take_next(clone: Clone, me: Identity) -> Oid | None:
    """Claim the best ready task; None if there is none. Raises RemoteError."""
    with connected(clone, HINT) as link:
        held = held_tasks(clone)
        return _claim(link, me, lambda db, taken: best(db, clone, me, taken={*taken, *held}))


class _NewClaim(NamedTuple):
    """A claim that is in our log and has no lease yet. `rest` runs once it has one: it tells those concerned."""

    task: Oid
    id: Oid
    nonce: str
    replaced: tuple[str, ...]
    rest: Drafts


def _claim(link: Link, me: Identity, choose: Choose) -> Oid | None:
    """Choose a task, claim it and get its lease. `choose` is called with the tasks that others have leased."""
    clone = link.clone
    if asked.waiting(clone):
        settling.settle(link)  # an interrupted claim is ours only if it has its lease
    made: list[_NewClaim] = []

    def decide(table: LeaseTable) -> LeaseTable | None:
        look = clone.read(lambda db: look_at(db, clone, table, [claim.id for claim in made]))
        if made and not _still_good(clone, made[0], look, table):
            withdraw(clone, made.pop())
            look = clone.read(lambda db: look_at(db, clone, table))
        if not made:
            made.extend(_make(clone, me, choose, look, table))
        if not made:
            return None
        claim = made[0]
        row = Lease(
            claim.nonce, claim.task, mailbox(me.name, clone.settled_id()), TTL, (), False, claim.id[:16], claim.replaced
        )
        over = {*finished(clone, table), *(n for n, r in table.rows.items() if r.key == claim.task)}
        return table.without(over).plus(row)

    try:
        change(link, KIND, decide)
    except Unanswered as error:
        raise Unanswered(error.what, "git coord sync says whose the task is; until then it is yours tentatively") from None
    except (Refused, RemoteError):
        if made:
            withdraw(clone, made[0])
        raise
    return _finish(clone, made[0]) if made else _mine(clone, me, choose)


def _make(clone: Clone, me: Identity, choose: Choose, look: LeaseView, table: LeaseTable) -> list[_NewClaim]:
    """Write the claim of a task that is free; nothing if there is none. Raises Refused."""
    fresh = nonce()
    found: list[tuple[TaskFacts, tuple[str, ...], Drafts]] = []

    def decide(db: sqlite3.Connection) -> Drafts:
        found.clear()
        row = choose(db, look.taken | look.unripe)
        if row is None:
            return []
        replaced = replaces(db, table, row.id)
        facts: dict[str, Any] = {"lease": fresh} | ({"replaces": list(replaced)} if replaced else {})
        drafts = claiming(db, clone, me, row, facts, look.silent)
        if row.id in look.taken and (drafts or not _has_row(clone, table, row.id)):  # the remote has another holder
            raise Refused(f"{row.id[:SHORT]} is held by {holder_of(clone, table, look, row.id)}", "git coord task next --claim")
        found.append((row, replaced, drafts[1:]))
        return drafts[:1]

    if not clone.read(decide):  # a refused claim registers no session
        return []
    check_room(table, KIND)
    asked.ask(clone, fresh)
    events = write(clone, me, decide)
    return [_NewClaim(row.id, events[0].id, fresh, replaced, rest) for row, replaced, rest in found if events]


def _has_row(clone: Clone, table: LeaseTable, task: Oid) -> bool:
    return any(row.key == task and clone.has(row.holder) for row in table.rows.values())


def _still_good(clone: Clone, made: _NewClaim, look: LeaseView, table: LeaseTable) -> bool:
    """Whether a claim that lost a push may try again: its task is free, and it names the rows that it replaces."""
    (current,) = clone.read(lambda db: rows(db, "t.id = ?", (made.task,)))
    replaced = clone.read(lambda db: replaces(db, table, made.task, [made.id]))
    return current.claim == made.id and made.task not in look.taken and replaced == made.replaced


def withdraw(clone: Clone, made: _NewClaim) -> None:
    """Withdraw a claim that got no lease, as if it had never been made."""
    author = clone.read(lambda db: db.execute("SELECT author FROM events WHERE id = ?", (made.id,)).fetchone()[0])
    data = {"task": made.task, "supersedes": [made.id], "void": True}
    clone.append(lambda db: [Draft("task.settle", "held by another session, or by none", data, author=author)])
    asked.answered(clone, [made.nonce])


def _finish(clone: Clone, made: _NewClaim) -> Oid:
    asked.answered(clone, [made.nonce])
    if made.rest:
        clone.append(lambda db: made.rest)
    return made.task


def _mine(clone: Clone, me: Identity, choose: Choose) -> Oid | None:
    """The chosen task, if we hold it already."""
    row = clone.read(lambda db: choose(db, ()))
    return row.id if row and row.holder == clone.box(me.name) else None


def _row(db: sqlite3.Connection, task: Oid) -> TaskFacts:
    (row,) = rows(db, "t.id = ?", (task,))
    return row
