"""Sync by itself: in the background after a write, and continuously for `sync --watch`.

A command that wrote something, or waits, starts one background process per clone, which syncs and then continues as the
lookout (`lookout`). `coord/autosync` is locked while it runs and says when the last one began. Where the host has answered
with a limit, pushes are limited (`remotes.pushes_left`); a remote that does not answer is asked less and less often.
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
"""Seconds to wait for more events before a sync sends them."""


def after_write(clone: Clone) -> None:
    """Have new events sent in the background. Without a remote it costs a look at one file."""
    if remotes.wants_autosync(clone.repo) and not _is_running(clone):
        _start(clone)


def after_look(clone: Clone, waits: bool = False) -> None:
    """Have others' events fetched because a reader wants them: if the last fetch was long ago, or at once if the reader
    waits."""
    from gitcoord.sync import lookout

    lookout.want(clone)
    if remotes.is_due(clone.repo) or (waits and clone.repo.flag("lookout", True) and remotes.is_well(clone.repo)):
        after_write(clone)


def _is_running(clone: Clone) -> bool:
    """Whether a background sync runs, or began so recently that it will still see our events."""
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
    """The background process; a clone has at most one. `status` shows its failures."""
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
    """Sync for ever, so that clones stay within seconds of each other; yields each sync, and each failure once. New events
    are sent at once, within the push budget. The remote is looked at every `every` seconds, less often while it does not
    answer. Raises UsageError when no remote is known."""
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
    """Wait a moment for more events, or until the push budget allows a push."""
    known = remotes.load(clone.repo)
    time.sleep(max(0.2, remotes.pushes_left(clone.repo, known, time.time()) if known else 0.0))
