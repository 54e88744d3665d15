"""Fold job events into the tables."""

from __future__ import annotations

from gitcoord import lean_json as json
from gitcoord.lean import sqlite3
from gitcoord.log.event import MAX_TEXT, Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import HEX, ID, NAME, Schema, either, line, listed, number, one_of, text
from gitcoord.log.trust import SAYS_OF_IT

MAX_NAME = 60
MAX_COMMAND = 4096
"""Characters of a command line that are kept."""


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
    """Keep each detail once; the first one counts."""
    data = event.data
    row = (data["job"], event.clone, data["part"], event.lc, event.id, json.dumps(dict(data)))
    db.execute(f"INSERT INTO job_details VALUES (?, ?, ?, ?, ?, ?) {_FIRST.format(key='job, clone, part', value='data')}", row)


def _fold_end(db: sqlite3.Connection, event: Event) -> None:
    """Keep the end that the job's own clone reports; an observed end counts more than a lost job."""
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
    " AND " + SAYS_OF_IT.format(word="n", item="j")
)
"""SQL: the id of job `j` now, if its clone continues under a new id. Only that clone can say so, or this one."""
_PARTS = {"start": ("command", "cwd", "pid"), "end": ("tail",)}


def _objection(event: Event) -> str:
    missing = [name for name in _PARTS[event.data["part"]] if name not in event.data]
    return f"{missing[0]} is missing" if missing else ""


SCHEMAS = {
    "job.start": Schema({"name": line(MAX_NAME), "key": HEX, "runs": either(NAME, ""), "was": ID}, ("name", "key")),
    "job.detail": Schema(
        {
            "job": ID,
            "part": one_of(*_PARTS),
            "command": listed(text(MAX_COMMAND), MAX_COMMAND),
            "cwd": text(MAX_COMMAND),
            "pid": number(0, 2**31 - 1),
            "name": line(MAX_NAME),
            "tail": text(MAX_TEXT),
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
    living=("SELECT id FROM jobs j WHERE NOT EXISTS (SELECT 1 FROM job_ends e WHERE e.job = j.id AND e.at < :since)",),
    forget=(
        "CREATE TEMP TABLE harmed AS SELECT id FROM forgotten UNION SELECT json_extract(e.data, '$.job')"
        " FROM forgotten f JOIN events e ON e.id = f.id WHERE e.type IN ('job.detail', 'job.end', 'job.lost')",
        "INSERT OR IGNORE INTO again SELECT id FROM events WHERE type IN ('job.detail', 'job.end', 'job.lost')"
        " AND json_extract(data, '$.job') IN (SELECT id FROM harmed)",
        "DELETE FROM jobs WHERE id IN (SELECT id FROM forgotten)",
        "DELETE FROM job_details WHERE job IN (SELECT id FROM harmed)",
        "DELETE FROM job_ends WHERE job IN (SELECT id FROM harmed)",
    ),
)
