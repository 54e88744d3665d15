"""Presence of other clones: fetched, read into the index, and kept in no ref here.

It is replaced every few minutes, so a ref for each clone would cost the user's own git more than the logs do. What the
index knows of it is lost with the index; the next sync fetches it again. The fetched commits are garbage once they have
been read, and the sweep removes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gitcoord.lean import TYPE_CHECKING, NamedTuple
from gitcoord.log.clone import Clone
from gitcoord.log.ground import Ground
from gitcoord.log.index import presence
from gitcoord.store import refs, sweep
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import is_log, is_of, is_presence, owner
from gitcoord.sync import incoming

if TYPE_CHECKING:
    from gitcoord.sync.link import Link, Refusal

Refs = Mapping[str, Oid]
FEW = 50
"""Commits of presence that come with the logs. More are fetched by themselves, as single objects: in a pack they would
stay until a gc of the user's makes them loose."""


class News(NamedTuple):
    """Presence at a remote that is not known here, and refs of presence that are gone there."""

    fresh: Refs
    gone: Sequence[str]


def news(link: Link, there: Refs, ignored: Sequence[str]) -> News:
    """Compare the presence of others at the remote, whose refs are `there`, with what is known of it."""
    clone = link.clone
    known = clone.read(presence.heard)
    others = {ref: oid for ref, oid in there.items() if is_presence(ref) and not is_of(ref, (clone.id, *ignored))}
    logs = {owner(ref) for ref in there if is_log(ref)} | clone.store.retired
    gone = [] if link.visit else [ref for ref in known if ref not in there and is_of(ref, logs)]
    return News({ref: oid for ref, oid in others.items() if known.get(ref) != oid}, gone)


def fetch(link: Link, wanted: Sequence[str], before: Refs, there: Refs, found: News) -> list[Refusal]:
    """Fetch the `wanted` logs and tables, and presence, and read it. Raises RemoteError."""
    fresh = list(found.fresh)
    if len(fresh) <= FEW:
        refused = incoming.fetch(link, [*wanted, *fresh], before, there)
    else:
        refused = incoming.fetch(link, wanted, before, there) if wanted else []
        refused += incoming.fetch(link, fresh, before, there)
    told = {refusal.ref for refusal in refused}
    take(link.clone, found._replace(fresh={ref: oid for ref, oid in found.fresh.items() if ref not in told}))
    return refused


def take(clone: Clone, found: News) -> None:
    """Read what was fetched, forget what is gone, and delete refs of presence that were left here."""
    if not (found.fresh or found.gone):
        return
    with clone.locked():
        clone.read(lambda db: None)  # the logs first: their checkpoints show whose key signs the presence
        clone.index.hear(clone.store, found.fresh, found.gone)
        sweep.supersede_all(clone.repo, clone.path("superseded"), list(found.fresh.values()), clone.clock())
        clone.mend(lambda ground, tips: _drop_refs(clone, ground, tips))


def _drop_refs(clone: Clone, ground: Ground, tips: Tips) -> list[str]:
    """Delete refs of others' presence that an earlier version, or a fetch by hand, left here, once they were read."""
    left = {ref: oid for ref, oid in tips.refs.items() if is_presence(ref) and not is_of(ref, (clone.id,))}
    if left:
        known = clone.read(presence.heard)
        refs.delete(clone.repo, {ref: oid for ref, oid in left.items() if ref in known}, ground.fd)
    return []
