"""The link to a remote: at most one process of a clone talks to it at a time."""

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
    """The right of a process to talk to the remote; at most one process of a clone has it."""

    clone: Clone
    remote: Remote
    quiet: bool
    look: PendingLook | None = None
    """A look that was begun earlier (`early_look`)."""
    visit: bool = False
    """Whether it leads to another remote than the coordination remote: logs and presence are exchanged, leases are not."""


class RemoteState(NamedTuple):
    """The refs that a look at the remote showed, and the result of the fetch."""

    refs: Refs
    events: tuple[Event, ...]
    refused: tuple[Refusal, ...]


@contextmanager
def linked(clone: Clone, remote: Remote, quiet: bool = False) -> Iterator[Link]:
    """Hold the link, waiting for it. Events written meanwhile start no background sync; the holder does that at the end
    (`Clone.have_sent`)."""
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
    """Do `work`; if it failed while a ref of ours pointed nowhere, repair the ref and do it once more."""
    try:
        return work()
    except CoordError as error:
        if error.exit_code not in (3, 4) or not clone.settle_lost(error.what):
            raise
    return work()


def pause(attempt: int) -> None:
    """Wait before another attempt, for a random time, so that clones do not collide again."""
    import random

    time.sleep(random.uniform(0.5, 1.5) * min(1.0, 0.02 * 2**attempt))


def joining(link: Link, listing: Refs) -> Link:
    """Use the prefix below which others coordinate at the remote already, so that coordination is not begun twice."""
    found = remotes.discover(listing)
    if found is None or link.clone.repo.setting("remotePrefix") or any(ref.startswith(link.remote.prefix) for ref in listing):
        return link
    return link._replace(remote=link.remote._replace(prefix=found))


class Refusal(NamedTuple):
    """A ref that was not synced, and why."""

    ref: str
    why: str
