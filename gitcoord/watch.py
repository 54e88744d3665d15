"""Being woken when coordination refs move, by whoever moved them: gitcoord, a plain `git fetch`, `git update-ref`.

The kernel tells us through watchdog (inotify, FSEvents, kqueue); nothing polls. A wake-up only says "look again":
callers check their condition after `RefWatch` is entered and after every wake-up, so no change can fall in between.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from gitcoord.store.repository import Repository

T = TypeVar("T")
LOOK_ANYWAY = 10.0
"""Seconds after which a waiter looks again without being woken: for what depends on the clock or on a process's death."""


class RefWatch(FileSystemEventHandler):
    """Watches where a repository keeps its refs: loose files, `packed-refs`, and the tables of reftable."""

    def __init__(self, repo: Repository) -> None:
        self._changed = threading.Event()
        self._common_dir = str(repo.common_dir)
        self._loose = os.path.join(self._common_dir, "refs")
        self._tables = os.path.join(self._common_dir, "reftable")
        self._observer = Observer()
        logging.getLogger("watchdog").addHandler(logging.NullHandler())  # it complains of events that come while it stops

    def __enter__(self) -> RefWatch:
        self._observer.schedule(self, self._loose, recursive=True)  # `refs` itself stays, whatever pack-refs removes
        self._observer.schedule(self, self._common_dir, recursive=False)
        if os.path.isdir(self._tables):
            self._observer.schedule(self, self._tables, recursive=False)
        self._observer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._observer.stop()
        self._observer.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        if event.event_type in ("opened", "closed_no_write"):
            return
        paths = [os.fsdecode(path) for path in (event.src_path, event.dest_path) if path]
        if any(self._concerns_us(path) for path in paths):
            self._changed.set()

    def _concerns_us(self, path: str) -> bool:
        if path.endswith(".lock"):
            return False
        below = path.removeprefix(self._common_dir).replace(os.sep, "/").strip("/")
        return below == "packed-refs" or below in ("refs", "refs/coord") or below.startswith(("refs/coord/", "reftable/"))

    def wait(self, seconds: float) -> bool:
        """Sleep until a ref of ours may have moved, at most so long; False when nothing did."""
        woken = self._changed.wait(max(0.0, seconds))
        self._changed.clear()
        return woken


def wait_until(repo: Repository, attempt: Callable[[], T | None], timeout: float | None) -> T | None:
    """Call `attempt` now and whenever refs move, until it returns something; None once `timeout` (seconds) is over."""
    deadline = None if timeout is None else time.monotonic() + timeout
    found = attempt()
    if found is not None or timeout == 0:
        return found
    with RefWatch(repo) as watch:
        while True:
            found = attempt()
            left = LOOK_ANYWAY if deadline is None else deadline - time.monotonic()
            if found is not None or left <= 0:
                return found
            watch.wait(min(left, LOOK_ANYWAY))
