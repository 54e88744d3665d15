"""Find out whether a remote and this clone have anything to exchange.

This clone's own news is collected while the remote lists its refs, so that a sync with nothing new ends with the remote's
answer. Events written here meanwhile go with the next sync, as if they had been written after this one.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord.lean import TYPE_CHECKING, NamedTuple
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE, PRESENCE, SESSIONS, belongs_to, is_lease, is_of, is_old_presence
from gitcoord.sync import older

if TYPE_CHECKING:
    from gitcoord.log.clone import Clone
    from gitcoord.sync.link import Link

Refs = Mapping[str, Oid]


class LocalState(NamedTuple):
    """The state of this clone. `idle`: it has nothing to do for its claims, its epochs, its signatures or incidents of other
    clones."""

    refs: Refs
    idle: bool


def look_here(link: Link) -> LocalState:
    """The state of this clone: what a sync has to do even if neither side has anything new."""
    from gitcoord.log import incidents, old_epochs, trust
    from gitcoord.log.index import presence
    from gitcoord.sync import lease_chores, retirement

    clone = link.clone
    refs = {**clone.store.tips().refs, **clone.read(presence.heard)}
    idle = not old_epochs.dropped(clone, refs) and not lease_chores.is_due(link, refs) and not trust.is_due(clone)
    idle = idle and (link.visit or not retirement.is_due(clone))
    idle = idle and not incidents.read(clone.repo.coord_dir)  # it may be over: a whole sync finds out
    return LocalState({ref: oid for ref, oid in refs.items() if not (link.visit and is_lease(ref))}, idle)


def agree(clone: Clone, there: Refs, here: LocalState) -> bool:
    """Whether this clone has all that the remote has, the remote has all that is ours, and nothing is left to be done."""
    ignored = clone.repo.setting("ignoreclone").split()
    theirs = {ref: oid for ref, oid in there.items() if is_lease(ref) or not is_of(ref, ignored)}
    if older.are_there(clone, there):  # what we show to them is sent whenever our presence is
        theirs = {ref: oid for ref, oid in theirs.items() if not (is_old_presence(ref) and belongs_to(ref, clone.id))}
    return here.idle and theirs.items() <= here.refs.items() and _shown(clone, here.refs) <= there.keys()


def _shown(clone: Clone, refs: Refs) -> set[str]:
    """The refs that the remote has if nothing is to be exchanged: our log, the tables of leases, and presence. Others'
    presence, too: only its owner deletes it."""
    log = f"{NAMESPACE}log/{clone.id}/"
    return {ref for ref in refs if ref.startswith((log, PRESENCE, SESSIONS)) or is_lease(ref)}
