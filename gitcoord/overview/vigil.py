"""A vigil: sleep until something may have changed, again and again, for views that stay open."""

from __future__ import annotations

from types import TracebackType

from gitcoord.features import deaths
from gitcoord.overview.around import look_out, notice_deaths
from gitcoord.sessions.identity import Caller
from gitcoord.store.watch import EndWatch, RefWatch


class Vigil:
    """A sleep in the kernel: nothing polls. A wake-up only says "look again"; so look once after entering, too."""

    def __init__(self, caller: Caller, tells: bool = True) -> None:
        self._caller = caller
        self._tells = tells
        self._watch = RefWatch(caller.clone.repo)

    def __enter__(self) -> Vigil:
        self._watch.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watch.__exit__(kind, error, trace)

    def wait(self, seconds: float) -> bool:
        """Sleep until refs of ours move, a process of a session or a job ends, or another thread calls `wake`; False after
        so many seconds. Raises RepositoryError when gitcoord was removed from the repository meanwhile."""
        with EndWatch(self._watch.changed, deaths.watched_pids(self._caller.clone)):
            woken = self._watch.wait(seconds)
        if self._tells:
            notice_deaths(self._caller)
            look_out(self._caller)
        return woken

    def wake(self) -> None:
        """End the sleep of the waiting thread; callable from any thread."""
        self._watch.changed.set()
