"""Restore our logs. Every writer calls this under the write lock; without damage it compares strings and loads nothing.

Five things prove an event to be ours: a ref, the chain below it, the journal, the index, and the mark in each event
that only this clone can make. Each may be damaged, so none of them alone removes an event. A log that is whole and
continues its known tip is kept. Commits in our log that this clone did not write are kept under another name. If
two ends of our log differ, or a part of it is lost, `salvage` carries on all that is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitcoord.errors import CoordError, NotACommit, NotDescendant, ObjectMissing, RefMoved
from gitcoord.lean import sqlite3, suppress
from gitcoord.log.ground import Ground
from gitcoord.store.contract import Store, Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import aside_name, belongs_to, is_coordination, is_log, is_presence, log_of
from gitcoord.text import shell_word

Commit = tuple[Oid, bytes]


def mend(ground: Ground, tips: Tips) -> list[str]:
    """Repair the logs of this clone, as far as refs and journal show the damage; returns a line for each.

    Raises Unreadable where git cannot tell what is there: then nothing is changed. Raises RefMoved if a ref is not as in
    `tips`: then the caller lists them again.
    """
    noted = ground.journal.tips()
    known = {**_forgotten(ground, noted), **noted}
    own = ground.own_logs(tips)
    done: list[str] = []
    for ref, was in known.items():
        if belongs_to(ref, ground.pen.clone) and own.get(ref) != was:
            done += restore_log(ground, ref, own.get(ref), was)
    for ref in [ref for ref in own if noted and ref not in noted]:
        done += _judge(ground, ref, own[ref], list(noted.items()))
    return done


def _forgotten(ground: Ground, noted: Mapping[str, Oid]) -> dict[str, Oid]:
    """The tips that the index saw of those of our logs that the journal does not know."""
    logs = {log_of(ref) for ref in noted}
    return {ref: oid for ref, oid in own_seen(ground).items() if log_of(ref) not in logs}


def own_seen(ground: Ground) -> dict[str, Oid]:
    """The tips of our logs that the index read last."""
    try:
        seen = ground.index.known_tips()
    except sqlite3.DatabaseError:
        return {}
    return {ref: oid for ref, oid in seen.items() if is_log(ref) and belongs_to(ref, ground.pen.clone)}


def restore_log(ground: Ground, ref: str, now: Oid | None, was: Oid) -> list[str]:
    """Restore a log of ours: its ref names `now`, and is known to have named `was`. Afterwards it has all its known events.
    Raises RefMoved if the ref has moved meanwhile."""
    from gitcoord.log import salvage
    from gitcoord.log.restore import restore_objects

    store = ground.store
    done = restore_objects(store, ground.journal, [was, now] if now else [was])
    now_is_log = now is not None and _is_log_commit(store, now)
    above = _above(store, now, was) if now else None
    if above is not None and now is not None:
        return done + (_part(ground, ref, above, now) if now != was else _fill(ground, ref, now, was))
    if descends(store, was, now if now_is_log else None):
        return done + _move(ground, ref, was, now)
    theirs = _after_fork(store, now, was) if now and now_is_log else []
    if now and theirs and not _ours(ground, ref, theirs):
        done.append(set_aside(ground, ref, now))
        now_is_log = False
    if not now_is_log and is_whole(store, was):
        return done + _move(ground, ref, was, now)
    return done + salvage.carry_on(ground, ref, [oid for oid in (now if now_is_log else None, was) if oid], now)


def _fill(ground: Ground, ref: str, now: Oid, was: Oid) -> list[str]:
    """Fill the holes of a log whose ref is right."""
    if is_whole(ground.store, now):
        return []
    from gitcoord.log import salvage

    return salvage.carry_on(ground, ref, [was], now)


def _move(ground: Ground, ref: str, to: Oid, now: Oid | None) -> list[str]:
    ground.store.move(ref, to, now, ground.fd)
    return [f"restored {ref}"]


# find commits that are not ours


def _part(ground: Ground, ref: str, above: Sequence[Commit], now: Oid) -> list[str]:
    """Divide the commits above a log's known tip: events up to the last that we know, or that is marked, are ours; the rest
    is set aside. If no event proves to be ours, the rest is another's only if the event before it is marked; otherwise a
    version without marks wrote it."""
    if ground.store.keeps(ref):
        return []
    ours = _ours(ground, ref, above)
    if len(ours) == len(above):
        return []
    before = ours[-1] if ours else _before(ground.store, above[0][1])
    if before is None or not ground.pen.made(ref, before[1]):
        return []
    said = set_aside(ground, ref, now)
    ground.store.move(ref, before[0], now, ground.fd)
    return [said]


def _judge(ground: Ground, ref: str, now: Oid, noted: Iterable[tuple[str, Oid]]) -> list[str]:
    """Judge a log under our name that the journal does not know. It is another's if it has no mark although we mark what we
    write."""
    if ground.store.keeps(ref):
        return []
    try:
        found = list(ground.store.chain(now, None))
    except (ObjectMissing, NotACommit, NotDescendant):
        return []
    if _ours(ground, ref, found) or not any(_is_marked(ground, other, tip) for other, tip in noted):
        return []
    said = set_aside(ground, ref, now)
    ground.store.move(ref, None, now, ground.fd)
    return [said]


def _ours(ground: Ground, ref: str, commits: Sequence[Commit]) -> Sequence[Commit]:
    """The first of `commits` (a part of a chain, oldest first) up to the last that is known to be ours: each event names
    the one before it, so it proves all below."""
    if commits and ground.pen.made(ref, commits[-1][1]):
        return commits
    written = ground.journal.written(oid for oid, _ in commits)
    for end in range(len(commits), 0, -1):
        if commits[end - 1][0] in written or ground.pen.made(ref, commits[end - 1][1]):
            return commits[:end]
    return []


def _is_marked(ground: Ground, ref: str, tip: Oid) -> bool:
    try:
        return ground.pen.made(ref, next(iter(ground.store.read([tip]))).data)
    except ObjectMissing:
        return False


def _before(store: Store, commit: bytes) -> Commit | None:
    from gitcoord.store.objects import parent_of

    parent = parent_of(commit)
    try:
        return (parent, next(iter(store.read([parent]))).data) if parent else None
    except ObjectMissing:
        return None


def set_aside(ground: Ground, ref: str, oid: Oid) -> str:
    """Keep `oid` under a ref that is not a log, so that no reader reads it and no gc removes it; returns a line for the
    user."""
    name = aside_name(ref, oid)
    with suppress(RefMoved):  # it is kept already
        ground.store.move(name, oid, None, ground.fd)
    return f"{ref} has commits that this clone never wrote: they are kept as {name} (git log {name})"


# local logs that an earlier version kept below refs/


def take_in_local(ground: Ground) -> list[str]:
    """Move local logs out of git's refs, where `git push --mirror` would publish them; returns a line for each that has
    commits that this clone never wrote."""
    done = []
    for ref, oid in list(ground.store.left.items()):
        anew = not ground.store.keeps(ref)
        if anew or not belongs_to(ref, ground.pen.clone) or _is_marked(ground, ref, oid):
            with suppress(ObjectMissing, NotACommit, NotDescendant):
                ground.store.take_in(ref, ground.fd)
                continue
        done.append(set_aside(ground, ref, oid))
        ground.store.git.move(ref, None, oid, ground.fd)
    return done


# how two ends of a log are related


def _above(store: Store, now: Oid, was: Oid) -> list[Commit] | None:
    """The commits after `was` up to `now`; None if `now` does not continue `was`, or something between is lost."""
    try:
        return list(store.chain(now, was))
    except (NotDescendant, ObjectMissing, NotACommit):
        return None


def _after_fork(store: Store, now: Oid, was: Oid) -> list[Commit]:
    """The part of the chain below `now` that is not in the chain below `was`, as far as both can be read."""
    from gitcoord.log import salvage

    known = {oid for oid, _ in salvage.readable(store, was)}
    return [commit for commit in salvage.readable(store, now) if commit[0] not in known]


def _is_log_commit(store: Store, oid: Oid) -> bool:
    """Whether it is a commit with the form of an event, and so worth keeping."""
    try:
        found = next(iter(store.read([oid])))
    except ObjectMissing:
        return False
    return found.kind == "commit" and b"\n\nCoord: " in found.data


def descends(store: Store, new: Oid | None, old: Oid | None) -> bool:
    """Whether the chain from `new` down to `old` (None: to its root) is whole. Raises Unreadable if git cannot tell."""
    if new is None:
        return False
    try:
        for _ in store.chain(new, old):
            pass
    except (NotDescendant, ObjectMissing, NotACommit):
        return False
    return True


def is_whole(store: Store, tip: Oid) -> bool:
    """Whether the chain from `tip` down to its root is whole. Raises Unreadable if git cannot tell."""
    return descends(store, tip, None)


# look without the lock


def is_amiss(ground: Ground, noted: Mapping[str, Oid], tips: Tips) -> bool:
    """Whether a log of ours is missing, no longer contains its last known tip, or may have commits that we never wrote.
    Called without the lock (`fd` of the ground is not used)."""
    own = ground.own_logs(tips)
    for ref, was in noted.items():
        if not belongs_to(ref, ground.pen.clone) or own.get(ref) == was:
            continue
        above = _above(ground.store, own[ref], was) if ref in own else None
        if above is None or len(_ours(ground, ref, above)) < len(above):
            return True
    return bool(noted) and any(ref not in noted and not _is_marked(ground, ref, oid) for ref, oid in own.items())


# refs that point nowhere


def drop_broken(store: Store, tips: Tips, fd: int) -> list[str]:
    """Delete empty or garbled ref files, which a power loss left: they stop the user's own gc and fetch."""
    import os

    done = []
    for ref in tips.broken:
        if not is_coordination(ref):
            done.append(f"{ref} is unreadable and not a ref of gitcoord: git update-ref --no-deref -d {shell_word(ref)}")
            continue
        result = store.repo.git("update-ref", "--no-deref", "-d", ref, keep_fd=fd)
        left = os.path.join(store.repo.common_dir, ref)
        if result.code and os.path.isfile(left):
            os.unlink(left)
        done.append(f"removed the unreadable ref {ref}")
    return done


def drop_lost(ground: Ground, refs: Iterable[str], tips: Tips) -> list[str]:
    """Delete refs whose commit is lost, except our own logs. The next fetch brings another's log and a table of leases back
    whole, and a session's next heartbeat its presence. The readable part of a log is set aside."""
    from gitcoord.log import salvage

    done = []
    for ref in refs:
        oid = tips.refs.get(ref)
        if oid is None or (is_log(ref) and belongs_to(ref, ground.pen.clone)) or descends(ground.store, oid, None):
            continue
        with suppress(CoordError):
            done += salvage.keep_readable(ground, ref, oid) if is_log(ref) else []
            ground.store.move(ref, None, oid, ground.fd)
            salvage.drop_damaged(ground.store, [oid])
            done.append(f"removed {ref}, which points at a lost object{_how_back(ref)}")
    return done


def _how_back(ref: str) -> str:
    return "; git coord sync fetches it again" if not is_presence(ref) else ""
