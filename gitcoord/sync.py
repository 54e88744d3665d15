"""Sync: bring our logs and presence to the coordination remote, and fetch everybody else's.

One `git ls-remote` tells what is new on either side; with nothing new it is the only connection. Our refs are written
by us alone, so a push of ours is never a merge. Others' logs only ever grow: one that was rewritten is left as we know it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from gitcoord import ahead, remotes
from gitcoord.clone import Clone
from gitcoord.errors import CoordError, RemoteError, RepositoryError, without_password
from gitcoord.event import Event
from gitcoord.events import COLUMNS, event_of
from gitcoord.store import NAMESPACE, transport
from gitcoord.store.lock import file_lock
from gitcoord.store.objects import Oid
from gitcoord.store.refnames import belongs_to, epoch_of, is_lease, is_log, log_of
from gitcoord.store.refs import is_ancestor, pack
from gitcoord.store.transport import How, Look, Remote, Update

if TYPE_CHECKING:
    from gitcoord.incoming import Refusal

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
        look = ahead.look(clone.repo, remote.name, lock)
        os.utime(lock)
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
    from gitcoord import agreement, claims

    here = agreement.look_here(at)
    _warm_up()
    at, there = _heard(at, look)
    if agreement.agree(at.clone, there, here):
        _remember(at, {ref: oid for ref, oid in there.items() if _is_to_go(ref, at.clone.id or "")}, pushed=False)
        return Report(without_password(at.remote.name), 0, 0)
    received: list[Event] = []
    sent = 0
    for attempt in range(ATTEMPTS):
        at, seen = take(at, there) if attempt == 0 else pull(at)
        received += seen.events
        claims.settle(at, seen.refs)
        vouch(at)
        done, moved, refused = push(at, seen.refs)
        sent += done
        if not moved:
            claims.tidy(at, seen.refs)
            foreign = sum(event.clone != at.clone.id for event in received)
            return Report(without_password(at.remote.name), sent, foreign, (*seen.refused, *refused))
        pause(attempt)
    raise RemoteError(f"{at.remote.name} keeps moving under our pushes", "git coord sync, once more")


def vouch(at: Link) -> None:
    """Sign what is about to go out, if this user signs. Where that fails it goes all the same: the next signature covers
    it, too."""
    from gitcoord import trust

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
    from gitcoord import ambient, deaths
    from gitcoord.records import Records

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
    from gitcoord import incoming, renewal, rollover

    clone = at.clone
    start = clone.read(lambda db: db.execute("SELECT max(seq) FROM events").fetchone()[0]) or 0
    ignored = clone.repo.setting("ignoreclone").split()
    before = clone.store.tips().refs
    if renewal.check(at, refs, before):
        before = clone.store.tips().refs
    wanted = [ref for ref, oid in refs.items() if before.get(ref) != oid and _is_wanted(clone, ref, oid, before, ignored)]
    if not wanted and not _rolled_over([*refs, *before]):
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


def _rolled_over(refs: Iterable[str]) -> bool:
    """Whether a log is in a later epoch than its first: only then can one have replaced another."""
    return any(is_log(ref) and epoch_of(ref) > 1 for ref in refs)


def _warm_up() -> None:
    """Load what comes after the answer while there is none."""
    from gitcoord import claims, lock_leases, public, refusals, trust
    from gitcoord.tasks import leased

    _ = claims, lock_leases, public, refusals, trust, leased


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
        from gitcoord import notify

        notify.mail(clone, foreign)
    if adoptions := [event for event in foreign if event.type == "adopt"]:
        from gitcoord import presence

        presence.take_back(clone, adoptions)
    return found


# sending


def push(at: Link, there: Refs) -> tuple[int, bool, tuple[Refusal, ...]]:
    """Send what the remote does not have of ours: how many events, whether somebody moved a ref of ours meanwhile, and
    what was refused. Remembers where the remote stands. Raises RemoteError when it takes nothing of ours."""
    from gitcoord import public, refusals, rollover
    from gitcoord.incoming import Refusal

    clone = at.clone
    tips = clone.store.tips().refs
    rolled = _rolled_over([*tips, *there])
    old = rollover.dropped(clone, tips) if rolled else set()
    ours = {ref: oid for ref, oid in tips.items() if _is_to_go(ref, clone.id or "") and ref not in old}
    updates = [Update(ref, oid, _how(ref)) for ref, oid in ours.items() if there.get(ref) != oid]
    updates += [Update(ref, None) for ref in there if ref not in ours and _is_to_go(ref, clone.id or "") and not is_log(ref)]
    if updates:
        public.guard(clone, at.remote.name, outgoing(clone, there))
    outcomes = refusals.push(at, updates)
    went = {update.ref: update.new for update in updates}
    stand: dict[str, Oid] = {ref: oid for ref, oid in there.items() if _is_to_go(ref, clone.id or "")}
    for outcome in outcomes:
        if outcome.state == "done":
            stand = {ref: oid for ref, oid in {**stand, outcome.ref: went[outcome.ref]}.items() if oid}
    replaced = _replaced(at, stand) if rolled else []
    dropped = refusals.push(at, replaced)
    gone = {outcome.ref for outcome in dropped if outcome.state == "done"}
    stand = {ref: oid for ref, oid in stand.items() if ref not in gone}
    refused = tuple(Refusal(o.ref, o.why) for o in (*outcomes, *dropped) if o.state == "refused")
    logs = [ref for ref in went if is_log(ref)]
    if logs and {*logs} <= {r.ref for r in refused}:
        raise transport.refuses(at.remote, next(r.why for r in refused if is_log(r.ref)))
    sent = _count(clone, there, stand) if outcomes else 0
    _remember(at, stand, bool(outcomes))
    if fresh := refusals.kinds([*updates, *replaced], [*outcomes, *dropped]):
        refusals.note(at, fresh)
    return sent, any(outcome.state == "moved" for outcome in outcomes), refused


def _how(ref: str) -> How:
    return How.FORWARD if is_log(ref) else How.REPLACE


def _replaced(at: Link, stand: Refs) -> list[Update]:
    """Our old epochs at the remote, to be taken off it once what follows them is there."""
    from gitcoord import rollover

    old = rollover.dropped(at.clone, stand)
    ready = [ref for ref in old if any(log_of(ref) == log_of(new) and new not in old for new in stand if is_log(new))]
    return [Update(ref, None, How.SWAP, stand[ref]) for ref in sorted(ready)]


def _is_to_go(ref: str, clone: str) -> bool:
    return belongs_to(ref, clone) and not ref.startswith(NAMESPACE + "local/")


def _count(clone: Clone, before: Refs, after: Refs) -> int:
    """The events by which the remote's copy of our logs grew."""

    def clock(db: sqlite3.Connection, refs: Refs) -> int:
        tips = [oid for ref, oid in refs.items() if is_log(ref) and belongs_to(ref, clone.id or "")]
        marks = ", ".join("?" * len(tips))
        return int(db.execute(f"SELECT coalesce(max(lc), 0) FROM events WHERE id IN ({marks})", tips).fetchone()[0])

    def grown(db: sqlite3.Connection) -> int:
        between = "SELECT count(*) FROM events WHERE clone = ? AND local = 0 AND lc > ? AND lc <= ?"
        return int(db.execute(between, (clone.id, clock(db, before), clock(db, after))).fetchone()[0])

    return clone.read(grown)


def _remember(at: Link, ours: Refs, pushed: bool) -> None:
    repo, now = at.clone.repo, time.time()
    known = remotes.load(repo)
    pushes = [t for t in (known.pushes if known else ()) if 0 <= now - t < 60] + ([now] if pushed else [])
    url = transport.remote_url(repo, at.remote.name) if known is None or known.remote != at.remote.name else known.url
    fresh = remotes.Known(at.remote.name, url, at.remote.prefix, now, dict(ours), tuple(pushes))
    if known is not None and (known.remote, known.prefix) == fresh[0:3:2]:
        fresh = fresh._replace(refused=known.refused, refused_at=known.refused_at)
    elif at.remote.prefix.startswith("refs/heads/"):
        at.clone.mended.append(_in_sight(at.remote))
    remotes.save(repo, fresh)


def _in_sight(remote: Remote) -> str:
    name, short = without_password(remote.name), remote.prefix.removeprefix("refs/heads/")
    return (
        f"coordination is in branches of {name} called {short}…: who fetches sees them in git branch -r, the host shows"
        " them on its pages, and a push to them may start what runs for every branch"
    )


# looking ahead


def preview(clone: Clone, name: str | None = None, cwd: str = ".") -> dict[str, int]:
    """What a sync would send: how many events of each type, and how many sessions' presence. Raises RemoteError."""
    remote = remotes.choose(clone.repo, name, cwd)
    listing = transport.list_remote(clone.repo, remote.name)
    remote = joining(Link(clone, remote, False), listing).remote
    return outgoing(clone, {here: oid for ref, oid in listing.items() if (here := remote.here(ref))})


def outgoing(clone: Clone, there: Refs) -> dict[str, int]:
    """What the remote, where `there` stand, does not have of ours: how many events of each type, and of presences."""
    tips = [oid for ref, oid in there.items() if is_log(ref) and belongs_to(ref, clone.id or "")]
    after = f"(SELECT coalesce(max(lc), 0) FROM events WHERE id IN ({', '.join('?' * len(tips))}))"
    query = f"SELECT type, count(*) FROM events WHERE clone = ? AND local = 0 AND lc > {after} GROUP BY type ORDER BY type"
    found = dict(clone.read(lambda db: db.execute(query, (clone.id, *tips)).fetchall()))
    prefix = f"{NAMESPACE}sessions/{clone.id}/"
    sessions = sum(ref.startswith(prefix) and there.get(ref) != oid for ref, oid in clone.store.tips().refs.items())
    return {**found, **({"presence": sessions} if sessions else {})}
