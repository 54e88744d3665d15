"""How long the machine has run: a clock that nobody sets."""

from __future__ import annotations

import sys
import time


def uptime() -> float:
    """Seconds since the machine started."""
    if sys.platform == "win32":
        return time.monotonic()
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))  # Linux counts sleep in the first only
