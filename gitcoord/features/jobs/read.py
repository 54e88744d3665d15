"""Read jobs: supervised commands, how they began and ended, and whom to tell.

A job is its `job.start`. Its name, how it ended and how long it took leave the clone. Command line, directory, process and
output are in `job.detail` events, which stay in this clone unless the job is published. The name of a job whose program is
a file that git ignores stays here, too: other clones see `job`. `supervise.py` runs jobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gitcoord import lean_json as json
from gitcoord.errors import Refused, UsageError
from gitcoord.features.jobs import files
from gitcoord.features.jobs.files import Ending
from gitcoord.features.jobs.fold import _GOES_ON, MAX_COMMAND
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.query import resolve_id
from gitcoord.log.trust import OURS_FIRST
from gitcoord.names import clone_in, mailbox
from gitcoord.store.objects import Oid
from gitcoord.text import duration, quote

RECENT = 24 * 3600
"""Seconds for which an ended job is listed by default."""

# events


class Job(NamedTuple):
    """A job. Times are Unix seconds, `session` is the mailbox it belongs to, `runs` the session that the command has.

    `state` is `running`, `exited`, `killed` (by `signal`) or `lost`. `command`, `cwd`, `pid` and `stderr_tail` are empty
    where this clone does not know them. `supervised` is also None if unknown.
    """

    id: Oid
    name: str
    session: str
    runs: str
    state: str
    command: tuple[str, ...]
    cwd: str
    pid: int | None
    exit: int | None
    signal: int | None
    started: int
    ended: int | None
    ms: int | None
    stderr_tail: str
    key: str
    supervised: bool | None = None

    @property
    def failed(self) -> bool:
        return self.state in ("killed", "lost") or bool(self.exit)


_SELECT = """
SELECT j.id, j.name, j.author, j.clone, j.at, j.key, j.runs, e.lost, e.at, e.exit, e.signal, e.ms, s.data, t.data
FROM jobs j LEFT JOIN job_ends e ON e.job = j.id
LEFT JOIN job_details s ON s.job = j.id AND s.part = 'start'
LEFT JOIN job_details t ON t.job = j.id AND t.part = 'end'
"""


def _job(row: tuple[Any, ...]) -> Job:
    oid, name, author, clone, at, key, runs, lost, ended, code, number, ms, begun, over = row
    facts: dict[str, Any] = json.loads(begun) if begun else {}
    tail: str = json.loads(over)["tail"] if over else ""
    state = "running" if lost is None else "lost" if lost else "exited" if number is None else "killed"
    return Job(
        Oid(oid), facts.get("name", name), mailbox(author, clone), runs, state, tuple(facts.get("command", ())),
        facts.get("cwd", ""), facts.get("pid"), code, number, at, ended, ms, tail, key,
    )  # fmt: skip


# read


def get(db: sqlite3.Connection, oid: str, here: str) -> Job | None:
    """The job with this full id, or the one that continues it, as in the log: a lost job counts as running until a process
    has noticed."""
    latest = f"SELECT ({_GOES_ON} ORDER BY {OURS_FIRST.format(word='n')}, n.lc, n.id LIMIT 1) FROM jobs j WHERE j.id = :id"
    (found,) = db.execute(latest, {"here": here, "id": oid}).fetchone() or (None,)
    row = db.execute(f"{_SELECT} WHERE j.id = ?", (found or oid,)).fetchone()
    return _job(row) if row else None


def by_key(db: sqlite3.Connection, clone: str, key: str) -> Job | None:
    """The job that a file below `coord/jobs/` belongs to."""
    row = db.execute(f"{_SELECT} WHERE j.clone = ? AND j.key = ? ORDER BY j.lc DESC", (clone, key)).fetchone()
    return _job(row) if row else None


def find(db: sqlite3.Connection, text: str, here: str) -> Oid:
    """The job that a user names: the newest of this clone with that name, otherwise an id. Raises UsageError."""
    query = (
        "SELECT j.id FROM jobs j LEFT JOIN job_details s ON s.job = j.id AND s.part = 'start'"
        " WHERE j.clone = ? AND ? IN (j.name, json_extract(s.data, '$.name')) ORDER BY j.lc DESC LIMIT 1"
    )
    row = db.execute(query, (here, text)).fetchone()
    if row:
        return Oid(row[0])
    try:
        return resolve_id(db, text, "job.start")
    except UsageError as error:
        if "ambiguous" in error.what:
            raise
        raise UsageError(f"no job is called {ascii(text)[1:-1]} or has this id", "git coord jobs --all") from None


def show(clone: Clone, text: str) -> Job:
    """One job by id or name. Raises UsageError."""

    def ask(db: sqlite3.Connection) -> Job | None:
        here = clone.id
        return get(db, find(db, text, here), here)

    job = clone.read(ask)
    assert job is not None
    return _with_supervision(clone, job)


def list_jobs(clone: Clone, everything: bool = False, now: float | None = None) -> list[Job]:
    """Jobs, oldest first: running ones and those that ended within a day; with `everything`, all."""
    since = 0 if everything else int(time.time() if now is None else now) - RECENT
    query = f"{_SELECT} WHERE (e.at IS NULL OR e.at >= :since) AND NOT EXISTS ({_GOES_ON}) ORDER BY j.lc, j.id"
    found = clone.read(lambda db: db.execute(query, {"since": since, "here": clone.id}).fetchall())
    return [_with_supervision(clone, _job(row)) for row in found]


def of_session(clone: Clone, box: str, now: float | None = None) -> list[Job]:
    """The jobs of one session that run or ended within a day: running ones first, then the latest."""
    mine = [job for job in list_jobs(clone, now=now) if job.session == box]
    return sorted(mine, key=lambda job: (job.state != "running", -(job.ended or job.started)))


def _with_supervision(clone: Clone, job: Job) -> Job:
    if job.state != "running" or not clone.has(job.session):
        return job
    running = files.get(clone.repo.coord_dir, job.key)
    return job._replace(supervised=files.is_supervised(running) if running else False)


def log_file(clone: Clone, job: Job) -> str:
    """The path of a job's output. Raises Refused for another clone's job, and when the log is gone."""
    path = files.log_path(clone.repo.coord_dir, job.key)
    here = clone_in(job.session)
    if not clone.is_ours(here):
        raise Refused(f"{job.name} ran in another clone, {here}", f"git coord job show {job.id[:10]}")
    if not os.path.exists(path):
        raise Refused(f"the log of {job.name} was deleted", f"git coord job show {job.id[:10]}")
    return path


# words for people


def shown_command(job: Job, limit: int = 200) -> str:
    """A command line as a user would type it, on one line."""
    line = " ".join(" ".join(map(quote, job.command)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def describe_end(name: str, ending: Ending, started: float) -> str:
    """The end of a job, in one line without anything private."""
    took = duration(ending.at - started)
    if ending.lost:
        return f"{name} was lost: it and its supervisor ended, nobody saw how"
    if ending.signal is not None:
        return f"{name} was killed by {signal_name(ending.signal)} after {took}"
    if ending.exit is None:
        return f"{name} ended after {took} with an unknown exit code"
    return f"{name} failed with exit code {ending.exit} after {took}" if ending.exit else f"{name} is done, after {took}"


def describe_state(job: Job) -> str:
    """The state of a job, in one line without anything private."""
    if job.state == "running":
        return f"{job.name} is running"
    ending = Ending(job.started + (job.ms or 0) / 1000, job.exit, job.signal, job.state == "lost")
    return describe_end(job.name, ending, job.started)


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; the bare number for one without a name."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def bounded_command(argv: Sequence[str]) -> list[str]:
    """A command line that can be stored: valid text, not longer than MAX_COMMAND."""
    words, left = [], MAX_COMMAND
    for word in argv:
        text = os.fsencode(word).decode("utf-8", "replace")[:left]
        words.append(text)
        left -= len(text) + 1
        if left <= 0:
            return [*words, "…"]
    return words
