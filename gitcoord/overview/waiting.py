"""Wait until something concerns me, or until one of several conditions holds; and follow everything.

Level-triggered: a condition that already holds ends a wait at once. Conditions mark nothing read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from gitcoord.errors import Busy, UsageError
from gitcoord.features import deaths
from gitcoord.features.messages.inbox import inbox
from gitcoord.lean import TYPE_CHECKING, Any, NamedTuple, TypeVar, sqlite3
from gitcoord.log.event import Event
from gitcoord.log.query import COLUMNS, event_of, resolve_id
from gitcoord.overview.around import look_out, notice_deaths
from gitcoord.sessions.identity import Caller
from gitcoord.sessions.mailboxes import resolve_name
from gitcoord.sessions.membership import states
from gitcoord.store.watch import LOOK_ANYWAY, EndWatch, RefWatch, wait_until
from gitcoord.system import lock

if TYPE_CHECKING:
    from gitcoord.features.messages.inbox import Inbox

T = TypeVar("T")
FORMS = "message, task:ID=STATUS, job:ID, session:NAME=STATE, lock:PATH=free"
STATES = ("expected", "active", "idle", "waiting", "unknown", "gone")


class MetCondition(NamedTuple):
    """The condition that ended a wait, as it was written, and the facts that fulfilled it."""

    condition: str
    kind: str
    found: dict[str, Any]


Check = Callable[[], dict[str, Any] | None]


class Condition(NamedTuple):
    """A condition: how it was written, and a check whether it holds."""

    text: str
    kind: str
    check: Check


def wait_for_mail(caller: Caller, timeout: float | None, sender: str | None = None, output: int | None = None) -> Inbox | None:
    """The next page of unread messages, as soon as there is one; None after `timeout` seconds. Marks nothing."""

    def look() -> Inbox | None:
        page = inbox(caller.clone, caller.identity, sender=sender)
        return page if page.messages else None

    return _sleep(caller, look, timeout, output)


def _sleep(caller: Caller, look: Callable[[], T | None], timeout: float | None, output: int | None) -> T | None:
    """Call `attempt` whenever something moved; a waiter also tells of deaths."""

    def attempt() -> T | None:
        notice_deaths(caller)
        look_out(caller)
        return look()

    try:
        with lock.at_most(timeout):
            return wait_until(caller.clone.repo, attempt, timeout, partial(deaths.watched_pids, caller.clone), output)
    except Busy as error:
        lock.say(f"note: {error.what}")
        return None


def wait_for_any(caller: Caller, texts: Sequence[str], timeout: float | None, output: int | None = None) -> MetCondition | None:
    """The first of several conditions to hold; None after `timeout` seconds. Raises UsageError for an invalid
    condition."""
    conditions = [parse(caller, text) for text in texts]

    def look() -> MetCondition | None:
        for condition in conditions:
            found = condition.check()
            if found is not None:
                return MetCondition(condition.text, condition.kind, found)
        return None

    return _sleep(caller, look, timeout, output)


def parse(caller: Caller, text: str) -> Condition:
    """A condition as a user writes it. Raises UsageError, also for unknown ids and names."""
    kind, _, rest = text.partition(":")
    subject, _, value = rest.partition("=")
    parser = {"message": _message, "session": _session, "task": _task, "job": _job, "lock": _lock}.get(kind)
    if parser is None or bool(rest) == (kind == "message"):
        raise UsageError(f"{text!a} is not a condition", f"one of {FORMS}")
    return parser(caller, text, subject, value)


def _message(caller: Caller, text: str, subject: str, value: str) -> Condition:
    def check() -> dict[str, Any] | None:
        page = inbox(caller.clone, caller.identity, limit=1)
        return {"id": page.messages[0].id, "from": page.messages[0].sender} if page.messages else None

    return Condition(text, "message", check)


def _session(caller: Caller, text: str, subject: str, value: str) -> Condition:
    wanted = value or "gone"
    if wanted not in STATES:
        raise UsageError(f"{wanted!a} is not a state of a session", "one of " + ", ".join(STATES))
    box = caller.clone.read(lambda db: resolve_name(db, subject, caller.clone.id))

    def check() -> dict[str, Any] | None:
        state = states(caller.clone, [box])[box][0]
        return {"session": box, "state": state} if state == wanted else None

    return Condition(text, "session", check)


def _task(caller: Caller, text: str, subject: str, value: str) -> Condition:
    from gitcoord.features.tasks.fold import STATUSES
    from gitcoord.features.tasks.read import get_task

    wanted = value or "done"
    if wanted not in (*STATUSES, "ready"):
        raise UsageError(f"{wanted!a} is not a status of a task", "one of " + ", ".join([*STATUSES, "ready"]))
    oid = get_task(caller.clone, subject).id

    def check() -> dict[str, Any] | None:
        task = get_task(caller.clone, oid)
        holds = task.ready if wanted == "ready" else task.status == wanted
        return {"task": oid, "status": task.status, "holder": task.holder} if holds else None

    return Condition(text, "task", check)


def _job(caller: Caller, text: str, subject: str, value: str) -> Condition:
    from gitcoord.features.jobs import read

    if value:
        raise UsageError(f"{text!a} is not a condition", "job:ID waits for the end of a job")
    oid = read.show(caller.clone, subject).id

    def check() -> dict[str, Any] | None:
        job = read.show(caller.clone, oid)
        return None if job.state == "running" else {"job": oid, "name": job.name, "state": job.state, "exit": job.exit}

    return Condition(text, "job", check)


def _lock(caller: Caller, text: str, subject: str, value: str) -> Condition:
    if value not in ("", "free"):
        raise UsageError(f"{text!a} is not a condition", "lock:PATH=free waits until nobody else has locked it")
    from gitcoord.overview import checks

    checks.check(caller.clone, caller.identity, [subject], caller.cwd)
    me = caller.clone.box(caller.identity.name)

    def check() -> dict[str, Any] | None:
        (found,) = checks.check(caller.clone, caller.identity, [subject], caller.cwd)
        taken = any(lock.holder != me for lock in found.locks)
        return None if taken else {"path": found.path, "worktree": found.worktree}

    return Condition(text, "lock", check)


def follow(caller: Caller, kind: str | None, since: str | None, output: int | None = None) -> Iterator[Event]:
    """Every event as it arrives, from now on or after `since` (an id); ends only when the reader of `output` does.

    The order is that of arrival in this clone, so that `since` neither misses nor repeats an event that another clone wrote
    earlier and sent later.
    """
    clone = caller.clone
    with RefWatch(clone.repo) as watch:
        seen: int = clone.read(lambda db: _position(db, since))
        while True:
            with EndWatch(watch.changed, deaths.watched_pids(caller.clone), output) as ends:
                notice_deaths(caller)
                look_out(caller)
                fresh = clone.read(lambda db, seen=seen: _after(db, seen))  # type: ignore[misc]
                for number, event in fresh:
                    seen = number
                    if kind is None or event.type == kind:
                        yield event
                if not fresh:
                    watch.wait(LOOK_ANYWAY)
                if ends.reader_left:
                    return


def _position(db: sqlite3.Connection, since: str | None) -> int:
    if since is None:
        newest: int | None = db.execute("SELECT max(seq) FROM events").fetchone()[0]
        return newest or 0
    found: int = db.execute("SELECT seq FROM events WHERE id = ?", (resolve_id(db, since),)).fetchone()[0]
    return found


def _after(db: sqlite3.Connection, seen: int) -> list[tuple[int, Event]]:
    rows = db.execute(f"SELECT seq, {COLUMNS} FROM events WHERE seq > ? ORDER BY seq LIMIT 1000", (seen,))
    return [(row[0], event_of(row[1:])) for row in rows]
