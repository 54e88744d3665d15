"""The status of a session on one screen, quick enough for every turn, so it looks at no worktree. Only here gitcoord
reports events of a newer gitcoord and malformed commits in other logs without being asked."""

from __future__ import annotations

import time

from gitcoord import lean_json as json
from gitcoord.errors import without_password
from gitcoord.features.messages import inbox
from gitcoord.features.messages.debts import Balance, balance
from gitcoord.features.messages.ledger import my_boxes
from gitcoord.features.tasks.read import rows
from gitcoord.features.tasks.ready import HELD, held_tasks, ready_count
from gitcoord.lean import TYPE_CHECKING, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.index.intake import LeftOut, left_out
from gitcoord.overview import roster
from gitcoord.overview.counts import my_locks
from gitcoord.overview.roster import Session
from gitcoord.sessions.identity import Identity
from gitcoord.store.ref_names import owner

if TYPE_CHECKING:
    from gitcoord.features.jobs.read import Job
    from gitcoord.features.locks.read import Lock
    from gitcoord.log.trust import Doubt


class Strange(NamedTuple):
    """Events of one clone that this gitcoord could not use: their number, and the reason for the first."""

    clone: str
    events: int
    reason: str


class Holding(NamedTuple):
    """A task that I hold; `status` is `claimed` or `blocked`."""

    id: str
    title: str
    status: str


class Syncing(NamedTuple):
    """The coordination remote: the time of the last exchange (Unix seconds), the number of our events that it does not
    have, the reason why the last attempt failed (empty if it succeeded), and the kinds of refs that it rejects
    (`rejected`)."""

    remote: str
    at: float | None
    waiting: int
    error: str
    refused: tuple[str, ...] = ()


class Status(NamedTuple):
    """`unread` is the number of unread messages, `oldest` the time when the oldest was sent (Unix seconds); `tasks` and
    `locks` are those I hold, `ready` is the number of tasks that any session could take; `jobs` are my running jobs;
    `peers` are the sessions that are not gone; `warnings` are about other clones: logs that were tampered with, keys that
    changed."""

    me: Session | None
    unread: int
    oldest: int | None
    tasks: tuple[Holding, ...]
    ready: int
    locks: tuple[Lock, ...]
    jobs: tuple[Job, ...]
    peers: tuple[Session, ...]
    newer: tuple[Strange, ...]
    malformed: tuple[Strange, ...]
    left_out: tuple[LeftOut, ...]
    """Clones past a limit, of which gitcoord reads no more."""
    warnings: tuple[Doubt, ...]
    sync: Syncing | None
    """None without a coordination remote."""
    owed: Balance
    """Acks that I owe, and receipts that others owe me."""


def status(clone: Clone, me: Identity, now: float | None = None) -> Status:
    """The status of the caller."""
    from gitcoord.features.jobs.read import of_session
    from gitcoord.log.trust import warnings

    now = time.time() if now is None else now
    found = roster.list_sessions(clone, now=now, files=False)
    mine = next((s for s in found if s.local and s.session == me.name), None)
    page = inbox.inbox(clone, me, limit=1, now=now)
    newer, malformed = clone.read(strange)
    unsigned = held_tasks(clone)
    held, ready = clone.read(lambda db: (_held(db, clone, me), ready_count(db, unsigned)))
    return Status(
        mine,
        len(page.messages) + page.remaining,
        page.messages[0].at if page.messages else None,
        held,
        ready,
        clone.read(lambda db: my_locks(db, clone, me, now)),
        tuple(job for job in of_session(clone, clone.box(me.name), now) if job.state == "running"),
        tuple(s for s in found if s.session and s != mine),
        newer,
        malformed,
        tuple(clone.read(left_out)),
        tuple(warnings(clone)),
        syncing(clone),
        clone.read(lambda db: balance(db, clone, me)),
    )


def _held(db: sqlite3.Connection, clone: Clone, me: Identity) -> tuple[Holding, ...]:
    mine = rows(db, HELD, (json.dumps(my_boxes(db, clone, me.name)),))
    return tuple(Holding(row.id, row.title, row.status) for row in mine)


class Trouble(NamedTuple):
    """Problems with other clones and the exchange with them: fields as in `Status`."""

    newer: tuple[Strange, ...]
    malformed: tuple[Strange, ...]
    left_out: tuple[LeftOut, ...]
    warnings: tuple[Doubt, ...]
    sync: Syncing | None


def trouble(clone: Clone) -> Trouble:
    """Problems that are shown without being asked for."""
    from gitcoord.log.trust import warnings

    newer, malformed = clone.read(strange)
    return Trouble(newer, malformed, tuple(clone.read(left_out)), tuple(warnings(clone)), syncing(clone))


def syncing(clone: Clone) -> Syncing | None:
    """The state of the exchange with the coordination remote."""
    from gitcoord.sync import remotes

    if not remotes.is_connected(clone.repo):
        first = remotes.first_failure(clone.repo)
        return Syncing(first[0], None, 0, first[1]) if first else None
    known = remotes.current(clone.repo)
    waiting = clone.read(lambda db: remotes.waiting(db, clone, known))
    return Syncing(without_password(known.remote), known.at or None, waiting, known.error, tuple(sorted(known.refused)))


def strange(db: sqlite3.Connection) -> tuple[tuple[Strange, ...], tuple[Strange, ...]]:
    """Events of unknown types or versions, and commits that are not events, by the clone in whose log they are."""
    rows = db.execute("SELECT ref, newer, count(*), min(reason) FROM strange GROUP BY ref, newer").fetchall()
    kinds: dict[bool, dict[str, Strange]] = {True: {}, False: {}}
    for ref, newer, count, reason in rows:
        clone = owner(ref)
        before = kinds[bool(newer)].get(clone, Strange(clone, 0, reason))
        kinds[bool(newer)][clone] = Strange(clone, before.events + count, min(before.reason, reason))
    newer, malformed = (tuple(found for _, found in sorted(kinds[which].items())) for which in (True, False))
    return newer, malformed
