"""Delete this clone's own refs at a remote, never another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gitcoord.errors import RemoteError, without_password
from gitcoord.lean import NamedTuple
from gitcoord.log.clone import Clone
from gitcoord.store import transport
from gitcoord.store.ref_names import belongs_to, is_lease, owner
from gitcoord.store.transport import Remote, Update
from gitcoord.sync import remotes
from gitcoord.sync.link import Link, joining, linked
from gitcoord.system.files import remove_ours


class RemoteRefs(NamedTuple):
    """The refs at a remote: those of this clone by their names there, and the number of each other clone's."""

    remote: str
    refs: tuple[str, ...]
    others: Mapping[str, int]


def standing(clone: Clone, name: str | None = None, cwd: str = ".") -> RemoteRefs:
    """The refs that `withdraw` would delete. Raises RemoteError."""
    return _look(Link(clone, remotes.choose(clone.repo, name, cwd), False))[1]


def withdraw(clone: Clone, name: str | None = None, cwd: str = ".") -> RemoteRefs:
    """Delete this clone's refs at a remote, and sync with it only when the user says so. Raises RemoteError. The last clone
    also deletes the tables of leases. Others keep what they fetched."""
    with linked(clone, remotes.choose(clone.repo, name, cwd)) as link:
        remote, found = _look(link)
        if found.refs:
            gone = [Update(here, None) for ref in found.refs if (here := remote.here(ref))]
            _must(found, transport.push(clone.repo, remote, gone))
        known = remotes.load(clone.repo)
        if known and known.is_of(remote.name):
            remove_ours(clone.path("remote"))
        return found


def _look(link: Link) -> tuple[Remote, RemoteRefs]:
    listing = transport.list_remote(link.clone.repo, link.remote.name, link.quiet)
    remote = joining(link, listing).remote
    refs = {here: ref for ref in listing if (here := remote.here(ref))}
    others = Counter(owner(ref) for ref in refs if not is_lease(ref) and not belongs_to(ref, link.clone.id))
    mine = [there for ref, there in refs.items() if belongs_to(ref, link.clone.id) or (is_lease(ref) and not others)]
    return remote, RemoteRefs(without_password(remote.name), tuple(mine), dict(others))


def _must(found: RemoteRefs, outcomes: Sequence[transport.Outcome]) -> None:
    left = [outcome for outcome in outcomes if outcome.state != "done"]
    if left:
        what = f"{found.remote} kept {len(left)} of {len(found.refs)} refs: {left[0].why}"
        raise RemoteError(what, f"delete them on the host, or ask its administrator: {found.refs[0]} and so on")
