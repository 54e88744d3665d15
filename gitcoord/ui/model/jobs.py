"""Rows of jobs: running ones, then ended ones, the latest first."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.names import lives_in
from gitcoord.ui.facts import Facts
from gitcoord.ui.model.offers import Choice, choice, of_session
from gitcoord.ui.model.words import body, line, name

if TYPE_CHECKING:
    from gitcoord.features.jobs.read import Job


class JobRow(NamedTuple):
    """A job. `how` says how it ended, empty while it runs; `here` is true if its log may be in this clone."""

    key: str
    name: str
    session: str
    state: str
    how: str
    failed: bool
    command: str
    started: float
    ended: float | None
    tail: str
    here: bool
    choices: tuple[Choice, ...] = ()


def jobs(facts: Facts) -> tuple[JobRow, ...]:
    """Running jobs come before ended ones."""
    rows = [_row(job, facts.clone) for job in facts.jobs]
    return tuple(sorted(rows, key=lambda job: (job.state != "running", -(job.ended or job.started))))


def failed(rows: tuple[JobRow, ...]) -> tuple[JobRow, ...]:
    """The failed jobs after which no job of that name and session began."""
    latest: dict[tuple[str, str], JobRow] = {}
    for row in rows:
        known = latest.get((row.session, row.name))
        if known is None or row.started > known.started:
            latest[(row.session, row.name)] = row
    return tuple(row for row in rows if row.failed and latest[(row.session, row.name)] == row)


def _row(job: Job, here: str) -> JobRow:
    is_ours = lives_in(job.session, here)
    kill = (choice("kill", id=job.id),) if is_ours and job.state == "running" else ()
    return JobRow(
        job.id,
        line(job.name, 80),
        name(job.session, here),
        job.state,
        _how(job),
        job.state != "running" and job.failed,
        line(shlex.join(job.command), 300),
        job.started,
        job.ended,
        body(job.stderr_tail, 2000),
        is_ours,
        (*kill, *of_session(name(job.session, here))),
    )


def _how(job: Job) -> str:
    if job.state == "running":
        return "" if job.supervised is not False else "unsupervised"
    if job.state == "killed":
        return f"killed by signal {job.signal}"
    if job.state == "lost":
        return "lost: nobody saw how it ended"
    return "exit code unknown" if job.exit is None else f"exit {job.exit}"
