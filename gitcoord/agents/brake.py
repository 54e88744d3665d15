"""Decide when an idle session may be woken: news gathers first, and each further wake has to wait longer.

Two idle sessions that thanked each other made 133 model requests in a minute with nobody at the keyboard. So news that is
not urgent gathers for some seconds into one wake. After the first wakes within ten minutes there is a growing pause before
each. Until its human writes again, a session is woken a limited number of times.
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
"""Seconds to wait after the first news, if none is urgent; up to twice as long while more arrives."""
QUIET = 3.0
"""Seconds without further news that end the gathering."""
SPAN = 600.0
"""Seconds for which a wake counts for the pause before the next one."""
FREE, FREE_URGENT = 8, 20
"""Number of wakes within SPAN without a pause; more with urgent mail."""
FIRST_PAUSE, LONGEST_PAUSE = 15.0, 300.0
"""Seconds of the first pause, which doubles each time, and of the longest."""
LIMIT = 100
"""Largest number of wakes until the session's human writes again (`coord.wakeLimit`)."""
USER, NEAR, FAR = "user", "near", "far"
"""Sources of mail: the user of this repository, whom no limit holds; sessions of this clone; other clones. Mail of other
clones alone gets half of the wakes, so that they use up no wake of a session that works beside."""
OWN_PROMPT = 30.0
"""Seconds after a wake in which a prompt counts as made by the wake itself: Codex is woken by a queued prompt."""


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
        """Seconds until waiting news may wake the session; None if none waits."""

    def holds(self, mail: Sequence[Message], now: float, source: str = NEAR) -> bool:
        """Whether `mail` has to wait; `due` says how long. `source` is the nearest that sent any of it."""
        times = self._times()
        share = 2 if source == FAR else 1
        if not mail or (len(times) >= self._limit // share and source != USER):
            self._seen, self.due = 0, None
            return True
        urgent = any(message.urgent for message in mail)
        gathering = 0.0 if urgent else self._gathering(len(mail), now)
        pause = 0.0 if source == USER else _pause(times, (FREE_URGENT if urgent else FREE) // share, now)
        self.due = max(gathering, pause)
        return self.due > 0

    def _gathering(self, count: int, now: float) -> float:
        """Seconds for which news still gathers."""
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
        """The times of the wakes since its human last wrote."""
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
    """Seconds until the next wake may come: 0 for the first `free` wakes of SPAN, then twice as long each time."""
    lately = [at for at in times if now - SPAN < at <= now]
    if len(lately) < free:
        return 0.0
    pause: float = min(FIRST_PAUSE * 2.0 ** (len(lately) - free), LONGEST_PAUSE)
    return max(0.0, lately[-1] + pause - now)


def _number(repo: Repository, name: str, default: float) -> float:
    """A setting that is a number of at least 0; any other text counts as not set."""
    text = repo.setting(name)
    return float(text) if text.isascii() and text.isdigit() else default
