"""`status --short`: for a prompt, so it loads neither the folds nor the readers."""

from __future__ import annotations

import time
from collections.abc import Collection

from gitcoord.features.locks.held import is_anything_held
from gitcoord.features.messages.inbox import inbox
from gitcoord.features.messages.ledger import my_boxes
from gitcoord.features.tasks.ready import held_count, held_tasks, ready_count
from gitcoord.lean import TYPE_CHECKING, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.sessions.identity import Identity

if TYPE_CHECKING:
    from gitcoord.features.locks.read import Lock


class Short(NamedTuple):
    """The counts for a prompt."""

    session: str
    unread: int
    tasks: int
    ready: int
    locks: int


def short(clone: Clone, me: Identity) -> Short:
    """The counts alone."""
    page = inbox(clone, me, limit=1)
    unsigned = held_tasks(clone)
    mine, ready, locks = clone.read(lambda db: _counts(db, clone, me, unsigned))
    return Short(me.name, len(page.messages) + page.remaining, mine, ready, locks)


def _counts(db: sqlite3.Connection, clone: Clone, me: Identity, unsigned: Collection[str]) -> tuple[int, int, int]:
    mine = held_count(db, my_boxes(db, clone, me.name))
    return mine, ready_count(db, unsigned), len(my_locks(db, clone, me, time.time()))


def my_locks(db: sqlite3.Connection, clone: Clone, me: Identity, now: float) -> tuple[Lock, ...]:
    """The locks I hold."""
    if not is_anything_held(db):
        return ()
    from gitcoord.features.locks.read import standing

    return tuple(lock for lock in standing(db, clone, now).valid if lock.holder == clone.box(me.name))
