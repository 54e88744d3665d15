"""Begin a new epoch of our log without one event (`redact`), or without events that have ended (`gc`).

Only the clone that wrote an event drops it. Our events about things that stay also stay: dropping the end of a task
that another clone filed would open the task again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.lean import Any, NamedTuple, sqlite3, suppress
from gitcoord.log import rollover
from gitcoord.log.clone import Clone
from gitcoord.log.epoch import Commit
from gitcoord.log.event import Event, Malformed, decode
from gitcoord.log.query import get_event, resolve_id
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE, newest_epoch
from gitcoord.system.files import touch_ours

KEEP = 90 * 24 * 3600
"""Seconds for which `gc` keeps what is finished."""


class Redacted(NamedTuple):
    """The result of `redact`: the event, how many events the log continues with, and whether it had been sent to a
    remote."""

    id: Oid
    carried: int
    sent: bool


class Collected(NamedTuple):
    """The result of `gc`: how many events of ours it kept and dropped."""

    kept: int
    dropped: int


def redact(clone: Clone, prefix: str, is_waiting: Callable[[sqlite3.Connection, Clone, Oid], bool]) -> Redacted:
    """Continue our log without one event; `is_waiting` says whether an event was not sent to a remote yet.

    Raises UsageError for an event that another clone wrote.
    """
    with clone.locked():
        event = clone.read(lambda db: get_event(db, resolve_id(db, prefix)))
        local = clone.read(lambda db: bool(db.execute("SELECT local FROM events WHERE id = ?", (event.id,)).fetchone()[0]))
        sent = not local and not clone.read(lambda db: is_waiting(db, clone, event.id))
        kept, gone = _parted(clone, local, lambda found: found.id == event.id)
        if not gone:
            whose = "the log itself" if clone.is_ours(event.clone) else event.clone
            raise UsageError(f"{event.id[:10]} belongs to {whose}", "a clone redacts its own messages, notes, tasks, …")
        _leave_out(clone, local, kept, gone, "The log continues here without 1 event that was redacted")
        return Redacted(event.id, len(kept), sent)


def _ref(clone: Clone, local: bool) -> str:
    """The epoch of our log, synced or local, that is written to."""
    return newest_epoch(clone.store.tips().refs, f"{NAMESPACE}{'local' if local else 'log'}/{clone.settled_id()}/")


def _leave_out(clone: Clone, local: bool, kept: Sequence[Commit], gone: Sequence[Commit], text: str) -> None:
    clone.mend(lambda ground, tips: rollover.leave_out(ground, _ref(clone, local), kept, gone, text))


def _parted(clone: Clone, local: bool, goes: Any) -> tuple[list[Commit], list[Commit]]:
    """The events of our log that stay and those that go."""
    kept: list[Commit] = []
    gone: list[Commit] = []
    for commit, event in _own(clone, local):
        (gone if event is not None and goes(event) else kept).append(commit)
    return kept, gone


def _own(clone: Clone, local: bool) -> Iterator[tuple[Commit, Event | None]]:
    tip = clone.store.tips().refs.get(_ref(clone, local))
    for oid, raw in rollover.events_of(clone.store, tip) if tip else ():
        event = None
        with suppress(Malformed):
            event = decode(oid, raw)
        yield (oid, raw), event


def gc(clone: Clone, keep: float = KEEP, now: float | None = None, dry_run: bool = False) -> Collected:
    """Drop what ended more than `keep` seconds ago: read mail, finished tasks and jobs, old notes, locks that are over; with
    `dry_run` only count it."""
    now = time.time() if now is None else now
    with clone.locked():
        counts = [_collect(clone, local, now - keep, now, dry_run=dry_run) for local in (False, True)]
    return Collected(sum(kept for kept, _ in counts), sum(dropped for _, dropped in counts))


OFTEN = 7 * 24 * 3600.0
"""Seconds between two looks at whether `gc` is worth it."""
WORTH_IT, TOO_MANY = 1000, 50_000
"""Events that have to go before `gc` runs by itself, and events of a log for which it takes too long under the lock."""


def gc_by_itself(clone: Clone, now: float | None = None) -> Collected:
    """Run `gc` in the background, once a week at most and only where it drops most of a log: each new epoch makes others read
    the log anew."""
    now = time.time() if now is None else now
    if not clone.id or 0 <= now - _collected(clone) < OFTEN:
        return Collected(0, 0)
    touch_ours(clone.path("collected"), now)
    counts = [_collect_much(clone, local, now) for local in (False, True)]
    return Collected(sum(kept for kept, _ in counts), sum(dropped for _, dropped in counts))


def _collected(clone: Clone) -> float:
    try:
        return os.stat(clone.path("collected")).st_mtime
    except OSError:
        return 0.0


def _collect_much(clone: Clone, local: bool, now: float) -> Collected:
    count = "SELECT count(*), sum(at < ?) FROM events WHERE clone = ? AND local = ?"
    total, old = clone.read(lambda db: db.execute(count, (now - KEEP, clone.id, local)).fetchone())
    if total > TOO_MANY or (old or 0) < max(WORTH_IT, total / 2):
        return Collected(0, 0)
    with clone.locked():
        return _collect(clone, local, now - KEEP, now, max(WORTH_IT, total // 2))


def _collect(clone: Clone, local: bool, since: float, now: float, least: int = 1, dry_run: bool = False) -> Collected:
    """Drop what is over, if that is `least` events or more; with `dry_run` only count it."""
    events = [event for _, event in _own(clone, local) if event is not None]
    living = _living(clone, events, since, now)
    kept, gone = _parted(clone, local, lambda event: event.id not in living)
    if len(gone) < least:
        return Collected(len(kept) + len(gone), 0)
    if dry_run:
        return Collected(len(kept), len(gone))
    text = f"The log continues here without {len(gone)} event{'s' if len(gone) > 1 else ''} that ended"
    _leave_out(clone, local, kept, gone, text)
    return Collected(len(kept), len(gone))


# find the events that are still needed


def _living(clone: Clone, events: Sequence[Event], since: float, now: float) -> set[str]:
    """The ids of our events that are still needed: by themselves, or because they are about something that stays."""
    mine: set[str] = {event.id for event in events}
    current = clone.read(lambda db: _current(db, clone, since, now))
    living: set[str] = {event.id for event in events if event.id in current or event.at >= since}
    named: dict[str, set[str]] = {
        event.id: _named(event) for event in events if event.type != "message" or event.data.get("notice") == "bounce"
    }
    about = sorted({oid for ids in named.values() for oid in ids})
    others = clone.read(lambda db: {oid for (oid,) in db.execute(_THERE, (json.dumps(about),))}) - mine
    while True:
        stays = living | others
        more = {oid for oid, ids in named.items() if oid not in living and not ids.isdisjoint(stays)}
        if not more:
            return living
        living |= more


_THERE = "SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?))"


def _current(db: sqlite3.Connection, clone: Clone, since: float, now: float) -> set[str]:
    """The events of all clones that are still needed; also those that could not be folded, which a later version may
    use."""
    queries = ["SELECT id FROM strange", *(query for feature in clone.registry.features() for query in feature.living)]
    values = {"since": int(since), "now": int(now)}
    return {oid for query in queries for (oid,) in db.execute(query, values)}


def _named(event: Event) -> set[str]:
    """The ids that a payload names."""
    found: set[str] = set()
    todo: list[Any] = [dict(event.data)]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            todo += value
        elif isinstance(value, str) and len(value) in (40, 64):
            found.add(value)
    return found
