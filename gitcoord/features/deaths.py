"""Tell the sessions concerned, once, that a session ended or that a job's supervisor died.

A session that leaves does so itself. For one that died, the first process of the clone that notices does: every command
looks, and every waiter. The event `gone` notes that a death was told; joining again revokes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from gitcoord.errors import CoordError
from gitcoord.features.jobs import files
from gitcoord.features.messages.debts import debts
from gitcoord.lean import Any, sqlite3, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.log.index.feature import Feature, Hooks
from gitcoord.log.schemas import NAME, TIME, Schema
from gitcoord.names import mailbox
from gitcoord.sessions.mailboxes import address, joined_at
from gitcoord.sessions.presence import liveness_of, publish
from gitcoord.sessions.records import Record, Records
from gitcoord.system import process as processes
from gitcoord.system.process import Process
from gitcoord.text import said


def _fold(db: sqlite3.Connection, event: Event) -> None:
    row = (event.clone, event.data["session"], event.lc, event.id, event.data.get("since", 0))
    db.execute(
        "INSERT INTO gone VALUES (?, ?, ?, ?, ?) ON CONFLICT (clone, name) DO UPDATE SET lc = excluded.lc, id = excluded.id,"
        " since = excluded.since WHERE (excluded.lc, excluded.id) > (lc, id)",
        row,
    )


FEATURE = Feature(
    "deaths",
    {"gone": Schema({"session": NAME, "since": TIME}, ("session",))},
    """
    CREATE TABLE gone (clone TEXT NOT NULL, name TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        since INTEGER NOT NULL, PRIMARY KEY (clone, name)) WITHOUT ROWID;
    """,
    _fold,
    living=("SELECT id FROM gone",),
    forget=(
        "INSERT OR IGNORE INTO again SELECT e.id FROM events e JOIN gone g ON g.clone = e.clone"
        " AND g.name = json_extract(e.data, '$.session') WHERE e.type = 'gone' AND g.id IN (SELECT id FROM forgotten)",
        "DELETE FROM gone WHERE id IN (SELECT id FROM forgotten)",
    ),
)


def notice(
    clone: Clone, now: float | None = None, me: Callable[[], str] | None = None, seen: Sequence[Record] | None = None
) -> list[str]:
    """Tell of deaths in this clone since the last look; returns the names of sessions and jobs. Never fails, and costs next
    to nothing. `me` returns the caller's session, which counts as alive; it is called only if there are deaths. `seen` are
    all records, if they were read just now."""
    told: list[str] = []
    with suppress(CoordError):
        if files.keys(clone.repo.coord_dir):
            from gitcoord.features.jobs.end import reap

            told += [job.name for job in reap(clone)]
        dead = _dead(clone, now, seen)
        speaker = me() if me and dead else None
        told += [record.name for record in dead if record.name != speaker and _tell(clone, record.name, now)]
    return told


def watched(clone: Clone) -> list[Process]:
    """The processes whose end has to be told: of sessions, of supervisors, and of commands without a supervisor."""
    coord_dir = clone.repo.coord_dir
    found = [r.process for r in Records(coord_dir).all() if r.process and r.left is None and not (r.person or r.gone)]
    for key in files.keys(coord_dir):
        if running := files.get(coord_dir, key):
            found += [running.supervisor, *([running.command] if running.command else [])]
    return [process for process in found if processes.is_alive(process)]


def watched_pids(clone: Clone) -> list[int]:
    """The pids of `watched`, which wake a waiter."""
    return [process.pid for process in watched(clone)]


def _dead(clone: Clone, now: float | None, seen: Sequence[Record] | None) -> list[Record]:
    """Sessions whose process or worktree is gone, without those of which others were told already."""
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    known = records.all() if seen is None else seen
    return [record for record in known if _is_dead(records, record, now)]


def _is_dead(records: Records, record: Record, now: float) -> bool:
    if record.left is not None or record.person or record.gone:
        return False
    if not record.removed and (record.process is None or record.expected):
        return False
    return liveness_of(record, records.beat(record.name), now).state == "gone"


def _tell(clone: Clone, name: str, now: float | None) -> bool:
    """Tell under the lock, so that only one process does. Returns whether this one did."""
    now = time.time() if now is None else now
    with clone.locked():
        records = Records(clone.repo.coord_dir)
        dead = records.get(name)
        if dead is None or not _is_dead(records, dead, now):
            return False
        since = int(records.beat(name) or now)
        written = clone.append(lambda db: [] if _is_told(db, clone, name) else _drafts(db, clone, dead, since))
        record = records.put(dead._replace(gone=float(now)))
        publish(clone, record, now)
        return bool(written)


def _is_told(db: sqlite3.Connection, clone: Clone, name: str) -> bool:
    """Whether the last event about the session says that it is gone."""
    row = db.execute("SELECT lc, id FROM gone WHERE clone = ? AND name = ?", (clone.id, name)).fetchone()
    joined = joined_at(db, clone.settled_id(), name)
    return row is not None and (joined is None or row > joined)


def _drafts(db: sqlite3.Connection, clone: Clone, record: Record, since: int) -> list[Draft]:
    what = {"session": record.name, "since": since}
    happened = f"{record.name} is gone: {'its worktree was removed' if record.removed else 'its process ended'}"
    from gitcoord.features.overlaps import notices

    told = _messages(db, clone, record.name, happened)
    return [Draft("gone", happened, what, author=record.name), *told, *notices.forget(db, clone, record.name)]


def parting(db: sqlite3.Connection, clone: Clone, name: str) -> list[Draft]:
    """Tell the sessions concerned that a session leaves: most workers end that way while they hold tasks."""
    return _messages(db, clone, name, f"{name} has ended its session")


def tell_stopped(clone: Clone, name: str, why: str) -> None:
    """Tell the sessions concerned that something ended the turn of a session, which lives on. Never fails."""
    with suppress(CoordError):
        clone.append(lambda db: _messages(db, clone, name, f"{name} was stopped by {why}", lives=True))


def _messages(db: sqlite3.Connection, clone: Clone, name: str, happened: str, lives: bool = False) -> list[Draft]:
    """A message to each session to which this one owes something: what happened, then one line for each debt."""
    box = mailbox(name, clone.settled_id())
    boxes = [box, *_former(db, box)]
    lines: dict[str, list[str]] = {}
    for who, line in [
        *_senders(db, boxes),
        *_task_creators(db, boxes, lives),
        *(() if lives else _lock_waiters(db, clone, box)),
        *(() if lives else _job_readers(clone, name)),
    ]:
        to = address(db, who)
        if to != box and line not in lines.setdefault(to, []):
            lines[to].append(line)
    return [_message(db, clone, name, to, [f"{happened}.", *found], lives) for to, found in sorted(lines.items()) if found]


def _message(db: sqlite3.Connection, clone: Clone, name: str, to: str, lines: Sequence[str], lives: bool) -> Draft:
    """The message to one session; it replaces one about a stopped turn that the session has not seen."""
    from gitcoord.features.messages.inbox import unread_notices
    from gitcoord.log.query import get_event

    about = clone.box(name)
    unseen = unread_notices(db, clone, to, STOPPED, about)
    if unseen and not lives:
        lines = [get_event(db, unseen[-1]).text.split("\n")[0], *lines]
    data: dict[str, Any] = {"to": [to], "notice": STOPPED if lives else "gone", "about": about}
    return Draft("message", "\n".join(lines), data | ({"replaces": unseen} if unseen else {}), author=name)


def _former(db: sqlite3.Connection, box: str) -> list[str]:
    from gitcoord.sessions.mailboxes import leading_to

    return leading_to(db, box)[1:]


HOOKS: Hooks[Clone] = Hooks(before_sync=notice, parting=parting)

STOPPED = "stopped"
"""The notice that something ended the turn of a session, which lives on."""

Concern = tuple[str, str]
"""A mailbox, and the line for it."""


def _lock_waiters(db: sqlite3.Connection, clone: Clone, box: str) -> Iterator[Concern]:
    from gitcoord.features.locks.read import standing

    at = standing(db, clone)
    for lock in (lock for lock in (*at.valid, *at.over) if lock.holder == box and not lock.waits):
        for wait in (wait for wait in at.waits if lock.hinders(wait.patterns, wait.shared)):
            about = "" if lock.local else f" on {', '.join(lock.patterns)}"
            yield wait.holder, f"Its lock{about} has ended."


def _job_readers(clone: Clone, name: str) -> Iterator[Concern]:
    """The readers of a job of the session, which outlives it."""
    coord_dir = clone.repo.coord_dir
    for job in (files.get(coord_dir, key) for key in files.keys(coord_dir)):
        if job is not None and job.owner == name:
            yield from ((box, f"Its job {job.name} still runs (git coord job show {job.name}).") for box in job.notify)


def _senders(db: sqlite3.Connection, boxes: Sequence[str]) -> Iterator[Concern]:
    """The senders that wait for an answer; their messages are not quoted."""
    for debt in debts(db, boxes):
        yield debt.creditor, f"It has not {'acked' if debt.is_read else 'read'} your message {debt.id[:10]}."


def _task_creators(db: sqlite3.Connection, boxes: Sequence[str], lives: bool) -> Iterator[Concern]:
    from gitcoord.features.tasks.ready import held_by

    for row in held_by(db, boxes):
        what = f"your task {row.id[:10]}, {said(row.title, 80)}"
        free = f"any session may take it over now (git coord task claim {row.id[:10]})"
        yield row.creator, f"It holds {what}." if lives else f"It held {what}: {free}."
