"""`coord.jobs`: the verbs of jobs, as a program calls them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gitcoord.features.jobs import end, jobs
from gitcoord.features.jobs.jobs import Job
from gitcoord.features.jobs.start import Spec
from gitcoord.system.files import read_ours

if TYPE_CHECKING:
    from gitcoord import Coord
    from gitcoord.features.jobs.launch import Launched


class Jobs:
    """Jobs of the repository; `job` is an id, a unique prefix of one, or the name of this clone's newest so called."""

    def __init__(self, coord: Coord) -> None:
        self._coord = coord

    def list(self, everything: bool = False) -> list[Job]:
        """Running jobs and those that ended within a day, oldest first; or all. Lost ones are found first."""
        end.reap(self._coord.clone)
        return jobs.list_jobs(self._coord.clone, everything)

    def get(self, job: str) -> Job:
        """One job. Raises UsageError."""
        end.reap(self._coord.clone)
        return jobs.show(self._coord.clone, job)

    def log(self, job: str) -> bytes:
        """What it wrote; of much output, the beginning and the end. Raises Refused when that is not here."""
        return read_ours(jobs.log_file(self._coord.clone, self.get(job)))

    def kill(self, job: str, grace: float = 5.0) -> Job:
        """End its whole process group: SIGTERM, SIGKILL after `grace` seconds. Raises Refused if it is over."""
        return end.kill(self._coord.clone, job, grace)

    def start(
        self,
        argv: Sequence[str] = (),
        name: str = "",
        notify: Sequence[str] = (),
        session: str = "",
        publish: bool = False,
        watch_pid: int = 0,
        cwd: str | Path | None = None,
    ) -> Launched:
        """Run a command in the background, whatever becomes of us; returns as soon as it runs.

        `session` makes it a session of that name; `publish` lets its command line and output leave the clone;
        `watch_pid` is a process that somebody else started, instead of `argv`. Raises CoordError.
        """
        from gitcoord.features.jobs.launch import launch

        spec = Spec(tuple(argv), name, tuple(notify), session, publish, watch_pid)
        return launch(self._coord.clone, self._coord.identity, spec, str(cwd or self._coord.cwd))
