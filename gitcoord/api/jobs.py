"""`coord.jobs`: supervised commands, their output, and how they ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from gitcoord.api.facade import Facade
from gitcoord.errors import RepositoryError
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.features.jobs.launch import Launched
    from gitcoord.features.jobs.read import Job


class Jobs(Facade):
    """Jobs of the repository; `job` is an id, a unique prefix of one, or a name, which means the newest such job of this
    clone.

    Example:

        job = coord.jobs.start(["sleep", "60"], name="build")
        coord.jobs.list()
        coord.jobs.get(job.id).state
        coord.jobs.log(job.id)
        coord.jobs.watch_logs(print)()
        coord.jobs.kill(job.id)
        coord.jobs.run(["true"])
    """

    __slots__ = ()

    def list(self, *, everything: bool = False) -> list[Job]:
        """Running jobs and those that ended within a day, oldest first; or all. Lost jobs are found first."""
        from gitcoord.features.jobs import end, read

        end.reap(self._coord.clone)
        return read.list_jobs(self._coord.clone, everything)

    def get(self, job: str) -> Job:
        """One job. Raises UsageError."""
        from gitcoord.features.jobs import end, read

        end.reap(self._coord.clone)
        return read.show(self._coord.clone, job)

    def log(self, job: str) -> bytes:
        """The output of a job; of much output, the beginning and the end. Raises Refused if this clone does not have it."""
        from gitcoord.features.jobs import read
        from gitcoord.system.files import read_ours

        return read_ours(read.log_file(self._clone, self.get(job)))

    def watch_logs(self, wrote: Callable[[str], None]) -> Callable[[], None]:
        """Call `wrote`, from another thread, with the `key` of each job of this clone whose output goes on; returns a
        function that stops it, which that thread must not call. Nothing polls. Raises OSError."""
        from gitcoord.features.jobs import files

        return files.watch_logs(self._clone.repo.coord_dir, wrote)

    def kill(self, job: str, grace: float = 5.0) -> Job:
        """End a job's whole process group: SIGTERM, SIGKILL after `grace` seconds. Raises Refused if it has ended."""
        from gitcoord.features.jobs import end

        return end.kill(self._clone, job, grace)

    def start(
        self,
        argv: Sequence[str] = (),
        *,
        name: str = "",
        notify: Sequence[str] = (),
        session: str = "",
        publish: bool = False,
        watch_pid: int = 0,
        cwd: str | os.PathLike[str] | None = None,
    ) -> Launched:
        """Run a command in the background; it outlives the caller. Returns as soon as it runs.

        `session` makes it a session of that name; `publish` lets its command line and output leave the clone;
        `watch_pid` is a process that somebody else started, instead of `argv`. Raises CoordError.
        """
        if sys.platform == "win32":
            raise _not_here()
        from gitcoord.features.jobs.launch import launch
        from gitcoord.features.jobs.start import Spec

        spec = Spec(tuple(argv), name, tuple(notify), session, publish, watch_pid)
        where = os.fspath(cwd or self._coord.cwd)
        return self._write(lambda me: launch(self._clone, me, spec, where), waits=True)

    def run(
        self,
        argv: Sequence[str] = (),
        *,
        name: str = "",
        notify: Sequence[str] = (),
        session: str = "",
        publish: bool = False,
        watch_pid: int = 0,
    ) -> int:
        """As `start`, in the foreground: our standard streams are the command's. Returns its exit code, as a shell does."""
        if sys.platform == "win32":
            raise _not_here()
        from gitcoord.features.jobs import supervise
        from gitcoord.features.jobs.start import Spec

        spec = Spec(tuple(argv), name, tuple(notify), session, publish, watch_pid)
        return self._write(lambda me: supervise.run(self._clone, me, spec, self._coord.cwd), waits=True)


def _not_here() -> RepositoryError:
    return RepositoryError("jobs need fork(2) and process groups, which Windows does not have", "run the command in WSL")
