"""Find out how long the machine slept: silence while it sleeps is not a sign of death.

The kernel says how long it has slept since it started. `coord/sleeps` records when that was first seen to have grown,
one line each: the start of the machine, the time, the seconds slept by then. It stays empty on a machine that never
slept.
"""

from __future__ import annotations

import os
import sys
import time

from gitcoord.errors import RepositoryError
from gitcoord.lean import suppress
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.process import boot_id

WORTH_A_LINE = 60.0
"""Seconds of sleep below which the growth may come from inexact clocks."""
KEPT = 50
"""Number of lines that are kept; older sleeps lie before any silence that still matters."""


def slept() -> float:
    """Seconds for which this machine slept since it started; 0 if the system does not say."""
    if sys.platform != "linux":
        return 0.0
    # the first counts while the machine sleeps, the other does not
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC))


class Sleeps:
    """The sleeps of this machine, as one clone has noted them. The file is read once, and only if the machine has slept."""

    def __init__(self, coord_dir: str) -> None:
        self._path = os.path.join(coord_dir, "sleeps")
        self._total = slept()
        self._seen: list[tuple[float, float]] | None = None

    def since(self, at: float) -> float:
        """Seconds for which the machine slept since the time `at`, or more: an unknown time counts as sleep."""
        if self._total < WORTH_A_LINE:
            return 0.0
        before = [total for when, total in self._lines() if when <= at]
        return max(0.0, self._total - (before[-1] if before else 0.0))

    def _lines(self) -> list[tuple[float, float]]:
        if self._seen is None:
            self._seen = self._read()
            if self._total - (self._seen[-1][1] if self._seen else 0.0) >= WORTH_A_LINE:
                self._seen = [*self._seen[1 - KEPT :], (time.time(), self._total)]
                self._write(self._seen)
        return self._seen

    def _read(self) -> list[tuple[float, float]]:
        """The lines of this start of the machine; invalid ones are ignored."""
        found = []
        with suppress(OSError, ValueError):
            for line in read_ours(self._path).decode("ascii").splitlines()[-KEPT:]:
                boot, when, total = line.split(" ")
                if boot == boot_id():
                    found.append((float(when), float(total)))
        return found

    def _write(self, lines: list[tuple[float, float]]) -> None:
        with suppress(RepositoryError):  # a read-only repository: each command finds it anew
            write_whole(self._path, "".join(f"{boot_id()} {when:.0f} {total:.0f}\n" for when, total in lines))
