"""`status --short`: what a prompt shows before every command, so neither the folds nor the readers are loaded for it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.features.messages.inbox import inbox
from gitcoord.features.messages.ledger import my_boxes
from gitcoord.features.tasks.ready import READY
from gitcoord.log.clone import Clone
from gitcoord.log.vouched import held_tasks
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity

if TYPE_CHECKING:
    from gitcoord.features.locks.read import Lock

HELD = "t.status IN ('claimed', 'blocked') AND t.holder IN (SELECT value FROM json_each(?))"
"""What an SQL task `t` of mine is, given `mine_in`."""


class Short(NamedTuple):
    """What fits a prompt: counts."""

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
    (mine,) = db.execute(f"SELECT count(*) FROM tasks t WHERE {HELD}", (mine_in(db, clone, me),)).fetchone()
    return mine, ready_tasks(db, unsigned), len(my_locks(db, clone, me, time.time()))


def mine_in(db: sqlite3.Connection, clone: Clone, me: Identity) -> str:
    """My mailboxes, as a JSON list."""
    return json.dumps(my_boxes(db, clone, me.name))


def ready_tasks(db: sqlite3.Connection, unsigned: Collection[str]) -> int:
    """How many tasks anybody could take, without those that are held back."""
    query = f"SELECT count(*) FROM tasks t WHERE {READY} AND t.id NOT IN (SELECT value FROM json_each(?))"
    (ready,) = db.execute(query, (json.dumps(list(unsigned)),)).fetchone()
    return int(ready)


def my_locks(db: sqlite3.Connection, clone: Clone, me: Identity, now: float) -> tuple[Lock, ...]:
    """The locks I hold."""
    if db.execute("SELECT 1 FROM held LIMIT 1").fetchone() is None:
        return ()
    from gitcoord.features.locks.read import standing

    return tuple(lock for lock in standing(db, clone, now).valid if lock.holder == mailbox(me.name, clone.id or ""))
