"""Look at the remote, fetch what is new there, and read it into the index.

Others' logs only ever grow: a rewritten one stays as this clone knows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord.log import trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.query import COLUMNS, event_of
from gitcoord.store import transport
from gitcoord.store.failures import Busy
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import RETIRED, is_lease, is_log, is_of, is_presence, owner
from gitcoord.store.refs import is_ancestor, pack
from gitcoord.store.transport import PendingLook
from gitcoord.sync import older
from gitcoord.sync.link import Link, Refs, RemoteState, joining, pause

BUSY_FOR = 6
"""Argument of `pause` before a busy host is asked once more: about a second."""


def pull(link: Link) -> tuple[Link, RemoteState]:
    """Look at the remote and fetch what is new there. Raises RemoteError. If the remote has coordination below another
    prefix than we thought, the returned link has that prefix."""
    return take(*heard(link, transport.start_look(link.clone.repo, link.remote.name, link.quiet)))


def heard(link: Link, look: PendingLook) -> tuple[Link, Refs]:
    """The refs of the remote, ours and others', once it has answered. Raises RemoteError."""
    try:
        listing = transport.answer(look)
    except Busy:
        pause(BUSY_FOR)
        listing = transport.list_remote(link.clone.repo, link.remote.name, link.quiet)
    link = joining(link, listing)
    refs = {here: oid for ref, oid in listing.items() if (here := link.remote.here(ref))}
    refs = older.without_twins(link.clone, refs)
    return link, {ref: oid for ref, oid in refs.items() if not (link.visit and is_lease(ref))}


def take(link: Link, refs: Refs) -> tuple[Link, RemoteState]:
    """Fetch what is new at a remote with `refs`. Raises RemoteError."""
    from gitcoord.log import old_epochs
    from gitcoord.store import sweep
    from gitcoord.sync import hearing, incoming, new_clone_id, retired_here
    from gitcoord.sync.outgoing import rolled_over

    clone = link.clone
    start = clone.read(lambda db: db.execute("SELECT max(seq) FROM events").fetchone()[0]) or 0
    ignored = clone.repo.setting("ignoreclone").split()
    before = clone.store.tips().refs
    if new_clone_id.check(link, refs, before):
        before = clone.store.tips().refs
    present = hearing.news(link, refs, ignored)
    logs = {ref: oid for ref, oid in refs.items() if not is_presence(ref)}
    moved = {ref: oid for ref, oid in logs.items() if before.get(ref) != oid and _is_others(clone, ref, ignored)}
    here = {oid for oid, size in zip(moved.values(), clone.store.sizes(list(moved.values())), strict=True) if size is not None}
    wanted = [ref for ref, oid in moved.items() if oid not in here or _is_wanted(clone, ref, oid, before)]
    if not (wanted or present.fresh) and not rolled_over([*refs, *before]):
        hearing.take(clone, present)
        if not link.visit:
            retired_here.drop_here(clone, refs)
        _tidy_up(link, refs, before, before)
        return link, RemoteState(refs, (), tuple(incoming.compare(link, refs, before, before)))
    wanted = sorted(set(wanted) - old_epochs.dropped(clone, wanted))
    with clone.locked():
        replaced = [before[ref] for ref in wanted if ref in before and not is_log(ref)]
        sweep.keep(clone.repo, clone.path("superseded"), replaced)
    refused = hearing.fetch(link, wanted, before, refs, present) if wanted or present.fresh else []
    with clone.locked() as fd:
        pack(clone.repo, fd)
    old_epochs.drop_replaced(clone)
    if not link.visit:
        retired_here.drop_here(clone, refs)
    after = clone.store.tips().refs
    if retired_here.was_retired(link, refs):
        new_clone_id.part(link, clone.store.listed(after[RETIRED]), new_clone_id.WAS_RETIRED)
        after = clone.store.tips().refs
    _tidy_up(link, refs, before, after)
    told = {refusal.ref for refusal in refused}
    refused += incoming.compare(link, {ref: oid for ref, oid in refs.items() if ref not in told}, before, after)
    newer = {ref: after[ref] for ref in wanted if is_lease(ref) and ref in after and ref != RETIRED}  # it may have moved since
    return link, RemoteState({**refs, **newer}, _news(clone, start), tuple(refused))


def _is_others(clone: Clone, ref: str, ignored: Sequence[str]) -> bool:
    return is_lease(ref) or not is_of(ref, (clone.id, *ignored))


def _is_wanted(clone: Clone, ref: str, oid: Oid, before: Refs) -> bool:
    """Whether to fetch another's ref whose object is here: not a log of which we have more already."""
    mine = before.get(ref)
    return is_lease(ref) or not (mine and is_log(ref) and is_ancestor(clone.repo, oid, mine))


def _tidy_up(link: Link, there: Refs, before: Refs, after: Refs) -> None:
    """Note replaced presence for the sweep, and delete refs that the remote no longer has: presence of ended sessions, if
    their log is there, and tables of leases."""
    clone = link.clone
    logs = ({owner(ref) for ref in there if is_log(ref)} | clone.store.retired) - {clone.id}
    gone = [] if link.visit else [ref for ref in after if is_lease(ref) and ref not in there and ref != RETIRED]
    gone += [ref for ref in after if is_presence(ref) and ref not in there and is_of(ref, logs) and not link.visit]
    replaced = [oid for ref, oid in before.items() if after.get(ref) not in (None, oid) and not is_log(ref)]
    if gone or replaced:
        from gitcoord.store import sweep

        with clone.locked():
            for oid in replaced:
                sweep.supersede(clone.repo, clone.path("superseded"), oid, clone.clock())
            for ref in gone:
                clone.point(ref, None)


def _news(clone: Clone, start: int) -> tuple[Event, ...]:
    """Handle the events that arrived after the index's place `start`: notify a person of urgent mail, and ignore adoptions
    of sessions that are alive here."""
    query = f"SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq"
    found = tuple(clone.read(lambda db: [event_of(row) for row in db.execute(query, (start,))]))
    if foreign := [event for event in found if not trust.is_own(clone, event.clone)]:
        for hooks in clone.registry.hooks("arrived"):
            if hooks.arrived:
                hooks.arrived(clone, foreign)
    if adoptions := [event for event in foreign if event.type == "adopt"]:
        from gitcoord.sessions import presence

        presence.take_back(clone, adoptions)
    return found
