"""Find ready and held tasks by SQL alone, for callers that must load nothing more."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gitcoord import lean_json as json
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.trust import held_back, is_required, kept_back

UNMET = (
    "SELECT 1 FROM task_needs n JOIN tasks o ON o.id = n.need"
    " WHERE n.task = t.id AND n.ignored = 0 AND o.status NOT IN ('done', 'dropped')"
)
"""SQL: the unfinished needs of task `t`. An unknown need does not count."""
READY = f"t.status = 'open' AND NOT EXISTS ({UNMET})"
HELD = "t.status IN ('claimed', 'blocked') AND t.holder IN (SELECT value FROM json_each(?))"
"""SQL condition: task `t` is held by one of some mailboxes (a JSON list)."""


def ready_count(db: sqlite3.Connection, unsigned: Collection[str]) -> int:
    """The number of tasks that any session could take, without those that are kept back."""
    query = f"SELECT count(*) FROM tasks t WHERE {READY} AND t.id NOT IN (SELECT value FROM json_each(?))"
    (ready,) = db.execute(query, (json.dumps(list(unsigned)),)).fetchone()
    return int(ready)


def held_count(db: sqlite3.Connection, boxes: Sequence[str]) -> int:
    """The number of tasks that these mailboxes hold."""
    (held,) = db.execute(f"SELECT count(*) FROM tasks t WHERE {HELD}", (json.dumps(list(boxes)),)).fetchone()
    return int(held)


class HeldTask(NamedTuple):
    """A claimed task: its creator is a mailbox."""

    id: str
    creator: str
    title: str


def held_by(db: sqlite3.Connection, boxes: Sequence[str]) -> list[HeldTask]:
    """The claimed tasks of these mailboxes, oldest first."""
    query = "SELECT t.id, t.creator, t.title FROM tasks t WHERE t.status = 'claimed' AND t.holder IN"
    rows = db.execute(f"{query} (SELECT value FROM json_each(?)) ORDER BY t.lc, t.id", (json.dumps(list(boxes)),))
    return [HeldTask(*row) for row in rows]


def held_tasks(clone: Clone) -> frozenset[str]:
    """The tasks about which `coord.requireSigned` keeps an event back, apart from claims, releases and comments."""
    if not is_required(clone):
        return frozenset()
    query = (
        "SELECT x.task, x.id FROM task_events x JOIN events e ON e.id = x.id WHERE e.type IN (SELECT value FROM json_each(?))"
    )
    words = clone.read(lambda db: db.execute(query, (json.dumps(kept_back("task")),)).fetchall())
    held = held_back(clone, [oid for _, oid in words])
    return frozenset(task for task, oid in words if oid in held)
