"""Refs that are not where they should be: noticed by readers, put right by whoever may write.

Our own logs stand where the journal says. Others' only grow here, whatever a fetch by force did to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from gitcoord.errors import RefMoved
from gitcoord.log import incidents, mend
from gitcoord.log.clone import Clone
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import belongs_to


def is_amiss(clone: Clone, noted: Mapping[str, Oid], tips: Tips) -> bool:
    """Whether a log of ours is missing, no longer contains where it stood before `tips` were listed, or has what we never
    wrote."""
    own = clone.id or ""
    return mend.is_lost(clone.store, own, noted, tips) or bool(mend.forged(clone.store, clone.journal, own, noted, tips))


def put_back(clone: Clone, ref: str, old: Oid, fd: int) -> None:
    """A log no longer contains `old`, where the index saw it last. To be called under the write lock.

    Another's is put back there, and `status` says so; of ours, the journal has decided already.
    """
    now = clone.store.tips().refs.get(ref)
    if now is None or belongs_to(ref, clone.settled_id()) or mend.descends(clone.store, now, old):
        clone.index.discard()
        return
    what = "rolled back" if mend.descends(clone.store, old, now) else "rewritten"
    kept = mend.is_whole(clone.store, old)
    if kept:
        with suppress(RefMoved):
            clone.store.move(ref, old, now, fd)
    else:
        clone.index.discard()
    outcome = "what was seen of it is kept" if kept else "what was seen of it is lost"
    incidents.note(clone.repo.coord_dir, ref.split("/")[3], f"its log was {what}; {outcome}", clone.clock())


def say_vanished(clone: Clone) -> None:
    """Others' logs that the index knew and whose refs are gone: they may be deleted, but not without a word."""
    refs, clone.index.vanished = clone.index.vanished, []
    for ref in refs:
        if ref not in clone.store.tips().refs and not belongs_to(ref, clone.id or ""):
            incidents.note(clone.repo.coord_dir, ref.split("/")[3], "its log is gone from this repository", clone.clock())
