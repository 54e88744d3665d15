"""Watch files through watchdog, on systems other than Linux, where `store.inotify` does not work."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer


class _Handler(FileSystemEventHandler):
    def __init__(self, see: Callable[[str], None]) -> None:
        self._see = see

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        if event.event_type not in ("opened", "closed_no_write"):
            for path in (event.src_path, event.dest_path):
                if path:
                    self._see(os.fsdecode(path))


def observe(folders: Sequence[str], deep: str, see: Callable[[str], None]) -> Callable[[], None]:
    """Call `see` with the path of what changes in `folders`, and anywhere below `deep`; returns a function that stops
    it."""
    logging.getLogger("watchdog").addHandler(logging.NullHandler())  # it logs errors for events that come while it stops
    observer = Observer()
    for folder in folders:
        observer.schedule(_Handler(see), folder, recursive=folder == deep)
    observer.start()

    def stop() -> None:
        observer.stop()
        observer.join()

    return stop
