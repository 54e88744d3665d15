"""The board: every task without its history, which would cost a hundred times more to read."""

from __future__ import annotations

import time

from gitcoord.features.tasks.fold import UNFINISHED
from gitcoord.features.tasks.read import TaskFacts, rows
from gitcoord.features.tasks.ready import held_tasks
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.query import COLUMNS, event_of
from gitcoord.sessions.membership import states_in


class Board(NamedTuple):
    """`tasks`: those not done or dropped, oldest first, then those that ended last, the latest first. `needs`: the
    unfinished needs of each, by id. `states`: of the sessions that hold one. `held`: ids that `coord.requireSigned`
    keeps back."""

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


def settled(clone: Clone, since: int) -> list[Event]:
    """How claims of this clone that were made offline ended, since a time (Unix seconds), oldest first."""
    query = (
        f"SELECT {COLUMNS} FROM events WHERE type = 'task.settle' AND at >= ? AND id IN (SELECT x.id FROM offline_claims o"
        " JOIN task_events x ON x.task = o.task WHERE o.clone = ? AND o.settled = 1) ORDER BY lc, id"
    )
    return clone.read(lambda db: [event_of(row) for row in db.execute(query, (since, clone.id))])


def _ended(db: sqlite3.Connection, limit: int) -> list[TaskFacts]:
    latest = "t.id IN (SELECT id FROM tasks WHERE status IN ('done', 'dropped') ORDER BY changed DESC, lc DESC LIMIT ?)"
    return sorted(rows(db, latest, (limit,)), key=lambda row: (-row.changed, -row.lc))
