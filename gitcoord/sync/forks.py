"""Read further remotes, named by `coord.remotes`, to which this clone does not write.

Contributors without a place that all may write to meet so: each writes to a fork of their own, and reads those of the
others. With `coord.relay` the logs read there are passed on, unchanged, to this clone's own remote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gitcoord.errors import CoordError, RemoteError, without_password
from gitcoord.lean import suppress
from gitcoord.log.event import Event
from gitcoord.store import transport
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import belongs_to, is_log
from gitcoord.store.transport import How, Update
from gitcoord.sync import public_guard, remotes
from gitcoord.sync.pull import pull
from gitcoord.system.files import touch_ours

if TYPE_CHECKING:
    from gitcoord.log.clone import Clone
    from gitcoord.sync.link import Link

EVERY = 60.0
"""Seconds between two looks in the background: each remote takes a connection."""
LATER = 9
"""Times as long until a remote that did not answer is asked again in the background."""


def names(clone: Clone) -> list[str]:
    """The remotes that are read, too."""
    return clone.repo.setting("remotes").split()


def read(link: Link) -> list[Event]:
    """Fetch what is new at the further remotes; returns the events. A remote that does not answer is named, and stops
    nothing."""
    clone, found = link.clone, list[Event]()
    if link.visit or not names(clone) or not _is_due(link):
        return []
    with suppress(OSError):
        touch_ours(clone.path("forks"))
    passed_on: dict[str, Oid] = {}
    for name in names(clone):
        try:
            there = link._replace(remote=remotes.choose(clone.repo, name, clone.repo.common_dir), look=None, visit=True)
            if there.remote.name == link.remote.name:
                continue
            _, seen = pull(there)
            found += seen.events
            passed_on.update(seen.refs)
        except CoordError as error:
            clone.mended.append(f"{without_password(name)} was not read: {error.what}")
            with suppress(OSError):
                touch_ours(clone.path("forks"), time.time() + LATER * EVERY)
    if clone.repo.flag("relay"):
        _relay(link, passed_on)
    return found


def _is_due(link: Link) -> bool:
    """Whether it is time for a look; always, if the user asked for this sync."""
    if not link.quiet:
        return True
    try:
        age = time.time() - os.stat(link.clone.path("forks")).st_mtime
    except OSError:
        return True
    return not -LATER * EVERY <= age < EVERY


def _relay(link: Link, seen: Mapping[str, Oid]) -> None:
    """Pass logs of others on to our own remote, where it does not have them or has less. Only such updates are taken that
    continue what is there, so nothing is lost if it has more."""
    clone, tips = link.clone, link.clone.store.tips().refs
    logs = {ref: tips[ref] for ref in seen if is_log(ref) and ref in tips and not belongs_to(ref, clone.id)}
    try:
        listing = transport.list_remote(clone.repo, link.remote.name, link.quiet) if logs else {}
        fresh = {ref: oid for ref, oid in logs.items() if listing.get(link.remote.there(ref)) != oid}
        if fresh:
            public_guard.guard(clone, link.remote.name, {"relayed log": len(fresh)})
            transport.push(clone.repo, link.remote, [Update(ref, oid, How.FORWARD) for ref, oid in fresh.items()], link.quiet)
    except RemoteError as error:
        clone.mended.append(f"{link.remote.name} did not take others' logs: {error.what}")
