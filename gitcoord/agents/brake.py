"""When an idle session may be woken: after a moment in which news gathers, and the less often, the more often it was.

Two idle sessions that thanked each other made 133 model requests in a minute with nobody at the keyboard. So what is
not urgent is gathered for some seconds into one wake, and after the first wakes of ten minutes there is a pause before
each, which grows. A session is woken a limited number of times until its human writes again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gitcoord.agents.flags import Marks
from gitcoord.features.messages.inbox import Message
from gitcoord.lean import suppress
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_ours, write_ours

GATHER = 10.0
"""Seconds after the first news of which nothing is urgent; as many again while more arrives."""
QUIET = 3.0
"""Seconds without further news after which no more is waited for."""
SPAN = 600.0
"""Seconds in which wakes count for the pause before the next."""
FREE, FREE_URGENT = 8, 20
"""Wakes within SPAN before which there is no pause; with urgent mail, more."""
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 300.0
"""Seconds of the first pause, which doubles each time, and of the longest."""
LIMIT = 100
"""Wakes until the session's human writes again; `coord.wakeLimit`."""
OWN_PROMPT = 30.0
"""Seconds after a wake in which a prompt is the one that the wake itself made: Codex is woken by a queued prompt."""


class Brake:
    """The brake of one session's waker. `coord/mail/NAME@woken` has the times of its wakes since its human wrote,
    `NAME@prompt` is as old as the last prompt."""

    def __init__(self, marks: Marks, repo: Repository) -> None:
        self._marks = marks
        self._gather = _number(repo, "wakeAfter", GATHER)
        self._limit = int(_number(repo, "wakeLimit", LIMIT))
        self._first = self._last = 0.0
        self._seen = 0
        self.due: float | None = None
        """Seconds until something that waits may wake the session; None if nothing waits."""

    def holds(self, mail: Sequence[Message], now: float) -> bool:
        """Whether `mail` has to wait; `due` says how long."""
        times = self._times()
        if not mail or len(times) >= self._limit:
            self._seen, self.due = 0, None
            return True
        urgent = any(message.urgent for message in mail)
        gathering = 0.0 if urgent else self._gathering(len(mail), now)
        self.due = max(gathering, _pause(times, FREE_URGENT if urgent else FREE, now))
        return self.due > 0

    def _gathering(self, count: int, now: float) -> float:
        """Seconds for which more news is waited for."""
        if not self._seen:
            self._first = now
        if count != self._seen:
            self._seen, self._last = count, now
        quiet = max(self._first + self._gather, min(self._last + QUIET, self._first + 2 * self._gather))
        return max(0.0, quiet - now) if self._gather else 0.0

    def woke(self, now: float) -> bool:
        """Note a wake; returns whether it was the last one until the session's human writes."""
        times = [*self._times(), now]
        self._seen, self.due = 0, None
        with suppress(OSError):
            write_ours(self._marks.path("@woken"), "".join(f"{at:.1f}\n" for at in times).encode())
        return len(times) >= self._limit

    def _times(self) -> list[float]:
        """When the session was woken since its human wrote last."""
        times: list[float] = []
        with suppress(OSError, ValueError):
            times = [float(line) for line in read_ours(self._marks.path("@woken")).split()]
        prompt = self._prompted()
        if any(0 <= prompt - at < OWN_PROMPT for at in times):
            return times
        return [at for at in times if at > prompt]

    def _prompted(self) -> float:
        try:
            return os.stat(self._marks.path("@prompt")).st_mtime
        except OSError:
            return 0.0


def _pause(times: Sequence[float], free: int, now: float) -> float:
    """Seconds until the next wake: none before the first `free` of SPAN, then twice as long each time."""
    lately = [at for at in times if now - SPAN < at <= now]
    if len(lately) < free:
        return 0.0
    pause: float = min(FIRST_PAUSE * 2.0 ** (len(lately) - free), LONGEST_PAUSE)
    return max(0.0, lately[-1] + pause - now)


def _number(repo: Repository, name: str, default: float) -> float:
    """A setting that is a number from 0 on; another text counts as not set."""
    text = repo.setting(name)
    return float(text) if text.isascii() and text.isdigit() else default
