"""What `coord.requireSigned` holds back: what another clone says, and no good signature covers, is put before nobody unasked.

Loads nothing of signatures where none are required.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord.log.clone import Clone


def held_back(clone: Clone, ids: Iterable[str]) -> set[str]:
    """Those of some events."""
    wanted = list(ids)
    if not wanted or not clone.repo.flag("requiresigned"):
        return set()
    from gitcoord.log import trust

    return trust.held_back(clone, wanted)


def held_tasks(clone: Clone) -> frozenset[str]:
    """Tasks that were filed, edited, blocked or ended so. Who takes one or gives it back says nothing, and comments do not
    make a task another's."""
    if not clone.repo.flag("requiresigned"):
        return frozenset()
    query = (
        "SELECT x.task, x.id FROM task_events x JOIN events e ON e.id = x.id WHERE e.clone != ?"
        " AND e.type NOT IN ('task.claim', 'task.settle', 'task.release')"
    )
    words = clone.read(lambda db: db.execute(query, (clone.id or "",)).fetchall())
    held = held_back(clone, [oid for _, oid in words])
    return frozenset(task for task, oid in words if oid in held)
