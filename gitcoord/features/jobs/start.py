"""Begin a job in the log and in the files: before its command runs, and once its process is known."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gitcoord.errors import Refused, RepositoryError, UsageError
from gitcoord.features.jobs import files
from gitcoord.features.jobs.files import Running
from gitcoord.features.jobs.fold import MAX_NAME
from gitcoord.features.jobs.read import bounded_command, by_key
from gitcoord.features.messages.sending import recipients_of
from gitcoord.lean import Any, NamedTuple
from gitcoord.log import secrets
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import session_name
from gitcoord.sessions.identity import Identity, person_name
from gitcoord.sessions.presence import liveness_of, register
from gitcoord.sessions.records import Records
from gitcoord.store.objects import Oid
from gitcoord.system import own_boots
from gitcoord.system import process as processes
from gitcoord.system.process import Process, machine_id


class Spec(NamedTuple):
    """The command line to run, or the process `watch_pid` that somebody else started."""

    argv: tuple[str, ...] = ()
    name: str = ""
    notify: tuple[str, ...] = ()
    session: str = ""
    """The session of the command itself, which is also a job of the caller."""
    publish: bool = False
    watch_pid: int = 0


class StartedJob(NamedTuple):
    """A job that is on the log."""

    id: Oid
    running: Running
    name: str
    """Its name here. `running` has the name that other clones see."""


def watched_process(spec: Spec) -> Process | None:
    """The process to watch, if the caller asked for that. Raises UsageError."""
    if bool(spec.argv) == bool(spec.watch_pid):
        raise UsageError("there is no command" if not spec.argv else "--watch-pid takes no command", "git coord run -- CMD")
    if not spec.watch_pid:
        return None
    found = processes.describe(spec.watch_pid)
    if found is None:
        raise UsageError(f"no process has the pid {spec.watch_pid}", "name a running process")
    return found


def begin(clone: Clone, me: Identity, spec: Spec, cwd: str) -> StartedJob:
    """Write the start of a job that runs in `cwd`, with this process as its supervisor.

    Raises UsageError and Refused for a job that cannot be run.
    """
    watched = watched_process(spec)
    supervisor = processes.describe(os.getpid())
    if supervisor is None:
        raise RepositoryError("this process cannot see itself: /proc is missing", "mount /proc")
    _look_for_secrets(clone, spec)
    name = _job_name(spec, watched)
    stays = _names_ignored(clone, spec, cwd) or (not clone.allows_secrets and bool(secrets.find(name)))
    with clone.locked():
        if spec.session:
            _check_session(clone, spec.session)
        notify = tuple(recipients_of(clone, me, spec.notify)) if spec.notify else ()
        register(clone, me)
        files.prune_logs(clone.repo.coord_dir)
        running = Running(
            os.urandom(8).hex(), supervisor, machine_id(), me.name, "job" if stays else name, time.time(), notify, spec.publish,
            clone.allows_secrets, watched=watched is not None,
        )  # fmt: skip
        own_boots.note()
        files.put(clone.repo.coord_dir, running)
        data = {"name": running.name, "key": running.key} | ({"runs": spec.session} if spec.session else {})
        begun = clone.append(lambda db: [Draft("job.start", f"{running.name} started", data, author=me.name)])[0]
        return StartedJob(begun.id, running, name)


def _look_for_secrets(clone: Clone, spec: Spec) -> None:
    """Check for secrets what leaves the clone: the name, and the command of a published job. Raises Refused."""
    for part, what, instead in (
        (spec.name, "the name", "choose another --name"),
        (" ".join(spec.argv) if spec.publish else "", "the command", "leave out --publish"),
    ):
        if (found := secrets.find(part)) and not clone.allows_secrets:
            hint = f"{instead}, or add {secrets.ALLOW}"
            raise Refused(f"{what} has what looks like {found}: it was neither run nor published", hint)


def _names_ignored(clone: Clone, spec: Spec, cwd: str) -> bool:
    """Whether the default name is that of a file that git ignores. Raises Refused for a published command that names such a
    file."""
    program = spec.argv[0] if spec.argv else processes.command(spec.watch_pid).partition(" ")[0]
    files = [program] if os.sep in program else []
    files += [word for word in spec.argv[1:] if spec.publish and os.path.lexists(os.path.join(cwd, word))]
    if not files:
        return False
    from gitcoord.sessions.ignored import ignored_files, refuse

    ignored = ignored_files(clone, files, cwd)
    if spec.publish:
        refuse(ignored, "leave out --publish")
    return program in ignored and not spec.name


def _job_name(spec: Spec, watched: Process | None) -> str:
    words = spec.name.split()
    if spec.name and not words:
        raise UsageError("the name is empty", "git coord run --name NAME -- CMD")
    default = processes.command(watched.pid).partition(" ")[0] or f"pid {watched.pid}" if watched else spec.argv[0]
    name = " ".join(words) or os.path.basename(default.rstrip("/")) or default
    clean = "".join(c for c in name if c.isprintable()).encode("utf-8", "replace").decode()[:MAX_NAME]
    return clean or "job"


def _check_session(clone: Clone, name: str) -> None:
    """Refuse a session name that another process is bound to, or a person's."""
    records = Records(clone.repo.coord_dir)
    record = records.get(session_name(name))
    if name == person_name(clone.repo) or (record and record.person):
        raise UsageError(f"{name} is a person", "choose another name for the session")
    if record and record.process and processes.is_alive(record.process):
        state = liveness_of(record, records.beat(name), time.time()).state
        raise Refused(f"{name} is bound to another process and {state}", "choose another name, or end that process first")


def command_known(clone: Clone, begun: StartedJob, spec: Spec, command: Process, cwd: str) -> StartedJob:
    """Note the process of the command, which is about to run; bind its session, if it has one."""
    running = begun.running._replace(command=command, started=time.time())
    line = spec.argv or (processes.command(command.pid) or running.name,)
    facts: dict[str, Any] = {"command": bounded_command(line), "cwd": bounded_command([cwd])[0], "pid": command.pid}
    facts |= {"name": begun.name} if begun.name != running.name else {}
    with clone.locked():
        files.put(clone.repo.coord_dir, running)
        if spec.session:
            _bind(clone, spec.session, command)
        data = {"job": begun.id, "part": "start", **facts}
        draft = Draft("job.detail", f"{running.name}: details", data, author=running.owner)
        clone.append(lambda db: [draft], local=not spec.publish)
    return begun._replace(running=running)


def go_on(clone: Clone, old: str) -> None:
    """Continue the jobs that this clone runs as `old` under its new id. Call it under the write lock."""
    for key in files.keys(clone.repo.coord_dir):
        running = files.get(clone.repo.coord_dir, key)
        # events not sent under the old id were carried into the new log, and count as the new id's
        job = clone.read(lambda db, key=key: by_key(db, old, key) or by_key(db, clone.settled_id(), key))  # type: ignore[misc]
        if running is None or job is None or job.state != "running":
            continue
        data = {"name": running.name, "key": key, "was": job.id} | ({"runs": job.runs} if job.runs else {})
        begun = clone.append(lambda db, d=data, r=running: [Draft("job.start", f"{r.name} resumes", d, author=r.owner)])  # type: ignore[misc]
        if job.pid is not None:
            facts = {"job": begun[0].id, "part": "start", "command": list(job.command), "cwd": job.cwd, "pid": job.pid}
            facts |= {"name": job.name} if job.name != running.name else {}
            detail = Draft("job.detail", f"{running.name}: details", facts, author=running.owner)
            clone.append(lambda db, d=detail: [d], local=not running.publish)  # type: ignore[misc]


def _bind(clone: Clone, name: str, command: Process) -> None:
    place = {"git_dir": clone.repo.git_dir, "worktree": clone.repo.worktree} if clone.repo.worktree else {}
    record = Records(clone.repo.coord_dir).get(name)
    register(clone, Identity(name, "GIT_COORD_SESSION", record), process=command, waiting=False, harness_id="", **place)


def environment(clone: Clone, spec: Spec, environ: dict[str, str]) -> dict[str, str]:
    """The command's environment: ours, and the name of its session."""
    return {**environ, "GIT_COORD_SESSION": spec.session} if spec.session else environ


def notified(names: str | Sequence[str]) -> tuple[str, ...]:
    """The names in a list like `a,b`."""
    parts = names.split(",") if isinstance(names, str) else names
    return tuple(part for part in parts if part)
