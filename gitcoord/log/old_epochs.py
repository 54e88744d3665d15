"""Find epochs that a later epoch of the same log has replaced, and delete their refs."""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord import lean_json as json
from gitcoord.errors import RefMoved
from gitcoord.lean import suppress
from gitcoord.log.clone import Clone
from gitcoord.log.ground import Ground
from gitcoord.log.trust import lowest_epochs
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import epoch_of, is_log, is_of, log_of, owner


def dropped(clone: Clone, refs: Iterable[str]) -> set[str]:
    """Those of `refs` that a later epoch of the same log, known here, has replaced."""
    lowest = clone.read(lowest_epochs)
    return {ref for ref in refs if is_log(ref) and epoch_of(ref) < lowest.get(log_of(ref), 0)}


def ended_at(clone: Clone, ref: str) -> Oid | None:
    """The last commit of our epoch `ref`, according to the root that follows it."""
    query = "SELECT data FROM events WHERE type = 'epoch' AND clone = ? AND epoch = ?"
    rows = clone.read(lambda db: db.execute(query, (clone.id, epoch_of(ref) + 1)).fetchall())
    return next((Oid(after) for (data,) in rows if isinstance(after := json.loads(data).get("after"), str)), None)


def drop_replaced(clone: Clone) -> None:
    """Delete epochs that a later one replaced: others', and ours if a crash left one. If a clone's signatures are missing
    in the new epoch, the old one is kept."""
    from gitcoord.log import rollover, trust

    if not dropped(clone, clone.store.tips().refs):
        return
    doubtful = {warning.clone for warning in trust.warnings(clone)}

    def drop(ground: Ground, tips: Tips) -> list[str]:
        replaced = dropped(clone, tips.refs)
        rollover.drop_refs(ground, {ref: tips.refs[ref] for ref in replaced if clone.is_ours(owner(ref))})
        for ref in replaced:
            if not is_of(ref, {clone.id, *doubtful}):
                with suppress(RefMoved):
                    ground.store.move(ref, None, tips.refs[ref], ground.fd)
        return []

    clone.mend(drop)
