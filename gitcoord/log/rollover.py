"""A log goes on in a new epoch: over a hole that nothing can fill, without an event, or without what no longer lives.

The root of the new epoch is the one step that counts: from then on readers pass over the older epochs, also where their
refs still stand. So a crash at any place leaves the log as it was or as it is to be.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from gitcoord.errors import RefMoved
from gitcoord.log import epoch, mend
from gitcoord.log.clock import seen_clock
from gitcoord.log.clone import Clone
from gitcoord.log.epoch import Commit
from gitcoord.log.event import Draft, Event, Malformed, decode, encode
from gitcoord.log.trust import EPOCH, NEVER_CARRIED, lowest_epochs
from gitcoord.store import bulk
from gitcoord.store.contract import Tips
from gitcoord.store.objects import GitObject, Oid, make_object, named_in
from gitcoord.store.ref_names import NAMESPACE, epoch_of, is_log, log_of, newest_epoch, next_epoch


def over_hole(clone: Clone, ref: str, tips: Tips, fd: int) -> None:
    """Our own chain has a hole that nothing can fill: its next epoch carries what is readable.

    The old ref goes, because with it every gc and fetch of the user's would fail. To be called under the write lock.
    """
    if mend.is_whole(clone.store, tips.refs[ref]):
        return
    commits = epoch.readable(clone.store, tips.refs[ref])
    text = f"The log goes on here: an object of {ref} is lost, {len(commits)} events are carried over"
    _begin(clone, ref, commits, text, tips, fd)
    clone.mended.append(f"{ref} had lost an object for good: {len(commits)} events were carried into a new epoch")


def log_ref(clone: Clone, tips: Tips, local: bool) -> str:
    """The epoch of our log, synced or local, that is written to."""
    return newest_epoch(tips.refs, f"{NAMESPACE}{'local' if local else 'log'}/{clone.settled_id()}/")


def events_of(clone: Clone, tip: Oid) -> Iterator[Commit]:
    """Every event of a log, those that its root carries first, but for what speaks for the old epoch alone."""
    for number, commit in enumerate(clone.store.chain(tip, None)):
        event = next(_decodable([commit]), None)
        if number == 0 and event is not None and event.type == EPOCH:
            yield from epoch.carried(clone.store, commit[1])
        if event is not None and event.type not in NEVER_CARRIED:
            yield commit


def begin(clone: Clone, ref: str, kept: Sequence[Commit], gone: Sequence[Commit], text: str) -> None:
    """Go on in the epoch after `ref` with `kept`; what is `gone` is in no file of ours any more.

    To be called under the write lock, held since both were decided.
    """
    with clone.locked() as fd:
        _begin(clone, ref, kept, text, clone.store.tips(), fd)
        clone.journal.scrub(_only_theirs(clone, gone, kept))
        clone.index.discard()


def _only_theirs(clone: Clone, gone: Sequence[Commit], kept: Sequence[Commit]) -> set[Oid]:
    """The commits `gone`, and those of their attachments that nothing kept has."""
    needed = _attached(clone, kept)
    return {oid for oid, _ in gone} | (_attached(clone, gone) - needed)


def _attached(clone: Clone, commits: Sequence[Commit]) -> set[Oid]:
    empty = clone.tree({})[-1].oid
    trees = {tree for oid, raw in commits for tree in named_in(GitObject("commit", oid, raw))[:1] if tree != empty}
    there = sorted(trees - set(clone.store.missing(sorted(trees))))
    return trees | {oid for tree in clone.store.read(there) for oid in named_in(tree)}


def _begin(clone: Clone, ref: str, commits: Sequence[Commit], text: str, tips: Tips, fd: int) -> None:
    store, fresh = clone.store, next_epoch(ref)
    objects = [*clone.tree({}), *epoch.carry(store, commits, clone.repo.object_format)]
    former = {event.clone for event in _decodable(commits)} - {clone.settled_id()}
    data = {"carried": len(commits), "lowest": epoch_of(fresh), "after": tips.refs[ref]}
    data |= {"continues": min(former)} if former else {}
    highest = max((event.lc for event in _decodable(commits)), default=0)
    lc = max(seen_clock(clone.index.db), highest) + 1
    draft = Draft(EPOCH, text, data, author=clone.settled_id())
    root = make_object("commit", encode(draft, clone.envelope(lc), objects[-1].oid, None), clone.repo.object_format)
    clone.journal.add([*objects, root])
    bulk.write_all(store, [*objects, root])
    store.move(fresh, root.oid, None, fd)
    clone.drop_refs([old for old in tips.refs if is_log(old) and log_of(old) == log_of(fresh)], tips, fd)


def dropped(clone: Clone, refs: Iterable[str]) -> set[str]:
    """Those of `refs` that a later epoch of the same log, known here, took the place of."""
    lowest = clone.read(lowest_epochs)
    return {ref for ref in refs if is_log(ref) and epoch_of(ref) < lowest.get(log_of(ref), 0)}


def ended_at(clone: Clone, ref: str) -> Oid | None:
    """Where our epoch `ref` ended, by the word of the root that follows it."""
    query = "SELECT data FROM events WHERE type = 'epoch' AND clone = ? AND epoch = ?"
    rows = clone.read(lambda db: db.execute(query, (clone.id, epoch_of(ref) + 1)).fetchall())
    return next((Oid(after) for (data,) in rows if isinstance(after := json.loads(data).get("after"), str)), None)


def drop_replaced(clone: Clone) -> None:
    """Delete epochs that a later one replaced: others', and ours where a crash left one standing.

    Of a clone whose signatures went missing with it, the old is kept.
    """
    from gitcoord.log import trust

    if not dropped(clone, clone.store.tips().refs):
        return
    doubtful = {warning.clone for warning in trust.warnings(clone)}
    with clone.locked() as fd:
        tips = clone.store.tips()
        replaced = dropped(clone, tips.refs)
        clone.drop_refs([ref for ref in replaced if ref.split("/")[3] == clone.id], tips, fd)
        for ref in replaced:
            if ref.split("/")[3] not in {clone.id, *doubtful}:
                with suppress(RefMoved):
                    clone.store.move(ref, None, tips.refs[ref], fd)


def _decodable(commits: Sequence[Commit]) -> Iterator[Event]:
    for oid, raw in commits:
        with suppress(Malformed):
            yield decode(oid, raw)
