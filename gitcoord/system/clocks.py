"""Tell the age of something by two clocks, so that one that was set wrong makes nothing old, or young for ever."""

from __future__ import annotations

import time

from gitcoord.system import uptime as machine


def uptime(now: float) -> float:
    """Seconds for which the machine had run at the time `now`, which need not be that of its clock."""
    return machine.uptime() + now - time.time()


def age(at: float, up: float | None, now: float) -> float:
    """Seconds since the time `at`, when the machine had run for `up` seconds (None: not known): the lesser of what both
    clocks say. After a new start of the machine only the first of them knows."""
    by_clock = abs(now - at)
    by_uptime = by_clock if up is None else uptime(now) - up
    return min(by_clock, by_uptime) if by_uptime >= 0 else by_clock
