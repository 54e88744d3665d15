"""Sync without being asked: in the background after a write, and continuously for `sync --watch`.

A command that wrote something, or waits, starts one background process a clone, which syncs and looks out for more
(`lookout`). `coord/autosync` is locked while it runs and says when the last one began. Where the host has answered with a
limit, pushes are limited (`remotes.pushes_left`); a remote that does not answer is asked less and less often.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from gitcoord.errors import CoordError, RemoteError
from gitcoord.lean import suppress
from gitcoord.log.clone import Clone
from gitcoord.sync import remotes
from gitcoord.sync.exchange import Report, exchange
from gitcoord.sync.link import linked
from gitcoord.system.files import touch_ours
from gitcoord.system.lock import try_lock

DEBOUNCE = 1.0
"""Seconds in which more may come before it is sent."""


def after_write(clone: Clone) -> None:
    """Something was written that others should see: have it sent. Costs a look at one file where there is no remote."""
    if remotes.wants_autosync(clone.repo) and not _is_running(clone):
        _start(clone)


def after_look(clone: Clone, waits: bool = False) -> None:
    """Somebody looks at what others may have sent: have it fetched if that was long ago, and soon if they wait for it."""
    from gitcoord.sync import lookout

    lookout.want(clone)
    if remotes.is_due(clone.repo) or (waits and clone.repo.flag("lookout", True) and remotes.is_well(clone.repo)):
        after_write(clone)


def _is_running(clone: Clone) -> bool:
    """Whether a background sync runs, or began so lately that it will still see our events."""
    with suppress(OSError):
        if 0 <= time.time() - os.stat(clone.path("autosync")).st_mtime < DEBOUNCE / 2:
            return True
    with try_lock(clone.path("autosync")) as free:
        return not free


def _start(clone: Clone) -> None:
    from gitcoord.sessions.housekeeping import in_background

    with suppress(OSError):
        touch_ours(clone.path("autosync"))
        in_background(clone, "sync")


def run(clone: Clone) -> None:
    """The background process: at most one a clone. What fails is in `status`."""
    from gitcoord.sync import lookout

    with try_lock(clone.path("autosync")) as free:
        known = remotes.current(clone.repo)
        if not free or not remotes.wants_autosync(clone.repo) or (known.error and not remotes.is_due(clone.repo)):
            return
        time.sleep(max(lookout.GATHER, remotes.pushes_left(clone.repo, known, time.time())))
        with suppress(CoordError):
            lookout.keep(clone, lambda: once(clone), lambda: _has_news(clone))


def once(clone: Clone, name: str | None = None, cwd: str = ".") -> Report:
    """Sync once without asking anybody for anything. Raises CoordError."""
    with linked(clone, remotes.choose(clone.repo, name, cwd), quiet=True) as link:
        return exchange(link)


def watch(clone: Clone, name: str | None, cwd: str, every: float) -> Iterator[Report | RemoteError]:
    """Keep two clones within seconds of each other, for ever: yields each sync, and each failure once.

    What is new here goes at once, within the push budget; the remote is looked at every `every` seconds, and less often
    while it does not answer. Raises UsageError when no remote is known.
    """
    from gitcoord.store.watch import RefWatch

    remotes.choose(clone.repo, name, cwd)
    failures, due = 0, 0.0
    with RefWatch(clone.repo) as refs:
        while True:
            try:
                yield once(clone, name, cwd)
                failures = 0
            except RemoteError as error:
                failures += 1
                yield error
            due = time.monotonic() + every * min(2**failures, 12)
            refs.changed.clear()
            while (left := due - time.monotonic()) > 0:
                if refs.wait(left) and not failures and _has_news(clone):
                    _hold_back(clone)
                    break


def _has_news(clone: Clone) -> bool:
    return clone.read(lambda db: remotes.waiting(db, clone, remotes.current(clone.repo))) > 0


def _hold_back(clone: Clone) -> None:
    """A moment for more to come, or until the budget has room."""
    known = remotes.load(clone.repo)
    time.sleep(max(0.2, remotes.pushes_left(clone.repo, known, time.time()) if known else 0.0))
