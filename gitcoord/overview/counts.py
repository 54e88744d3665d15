"""`status --short`: for a prompt, so it loads neither the folds nor the readers."""

from __future__ import annotations

import time
from collections.abc import Collection

from gitcoord.features.locks.held import is_anything_held
from gitcoord.features.messages.inbox import inbox
from gitcoord.features.messages.ledger import my_boxes
from gitcoord.features.tasks.ready import HeldTask, held_by, held_count, held_tasks, ready_count
from gitcoord.lean import TYPE_CHECKING, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.membership import present

if TYPE_CHECKING:
    from gitcoord.features.locks.read import Lock


class Short(NamedTuple):
    """The counts for a prompt."""

    session: str
    unread: int
    tasks: int
    ready: int
    locks: int
    peers: int = 0
    """Other sessions that are not gone, of all clones; without those that are only expected."""
    holding: str = ""
    """The oldest task that I hold."""


def short(clone: Clone, me: Identity) -> Short:
    """The counts alone."""
    page = inbox(clone, me, limit=1)
    unsigned = held_tasks(clone)
    (mine, held), ready, locks = clone.read(lambda db: _counts(db, clone, me, unsigned))
    peers = sum(1 for peer in present(clone) if peer.box != clone.box(me.name) and not peer.expected)
    holding = held[0].id if held else ""
    return Short(me.name, len(page.messages) + page.remaining, mine, ready, locks, peers, holding)


def _counts(
    db: sqlite3.Connection, clone: Clone, me: Identity, unsigned: Collection[str]
) -> tuple[tuple[int, list[HeldTask]], int, int]:
    boxes = my_boxes(db, clone, me.name)
    held = held_count(db, boxes), held_by(db, boxes)
    return held, ready_count(db, unsigned), len(my_locks(db, clone, me, time.time()))


def my_locks(db: sqlite3.Connection, clone: Clone, me: Identity, now: float) -> tuple[Lock, ...]:
    """The locks I hold."""
    if not is_anything_held(db):
        return ()
    from gitcoord.features.locks.read import standing

    return tuple(lock for lock in standing(db, clone, now).valid if lock.holder == clone.box(me.name))
