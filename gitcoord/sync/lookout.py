"""The lookout: one process per clone that keeps it in step with the remote while a command waits or an agent is live. New
events are sent after a moment, together with others of that moment. The remote is looked at every one or two seconds while
messages go back and forth, and less often the longer it is quiet, down to once a minute. Waiters, hooks and commands share
the lookout; it ends some minutes after the last sign of any of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from gitcoord.lean import suppress
from gitcoord.sync import remotes
from gitcoord.system.files import names_in, touch_ours

if TYPE_CHECKING:
    from gitcoord.log.clone import Clone
    from gitcoord.store.watch import RefWatch
    from gitcoord.sync.exchange import Report

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two looks at the remote, at least and at most."""
LIVELY = 300.0
"""Seconds after the last event sent or received for which the shortest pause is kept."""
SLOWER = 10.0
"""The pause grows by one second for so many seconds of quiet after that."""
LINGERS = 300.0
"""Seconds that the lookout goes on after the last sign of a session or a waiting command."""
GATHER = 0.2
"""Seconds to wait for more events before they are sent."""


def pause(quiet: float) -> float:
    """Seconds until the next look, when nothing was sent or received for `quiet` seconds."""
    return min(LONGEST, SHORTEST + max(0.0, quiet - LIVELY) / SLOWER)


def want(clone: Clone) -> None:
    """Note that a reader wants to hear soon what others send."""
    with suppress(OSError):
        touch_ours(clone.path("wanted"))


def keep(clone: Clone, once: Callable[[], Report], has_news: Callable[[], bool]) -> None:
    """Run the lookout until no session or command needs it. `once` does one sync, `has_news` says whether anything of ours
    is to be sent. Raises CoordError if the remote does not answer; a later command starts the lookout again when it is
    due."""
    from gitcoord.store.watch import RefWatch

    crossed = time.monotonic()
    with RefWatch(clone.repo) as refs:
        while True:
            refs.changed.clear()
            report = once()
            if report.sent or report.received:
                crossed = time.monotonic()
            if not is_wanted(clone) and not has_news():
                return
            if not _sleep(clone, refs, pause(time.monotonic() - crossed), has_news):
                return


def _sleep(clone: Clone, refs: RefWatch, seconds: float, has_news: Callable[[], bool]) -> bool:
    """Sleep until the next look is due or something is to be sent; returns whether to go on."""
    due = time.monotonic() + seconds
    while (left := due - time.monotonic()) > 0:
        if refs.wait(left) and has_news():
            known = remotes.load(clone.repo)
            time.sleep(max(GATHER, remotes.pushes_left(clone.repo, known, time.time()) if known else 0.0))
            return True
    return is_wanted(clone)


def is_wanted(clone: Clone) -> bool:
    """Whether a session gave a sign of life recently, or a command waits."""
    if not clone.repo.flag("lookout", True) or not os.path.exists(clone.path("remote")):
        return False
    if clone.repo.git("config", "--type=bool", "coord.autosync").out.strip() == b"false":  # the user may set it while we run
        return False
    beats = clone.path("beats")
    files = [clone.path("wanted"), *(os.path.join(beats, name) for name in names_in(beats))]
    return any(time.time() - _touched(file) < LINGERS for file in files)


def _touched(file: str) -> float:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return 0.0
