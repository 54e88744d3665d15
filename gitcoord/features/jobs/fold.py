"""What job events make of the tables."""

from __future__ import annotations

import json
import sqlite3

from gitcoord.log.event import Event, Malformed
from gitcoord.log.index.feature import Feature, want

MAX_NAME = 60
MAX_COMMAND = 4096
"""Characters of a command line that are kept."""


def _fold(db: sqlite3.Connection, event: Event) -> None:
    if event.type == "job.start":
        row = (event.id, event.lc, event.clone, event.author, event.at, want(event, "name", str), want(event, "key", str))
        more = want(event, "runs", str, ""), want(event, "was", str, "")
        db.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, *more))
    elif event.type == "job.detail":
        _fold_detail(db, event)
    else:
        _fold_end(db, event)


def _fold_detail(db: sqlite3.Connection, event: Event) -> None:
    """Each part of the details is said once; of several, the first counts."""
    part = want(event, "part", str)
    if part == "start":
        _check_command(event)
        want(event, "cwd", str), want(event, "pid", int)
    elif part == "end":
        want(event, "tail", str)
    else:
        raise Malformed(f"job.detail: {part[:40]!a} is no part of the details")
    row = (want(event, "job", str), event.clone, part, event.lc, event.id, json.dumps(dict(event.data)))
    db.execute(f"INSERT INTO job_details VALUES (?, ?, ?, ?, ?, ?) {_FIRST.format(key='job, clone, part', value='data')}", row)


def _check_command(event: Event) -> None:
    if not all(type(word) is str for word in want(event, "command", list)):
        raise Malformed("job.detail: command is no list of strings")


def _fold_end(db: sqlite3.Connection, event: Event) -> None:
    """How a job ended is for its own clone to say; an end that was seen counts more than one that was not."""
    lost = event.type == "job.lost"
    code = None if lost or event.data.get("exit") is None else want(event, "exit", int)
    number = None if lost or event.data.get("signal") is None else want(event, "signal", int)
    row = (want(event, "job", str), event.clone, lost, event.lc, event.id, event.at, code, number, want(event, "ms", int, 0))
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
FEATURE = Feature(
    "jobs",
    frozenset({"job.start", "job.detail", "job.end", "job.lost"}),
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
