"""Jobs: commands that somebody supervises; how they began and ended, and who is told.

A job is its `job.start`. What leaves the clone is its name, how it ended and how long it took; command line, directory,
process and output are in `job.detail` events, which stay in this clone unless the job is published. `supervise.py`
runs them.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from gitcoord.errors import Refused, UsageError
from gitcoord.features.jobs import files
from gitcoord.features.jobs.files import Ending
from gitcoord.log.clone import Clone
from gitcoord.log.event import MAX_TEXT, Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.query import resolve_id
from gitcoord.log.schemas import ID, NAME, Kind, Schema, either, line, listed, number, one_of
from gitcoord.log.schemas import text as any_text
from gitcoord.names import mailbox, split_mailbox
from gitcoord.store.objects import Oid

MAX_NAME = 60
MAX_COMMAND = 4096
"""Characters of a command line that are kept."""
RECENT = 24 * 3600
"""Seconds for which an ended job is listed without being asked for."""

# events


def _fold(db: sqlite3.Connection, event: Event) -> None:
    if event.type == "job.start":
        data = event.data
        row = (event.id, event.lc, event.clone, event.author, event.at, data["name"], data["key"])
        more = data.get("runs", ""), data.get("was", "")
        db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, *more))
    elif event.type == "job.detail":
        _fold_detail(db, event)
    else:
        _fold_end(db, event)


def _fold_detail(db: sqlite3.Connection, event: Event) -> None:
    """Each part of the details is said once; of several, the first counts."""
    data = event.data
    row = (data["job"], event.clone, data["part"], event.lc, event.id, json.dumps(dict(data)))
    db.execute(f"INSERT INTO job_details VALUES (?, ?, ?, ?, ?, ?) {_FIRST.format(key='job, clone, part', value='data')}", row)


def _fold_end(db: sqlite3.Connection, event: Event) -> None:
    """How a job ended is for its own clone to say; an end that was seen counts more than one that was not."""
    lost = event.type == "job.lost"
    data = event.data
    ended = (None, None) if lost else (data.get("exit"), data.get("signal"))
    row = (data["job"], event.clone, lost, event.lc, event.id, event.at, *ended, data.get("ms", 0))
    db.execute(
        "INSERT INTO job_ends VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job, clone) DO UPDATE SET lost = excluded.lost,"
        " lc = excluded.lc, id = excluded.id, at = excluded.at, exit = excluded.exit, signal = excluded.signal,"
        " ms = excluded.ms WHERE (excluded.lost, excluded.lc, excluded.id) < (lost, lc, id)",
        row,
    )


_FIRST = (
    "ON CONFLICT ({key}) DO UPDATE SET {value} = excluded.{value}, lc = excluded.lc, id = excluded.id"
    " WHERE (excluded.lc, excluded.id) < (lc, id)"
)

_GOES_ON = (
    "SELECT n.id FROM jobs n WHERE n.was != '' AND n.was = j.id AND (n.author, n.key) = (j.author, j.key)"
    " AND (n.clone = :here OR j.clone != :here)"
)
"""What job `j` is by now, if its clone goes on under a new id and so ends another; of our own jobs only we can say so."""

_PARTS = {"start": ("command", "cwd", "pid"), "end": ("tail",)}


def _objection(event: Event) -> str:
    missing = [name for name in _PARTS[event.data["part"]] if name not in event.data]
    return f"{missing[0]} is missing" if missing else ""


_DIGITS = re.compile(r"[0-9a-f]{1,40}")
_KEY = Kind("1 to 40 hexadecimal digits", lambda value: type(value) is str and _DIGITS.fullmatch(value) is not None)
SCHEMAS = {
    "job.start": Schema({"name": line(MAX_NAME), "key": _KEY, "runs": either(NAME, ""), "was": ID}, ("name", "key")),
    "job.detail": Schema(
        {
            "job": ID,
            "part": one_of(*_PARTS),
            "command": listed(any_text(MAX_COMMAND), MAX_COMMAND),
            "cwd": any_text(MAX_COMMAND),
            "pid": number(0, 2**31 - 1),
            "tail": any_text(MAX_TEXT),
        },
        ("job", "part"),
        _objection,
    ),
    "job.end": Schema(
        {
            "job": ID,
            "exit": either(number(-(2**31), 2**32 - 1), None),
            "signal": either(number(1, 255), None),
            "ms": number(0, 10**13),
        },
        ("job",),
    ),
    "job.lost": Schema({"job": ID}, ("job",)),
}

FEATURE = Feature(
    "jobs",
    SCHEMAS,
    """
    CREATE TABLE jobs (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, clone TEXT NOT NULL, author TEXT NOT NULL,
        at INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, runs TEXT NOT NULL, was TEXT NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE job_details (job TEXT NOT NULL, clone TEXT NOT NULL, part TEXT NOT NULL, lc INTEGER NOT NULL,
        id TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (job, clone, part)) WITHOUT ROWID;
    CREATE TABLE job_ends (job TEXT NOT NULL, clone TEXT NOT NULL, lost INTEGER NOT NULL, lc INTEGER NOT NULL,
        id TEXT NOT NULL, at INTEGER NOT NULL, exit INTEGER, signal INTEGER, ms INTEGER NOT NULL,
        PRIMARY KEY (job, clone)) WITHOUT ROWID;
    """,
    _fold,
    "CREATE INDEX jobs_key ON jobs (clone, key); CREATE INDEX jobs_order ON jobs (lc, id);"
    " CREATE INDEX jobs_was ON jobs (was) WHERE was != '';",
    living=(
        "SELECT id FROM jobs j WHERE NOT EXISTS (SELECT 1 FROM job_ends e WHERE (e.job, e.clone) = (j.id, j.clone)"
        " AND e.at < :since)",
    ),
)


class Job(NamedTuple):
    """A job. Times are Unix seconds, `session` is the mailbox it belongs to, `runs` the session that the command is.

    `state` is `running`, `exited`, `killed` (by `signal`) or `lost`. `command`, `cwd`, `pid` and `stderr_tail` are empty
    where this clone does not know them. `supervised` is None where it cannot be known, too.
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
FROM jobs j LEFT JOIN job_ends e ON e.job = j.id AND e.clone = j.clone
LEFT JOIN job_details s ON s.job = j.id AND s.clone = j.clone AND s.part = 'start'
LEFT JOIN job_details t ON t.job = j.id AND t.clone = j.clone AND t.part = 'end'
"""


def _job(row: tuple[Any, ...]) -> Job:
    oid, name, author, clone, at, key, runs, lost, ended, code, number, ms, begun, over = row
    facts: dict[str, Any] = json.loads(begun) if begun else {}
    tail: str = json.loads(over)["tail"] if over else ""
    state = "running" if lost is None else "lost" if lost else "exited" if number is None else "killed"
    return Job(
        Oid(oid), name, mailbox(author, clone), runs, state, tuple(facts.get("command", ())), facts.get("cwd", ""),
        facts.get("pid"), code, number, at, ended, ms, tail, key,
    )  # fmt: skip


# reading


def get(db: sqlite3.Connection, oid: str, here: str) -> Job | None:
    """The job with this full id, or what it goes on as; as the log has it: a lost one runs until somebody noticed."""
    latest = f"SELECT ({_GOES_ON} ORDER BY n.clone != :here, n.lc, n.id LIMIT 1) FROM jobs j WHERE j.id = :id"
    (found,) = db.execute(latest, {"here": here, "id": oid}).fetchone() or (None,)
    row = db.execute(f"{_SELECT} WHERE j.id = ?", (found or oid,)).fetchone()
    return _job(row) if row else None


def by_key(db: sqlite3.Connection, clone: str, key: str) -> Job | None:
    """The job that a file below `coord/jobs/` belongs to."""
    row = db.execute(f"{_SELECT} WHERE j.clone = ? AND j.key = ?", (clone, key)).fetchone()
    return _job(row) if row else None


def find(db: sqlite3.Connection, text: str, here: str) -> Oid:
    """The job that a user means: the newest one of this clone with that name, else an id. Raises UsageError."""
    row = db.execute("SELECT id FROM jobs WHERE clone = ? AND name = ? ORDER BY lc DESC LIMIT 1", (here, text)).fetchone()
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
        here = clone.id or ""
        return get(db, find(db, text, here), here)

    job = clone.read(ask)
    assert job is not None
    return _with_supervision(clone, job)


def list_jobs(clone: Clone, everything: bool = False, now: float | None = None) -> list[Job]:
    """Jobs, oldest first: those that run and those that ended within a day, or `everything`."""
    since = 0 if everything else int(time.time() if now is None else now) - RECENT
    query = f"{_SELECT} WHERE (e.at IS NULL OR e.at >= :since) AND NOT EXISTS ({_GOES_ON}) ORDER BY j.lc, j.id"
    found = clone.read(lambda db: db.execute(query, {"since": since, "here": clone.id or ""}).fetchall())
    return [_with_supervision(clone, _job(row)) for row in found]


def of_session(clone: Clone, box: str, now: float | None = None) -> list[Job]:
    """The jobs of one session that run or ended within a day: those that run first, then the latest."""
    mine = [job for job in list_jobs(clone, now=now) if job.session == box]
    return sorted(mine, key=lambda job: (job.state != "running", -(job.ended or job.started)))


def _with_supervision(clone: Clone, job: Job) -> Job:
    if job.state != "running" or split_mailbox(job.session)[1] != clone.id:
        return job
    running = files.get(clone.repo.coord_dir, job.key)
    return job._replace(supervised=files.is_supervised(running) if running else False)


def log_file(clone: Clone, job: Job) -> str:
    """Where a job's output is kept. Raises Refused for another clone's job, and when the log is gone."""
    path = files.log_path(clone.repo.coord_dir, job.key)
    here = split_mailbox(job.session)[1]
    if here != clone.id:
        raise Refused(f"{job.name} ran in another clone, {here}", f"git coord job show {job.id[:10]}")
    if not os.path.exists(path):
        raise Refused(f"the log of {job.name} is not kept any more", f"git coord job show {job.id[:10]}")
    return path


# in words


def shown_command(job: Job, limit: int = 200) -> str:
    """A command line as one would type it, on one line."""
    import shlex

    line = " ".join(shlex.join(job.command).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def describe_end(name: str, ending: Ending, started: float) -> str:
    """How a job ended, in one line that says nothing private."""
    took = duration(ending.at - started)
    if ending.lost:
        return f"{name} was lost: it ended, and so did its supervisor, nobody saw how"
    if ending.signal is not None:
        return f"{name} was killed by {signal_name(ending.signal)} after {took}"
    if ending.exit is None:
        return f"{name} ended after {took}, its exit code is unknown"
    return f"{name} failed with exit code {ending.exit} after {took}" if ending.exit else f"{name} is done, after {took}"


def describe_state(job: Job) -> str:
    """How a job stands, in one line that says nothing private."""
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


def duration(seconds: float) -> str:
    """A duration for people."""
    whole = int(max(0.0, seconds))
    if whole < 60:
        return f"{max(0.0, seconds):.1f} s" if whole < 10 else f"{whole} s"
    minutes, seconds = divmod(whole, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


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
