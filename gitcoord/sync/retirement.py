"""Retire clones that were silent for `coord.keep` (30 days): one list keeps their logs, and their refs are deleted. Any
clone may retire another whose refs at the remote it saw unchanged for that time, by both of its clocks. List and refs
change in one push, atomically if the host can, each by compare-and-swap. So only one clone does it, and a clone that writes
something meanwhile stays. One that comes back later finds itself in the list and continues under a new id."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Mapping, Sequence

from gitcoord.errors import RemoteError
from gitcoord.lean import TYPE_CHECKING, suppress
from gitcoord.log import old_epochs
from gitcoord.log.clone import Clone
from gitcoord.store import transport
from gitcoord.store.failures import NotAtomic
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import RETIRED, belongs_to, is_lease, is_log, is_of, owner
from gitcoord.store.refs import is_ancestor
from gitcoord.store.transport import How, Update
from gitcoord.sync import leases, rejected
from gitcoord.sync.retired_here import drop_here
from gitcoord.system.files import touch_ours

if TYPE_CHECKING:
    from gitcoord.sync.link import Link

Refs = Mapping[str, Oid]
KEEP = 30 * 24 * 3600.0
"""Seconds of silence after which a clone may be retired."""
LOOK_EVERY = 6 * 3600.0
"""Seconds between two looks for silent clones."""
AT_ONCE = 200
"""Number of clones that one push retires; the others follow with the next look."""


def is_due(clone: Clone) -> bool:
    """Whether the next look for silent clones is due."""
    try:
        return not 0 <= time.time() - os.stat(clone.path("seen-clones")).st_mtime < LOOK_EVERY
    except OSError:
        return True


def retire_the_silent(link: Link, there: Refs) -> None:
    """Retire the clones that were silent for too long; `there` are the remote's refs. If the remote rejects that, the next
    look tries again."""
    clone = link.clone
    if link.visit or not is_due(clone) or rejected.LEASES in rejected.known(link):
        return
    silent = _silent(clone, there)[:AT_ONCE]
    with suppress(OSError):
        touch_ours(clone.path("seen-clones"))
    with suppress(RemoteError):
        before = _lists(link, there)
        logs = _logs(clone, there, silent, clone.store.listed(before[0]) if before else {})
        if logs or len(before) > 1:
            _retire(link, there, logs, before)


def _silent(clone: Clone, there: Refs) -> list[str]:
    """The other clones whose refs were seen unchanged for `coord.keep`, by the two clocks of `leases.observe`."""
    refs: dict[str, list[str]] = {}
    for ref, oid in sorted(there.items()):
        if not is_lease(ref) and not belongs_to(ref, clone.id):
            refs.setdefault(owner(ref), []).append(f"{ref} {oid}")
    marks = {name: f"{name} {zlib.crc32(' '.join(lines).encode()):08x}" for name, lines in refs.items()}
    ages = leases.observe(clone, "clones", marks.values())
    keep = clone.repo.seconds("keep", KEEP)
    return [name for name, mark in marks.items() if ages[mark] >= keep]


def _logs(clone: Clone, there: Refs, names: Sequence[str], listed: Refs) -> dict[str, Oid]:
    """The logs of some clones, if all of a clone's logs are here as they are at the remote. A clone that the list has with
    another log keeps its refs: the list would keep less of it, or something that it did not write."""
    tips = clone.store.git.tips().refs
    logs = {ref: oid for ref, oid in there.items() if is_log(ref) and is_of(ref, names)}
    old = old_epochs.dropped(clone, logs)
    logs = {ref: oid for ref, oid in logs.items() if ref not in old}
    strange = {owner(ref) for ref, oid in logs.items() if tips.get(ref) != oid}
    strange |= {owner(ref) for ref, oid in listed.items() if is_of(ref, names) and logs.get(ref) != oid}
    return {ref: oid for ref, oid in logs.items() if not is_of(ref, strange)}


def _lists(link: Link, there: Refs) -> list[Oid]:
    """The list that the next one continues: the remote's. If that does not continue ours (after a move to a remote with a
    list of its own, or when it was replaced by force), first ours and then the remote's: so the next one continues both."""
    clone, theirs = link.clone, there.get(RETIRED)
    ours = clone.store.git.tips().refs.get(RETIRED)
    if theirs is None or ours is None or ours == theirs:
        return [theirs] if theirs else []
    transport.fetch_objects(clone.repo, link.remote, RETIRED, link.quiet)
    return [theirs] if is_ancestor(clone.repo, ours, theirs) else [ours, theirs]


def _retire(link: Link, there: Refs, logs: Mapping[str, Oid], before: Sequence[Oid]) -> None:
    clone, names = link.clone, {owner(ref) for ref in logs}
    known = set(map(owner, clone.store.listed(before[0]))) if before else set()
    added = {ref: oid for other in before[1:] for ref, oid in clone.store.listed(other).items() if not is_of(ref, known)}
    fresh = clone.list_retired({**added, **logs}, before)
    gone = [ref for ref in there if not is_lease(ref) and is_of(ref, names)]
    swap = Update(RETIRED, fresh, How.SWAP, there.get(RETIRED))
    removals = [Update(ref, None, How.SWAP, there[ref]) for ref in gone]
    try:
        outcomes = transport.push(clone.repo, link.remote, [swap, *removals], link.quiet, atomic=True)
    except NotAtomic:
        outcomes = transport.push(clone.repo, link.remote, [swap], link.quiet)
        if all(outcome.state == "done" for outcome in outcomes):
            outcomes += transport.push(clone.repo, link.remote, removals, link.quiet)
    done = {outcome.ref for outcome in outcomes if outcome.state == "done"}
    if RETIRED in done:
        clone.point(RETIRED, fresh)
        drop_here(clone, {ref: oid for ref, oid in there.items() if ref not in done})
