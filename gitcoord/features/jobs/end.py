"""Record the end of a job and tell it, once, by its supervisor or by the process that finds it abandoned; and `job
kill`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from gitcoord.errors import CoordError, Refused
from gitcoord.features.jobs import files
from gitcoord.features.jobs.files import Ending, Running
from gitcoord.features.jobs.read import Job, by_key, describe_end, describe_state, show, shown_command
from gitcoord.lean import Any, sqlite3, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import mailbox
from gitcoord.sessions.mailboxes import address, canonical
from gitcoord.system.notify import notify
from gitcoord.text import shell_word


def record_end(clone: Clone, key: str, ending: Ending | None = None) -> Job | None:
    """Record how a job ended, tell the sessions concerned, and remove its file; only the first process does. Without an
    `ending` the job is lost, unless its supervisor has recorded one meanwhile. The call may be interrupted anywhere and is
    then completed by the next one. Returns None if there was nothing left to do. Raises CoordError."""
    with clone.locked():
        running = files.get(clone.repo.coord_dir, key)
        if running is None:
            return None
        begun = clone.read(lambda db: by_key(db, clone.settled_id(), key))
        if begun is not None:  # otherwise its supervisor died before it began, or this is a copy of another clone's files
            _record(clone, begun, running, ending or running.ending or _lost(clone, running))
        files.remove(clone.repo.coord_dir, key)
    job = clone.read(lambda db: by_key(db, clone.settled_id(), key))
    if job is not None and job.failed:
        _ring(clone, job)
    return job


def _ring(clone: Clone, job: Job) -> None:
    """Run `coord.notify` for a job that failed."""
    facts = {"kind": "job", "id": job.id, "name": job.name, "state": job.state, "exit": job.exit, "signal": job.signal}
    facts |= {"session": job.session, "stderr_tail": job.stderr_tail}
    notify(clone.repo.setting("notify"), clone.repo.environ, describe_state(job), facts)


def _record(clone: Clone, job: Job, running: Running, ending: Ending) -> None:
    """Write the output first, so that a reader who sees the end sees all of it."""
    clone.append(lambda db: _tell_drafts(db, clone, job, running, ending), local=True)
    if job.state == "running":
        clone.append(lambda db: _end_drafts(db, clone, job, running, ending))


def _lost(clone: Clone, running: Running) -> Ending:
    from gitcoord.features.jobs.output import read_tail

    tail = read_tail(files.log_path(clone.repo.coord_dir, running.key))
    return Ending(time.time(), lost=True, tail=tail)


def _end_drafts(db: sqlite3.Connection, clone: Clone, job: Job, running: Running, ending: Ending) -> list[Draft]:
    """The events that leave the clone: the end, and the message to other clones' sessions."""
    outcome = describe_end(running.name, ending, running.started)
    facts = {"exit": ending.exit, "signal": ending.signal, "ms": _milliseconds(ending, running)}
    said = {key: value for key, value in facts.items() if value is not None and not ending.lost}
    end = Draft("job.lost" if ending.lost else "job.end", outcome, {"job": job.id, **said}, author=running.owner)
    drafts = [end]
    if running.publish:
        drafts.append(_detail(job, "end", running, {"tail": _publishable(running, ending.tail)}))
    far = [box for box in _boxes(db, clone, running) if not clone.has(box)]
    if far:
        told = ending._replace(tail=_publishable(running, ending.tail))
        text = _message_text(job, outcome, told) if running.publish else outcome
        drafts.append(_message(job, running, ending, far, text))
    return drafts


def _publishable(running: Running, tail: str) -> str:
    """Output that other clones may see: empty if it seems to contain a secret."""
    from gitcoord.log import secrets

    found = "" if running.secrets else secrets.find(tail)
    return f"(the output stays in its clone, as it has what looks like {found})" if found else tail


def _tell_drafts(db: sqlite3.Connection, clone: Clone, job: Job, running: Running, ending: Ending) -> list[Draft]:
    """The events that stay here: the output, and the message to this clone's sessions; nothing if they were written
    already."""
    if _is_told(db, job):
        return []
    near = [box for box in _boxes(db, clone, running) if clone.has(box)]
    text = _message_text(job, describe_end(job.name, ending, running.started), ending)
    drafts = [] if running.publish else [_detail(job, "end", running, {"tail": ending.tail})]
    return [*drafts, _message(job, running, ending, near, text)]


def _is_told(db: sqlite3.Connection, job: Job) -> bool:
    query = "SELECT 1 FROM events WHERE type = 'message' AND local = 1 AND lc > ? AND json_extract(data, '$.about') = ?"
    start = db.execute("SELECT lc FROM jobs WHERE id = ?", (job.id,)).fetchone()[0]
    return db.execute(query, (start, job.id)).fetchone() is not None


def _boxes(db: sqlite3.Connection, clone: Clone, running: Running) -> list[str]:
    owner = mailbox(running.owner, clone.settled_id())
    return list(dict.fromkeys(of(db, box) for box in (owner, *running.notify) for of in (address, canonical)))


def _detail(job: Job, part: str, running: Running, facts: dict[str, Any]) -> Draft:
    return Draft("job.detail", f"{running.name}: details", {"job": job.id, "part": part, **facts}, author=running.owner)


def _message(job: Job, running: Running, ending: Ending, to: Sequence[str], text: str) -> Draft:
    data: dict[str, Any] = {"to": list(to), "notice": "job", "about": job.id}
    return Draft("message", text, data | ({"urgent": True} if ending.failed else {}), author=running.owner)


def _message_text(job: Job, outcome: str, ending: Ending) -> str:
    lines = [f"{outcome}: {shown_command(job)}" if job.command else outcome]
    lines += [ending.tail] if ending.tail and ending.failed else []
    return "\n".join([*lines, f"(the whole output: git coord job log {job.id[:10]})"])


def _milliseconds(ending: Ending, running: Running) -> int:
    return max(0, int((ending.at - running.started) * 1000))


def reap(clone: Clone) -> list[Job]:
    """Record the ends of this clone's jobs whose supervisor and command have ended. Costs next to nothing when none runs.
    Raises CoordError."""
    settled = []
    for key in files.keys(clone.repo.coord_dir):
        running = files.get(clone.repo.coord_dir, key)
        if running is not None and files.is_abandoned(running):
            with suppress(CoordError), clone.locked():
                running = files.get(clone.repo.coord_dir, key)  # its end may have been recorded meanwhile, or its command
                if running is not None and files.is_abandoned(running):
                    settled.append(record_end(clone, key))
    return [job for job in settled if job is not None]


def kill(clone: Clone, text: str, grace: float = 5.0) -> Job:
    """End a job's whole process group: SIGTERM, and SIGKILL after `grace` seconds. Returns the job in its new state.

    Raises Refused for a job that has ended, of another clone, or in another container.
    """
    reap(clone)
    job = show(clone, text)
    if not clone.has(job.session):
        ask = shell_word(f"please end {job.name}")
        raise Refused(f"{job.name} runs in another clone", f"git coord send {job.session} {ask}")
    running = files.get(clone.repo.coord_dir, job.key)
    if job.state != "running" or running is None or running.command is None:
        raise Refused(f"{job.name} has ended already", f"git coord job show {job.id[:10]}")
    if sys.platform != "win32":  # jobs do not start on Windows
        from gitcoord.features.jobs.killing import end_command

        end_command(running, grace)
    if files.is_supervised(running):
        _wait_for_supervisor(clone, running)
    else:
        record_end(clone, job.key)
    return show(clone, job.id)


def _wait_for_supervisor(clone: Clone, running: Running) -> None:
    """Wait until the supervisor has recorded how the command ended; otherwise the next command records it."""
    from gitcoord.system.process import wait_for_end

    wait_for_end(running.supervisor, 10.0)
    reap(clone)
