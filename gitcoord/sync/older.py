"""Show our sessions to clones with gitcoord 0.1, which reads one ref for each session: only where a remote has such refs.

Without them an older clone would see a holder of a lease as silent, and take its task after twelve hours. The commits are
the same each time as long as the facts are, so they are sent only when something changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord.lean import Any
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.log.index import presence
from gitcoord.store.objects import GitObject, Oid
from gitcoord.store.ref_names import SESSIONS, belongs_to, is_old_presence, owner, presence_ref


def are_there(clone: Clone, there: Mapping[str, Oid]) -> bool:
    """Whether a clone with gitcoord 0.1 shows sessions at the remote with the refs `there`."""
    return any(is_old_presence(ref) and not belongs_to(ref, clone.id) for ref in there)


def without_twins(clone: Clone, there: Mapping[str, Oid]) -> dict[str, Oid]:
    """The refs of a remote without those that other clones write only for older ones: they have the newer form, too."""
    shown_anew = {presence_ref(owner(ref)) for ref in there if is_old_presence(ref)} & there.keys()
    return {ref: oid for ref, oid in there.items() if not (shown_anew and _is_twin(clone, ref, shown_anew))}


def _is_twin(clone: Clone, ref: str, shown_anew: set[str]) -> bool:
    return is_old_presence(ref) and presence_ref(owner(ref)) in shown_anew and not belongs_to(ref, clone.id)


def refs_for(clone: Clone, there: Mapping[str, Oid]) -> dict[str, Oid]:
    """The refs that show our sessions to older clones, if the remote, whose refs are `there`, has any of theirs."""
    if not are_there(clone, there):
        return {}
    sessions = clone.read(lambda db: presence.own(db, clone.id))
    commits = {f"{SESSIONS}{clone.id}/{name}": _commit(clone, name, facts) for name, facts in sessions.items()}
    fresh = [item for ref, item in commits.items() if there.get(ref) != item.oid]
    if fresh:
        clone.keep_for_now(fresh)
    return {ref: item.oid for ref, item in commits.items()}


def _commit(clone: Clone, name: str, facts: Mapping[str, Any]) -> GitObject:
    data = {key: value for key, value in facts.items() if key != "at"}
    text = f"{name} is {facts['state']}"
    return clone.pen.alone(Draft("presence", text, {**data, "session": name}, author=name), 1, facts["at"])[-1]
