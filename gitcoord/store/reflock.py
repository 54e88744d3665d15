"""What both stores do when somebody else's lock file lies on a ref of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from gitcoord.errors import CoordError, RepositoryError

STALE_AFTER = 5.0
"""Seconds a ref lock must have stayed unchanged before the holder of the write lock may clear it."""
GIVE_UP_AFTER = 20.0


class RefLocked(CoordError):
    """A lock file is in the way (the message names it): git is at work, or a killed process left it behind."""


def patiently(attempt: Callable[[], None], lock_file: Path) -> None:
    """Call `attempt` until it no longer meets a lock, clearing a lock that a dead process left behind.

    The caller holds the write lock, so no writer of ours is at work on this ref; what is left is a passing
    `git pack-refs` or `git fetch`, which is done in milliseconds, or a corpse.
    """
    deadline = time.monotonic() + GIVE_UP_AFTER
    pause = 0.002
    while True:
        try:
            return attempt()
        except RefLocked as held:
            if time.monotonic() > deadline:
                raise RepositoryError(f"{held.what} stays there", f"if no git is running, remove {held.what}") from None
        if not _clear_if_stale(lock_file):
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def _clear_if_stale(lock_file: Path) -> bool:
    common_dir = lock_file.as_posix().rpartition("/refs/coord/")[0]
    try:
        age = _file_system_now(Path(common_dir, "coord")) - lock_file.stat().st_mtime
        if age < STALE_AFTER:
            return False
        lock_file.unlink()
    except OSError:
        return False
    return True


def _file_system_now(directory: Path) -> float:
    """The time as the file system stamps it, which is what the lock's own time has to be compared with."""
    probe = (directory if directory.is_dir() else directory.parent) / f"clock.{os.getpid()}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
