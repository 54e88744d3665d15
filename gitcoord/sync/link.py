"""The linked to a remote: at most one process of a clone talks to it at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from gitcoord.errors import CoordError
from gitcoord.lean import NamedTuple, TypeVar, contextmanager
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.store.objects import Oid
from gitcoord.store.transport import PendingLook, Remote
from gitcoord.sync import early_look, remotes
from gitcoord.system.files import touch_ours
from gitcoord.system.lock import file_lock

T = TypeVar("T")
ATTEMPTS = 8
Refs = Mapping[str, Oid]
"""Refs as they are called here, and what they name at the remote."""


class Link(NamedTuple):
    """A clone that may talk to its remote now: at most one process of a clone does at a time."""

    clone: Clone
    remote: Remote
    quiet: bool
    look: PendingLook | None = None
    """A look that was begun before (`early_look`)."""
    visit: bool = False
    """Whether it leads to another remote than the coordination remote: logs and presence are exchanged, leases stay."""


class RemoteState(NamedTuple):
    """What a look at the remote showed, and what it brought."""

    refs: Refs
    events: tuple[Event, ...]
    refused: tuple[Refusal, ...]


@contextmanager
def linked(clone: Clone, remote: Remote, quiet: bool = False) -> Iterator[Link]:
    """Hold the clone's right to the network, waiting for it. What is written meanwhile starts no sync in the background;
    that is for who held it (`Clone.have_sent`)."""
    with clone.locked():
        clone.settled_id()
    with file_lock(clone.path("sync.lock")):
        look = early_look.look(clone.repo, remote.name)
        touch_ours(early_look.turn_file(clone.repo))
        before, clone.keeps_to_itself = clone.keeps_to_itself, True
        try:
            yield Link(clone, remote, quiet, look, remotes.is_visit(clone.repo, remote))
        finally:
            clone.keeps_to_itself = before


def settling(clone: Clone, work: Callable[[], T]) -> T:
    """Do `work`, and once more if it failed while a ref of ours led nowhere: that may be why, and it is settled by then."""
    try:
        return work()
    except CoordError as error:
        if error.exit_code not in (3, 4) or not clone.settle_lost(error.what):
            raise
    return work()


def pause(attempt: int) -> None:
    """Wait before another try, for a time that differs from others'."""
    import random

    time.sleep(random.uniform(0.5, 1.5) * min(1.0, 0.02 * 2**attempt))


def joining(link: Link, listing: Refs) -> Link:
    """Join coordination that exists below any prefix, rather than begin it a second time."""
    found = remotes.discover(listing)
    if found is None or link.clone.repo.setting("remotePrefix") or any(ref.startswith(link.remote.prefix) for ref in listing):
        return link
    return link._replace(remote=link.remote._replace(prefix=found))


class Refusal(NamedTuple):
    """A ref that was not synced, and why."""

    ref: str
    why: str
