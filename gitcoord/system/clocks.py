"""Measure ages by two clocks, so that a wrong clock makes nothing old, or young for ever."""

from __future__ import annotations

import time

from gitcoord.system import uptime as machine


def uptime(now: float) -> float:
    """The machine's uptime in seconds at the time `now`, which a test may set."""
    return machine.uptime() + now - time.time()


def age(at: float, up: float | None, now: float) -> float:
    """Seconds since the time `at`, when the uptime was `up` (None: unknown): the lesser of what both clocks say. After a
    reboot only the wall clock counts."""
    by_clock = abs(now - at)
    by_uptime = by_clock if up is None else uptime(now) - up
    return min(by_clock, by_uptime) if by_uptime >= 0 else by_clock
