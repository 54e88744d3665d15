"""The board: every task without its history, which would cost a hundred times more to read."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gitcoord.features.tasks.fold import UNFINISHED
from gitcoord.features.tasks.read import TaskFacts, rows
from gitcoord.features.tasks.ready import held_tasks
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.names import mailbox
from gitcoord.sessions.membership import states_in
from gitcoord.store.objects import Oid


class Board(NamedTuple):
    """`tasks`: those not done or dropped, oldest first, then those that ended last, the latest first. `needs`: the
    unfinished needs of each, by id. `states`: the states of the sessions that hold one. `held`: ids that
    `coord.requireSigned` keeps back."""

    tasks: tuple[TaskFacts, ...]
    needs: dict[str, tuple[str, ...]]
    states: dict[str, str]
    held: frozenset[str]


_UNMET = (
    "SELECT n.task, n.need FROM task_needs n JOIN tasks t ON t.id = n.task JOIN tasks o ON o.id = n.need"
    " WHERE n.ignored = 0 AND t.status NOT IN ('done', 'dropped') AND o.status NOT IN ('done', 'dropped')"
    " ORDER BY n.lc, n.id, n.need"
)


def board(clone: Clone, ended: int, now: float | None = None) -> Board:
    """The tasks at a glance, with the last `ended` ones that were done or dropped."""
    now = time.time() if now is None else now
    held = held_tasks(clone)

    def ask(db: sqlite3.Connection) -> Board:
        wanted = ", ".join("?" * len(UNFINISHED))
        found = rows(db, f"t.status IN ({wanted})", UNFINISHED) + _ended(db, ended)
        needs: dict[str, tuple[str, ...]] = {}
        for task, need in db.execute(_UNMET):
            needs[task] = (*needs.get(task, ()), need)
        life = states_in(db, clone, {row.holder for row in found if row.holder and row.status in UNFINISHED}, now)
        return Board(tuple(found), needs, {box: state for box, (state, _) in life.items()}, held)

    return clone.read(ask)


class Lost(NamedTuple):
    """An act of the session `by` of this clone on a task that turned out not to count: a `claim`, an `offline claim`, or a
    `done`, `drop`, `block` or `reopen`. `taken`: another clone took over the task."""

    id: str
    by: str
    at: int
    task: Oid
    kind: str
    taken: bool


DID_NOT_HOLD = "did not hold"
"""The text of an event that voids a claim. A claim that was refused at once is withdrawn with another text, because its
caller knows."""
_VOID = (
    "SELECT s.id, s.author, s.clone, s.at, x.task, c.type, json_extract(c.data, '$.tentative')"
    " FROM (SELECT DISTINCT task FROM offline_claims WHERE clone = ?1 AND settled = 1) o"
    " JOIN task_events x ON x.task = o.task JOIN events s ON s.id = x.id"
    " JOIN events c ON c.id = json_extract(s.data, '$.supersedes[0]')"
    " WHERE s.type = 'task.settle' AND s.clone = ?1 AND s.at >= ?2 AND s.text = ?3 ORDER BY s.lc, s.id"
)
_TAKEN = (
    "SELECT n.id, c.author, c.clone, n.at, t.id, c.type, NULL, n.clone FROM tasks t JOIN events n ON n.id = t.claim"
    " JOIN events c ON c.id = json_extract(n.data, '$.supersedes[0]')"
    " WHERE t.status IN ('claimed', 'blocked') AND n.at >= ? ORDER BY n.lc, n.id"
)


def lost(clone: Clone, since: int) -> list[Lost]:
    """The lost acts of sessions of this clone since a time (Unix seconds), oldest first."""

    def ask(db: sqlite3.Connection) -> list[Lost]:
        void = db.execute(_VOID, (clone.id, since, DID_NOT_HOLD)).fetchall()
        known = {(row[1], row[4]) for row in void}
        taken = [
            row
            for *row, by in db.execute(_TAKEN, (since,))
            if clone.is_ours(row[2]) and not clone.is_ours(by) and (row[1], row[4]) not in known
        ]
        return [_lost(row, False) for row in void] + [_lost(row, True) for row in taken]

    return clone.read(ask)


def _lost(row: Sequence[Any], taken: bool) -> Lost:
    id, author, at, when, task, kind, tentative = row
    offline = kind == "task.settle" or tentative
    deed = "claim" if kind in ("task.claim", "task.settle") else kind.partition(".")[2]
    return Lost(id, mailbox(author, at), when, Oid(task), "offline claim" if offline and not taken else deed, taken)


def _ended(db: sqlite3.Connection, limit: int) -> list[TaskFacts]:
    latest = "t.id IN (SELECT id FROM tasks WHERE status IN ('done', 'dropped') ORDER BY changed DESC, lc DESC LIMIT ?)"
    return sorted(rows(db, latest, (limit,)), key=lambda row: (-row.changed, -row.lc))
