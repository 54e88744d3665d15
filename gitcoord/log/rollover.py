"""Continue a log in a new epoch: over a hole that nothing can fill, without one event, or without events that have
ended.

The root of the new epoch is the one step that counts: from then on readers ignore the older epochs, even if their refs
still exist. So after a crash at any point the log is as it was before, or as it should be after.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from gitcoord.errors import NotACommit, NotDescendant, ObjectMissing, RefMoved
from gitcoord.lean import suppress
from gitcoord.log import epoch
from gitcoord.log.clock import seen_clock
from gitcoord.log.epoch import Commit
from gitcoord.log.event import Draft, Event, Malformed, decode
from gitcoord.log.ground import Ground
from gitcoord.log.trust import EPOCH, NEVER_CARRIED
from gitcoord.store import packing
from gitcoord.store.contract import Store
from gitcoord.store.objects import GitObject, Oid, named_in
from gitcoord.store.ref_names import epoch_of, is_local, is_log, log_of, next_epoch


def events_of(store: Store, tip: Oid) -> Iterator[Commit]:
    """Every event of a log, carried ones first, except types that are only about the old epoch."""
    for number, commit in enumerate(store.chain(tip, None)):
        event = next(_decodable([commit]), None)
        if number == 0 and event is not None and event.type == EPOCH:
            yield from epoch.carried(store, commit[1])
        if event is not None and event.type not in NEVER_CARRIED:
            yield commit


def begin(ground: Ground, ref: str, commits: Sequence[Commit], text: str, without: Collection[str] = ()) -> None:
    """Begin the epoch after `ref` with `commits`, under the write lock; those in `without` lose their attachments. The refs
    of earlier epochs are deleted: with a hole below them every gc and fetch of the user's would fail."""
    store, pen = ground.store, ground.pen
    tips = store.tips()
    old = {name: oid for name, oid in tips.refs.items() if is_log(name) and log_of(name) == log_of(ref)}
    fresh = next_epoch(max([*old, ref], key=epoch_of))
    bare = {*without, *(left_out_before(store, tips.refs[ref], commits) if ref in tips.refs else ())}
    objects = [*pen.tree({}), *epoch.carry(store, commits, pen.repo.object_format, bare)]
    events = list(_decodable(commits))
    former = {event.clone for event in events} - {pen.clone}
    data: dict[str, object] = {"carried": len(commits), "lowest": epoch_of(fresh)}
    data |= {"after": tips.refs[ref]} if ref in tips.refs else {}
    data |= {"continues": min(former)} if former else {}
    lc = max(seen_clock(ground.index.db), *(event.lc for event in events), 0) + 1
    root = pen.root(fresh, carrying(pen.clone, text, data), lc, objects[-1].oid)
    if not is_local(fresh):
        ground.journal.add([*objects, root])
    packing.write_all(store, [*objects, root], fresh)
    store.move(fresh, root.oid, None, ground.fd)
    before = [name for name in ground.journal.tips() if log_of(name) == log_of(ref)]  # also epochs whose ref is gone
    ground.note(before, {fresh: root.oid})
    drop_refs(ground, old)


def left_out_before(store: Store, tip: Oid, commits: Sequence[Commit]) -> set[str]:
    """Those of `commits` that the root of the log at `tip` carries without attachments, so that these stay left out."""
    with suppress(ObjectMissing, NotACommit, NotDescendant, StopIteration):
        oid, raw = next(store.chain(tip, None))
        root = next(_decodable([(oid, raw)]), None)
        if root is not None and root.type == EPOCH:
            return epoch.without_files(store, raw) & {oid for oid, _ in commits}
    return set()


def drop_refs(ground: Ground, refs: Mapping[str, Oid]) -> None:
    """Delete refs of ours that a new epoch replaced."""
    if any(ref in refs for ref in ground.journal.tips()):
        ground.note(refs, {})
    for ref, oid in refs.items():
        with suppress(RefMoved):
            ground.store.move(ref, None, oid, ground.fd)


def carrying(clone: str, text: str, data: Mapping[str, object]) -> Draft:
    """Make the root of an epoch."""
    return Draft(EPOCH, text, data, author=clone)


def leave_out(ground: Ground, ref: str, kept: Sequence[Commit], gone: Sequence[Commit], text: str) -> list[str]:
    """Begin the epoch after `ref` with `kept`; `gone` is in no file of ours any more. The caller has held the write lock
    since it decided on both."""
    begin(ground, ref, kept, text)
    ground.journal.scrub(_only_theirs(ground, gone, kept))
    ground.index.refresh(ground.store, ground.store.tips())
    ground.index.scrub()
    return []


def _only_theirs(ground: Ground, gone: Sequence[Commit], kept: Sequence[Commit]) -> set[Oid]:
    """The commits `gone`, and their attachments, unless a kept event has them, too."""
    needed = _attached(ground, kept)
    return {oid for oid, _ in gone} | (_attached(ground, gone) - needed)


def _attached(ground: Ground, commits: Sequence[Commit]) -> set[Oid]:
    empty = ground.pen.tree({})[-1].oid
    trees = {tree for oid, raw in commits for tree in named_in(GitObject("commit", oid, raw))[:1] if tree != empty}
    there = sorted(trees - set(ground.store.missing(sorted(trees))))
    return trees | {oid for tree in ground.store.read(there) for oid in named_in(tree)}


def _decodable(commits: Sequence[Commit]) -> Iterator[Event]:
    for oid, raw in commits:
        with suppress(Malformed):
            yield decode(oid, raw)
