"""Apply the list of retired clones here: logs in it need no refs, and this clone may be in it."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord.errors import RefMoved
from gitcoord.lean import TYPE_CHECKING, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.ground import Ground
from gitcoord.log.index import presence
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import RETIRED, belongs_to, is_local, is_log, is_of, is_presence, owner
from gitcoord.store.refs import is_ancestor

if TYPE_CHECKING:
    from gitcoord.sync.link import Link


def drop_here(clone: Clone, there: Mapping[str, Oid]) -> None:
    """Delete the refs here of clones whose logs the list of retired clones keeps, and of which the remote with the refs
    `there` has no log any more: everybody who may push can list a clone that is at work."""
    if not _listed(clone, there):
        return

    def drop(ground: Ground, tips: Tips) -> list[str]:
        for logs in _listed(clone, there).values():
            for ref, oid in logs.items():
                with suppress(RefMoved):
                    ground.store.git.move(ref, None, oid, ground.fd)
        return []

    def is_over(ref: str) -> bool:
        return is_presence(ref) and is_of(ref, clone.store.retired)

    clone.mend(drop)
    for ref in filter(is_over, clone.store.tips().refs):
        clone.point(ref, None)
    if over := [ref for ref in clone.read(presence.heard) if is_over(ref)]:
        with clone.locked():
            clone.index.hear(clone.store, {}, over)


def _listed(clone: Clone, there: Mapping[str, Oid]) -> dict[str, dict[str, Oid]]:
    """The logs here, by clone, that the list keeps whole."""
    refs = clone.store.git.tips().refs
    listed = clone.store.listed(refs[RETIRED]) if RETIRED in refs else {}
    there_or_ours = {clone.id, *(owner(ref) for ref in there if is_log(ref))}
    retired = set(map(owner, listed)) - there_or_ours
    found: dict[str, dict[str, Oid]] = {}
    for ref, oid in refs.items():
        if is_log(ref) and not is_local(ref) and is_of(ref, retired):
            found.setdefault(owner(ref), {})[ref] = oid
    return {
        name: logs
        for name, logs in found.items()
        if all(ref in listed and is_ancestor(clone.repo, oid, listed[ref]) for ref, oid in logs.items())
    }


def was_retired(link: Link, there: Mapping[str, Oid]) -> bool:
    """Whether another clone retired this one: it is in the list, and the remote has no log of it any more."""
    clone = link.clone
    refs = clone.store.git.tips().refs
    if link.visit or RETIRED not in there or RETIRED not in refs or any(belongs_to(ref, clone.id) for ref in there):
        return False
    return any(belongs_to(ref, clone.id) for ref in clone.store.listed(refs[RETIRED]))
