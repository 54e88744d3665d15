"""A log goes on in a new epoch: over a hole that nothing can fill, without an event, or without what no longer lives.

The root of the new epoch is the one step that counts: from then on readers pass over the older epochs, also where their
refs still stand. So a crash at any place leaves the log as it was or as it is to be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from gitcoord.clone import Clone
from gitcoord.event import Draft, Event, Malformed, decode, encode
from gitcoord.index import EPOCH, NEVER_CARRIED
from gitcoord.store import NAMESPACE, Tips, epoch, mend
from gitcoord.store.epoch import Commit
from gitcoord.store.objects import Oid, make_object
from gitcoord.store.refnames import epoch_of, is_log, log_of, newest_epoch, next_epoch


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


def without(clone: Clone, gone: Collection[Oid], text: str, local: bool) -> int:
    """Begin a new epoch of our log, synced or local, without the events `gone`; returns how many it carries.

    To be called under the write lock, which must have been held since `gone` was decided.
    """
    with clone.locked() as fd:
        tips = clone.store.tips()
        ref = newest_epoch(tips.refs, f"{NAMESPACE}{'local' if local else 'log'}/{clone.settled_id()}/")
        kept = [commit for commit in _events_of(clone, tips.refs[ref]) if commit[0] not in gone]
        _begin(clone, ref, kept, text, tips, fd)
        return len(kept)


def _events_of(clone: Clone, tip: Oid) -> Iterator[Commit]:
    """Every event of a log, those that its root carries first, but for what speaks for the old epoch alone."""
    for number, commit in enumerate(clone.store.chain(tip, None)):
        event = next(_decodable([commit]), None)
        if number == 0 and event is not None and event.type == EPOCH:
            yield from epoch.carried(clone.store, commit[1])
        if event is not None and event.type not in NEVER_CARRIED:
            yield commit


def _begin(clone: Clone, ref: str, commits: Sequence[Commit], text: str, tips: Tips, fd: int) -> None:
    store, fresh = clone.store, next_epoch(ref)
    objects = [*clone.tree({}), *epoch.carry(store, commits, clone.repo.object_format)]
    draft = Draft(EPOCH, text, {"carried": len(commits), "lowest": epoch_of(fresh)}, author=clone.settled_id())
    highest = max((event.lc for event in _decodable(commits)), default=0)
    lc = max(clone.seen_clock(clone.index.db), highest) + 1
    root = make_object("commit", encode(draft, clone.envelope(lc), objects[-1].oid, None), clone.repo.object_format)
    clone.journal.add([*objects, root])
    store.write([*objects, root])
    store.move(fresh, root.oid, None, fd)
    clone.drop_refs([old for old in tips.refs if is_log(old) and log_of(old) == log_of(fresh)], tips, fd)


def _decodable(commits: Sequence[Commit]) -> Iterator[Event]:
    for oid, raw in commits:
        with suppress(Malformed):
            yield decode(oid, raw)
