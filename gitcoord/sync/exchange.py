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
from gitcoord.store.failures import Limited
from gitcoord.store.transport import PendingLook
from gitcoord.sync import remotes
from gitcoord.sync.link import ATTEMPTS, Link, joining, linked, pause, settling
from gitcoord.sync.pull import heard, pull, take
from gitcoord.text import shell_word

if TYPE_CHECKING:
    from gitcoord.sync.link import Refusal

PRESENCE_AGE = 60.0
"""Seconds after which a session's presence is looked at anew before a sync."""


class Report(NamedTuple):
    """The result of a sync: events sent and received, and refs that failed."""

    remote: str
    sent: int
    received: int
    refused: tuple[Refusal, ...] = ()


def sync(clone: Clone, name: str | None = None, cwd: str = ".", quiet: bool = False) -> Report:
    """Exchange with a remote: the one named, otherwise the coordination remote. With `quiet` nobody is asked for a
    password. Raises RemoteError if the remote cannot be reached, rejects our refs or may not see them, UsageError if no
    remote is named."""
    remote = remotes.choose(clone.repo, name, cwd)
    with linked(clone, remote, quiet) as link:
        return exchange(link)


def exchange(link: Link) -> Report:
    """Sync once over a link. A failure is remembered for `status`. Raises RemoteError."""
    looks = [look] if (look := link.look) else []
    ahead: list[int] = []

    def work() -> Report:
        ahead.append(_send_ahead(link))
        look = looks.pop() if looks else transport.start_look(link.clone.repo, link.remote.name, link.quiet)
        _refresh_presence(link.clone)  # while the remote answers
        return _exchange(link, look)

    try:
        report = settling(link.clone, work)
        report = report._replace(sent=report.sent + sum(ahead))
        if others := _from_forks(link):
            report = report._replace(received=report.received + others)
        if report.refused:
            link.clone.settle_lost(report.refused[0].why)
        return report
    except RemoteError as error:
        remotes.failed(link.clone.repo, link.remote.name, error.what)
        if isinstance(error, Limited):
            remotes.limits_us(link.clone.repo)
        if renamed := remotes.renamed_to(link.clone.repo, link.remote.name):
            what = f"{link.remote.name} is called {renamed} now"
            raise RemoteError(what, f"git coord remote set {shell_word(renamed)}") from None
        raise


def _send_ahead(link: Link) -> int:
    """In the background, send new events before the remote is looked at: that takes a connection, for which their readers
    would wait. The sync that follows sends all that needs a look, as a claim that waits for its row. Returns how many
    events went."""
    if link.quiet and not link.visit:
        from gitcoord.sync import lease_chores, outgoing

        with suppress(CoordError):
            if not lease_chores.is_due(link, link.clone.store.tips().refs):
                return outgoing.send_ahead(link)
    return 0


def _from_forks(link: Link) -> int:
    """Read the further remotes of `coord.remotes`; returns the number of others' events."""
    if link.visit or not link.clone.repo.setting("remotes"):
        return 0
    from gitcoord.sync import forks

    return sum(not link.clone.is_ours(event.clone) for event in forks.read(link))


def _exchange(link: Link, look: PendingLook) -> Report:
    from gitcoord.sync import idle_check, lease_chores, outgoing, retirement

    here = idle_check.look_here(link)
    _warm_up(link.clone)
    link, there = heard(link, look)
    if idle_check.agree(link.clone, there, here):
        outgoing.remember(link, {ref: oid for ref, oid in there.items() if outgoing.is_to_go(ref, link.clone)}, pushed=False)
        return Report(without_password(link.remote.name), 0, 0)
    received: list[Event] = []
    sent = 0
    for attempt in range(ATTEMPTS):
        link, seen = take(link, there) if attempt == 0 else pull(link)
        received += seen.events
        lease_chores.settle(link, seen.refs)
        outgoing.vouch(link)
        doubtful = not link.visit and outgoing.is_doubtful(link, seen.refs)
        went = outgoing.push(link, seen.refs)
        if doubtful and went.events:
            outgoing.check_visible(link)
        sent += went.events
        if not went.moved:
            lease_chores.tidy(link, seen.refs)
            retirement.retire_the_silent(link, seen.refs)
            foreign = sum(not link.clone.is_ours(event.clone) for event in received)
            return Report(without_password(link.remote.name), sent, foreign, (*seen.refused, *went.refused))
        pause(attempt)
    raise RemoteError(f"{link.remote.name} changed during every attempt to push", "git coord sync")


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


# receive


def _warm_up(clone: Clone) -> None:
    """Load the modules that are needed after the remote's answer, while waiting for it."""
    from gitcoord.log import trust
    from gitcoord.sync import lease_chores, outgoing

    _ = lease_chores, outgoing, trust, [*clone.registry.hooks("leases")]


# look ahead


def preview(clone: Clone, name: str | None = None, cwd: str = ".") -> dict[str, int]:
    """Events that a sync would send, counted by type, and the number of presences. Raises RemoteError."""
    from gitcoord.sync.outgoing import unsent

    remote = remotes.choose(clone.repo, name, cwd)
    listing = transport.list_remote(clone.repo, remote.name)
    remote = joining(Link(clone, remote, False), listing).remote
    return unsent(clone, {here: oid for ref, oid in listing.items() if (here := remote.here(ref))})
