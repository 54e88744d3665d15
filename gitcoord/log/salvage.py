"""Continue over a hole that nothing can fill: a new epoch of our log carries every known event that can be found.

Known are the events on the readable chains, those that earlier epochs carry, and all that the index has read. They are
searched in git, in the roots of epochs, and in the index itself. Lost events are counted and reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gitcoord.errors import NotACommit, NotDescendant, ObjectMissing, RefMoved
from gitcoord.lean import sqlite3, suppress
from gitcoord.log import rollover
from gitcoord.log.epoch import Commit, carried, carry
from gitcoord.log.event import Malformed, decode
from gitcoord.log.ground import Ground
from gitcoord.log.restore import remake, restore_objects
from gitcoord.log.trust import EPOCH, NEVER_CARRIED
from gitcoord.store import packing
from gitcoord.store.absent import is_damaged
from gitcoord.store.contract import Store
from gitcoord.store.loose import remove_loose
from gitcoord.store.objects import Oid, parent_of
from gitcoord.store.ref_names import aside_name, is_local

ATTEMPTS = 3
"""Attempts to restore: a prune that began before the ref was back may remove objects again meanwhile."""


def readable(store: Store, tip: Oid) -> list[Commit]:
    """The commits from `tip` down to its root, or to the first lost one, oldest first. Raises Unreadable."""
    found: list[Commit] = []
    roots = store.repo.shallow_roots()
    at: Oid | None = tip

    def ids() -> Iterable[Oid]:
        while at is not None:
            yield at

    with suppress(ObjectMissing):
        for item in store.read(ids()):
            if item.kind != "commit":
                break
            found.append((item.oid, item.data))
            at = None if item.oid in roots else parent_of(item.data)
    return found[::-1]


def carry_on(ground: Ground, ref: str, tips: Sequence[Oid], now: Oid | None) -> list[str]:
    """Continue our log `ref`, which names `now` and is known to have had all events below `tips` (the latest last). Raises
    Unreadable; RefMoved if the ref has moved meanwhile."""
    done: list[str] = []
    for _ in range(ATTEMPTS):
        done += restore_objects(ground.store, ground.journal, tips) + _remake(ground, ref, tips[-1])
        if not done:
            break
        if _is_whole(ground.store, tips[-1]) and all(_contains(ground.store, tips[-1], other) for other in tips[:-1]):
            if now != tips[-1]:
                ground.store.move(ref, tips[-1], now, ground.fd)
            return [*done, f"restored {ref}"]
    known = _known(ground, ref, tips)
    events = {oid: raw for oid, raw in _find(ground, ref, tips, known).items() if _kind(raw) not in NEVER_CARRIED}
    lost = sum(oid not in events and kind not in NEVER_CARRIED for oid, kind in known.items())
    many = f"{lost} event{'s' if lost > 1 else ''}" if lost else "at least 1 event"  # no index to tell what was below
    if now is not None and _has_all(ground.store, now, events):
        ground.note((), {ref: now})
        line = f"{ref} has lost {many} for good: it continues with the rest"
    elif events:
        text = f"The log continues here: {many} of {ref} {'are' if lost > 1 else 'is'} lost, {len(events)} are carried over"
        rollover.begin(ground, ref, list(events.items()), text)
        line = f"{ref} has lost {many} for good: {len(events)} events were carried into a new epoch"
    else:
        ground.store.move(ref, None, now, ground.fd)
        ground.note([ref], {})
        many = f"{lost} events" if len(known) > len(tips) else "events"
        line = f"{ref} is lost for good: git has none of its {many} any more"
    drop_damaged(ground.store, [*tips, *known])
    ground.index.discard()
    return [*done, line]


def _has_all(store: Store, tip: Oid, events: Iterable[Oid]) -> bool:
    """Whether the log that ends at `tip` is whole and has all of `events`."""
    try:
        return set(events) <= {oid for oid, _ in rollover.events_of(store, tip)}
    except (ObjectMissing, NotACommit, NotDescendant):
        return False


def _remake(ground: Ground, ref: str, tip: Oid) -> list[str]:
    """Write the commits below `tip` again that the index can remake."""
    known = _known(ground, ref, [tip])
    made = remake(ground, ref, ground.store.missing(list(known)))
    for oid in made:
        remove_loose(ground.store.repo, oid)
    packing.write_all(ground.store, [*ground.pen.tree({}), *made.values()] if made else [])
    return [f"restored {len(made)} object{'s' if len(made) > 1 else ''} that the index has seen"] if made else []


def _known(ground: Ground, ref: str, tips: Sequence[Oid]) -> dict[Oid, str]:
    """The ids and types of the events that the index has seen in a log of ours."""
    query = "SELECT id, type FROM events WHERE clone = ? AND local = ?"
    known = dict.fromkeys(tips, "")
    with suppress(sqlite3.DatabaseError):
        known |= ground.index.db.execute(query, (ground.pen.clone, is_local(ref))).fetchall()
    return known


def _find(ground: Ground, ref: str, tips: Sequence[Oid], known: Iterable[Oid]) -> dict[Oid, bytes]:
    """Find the events of a log, by id: on its chains, by known ids, in roots of epochs."""
    store = ground.store
    found = {oid: raw for tip in tips for oid, raw in readable(store, tip)}
    rest = [oid for oid in known if oid not in found]
    gone = set(store.missing(rest))
    found |= {item.oid: item.data for item in store.read(oid for oid in rest if oid not in gone) if item.kind == "commit"}
    for raw in [raw for raw in found.values() if _kind(raw) == EPOCH]:
        with suppress(ObjectMissing, NotACommit):
            found |= {oid: event for oid, event in carried(store, raw) if oid not in found}
    kept = ground.journal.needed([*tips, *known])
    found |= {oid: item.data for oid, item in kept.items() if item.kind == "commit" and oid not in found}
    found |= {oid: item.data for oid, item in remake(ground, ref, [oid for oid in gone if oid not in found]).items()}
    store.write([item for item in kept.values() if item.kind != "commit"])  # their attachments
    return found


def _kind(raw: bytes) -> str:
    """The type of an event; empty for a commit that is not an event, which is carried like one of a later version."""
    try:
        return decode(Oid(""), raw).type
    except Malformed:
        return ""


def keep_readable(ground: Ground, ref: str, tip: Oid) -> list[str]:
    """Set aside the readable part of another clone's log whose ref has to be deleted; returns a line that says what and
    where."""
    commits = readable(ground.store, tip)
    if not commits:
        return []
    objects = carry(ground.store, commits, ground.pen.repo.object_format)
    root = ground.pen.root("", rollover.carrying(ground.pen.clone, f"The readable part of {ref}", {}), 1, objects[-1].oid)
    packing.write_all(ground.store, [*objects, root])
    name = aside_name(ref, tip)
    with suppress(RefMoved):
        ground.store.move(name, root.oid, None, ground.fd)
    return [f"{len(commits)} events of {ref} are kept in {name} (git ls-tree {name})"]


def drop_damaged(store: Store, oids: Iterable[Oid]) -> None:
    """Remove files that do not contain the object they are named after: they would stop the user's own gc."""
    for oid in oids:
        if is_damaged(store.repo, oid):
            remove_loose(store.repo, oid)


def _is_whole(store: Store, tip: Oid) -> bool:
    return _contains(store, tip, None)


def _contains(store: Store, tip: Oid, below: Oid | None) -> bool:
    """Whether the chain from `tip` down to `below` (None: its root) is whole."""
    try:
        for _ in store.chain(tip, below):
            pass
    except (ObjectMissing, NotACommit, NotDescendant):
        return False
    return True
