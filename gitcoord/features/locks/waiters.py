"""Files about locks: the processes that wait for one, and whether any lock is held.

`coord/waiters/ID` contains the waiting process, because a waiter may be killed while its session lives. `coord/guard`
exists only while locks are held, and contains the time when the first of them ends; the pre-commit hook looks for it
before it starts Python.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from gitcoord import lean_json as json
from gitcoord.errors import Refused, RepositoryError
from gitcoord.lean import TypeVar, suppress
from gitcoord.log.clone import Clone
from gitcoord.store.objects import Oid
from gitcoord.system import process as processes
from gitcoord.system.files import make_directory, read_ours, remove_ours
from gitcoord.system.lock import unwritable, write_whole

T = TypeVar("T")


def enter(clone: Clone, wait: Oid) -> None:
    """Note that this process waits. Call it under the write lock, with the event written."""
    process = processes.describe(os.getpid())
    path = clone.path("waiters", wait)
    try:
        make_directory(os.path.dirname(path))
        write_whole(path, json.dumps(process.to_json() if process else None))
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error


def is_waiting(clone: Clone, wait: Oid) -> bool:
    """Whether the waiting process still lives; one that cannot be judged from here counts as alive."""
    try:
        process = processes.from_json(json.loads(read_ours(clone.path("waiters", wait))))
    except (OSError, ValueError):
        return False
    return process is None or processes.is_alive(process) is not False


def wait(
    clone: Clone,
    wait: Oid,
    timeout: float | None,
    attempt: Callable[[], T | None],
    give_up: Callable[[], Refused | None],
    pids: Callable[[], Iterable[int]],
) -> T:
    """Try now, whenever refs move, and whenever one of the processes `pids` ends. When the wait ends, for any reason, the
    place in the queue is given back. Raises Refused."""
    from gitcoord.store.watch import wait_until

    found: T | None = None
    refusal: Refused | None = None
    try:
        found = wait_until(clone.repo, attempt, timeout, pids)
    finally:
        if found is None:
            refusal = give_up()
        with suppress(OSError):
            remove_ours(clone.path("waiters", wait))
    if found is None:
        raise refusal or Refused("the lock became free too late", "run the command again")
    return found


def keep_marker(clone: Clone, first_end: int | None) -> None:
    """Write into `coord/guard` when the first lock ends; delete the file if no lock is held. Call it under the write
    lock."""
    path = clone.path("guard")
    with suppress(OSError, RepositoryError):
        if first_end is None:
            remove_ours(path)
        else:
            write_whole(path, f"{first_end}\n")


def is_due(clone: Clone, now: float) -> bool:
    """Whether the first lock to end has ended."""
    try:
        return int(read_ours(clone.path("guard")) or 0) <= now
    except (OSError, ValueError):
        return False
