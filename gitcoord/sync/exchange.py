"""Sync: send our logs and presence to the coordination remote, and fetch everybody else's.

One `git ls-remote` shows what is new on either side; with nothing new it is the only connection. Only we write our
refs, so our push is never a merge. Others' logs only ever grow: a rewritten one stays as we know it.
"""

from __future__ import annotations

import time

from gitcoord.errors import CoordError, RemoteError, without_password
from gitcoord.lean import TYPE_CHECKING, NamedTuple, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.store import transport
from gitcoord.store.transport import Look
from gitcoord.sync import remotes
from gitcoord.sync.link import ATTEMPTS, Link, joining, link, pause, settling
from gitcoord.sync.pull import heard, pull, take

if TYPE_CHECKING:
    from gitcoord.sync.link import Refusal

PRESENCE_AGE = 60.0
"""Seconds after which a session's presence is looked at anew before a sync."""


class Report(NamedTuple):
    """What a sync did: events sent and received, and refs that failed."""

    remote: str
    sent: int
    received: int
    refused: tuple[Refusal, ...] = ()


def sync(clone: Clone, name: str | None = None, cwd: str = ".", quiet: bool = False) -> Report:
    """Exchange with a remote: the one named, else the coordination remote. `quiet` asks nobody for a password.

    Raises RemoteError when it cannot be reached, refuses our refs or may not see them, UsageError when none is named.
    """
    remote = remotes.choose(clone.repo, name, cwd)
    with link(clone, remote, quiet) as at:
        return exchange(at)


def exchange(at: Link) -> Report:
    """Sync once over a link. A failure is remembered for `status`. Raises RemoteError."""
    looks = [look] if (look := at.look) else []

    def work() -> Report:
        look = looks.pop() if looks else transport.start_look(at.clone.repo, at.remote.name, at.quiet)
        _refresh_presence(at.clone)  # meanwhile, for it takes a while
        return _exchange(at, look)

    try:
        report = settling(at.clone, work)
        if report.refused:
            at.clone.settle_lost(report.refused[0].why)
        return report
    except RemoteError as error:
        remotes.failed(at.clone.repo, at.remote.name, error.what)
        raise


def _exchange(at: Link, look: Look) -> Report:
    from gitcoord.sync import idle_check, lease_chores, outgoing

    here = idle_check.look_here(at)
    _warm_up(at.clone)
    at, there = heard(at, look)
    if idle_check.agree(at.clone, there, here):
        outgoing.remember(at, {ref: oid for ref, oid in there.items() if outgoing.is_to_go(ref, at.clone)}, pushed=False)
        return Report(without_password(at.remote.name), 0, 0)
    received: list[Event] = []
    sent = 0
    for attempt in range(ATTEMPTS):
        at, seen = take(at, there) if attempt == 0 else pull(at)
        received += seen.events
        lease_chores.settle(at, seen.refs)
        outgoing.vouch(at)
        went = outgoing.push(at, seen.refs)
        sent += went.events
        if not went.moved:
            lease_chores.tidy(at, seen.refs)
            foreign = sum(event.clone != at.clone.id for event in received)
            return Report(without_password(at.remote.name), sent, foreign, (*seen.refused, *went.refused))
        pause(attempt)
    raise RemoteError(f"{at.remote.name} changed during every attempt to push", "git coord sync")


def _refresh_presence(clone: Clone) -> None:
    """Update the presence of our sessions before others see it."""
    from gitcoord.sessions import housekeeping
    from gitcoord.sessions.records import Records

    for hooks in clone.registry.hooks("before_sync"):
        if hooks.before_sync:
            hooks.before_sync(clone)
    now = time.time()
    for record in Records(clone.repo.coord_dir).all():
        if record.left is None and record.published and not 0 <= now - record.published < PRESENCE_AGE:
            with suppress(CoordError):
                housekeeping.publish_changes(clone, record.name, now)


# receiving


def _warm_up(clone: Clone) -> None:
    """Load, while there is no answer, the modules that are needed after it."""
    from gitcoord.log import trust
    from gitcoord.sync import lease_chores, outgoing

    _ = lease_chores, outgoing, trust, [*clone.registry.hooks("leases")]


# looking ahead


def preview(clone: Clone, name: str | None = None, cwd: str = ".") -> dict[str, int]:
    """Events that a sync would send, counted by type, and the number of presences. Raises RemoteError."""
    from gitcoord.sync.outgoing import unsent

    remote = remotes.choose(clone.repo, name, cwd)
    listing = transport.list_remote(clone.repo, remote.name)
    remote = joining(Link(clone, remote, False), listing).remote
    return unsent(clone, {here: oid for ref, oid in listing.items() if (here := remote.here(ref))})
