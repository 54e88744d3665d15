"""Settle the claims of this clone at every sync: get leases for those without one, and tell the authors of those that
lost.

A claim has no lease because it was made offline, because it was interrupted, or because the remote lost its table or
was replaced by another. The first clone at the remote wins; the loser's session is told the winner's name.
"""

from __future__ import annotations

from gitcoord import lean_json as json
from gitcoord.features.tasks.board import DID_NOT_HOLD
from gitcoord.features.tasks.notices import SHORT
from gitcoord.features.tasks.read import TaskFacts, rows
from gitcoord.features.tasks.standing import KIND, TTL, LeaseView, holder_of, look_at, replaces
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.log.query import get_event
from gitcoord.names import mailbox
from gitcoord.sessions.mailboxes import display
from gitcoord.store.objects import Oid
from gitcoord.sync import asked
from gitcoord.sync.leases import MAX_ROWS, Lease, LeaseTable, change, nonce
from gitcoord.sync.link import Link

DEEDS = {
    "task.claim": "claim", "task.settle": "claim", "task.done": "done", "task.drop": "drop", "task.block": "block",
    "task.reopen": "reopen",
}  # fmt: skip
"""The types of events whose authors are told when they did not hold. A session that gave back a lost claim is not told."""
WINNERS = {
    "task.claim": "claimed it", "task.settle": "was first at the remote", "task.done": "finished it",
    "task.drop": "dropped it", "task.release": "gave it back", "task.block": "blocked it", "task.reopen": "reopened it",
}  # fmt: skip


class _Claim(NamedTuple):
    """A claim of ours by which its task is held, and the task."""

    id: str
    author: str
    row: TaskFacts


def is_pending(clone: Clone, table: LeaseTable) -> bool:
    """Whether a claim of this clone has no row in `table`, or a session of it has not been told yet of a void one."""
    held = clone.read(lambda db: _held(db, clone))
    if asked.waiting(clone) or any(claim.row.lease not in table.rows or claim.row.tentative for claim in held):
        return True
    return bool(clone.read(lambda db: _untold(db, clone)))


def _held(db: sqlite3.Connection, clone: Clone) -> list[_Claim]:
    """The claims of this clone that need a lease."""
    query = (
        "SELECT t.claim, e.author FROM tasks t JOIN events e ON e.id = t.claim"
        " WHERE t.status IN ('claimed', 'blocked') AND e.clone = ? AND (t.tentative OR t.lease <> '') ORDER BY t.claim"
    )
    found = db.execute(query, (clone.id,)).fetchall()
    return [_Claim(claim, author, row) for claim, author in found for row in rows(db, "t.claim = ?", (claim,))]


def settle(link: Link) -> None:
    """Take leases for the claims of this clone that have none, all in one push. Raises RemoteError."""
    clone = link.clone
    lost: dict[str, tuple[_Claim, str]] = {}
    """Claims whose task another session has, with that session."""
    answered: list[str] = []

    def decide(table: LeaseTable) -> LeaseTable | None:
        lost.clear()
        claims = clone.read(lambda db: _held(db, clone))
        answered[:] = [claim.row.lease for claim in claims if claim.row.lease in table.rows]
        wanted = [claim for claim in claims if claim.row.lease not in table.rows or claim.row.tentative]
        look = clone.read(lambda db: look_at(db, clone, table, [claim.id for claim in wanted]))
        to_be_had: list[_Claim] = []
        for claim in wanted:
            if winner := _winner(clone, claim, look, table):
                lost[claim.id] = claim, winner
            else:
                to_be_had.append(claim)
        if not to_be_had:
            return None
        fresh = [_row(clone, claim, table) for claim in to_be_had[: max(0, MAX_ROWS - len(table.rows))]]
        over = [n for n, r in table.rows.items() if r.key in {lease.key for lease in fresh}]
        answered.extend(lease.nonce for lease in fresh)
        return table.without(over).plus(*fresh) if fresh else None

    change(link, KIND, decide)
    for claim, winner in lost.values():
        _give_up(clone, claim, winner)
    asked.answered(clone, [*answered, *(claim.row.lease for claim, _ in lost.values())])


def _winner(clone: Clone, claim: _Claim, look: LeaseView, table: LeaseTable) -> str:
    """The session that has the lease of a task that we claim; empty if none has, or if our claim replaces it."""
    others = [r for r in table.rows.values() if r.key == claim.row.id and r.nonce not in look.free]
    meant = clone.read(lambda db: get_event(db, Oid(claim.id)).data.get("replaces", ()))
    if all(other.nonce in meant for other in others):
        return ""
    return holder_of(clone, table, look, claim.row.id)


def _row(clone: Clone, claim: _Claim, table: LeaseTable) -> Lease:
    """Make the row of a claim; for an offline claim, also the event that says that it has a row now."""
    replaced = clone.read(lambda db: replaces(db, table, claim.row.id, [claim.id]))
    event, lease = claim.id, claim.row.lease
    meant = clone.read(lambda db: get_event(db, Oid(claim.id)).data.get("replaces", ()))
    if claim.row.tentative or not lease or not {*replaced} <= {*meant}:
        lease = nonce()
        data: dict[str, Any] = {"task": claim.row.id, "supersedes": [claim.id], "lease": lease}
        data |= {"replaces": list(replaced)} if replaced else {}
        text = f"{claim.author}'s offline claim of: {claim.row.title}\n\nis yours now"
        event = clone.append(lambda db: [Draft("task.settle", text, data, author=claim.author)])[0].id
    holder = mailbox(claim.author, clone.settled_id())
    return Lease(lease, claim.row.id, holder, TTL, (), False, event[:16], replaced)


def _give_up(clone: Clone, claim: _Claim, winner: str) -> None:
    event = clone.read(lambda db: get_event(db, Oid(claim.id)))
    offline = event.type == "task.settle" or claim.row.tentative
    kind, ids = "offline claim" if offline else "claim", [claim.id]
    ids += event.data.get("supersedes", []) if event.type == "task.settle" else []
    text = f"Your {kind} of {claim.row.id[:SHORT]} {claim.row.title} did not hold: {winner} was first at the remote"
    clone.append(lambda db: _void(clone, claim.row.id, ids, claim.author, text))


def _void(clone: Clone, task: str, ids: list[str], author: str, text: str) -> list[Draft]:
    """The event that voids events of ours, and the message to their author."""
    data = {"task": task, "supersedes": ids[:10], "void": True}
    told = {"to": [clone.box(author)], "notice": "task", "about": task}
    return [
        Draft("task.settle", DID_NOT_HOLD, data, author=author),
        Draft("message", text, told, author=author),
    ]


def renamed(clone: Clone, old: str) -> None:
    """Continue the claims of this clone under its new id; the claims of the clone that keeps the `old` id are not ours."""
    waiting = asked.waiting(clone)

    def drafts(db: sqlite3.Connection) -> list[Draft]:
        return [_again(claim) for claim in _held(db, clone) if claim.row.lease and claim.row.lease not in waiting]

    clone.append(drafts)


def _again(claim: _Claim) -> Draft:
    data = {"task": claim.row.id, "supersedes": [claim.id], "lease": nonce(), "replaces": [claim.row.lease]}
    return Draft("task.claim", f"claimed: {claim.row.title}", data, author=claim.author)


# void events


def tell(clone: Clone) -> None:
    """Tell each session of this clone which of its events did not hold, and which session was first."""
    if clone.read(lambda db: _untold(db, clone)):
        clone.append(lambda db: [draft for void in _untold(db, clone) for draft in _news(db, clone, *void)])


def _untold(db: sqlite3.Connection, clone: Clone) -> list[tuple[str, str, str]]:
    """Void events of this clone whose authors were not told: the event, its task, and the event that made it void."""
    query = (
        "SELECT v.id, v.task, v.by FROM task_void v JOIN events e ON e.id = v.id"
        " WHERE e.clone = ? AND e.type IN (SELECT value FROM json_each(?)) AND v.id NOT IN"
        " (SELECT claim FROM offline_claims WHERE clone = e.clone AND settled = 1) ORDER BY e.lc, e.id"
    )
    return [tuple(found) for found in db.execute(query, (clone.id, KINDS)).fetchall()]


KINDS = json.dumps([*DEEDS])


def _news(db: sqlite3.Connection, clone: Clone, void: str, task: str, by: str) -> list[Draft]:
    event, winner = get_event(db, Oid(void)), get_event(db, Oid(by))
    (row,) = rows(db, "t.id = ?", (task,))
    kind = ("offline " if event.data.get("tentative") else "") + DEEDS[event.type]
    who = display(mailbox(winner.author, winner.clone), clone.id)
    text = f"Your {kind} of {task[:SHORT]} {row.title} did not hold: {who} {_why(event, winner)}"
    return _void(clone, task, [void], event.author, text)


def _why(event: Event, winner: Event) -> str:
    if event.data.get("lease") and event.data["lease"] in winner.data.get("replaces", ()):
        return "took it over while this clone was silent"
    return WINNERS["task.settle" if event.data.get("tentative") else winner.type]
