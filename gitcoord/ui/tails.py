"""Tell a face when a job that it shows has more output, once for each time that the face has read it. A face that still
shows the job reads again, and is told again. If no job is shown, the folder of the logs is not watched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord import Coord

CALM = 0.15
"""Seconds for which output is gathered before a face is told."""


class Tails:
    """The jobs whose output is shown. Callable from any thread."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._busy = threading.Lock()
        self._shown: dict[str, str] = {}
        """Ids of jobs by the keys of their logs."""
        self._stop: Callable[[], None] | None = None
        self._over = False

    def follow(self, coord: Coord, id: str) -> None:
        """Tell when a job has more output; call it before reading the output. Raises UsageError for an unknown id."""
        job = coord.jobs.get(id)
        if job.state != "running":
            return
        with self._busy, suppress(OSError):
            if not self._over:
                self._shown[job.key] = job.id
                self._stop = self._stop or coord.jobs.watch_logs(self._wrote)

    def close(self) -> None:
        """Stop telling."""
        with self._busy:
            self._over, stop, self._stop = True, self._stop, None
        if stop:
            stop()

    def _wrote(self, key: str) -> None:
        with self._busy:
            id = self._shown.pop(key, "")
        if id:
            later = threading.Timer(CALM, self._say, (id,))
            later.daemon = True
            later.start()

    def _say(self, id: str) -> None:
        with self._busy:
            stop = None
            if not self._shown:
                stop, self._stop = self._stop, None
        if stop:
            stop()
        if not self._over:
            self._tell(id)
