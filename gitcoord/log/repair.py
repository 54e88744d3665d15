"""Keep others' logs growing, even after a forced fetch, and remember what was done to them."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord.errors import RefMoved
from gitcoord.lean import suppress
from gitcoord.log import incidents, mend
from gitcoord.log.ground import Ground
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import belongs_to, owner


def put_back(ground: Ground, ref: str, old: Oid, at: float) -> None:
    """Restore another clone's log to `old`, its tip when the index last read it, if it no longer contains that; `status`
    says so.

    To be called under the write lock. `at` is the time in Unix seconds. Raises Unreadable.
    """
    store = ground.store
    now = store.tips().refs.get(ref)
    if now is None or belongs_to(ref, ground.pen.clone) or mend.descends(store, now, old):
        ground.index.discard()
        return
    what = "rolled back" if mend.descends(store, old, now) else "rewritten"
    kept = mend.is_whole(store, old)
    if kept:
        with suppress(RefMoved):
            store.move(ref, old, now, ground.fd)
    else:
        ground.index.discard()
    outcome = "its fetched events are kept" if kept else "its fetched events are lost"
    missed = (old,) if kept and what == "rolled back" else ()
    incidents.note(store.repo.coord_dir, owner(ref), f"its log was {what}; {outcome}", at, missed)


def say_vanished(coord_dir: str, known: Mapping[str, Oid], tips: Tips, own: str, at: float) -> None:
    """Report others' logs that the index knew, by their tips, and whose refs are gone: they may be deleted, but not
    silently. A sync that brings all of it back settles this."""
    for ref, tip in known.items():
        if ref not in tips.refs and not belongs_to(ref, own):
            incidents.note(coord_dir, owner(ref), "its log is gone from this repository", at, (tip,))
