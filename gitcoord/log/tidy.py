"""Tidy after a writer has released the lock: pack our loose objects before git counts them, sweep old presence."""

from __future__ import annotations

from collections.abc import Callable

from gitcoord.errors import CoordError
from gitcoord.lean import suppress
from gitcoord.log import recent
from gitcoord.log.ground import own_logs
from gitcoord.log.recent import Recent
from gitcoord.store import packing
from gitcoord.store.contract import Store
from gitcoord.store.ref_names import is_local

FEW_LOOSE = 64
"""Loose objects of ours that are never worth a pack."""
INLINE_OBJECTS = 16_000
"""The largest pack that a writer makes by merging; larger ones wait for a process in the background."""


def is_worth_a_pack(store: Store, found: Recent) -> bool:
    """Whether a look found enough loose objects for a pack."""
    return found.loose > FEW_LOOSE and packing.is_due(store.repo, found.loose)


def pack(
    store: Store, clone: str, fill_holes: Callable[[], object], found: Recent | None, checked: str, limit: int | None
) -> None:
    """Pack the loose objects of `clone`, and merge our packs as long as no pack gets more than `limit` objects. `found` is
    the result of the last look at recent objects, and `checked` its file. Where git met a hole in a log, which stops the
    user's own gc as well, it is filled. Never fails."""
    with suppress(CoordError):
        tips = {ref: oid for ref, oid in own_logs(store.tips().refs, clone).items() if not is_local(ref)}
        failed = packing.pack(store.repo, tips, limit)
        if packing.is_about_a_hole(failed):
            fill_holes()
        elif found and not failed:
            recent.save(checked, found.end)
