"""Handle another program's lock file on a ref of ours, for both stores."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from gitcoord.errors import CoordError, RepositoryError
from gitcoord.system.files import remove_ours, touch_ours

STALE_AFTER = 5.0
"""Seconds a ref lock must have stayed unchanged before the holder of the write lock may clear it."""
GIVE_UP_AFTER = 20.0


class RefLocked(CoordError):
    """A lock file is in the way (the message names it): git is at work, or a killed process left it behind."""


def patiently(attempt: Callable[[], None], lock_file: str) -> None:
    """Call `attempt` until it no longer meets a lock, clearing a lock that a dead process left behind.

    The caller holds the write lock, so no writer of ours is at work on this ref. The lock is that of a `git pack-refs` or
    `git fetch`, which ends in milliseconds, or a dead process left it behind.
    """
    deadline = time.monotonic() + GIVE_UP_AFTER
    pause = 0.002
    while True:
        try:
            return attempt()
        except RefLocked as held:
            if time.monotonic() > deadline:
                raise RepositoryError(
                    f"{held.what} is in the way: another git holds it, or was killed",
                    f"if no git is running, remove {held.what}",
                ) from None
        if not _clear_if_stale(lock_file):
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def clear(lock_file: str) -> bool:
    """Wait until a lock file is removed, or remove it if a dead process left it; returns whether it is gone. The caller
    holds the write lock."""
    deadline = time.monotonic() + STALE_AFTER + 1
    while os.path.lexists(lock_file):
        if time.monotonic() > deadline:
            return False
        if not _clear_if_stale(lock_file):
            time.sleep(0.05)
    return True


def _clear_if_stale(lock_file: str) -> bool:
    common_dir = lock_file.replace(os.sep, "/").rpartition("/refs/coord/")[0]
    try:
        age = _file_system_now(os.path.join(common_dir, "coord")) - os.stat(lock_file).st_mtime
        if age < STALE_AFTER:
            return False
        os.unlink(lock_file)
    except OSError:
        return False
    return True


def _file_system_now(directory: str) -> float:
    """The file system's time, with which the lock's own time has to be compared."""
    place = directory if os.path.isdir(directory) else os.path.dirname(directory)
    probe = os.path.join(place, f"clock.{os.getpid()}")
    touch_ours(probe)
    try:
        return os.stat(probe).st_mtime
    finally:
        remove_ours(probe)
