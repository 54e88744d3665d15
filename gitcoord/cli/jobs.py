"""The verbs run, jobs and job."""

from __future__ import annotations

import sys
import time

from gitcoord import Coord
from gitcoord.cli.command import IntRange, argument, command, group, option
from gitcoord.cli.output import ago, inert, one_line, paint, quoted, say, say_block, say_json
from gitcoord.cli.params import PAGE, common, opened
from gitcoord.cli.talk import SHORT
from gitcoord.errors import CoordError
from gitcoord.lean import TYPE_CHECKING
from gitcoord.overview.shapes import job_json, shown_name
from gitcoord.system.streams import remark
from gitcoord.text import block

if TYPE_CHECKING:
    from gitcoord.features.jobs.read import Job
    from gitcoord.features.jobs.start import Spec

OWN_FAILURE = 125
COLOURS = {"running": "32", "exited": "0", "killed": "31", "lost": "31"}


@command(short_help="run a command as a job", context_settings={"allow_interspersed_args": False})
@argument("argv", metavar="-- CMD...", nargs=-1)
@option("--name", default="", metavar="N", help="The job's name.")
@option("--notify", default="", metavar="WHO,…", help="Tell them its end, too.")
@option("--detach", is_flag=True, help="Run in the background.")
@option("--session", default="", metavar="S", help="Run the command as session S.")
@option("--publish", is_flag=True, help="Other clones may see command and output.")
@option("--watch-pid", type=int, default=0, metavar="PID", help="Watch a process instead.")
@common
def run(
    argv: tuple[str, ...],
    name: str,
    notify: str,
    detach: bool,
    session: str,
    publish: bool,
    watch_pid: int,
    as_name: str | None,
    as_json: bool,
) -> int:
    """Run CMD and exit as it does; my session gets a message when it ends.

    Example: git coord run --notify ada -- make test
    """
    from gitcoord.features.jobs.start import Spec, notified

    spec = Spec(argv, name, notified(notify), session, publish, watch_pid)
    try:
        with opened(as_name) as coord:
            if detach:
                return _launch(coord, spec, as_json)
            return coord.jobs.run(**spec._asdict())
    except CoordError as error:
        error.exit_code = OWN_FAILURE
        raise


def _launch(coord: Coord, spec: Spec, as_json: bool) -> int:
    job = coord.jobs.start(**spec._asdict())
    if job.failed:
        remark(f"error: {spec.argv[0]}: cannot be run")
        remark(f"hint: git coord job show {job.id[:SHORT]}")
    elif as_json:
        say_json({"id": job.id, "pid": job.pid, "log": job.log})
    else:
        say(f"{job.id[:SHORT]} started, pid {job.pid}", f"  log: {job.log}")
    return job.failed


@command(short_help="running and recently ended jobs")
@option("--all", "everything", is_flag=True, help="Also jobs that ended long ago.")
@option("--session", metavar="S", help="Only those of this session.")
@option("-n", "--limit", type=IntRange(1, 100_000), metavar="N", help="The newest N (20).")
@common
def jobs(everything: bool, session: str | None, limit: int | None, as_name: str | None, as_json: bool) -> None:
    """Everybody's running jobs, and those that ended within a day, oldest first.

    Example: git coord jobs --json
    """
    with opened(as_name) as coord:
        boxes = coord.sessions.mailboxes(session) if session else ()
        found = [job for job in coord.jobs.list(everything=everything) if not session or job.session in boxes]
        if as_json:
            say_json([job_json(coord, job) for job in found[-(limit or 0) :]])
            return
        for job in found[-(limit or PAGE) :]:
            say(_line(coord, job))
        if not found:
            say("No jobs." if everything else "No jobs (older ones: git coord jobs --all).")
        elif len(found) > (limit or PAGE):
            say(f"({len(found) - (limit or PAGE)} older ones: -n {len(found)})")


@group(short_help="show, log or kill one job")
def job() -> None:
    """One job, by its id, a prefix of it, or its name.

    Example: git coord job log build
    """


@job.command(short_help="show its state")
@argument("job_id", metavar="ID")
@common
def show(job_id: str, as_name: str | None, as_json: bool) -> None:
    """One job: command, state, and the last of its stderr.

    Example: git coord job show 3f9a1c77
    """
    with opened(as_name) as coord:
        say_job(coord, coord.jobs.get(job_id), as_json)


@job.command(short_help="print its output")
@argument("job_id", metavar="ID")
@option("--raw", is_flag=True, help="Byte for byte, with escape sequences.")
@common
def log(job_id: str, raw: bool, as_name: str | None, as_json: bool) -> None:
    """Print the output of a job of this clone; of more than 1 MiB, the beginning and the end.

    Example: git coord job log build
    """
    from gitcoord.features.jobs.output import plain

    with opened(as_name) as coord:
        data = coord.jobs.log(job_id)
        if as_json:
            say_json({"id": coord.jobs.get(job_id).id, "text": plain(data)})
        elif raw:
            sys.stdout.buffer.write(data)
        else:
            sys.stdout.write(block(plain(data)))


@job.command(short_help="end it with all it started")
@argument("job_id", metavar="ID")
@common
def kill(job_id: str, as_name: str | None, as_json: bool) -> None:
    """End a job with all it started: SIGTERM, and after 5 seconds SIGKILL.

    Example: git coord job kill build
    """
    with opened(as_name) as coord:
        say_job(coord, coord.jobs.kill(job_id), as_json)


def _line(coord: Coord, job: Job) -> str:
    from gitcoord.features.jobs.read import describe_state, shown_command
    from gitcoord.text import duration

    if job.state == "running":
        pid = f", pid {job.pid}" if job.pid else ""
        alone = {True: "", False: ", unsupervised", None: " (elsewhere)"}[job.supervised]
        state = f"{job.name} is running for {duration(time.time() - job.started)}{pid}{alone}"
    else:
        state = f"{describe_state(job)}, {ago(job.ended)}"
    of = f", as the session {job.runs}" if job.runs else ""
    what = f": {shown_command(job, 60)}" if job.command else ""
    colour = COLOURS["killed"] if job.failed else COLOURS[job.state]
    return (
        f"{paint(job.id[:SHORT], '33')} {paint(one_line(state), colour)}, of {shown_name(coord, job.session)}{of}{inert(what)}"
    )


def say_job(coord: Coord, job: Job, as_json: bool) -> None:
    """Print everything about a job but its output."""
    if as_json:
        say_json(job_json(coord, job))
        return
    say(_line(coord, job))
    if job.cwd:
        say(f"  in {inert(job.cwd)}")
    if job.stderr_tail:
        say_block(quoted(job.stderr_tail))
