"""The uptime of the machine: a clock that nobody can set."""

from __future__ import annotations

import os
import sys
import time


def uptime() -> float:
    """Seconds since the machine started."""
    if sys.platform == "win32":
        return time.monotonic()
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))  # only the first counts sleep


def was_written_since_boot(path: str) -> bool:
    """Whether a file was written since the last boot, by its time and the machine's clock."""
    try:
        return abs(time.time() - os.stat(path).st_mtime) < uptime()
    except OSError:
        return False
