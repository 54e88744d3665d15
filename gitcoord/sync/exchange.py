"""Sync: bring our logs and presence to the coordination remote, and fetch everybody else's.

One `git ls-remote` tells what is new on either side; with nothing new it is the only connection. Our refs are written
by us alone, so a push of ours is never a merge. Others' logs only ever grow: one that was rewritten is left as we know it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.errors import CoordError, RemoteError, RepositoryError, without_password
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.query import COLUMNS, event_of
from gitcoord.store import NAMESPACE, transport
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import is_lease, is_log
from gitcoord.store.refs import is_ancestor, pack
from gitcoord.store.transport import Look, Remote
from gitcoord.sync import early_look, remotes
from gitcoord.system.files import touch_ours
from gitcoord.system.lock import file_lock

if TYPE_CHECKING:
    from gitcoord.sync.incoming import Refusal

ATTEMPTS = 8
PRESENCE_AGE = 60.0
"""Seconds after which a session's presence is looked at anew before a sync."""
Refs = Mapping[str, Oid]
"""Refs as they are called here, and what they name at the remote."""


class Report(NamedTuple):
    """What a sync did: events that crossed either way, and what did not."""

    remote: str
    sent: int
    received: int
    refused: tuple[Refusal, ...] = ()


class Link(NamedTuple):
    """A clone that may talk to its remote now: at most one process of a clone does at a time."""

    clone: Clone
    remote: Remote
    quiet: bool
    look: Look | None = None
    """One that was begun before (`ahead`)."""


class Seen(NamedTuple):
    """What a look at the remote showed, and what it brought."""

    refs: Refs
    events: tuple[Event, ...]
    refused: tuple[Refusal, ...]


@contextmanager
def link(clone: Clone, remote: Remote, quiet: bool = False) -> Iterator[Link]:
    """Hold the clone's right to the network, waiting for it. What is written meanwhile starts no sync in the background;
    that is for who held it (`Clone.have_sent`)."""
    with clone.locked():
        clone.settled_id()
    lock = clone.path("sync.lock")
    with file_lock(lock):
        look = early_look.look(clone.repo, remote.name, lock)
        touch_ours(lock)
        before, clone.keeps_to_itself = clone.keeps_to_itself, True
        try:
            yield Link(clone, remote, quiet, look)
        finally:
            clone.keeps_to_itself = before


def sync(clone: Clone, name: str | None = None, cwd: str = ".", quiet: bool = False) -> Report:
    """Exchange with a remote: the one named, else the coordination remote. `quiet` asks nobody for a password.

    Raises RemoteError when it cannot be reached, refuses our refs or may not see them, UsageError when none is named.
    """
    remote = remotes.choose(clone.repo, name, cwd)
    with link(clone, remote, quiet) as at:
        return exchange(at)


def exchange(at: Link) -> Report:
    """One sync over a link. What fails is remembered for `status`. Raises RemoteError."""
    look = at.look or transport.start_look(at.clone.repo, at.remote.name, at.quiet)  # and meanwhile, what takes a while here
    _refresh_presence(at.clone)
    try:
        return _exchange(at, look)
    except RemoteError as error:
        remotes.failed(at.clone.repo, at.remote.name, error.what)
        raise


def _exchange(at: Link, look: Look) -> Report:
    from gitcoord.sync import idle_check, lease_chores, outgoing

    here = idle_check.look_here(at)
    _warm_up()
    at, there = _heard(at, look)
    if idle_check.agree(at.clone, there, here):
        outgoing.remember(at, {ref: oid for ref, oid in there.items() if outgoing.is_to_go(ref, at.clone)}, pushed=False)
        return Report(without_password(at.remote.name), 0, 0)
    received: list[Event] = []
    sent = 0
    for attempt in range(ATTEMPTS):
        at, seen = take(at, there) if attempt == 0 else pull(at)
        received += seen.events
        lease_chores.settle(at, seen.refs)
        vouch(at)
        went = outgoing.push(at, seen.refs)
        sent += went.events
        if not went.moved:
            lease_chores.tidy(at, seen.refs)
            foreign = sum(event.clone != at.clone.id for event in received)
            return Report(without_password(at.remote.name), sent, foreign, (*seen.refused, *went.refused))
        pause(attempt)
    raise RemoteError(f"{at.remote.name} keeps moving under our pushes", "git coord sync, once more")


def vouch(at: Link) -> None:
    """Sign what is about to go out, if this user signs. Where that fails it goes all the same: the next signature covers
    it, too."""
    from gitcoord.log import trust

    try:
        trust.checkpoint(at.clone, prompt=not at.quiet)
    except RepositoryError as error:
        at.clone.mended.append(f"nothing was signed: {error.what}")


def pause(attempt: int) -> None:
    """Before another try, for a while that differs from others'."""
    import random

    time.sleep(random.uniform(0.5, 1.5) * min(1.0, 0.02 * 2**attempt))


def _refresh_presence(clone: Clone) -> None:
    """What others will see of our sessions is as of now."""
    from gitcoord.features import deaths
    from gitcoord.sessions import ambient
    from gitcoord.sessions.records import Records

    deaths.notice(clone)
    now = time.time()
    for record in Records(clone.repo.coord_dir).all():
        if record.left is None and record.published and not 0 <= now - record.published < PRESENCE_AGE:
            with suppress(CoordError):
                ambient.refresh(clone, record.name, now)


# receiving


def pull(at: Link) -> tuple[Link, Seen]:
    """Look at the remote and fetch what is new there. Raises RemoteError.

    Where it keeps coordination below another prefix than we thought, the link that comes back has that one.
    """
    return take(*_heard(at, transport.start_look(at.clone.repo, at.remote.name, at.quiet)))


def _heard(at: Link, look: Look) -> tuple[Link, Refs]:
    """What the remote has of ours and of others', once it has answered. Raises RemoteError."""
    listing = transport.answer(look)
    at = joining(at, listing)
    return at, {here: oid for ref, oid in listing.items() if (here := at.remote.here(ref))}


def take(at: Link, refs: Refs) -> tuple[Link, Seen]:
    """Fetch what is new at a remote that was heard to have `refs`. Raises RemoteError."""
    from gitcoord.log import rollover
    from gitcoord.sync import incoming, new_clone_id
    from gitcoord.sync.outgoing import rolled_over

    clone = at.clone
    start = clone.read(lambda db: db.execute("SELECT max(seq) FROM events").fetchone()[0]) or 0
    ignored = clone.repo.setting("ignoreclone").split()
    before = clone.store.tips().refs
    if new_clone_id.check(at, refs, before):
        before = clone.store.tips().refs
    wanted = [ref for ref, oid in refs.items() if before.get(ref) != oid and _is_wanted(clone, ref, oid, before, ignored)]
    if not wanted and not rolled_over([*refs, *before]):
        _tidy_up(clone, refs, before, before)
        return at, Seen(refs, (), tuple(incoming.compare(at, refs, before, before)))
    wanted = sorted(set(wanted) - rollover.dropped(clone, wanted))
    refused = incoming.fetch(at, wanted, before) if wanted else []
    with clone.locked() as fd:
        pack(clone.repo, fd)
    rollover.drop_replaced(clone)
    after = clone.store.tips().refs
    _tidy_up(clone, refs, before, after)
    told = {refusal.ref for refusal in refused}
    refused += incoming.compare(at, {ref: oid for ref, oid in refs.items() if ref not in told}, before, after)
    newer = {ref: after[ref] for ref in wanted if is_lease(ref) and ref in after}  # it may have moved since it was listed
    return at, Seen({**refs, **newer}, _news(clone, start), tuple(refused))


def _warm_up() -> None:
    """Load what comes after the answer while there is none."""
    from gitcoord.features.locks import leased as lock_leases
    from gitcoord.features.tasks import leased
    from gitcoord.log import trust
    from gitcoord.sync import lease_chores, outgoing

    _ = lease_chores, lock_leases, outgoing, trust, leased


def joining(at: Link, listing: Refs) -> Link:
    """Coordination that is there already, below whatever prefix, is joined rather than begun a second time."""
    found = remotes.discover(listing)
    if found is None or at.clone.repo.setting("remotePrefix") or any(ref.startswith(at.remote.prefix) for ref in listing):
        return at
    return at._replace(remote=at.remote._replace(prefix=found))


def _is_wanted(clone: Clone, ref: str, oid: Oid, before: Refs, ignored: Sequence[str]) -> bool:
    """Others' refs that differ, but for a log of which we have more already."""
    if is_lease(ref):
        return True
    owner = ref.split("/")[3]
    if owner == clone.id or owner in ignored:
        return False
    mine = before.get(ref)
    return not (mine and is_log(ref) and is_ancestor(clone.repo, oid, mine))


def _tidy_up(clone: Clone, there: Refs, before: Refs, after: Refs) -> None:
    """Presence that was replaced is swept in time; that of a session which gave up its ref goes, if its log is there."""
    logs = {ref.split("/")[3] for ref in there if is_log(ref)}
    gone = [
        ref
        for ref in after
        if ref.startswith(f"{NAMESPACE}sessions/") and ref not in there and ref.split("/")[3] in logs - {clone.id}
    ]
    replaced = [oid for ref, oid in before.items() if after.get(ref) not in (None, oid) and not is_log(ref)]
    if gone or replaced:
        from gitcoord.store import sweep

        with clone.locked():
            for oid in replaced:
                sweep.supersede(clone.path("superseded"), oid, clone.clock())
            for ref in gone:
                clone.point(ref, None)


def _news(clone: Clone, start: int) -> tuple[Event, ...]:
    """The events that arrived after the index's place `start`; urgent mail to a person of this clone is told, and who is
    here is not adopted."""
    query = f"SELECT {COLUMNS} FROM events WHERE seq > ? ORDER BY seq"
    found = tuple(clone.read(lambda db: [event_of(row) for row in db.execute(query, (start,))]))
    if foreign := [event for event in found if event.clone != clone.id]:
        from gitcoord.features.messages import ring

        ring.mail(clone, foreign)
    if adoptions := [event for event in foreign if event.type == "adopt"]:
        from gitcoord.sessions import presence

        presence.take_back(clone, adoptions)
    return found


# looking ahead


def preview(clone: Clone, name: str | None = None, cwd: str = ".") -> dict[str, int]:
    """What a sync would send: how many events of each type, and how many sessions' presence. Raises RemoteError."""
    from gitcoord.sync.outgoing import unsent

    remote = remotes.choose(clone.repo, name, cwd)
    listing = transport.list_remote(clone.repo, remote.name)
    remote = joining(Link(clone, remote, False), listing).remote
    return unsent(clone, {here: oid for ref, oid in listing.items() if (here := remote.here(ref))})
