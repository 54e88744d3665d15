"""The lookout: one process a clone that keeps it in step with the remote while somebody waits or an agent is live.

What is written here goes out at once, with whatever comes within a moment. The remote is looked at every second or two while
words cross, and less and less often the longer it is quiet, up to once a minute. Waiters, hooks and commands share it; a
while after the last sign of any of them it ends.
"""

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

SHORTEST, LONGEST = 1.5, 60.0
"""Seconds between two looks at the remote, at first and at most."""
LIVELY = 300.0
"""Seconds after the last word that crossed for which the shortest pause is kept."""
SLOWER = 10.0
"""For so many seconds of quiet beyond that, the pause grows by one."""
LINGERS = 300.0
"""Seconds after the last sign of a session, or of somebody who waits, for which the lookout goes on."""
GATHER = 0.2
"""Seconds in which more may come before it is sent."""


def pause(quiet: float) -> float:
    """Seconds until the next look, when nothing has crossed for `quiet` seconds."""
    return min(LONGEST, SHORTEST + max(0.0, quiet - LIVELY) / SLOWER)


def want(clone: Clone) -> None:
    """Somebody wants to hear soon what others send."""
    with suppress(OSError):
        touch_ours(clone.path("wanted"))


def keep(clone: Clone, once: Callable[[], Report], has_news: Callable[[], bool]) -> None:
    """Look out until nobody wants it any more. `once` is one sync, `has_news` whether anything of ours is to be sent.

    Raises CoordError when the remote does not answer: who comes next asks again when it is due.
    """
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
    """Until the next look is due, or something is to be sent; whether to go on at all."""
    due = time.monotonic() + seconds
    while (left := due - time.monotonic()) > 0:
        if refs.wait(left) and has_news():
            known = remotes.load(clone.repo)
            time.sleep(max(GATHER, remotes.pushes_left(clone.repo, known, time.time()) if known else 0.0))
            return True
    return is_wanted(clone)


def is_wanted(clone: Clone) -> bool:
    """Whether anybody gave a sign of life lately, or waits."""
    if not clone.repo.flag("lookout", True) or not os.path.exists(clone.path("remote")):
        return False
    if clone.repo.git("config", "--type=bool", "coord.autosync").out.strip() == b"false":  # it may be set while we run
        return False
    beats = clone.path("beats")
    files = [clone.path("wanted"), *(os.path.join(beats, name) for name in names_in(beats))]
    return any(time.time() - _touched(file) < LINGERS for file in files)


def _touched(file: str) -> float:
    try:
        return os.stat(file).st_mtime
    except OSError:
        return 0.0
