"""Take a new id when this clone finds its own in use at the remote.

If the remote's copy of our log has an event that we did not write, this clone is a restored backup, or a copy of a
clone that is in use elsewhere. We cannot tell which, and need not. The old log stays as history, as it is at the remote.
Our events that the remote never got go into the new log, with their ids, once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from gitcoord.errors import RemoteError, without_password
from gitcoord.lean import TYPE_CHECKING
from gitcoord.log import clone_id, epoch, old_epochs
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, decode
from gitcoord.log.trust import EPOCH
from gitcoord.names import mailbox
from gitcoord.sessions.records import Records
from gitcoord.store import transport
from gitcoord.store.failures import BadObjects
from gitcoord.store.objects import GitObject, Oid
from gitcoord.store.ref_names import belongs_to, is_local, is_log, is_of, is_presence, log_ref, owner
from gitcoord.store.refs import is_ancestor
from gitcoord.sync import outgoing, remotes

if TYPE_CHECKING:
    from gitcoord.sync.link import Link


def check(link: Link, there: Mapping[str, Oid], tips: Mapping[str, Oid]) -> bool:
    """Compare the remote's copy of our log with ours, which is at `tips`, and continue under a new id if it has events
    that we did not write. Returns whether anything changed.

    Raises RemoteError where `coord.clone` pins the id.
    """
    clone = link.clone
    names = [clone.id, *clone_id.former_ids(clone.repo)]
    strange = {
        ref: oid for ref, oid in there.items() if is_log(ref) and is_of(ref, names) and not _is_known(clone, tips.get(ref), oid)
    }
    dropped = old_epochs.dropped(clone, strange) if strange else set()
    strange = {ref: oid for ref, oid in strange.items() if ref not in dropped or not _is_old(link, ref, oid)}
    old = clone.id
    found = dict(_fetched(link, strange, old))
    if not found:
        return _is_seen_elsewhere(link, there) and part(link, there, "presence")
    with clone.locked() as fd:
        # first repair a ref of ours that was rolled back: the further events at the remote were written here
        mended = clone.settled_tips(fd).refs
        found = {ref: oid for ref, oid in found.items() if oid is None or not _is_known(clone, mended.get(ref), oid)}
        if not found:
            return True
        used = any(belongs_to(ref, old) for ref in found)
        if used:
            _refuse_pinned(link, old, "events")
            _renew(clone, {ref: oid for ref, oid in found.items() if belongs_to(ref, old)}, mended, fd)
        _let_go(clone, found, fd)
    if used:
        _go_on(link, old)
    return True


def _fetched(link: Link, strange: Mapping[str, Oid], ours: str) -> Iterator[tuple[str, Oid | None]]:
    """The logs in our names with what the remote has of them: None where git rejects its objects, which we never wrote.
    Of a former name that concerns nobody any more."""
    for ref, oid in strange.items():
        try:
            transport.fetch_objects(link.clone.repo, link.remote, ref, link.quiet)
            yield ref, oid
        except BadObjects:
            if belongs_to(ref, ours):
                yield ref, None


def _is_seen_elsewhere(link: Link, there: Mapping[str, Oid]) -> bool:
    """Whether the remote has presence in our name that this clone never sent: then a copy of this clone is at work."""
    clone, known = link.clone, remotes.load(link.clone.repo)
    if link.visit or known is None or not known.is_of(link.remote.name):
        return False
    theirs = [
        oid for ref, oid in there.items() if is_presence(ref) and belongs_to(ref, clone.id) and known.ours.get(ref) != oid
    ]
    ours = outgoing.went(clone) if theirs else []
    strange = [oid for oid in theirs if oid not in ours]
    return bool(ours) and any(size is None for size in clone.store.sizes(strange))


WAS_RETIRED = "silence"
"""The words for a clone that others retired, because it was silent for long."""


def part(link: Link, there: Mapping[str, Oid], what: str = "claims") -> bool:
    """Go on under a new id because somebody else, at the same remote, acts under ours, or has retired us; our log stands at
    `there`. `what` of theirs was seen. Returns True.

    Raises RemoteError where `coord.clone` pins the id.
    """
    clone = link.clone
    with clone.locked() as fd:
        old = clone.settled_id()
        _refuse_pinned(link, old, what)
        mended = clone.settled_tips(fd).refs
        shared = {ref: there.get(ref) for ref in mended if is_log(ref) and belongs_to(ref, old) and not is_local(ref)}
        _renew(clone, shared, mended, fd)
        _let_go(clone, shared, fd)
    _go_on(link, old, what)
    return True


def _refuse_pinned(link: Link, old: str, what: str) -> None:
    if link.clone.repo.setting("clone"):
        raise RemoteError(
            f"{link.remote.name} has {what} of {old} that this clone did not write", "git config coord.clone ANOTHER-ID"
        )


def _go_on(link: Link, old: str, what: str = "events") -> None:
    """Continue under the new id, and tell the sessions here, and those of the other clone."""
    clone = link.clone
    name = without_password(link.remote.name)
    news = f"{name} has {what} of {old} that were not written here (a restored backup, or a copy in use)"
    if what == WAS_RETIRED:
        news = f"another clone has retired {old} at {name}, as it does after a long silence (coord.keep)"
    with clone.locked():
        _join_again(clone, f"{news}: this clone is {clone.id} now.", old)
        if what != WAS_RETIRED:
            _tell_the_other(clone, old)
        for hooks in clone.registry.hooks("renamed"):
            if hooks.renamed:
                hooks.renamed(clone, old)
    takes = f"git coord join NAME --from {old} takes over a session's mail and tasks"
    clone.mended.append(f"{news}: this clone is {clone.id} now; {takes}")


def _is_known(clone: Clone, mine: Oid | None, theirs: Oid) -> bool:
    """Whether our log at `mine` has the commit. Raises ObjectMissing where a commit of ours is lost: it is restored first,
    because a clone with a hole in its log would take its own events for another's."""
    if mine is None or is_ancestor(clone.repo, theirs, mine):
        return mine is not None
    # git's no is not enough: while commits, packs or commit-graphs come and go, it said so of a commit that was there
    return any(oid == theirs for oid, _ in clone.store.chain(mine, None))


def _is_old(link: Link, ref: str, theirs: Oid) -> bool:
    """Whether we wrote the remote's copy of an epoch that we replaced; its objects may be gone here."""
    known, end = remotes.load(link.clone.repo), old_epochs.ended_at(link.clone, ref)
    if known is not None and known.ours.get(ref) == theirs:
        return True
    return end is not None and is_ancestor(link.clone.repo, theirs, end)


def _renew(clone: Clone, strange: Mapping[str, Oid | None], tips: Mapping[str, Oid], fd: int) -> None:
    """Write the new log, then the id, then delete the old refs: whenever the process is killed, every event stays reachable
    from a ref."""
    old = clone.settled_id()
    kept = [commit for ref, theirs in strange.items() for commit in _only_here(clone, tips.get(ref), theirs)]
    known = clone_id.renewed(clone.repo, old)
    clone.rename(known)
    if kept:
        _carry(clone, old, kept, fd)
    clone_id.renew_clone_id(clone.repo, known)


def _let_go(clone: Clone, strange: Mapping[str, Oid | None], fd: int) -> None:
    """Treat the logs of our former ids as another clone's, at the tips that the remote has; their sessions are not here."""
    tips = clone.store.tips().refs
    for ref, theirs in strange.items():
        clone.store.move(ref, theirs, tips.get(ref), fd)
    owners = {owner(ref) for ref in strange}
    for ref in tips:
        if is_presence(ref) and is_of(ref, owners):
            clone.point(ref, None)
    clone.index.discard()  # the index would restore a log that does not contain the tip that it saw


def _only_here(clone: Clone, mine: Oid | None, theirs: Oid | None) -> list[tuple[Oid, bytes]]:
    if mine is None:
        return []
    there = {oid for oid, _ in clone.store.chain(theirs, None)} if theirs else set()
    return [(oid, raw) for oid, raw in clone.store.chain(mine, None) if oid not in there]


def _carry(clone: Clone, old: str, commits: list[tuple[Oid, bytes]], fd: int) -> None:
    objects = epoch.carry(clone.store, commits, clone.repo.object_format)
    text = f"{old} continues here: {len(commits)} events that only this copy of it has are carried over"
    draft = Draft(EPOCH, text, {"carried": len(commits), "continues": old}, author=clone.settled_id())
    highest = max(decode(oid, raw).lc for oid, raw in commits)
    ref = log_ref(clone.settled_id())
    root = clone.pen.root(ref, draft, highest + 1, objects[-1].oid)
    written: list[GitObject] = [*objects, root]
    clone.journal.add(written)
    clone.store.write(written)
    clone.store.move(ref, root.oid, None, fd)


def _join_again(clone: Clone, news: str, old: str) -> None:
    """Register our sessions under the new id, so that others can write to them. Each gets a message, because a background
    sync has no user to tell."""
    from gitcoord.sessions.presence import publish

    records = Records(clone.repo.coord_dir)
    here = [record for record in records.all() if record.left is None]
    with clone.locked():
        joins = [Draft("join", f"{r.name} joined", {"session": r.name}, author=r.name) for r in here]
        clone.append(lambda db: joins)
        clone.append(lambda db: [_told(clone, r.name, news, old) for r in here], local=True)
        for record in here:
            publish(clone, record, time.time())


def _tell_the_other(clone: Clone, old: str) -> None:
    """Tell the sessions of the other clone, which keeps the old id, that a copy exists: neither could know it before."""
    names = [record.name for record in Records(clone.repo.coord_dir).all() if record.left is None]
    text = f"A copy of your clone was at work as {old}, too. It is {clone.id} now; {old} stays yours."
    data = {"to": [mailbox(name, old) for name in names], "notice": "clone", "about": old}
    if names:
        clone.append(lambda db: [Draft("message", text, data, author=names[0])])


def _told(clone: Clone, name: str, news: str, old: str) -> Draft:
    text = f"{news} Once {name}@{old} is silent, git coord join {name} --from {old} takes over its mail and tasks."
    return Draft("message", text, {"to": [clone.box(name)], "notice": "clone", "about": old}, author=name)
