"""Claim tasks: with a lease if clones share a remote, otherwise by the events of this clone alone."""

from __future__ import annotations

from gitcoord.features.tasks.read import TaskFacts, best, find
from gitcoord.features.tasks.ready import held_tasks
from gitcoord.features.tasks.write import Drafts, about, claiming, write
from gitcoord.lean import Any, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.sessions.identity import Identity
from gitcoord.store.objects import Oid
from gitcoord.sync import remotes


def claim(clone: Clone, me: Identity, prefix: str, offline: bool = False) -> Oid:
    """Claim a task; does nothing if I hold it. Raises Refused if another session holds it, or it is not open."""
    if not offline and remotes.decides(clone.repo):
        from gitcoord.features.tasks import leased

        return leased.claim(clone, me, clone.read(lambda db: find(db, prefix)).id)
    return about(clone, me, prefix, lambda db: claiming(db, clone, me, find(db, prefix), _tentative(clone, offline)))


def _tentative(clone: Clone, offline: bool) -> dict[str, Any]:
    return {"tentative": True} if offline and remotes.is_connected(clone.repo) else {}


def take_next(clone: Clone, me: Identity, offline: bool = False) -> Oid | None:
    """Claim the best ready task; None if there is none."""
    held = held_tasks(clone)
    if clone.read(lambda db: best(db, clone, me, taken=held)) is None:
        return None
    if not offline and remotes.decides(clone.repo):
        from gitcoord.features.tasks import leased

        return leased.take_next(clone, me)
    taken: list[TaskFacts] = []

    def decide(db: sqlite3.Connection) -> Drafts:
        row = best(db, clone, me, taken=held)
        taken[:] = [row] if row else []
        return claiming(db, clone, me, row, _tentative(clone, offline)) if row else []

    write(clone, me, decide)
    return taken[0].id if taken else None
