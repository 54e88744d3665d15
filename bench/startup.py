"""Measure one-shot commands, beside a Python that only imports click and sqlite3."""

from __future__ import annotations

from pathlib import Path

from bench.ground import grow, project, with_sessions, worktree
from bench.measure import IMPORTS, PROGRAM, Row, interleaved, ratio


def one_shots(where: Path, rounds: int) -> list[Row]:
    """Measure reads that find nothing new, and a write."""
    repo = with_sessions(project(where / "oneshot"))
    alpha, beta = worktree(repo, "alpha"), worktree(repo, "beta")
    inbox, send = [*PROGRAM, "inbox"], [*PROGRAM, "send", "alpha", "hello"]
    check, short = [*PROGRAM, "check", "README"], [*PROGRAM, "status", "--short"]
    interleaved([inbox, send], [alpha, beta], 2)
    interleaved([inbox, check, short], [alpha] * 3, 1)
    base, read, checked, counted = interleaved([IMPORTS, inbox, check, short], [alpha] * 4, rounds)
    base_again, write = interleaved([IMPORTS, send], [beta, beta], rounds)
    job = [*PROGRAM, "run", "--", "true"]
    base_job, supervised = interleaved([IMPORTS, job], [beta, beta], rounds)
    return [
        ratio("one-shot read (`inbox`), nothing new", read, base, 1.5),
        ratio("one-shot read (`check PATH`)", checked, base, 1.5),
        ratio("one-shot read (`status --short`)", counted, base, 1.5),
        ratio("one-shot write (`send`)", write, base_again, 2.0),
        ratio("a job (`run -- true`): start, end, message", supervised, base_job, 4.0),
    ]


def history(where: Path, rounds: int, events: int) -> list[Row]:
    """Measure the same read with a long and with a short history."""
    small = with_sessions(grow(project(where / "small"), 1000))
    large = with_sessions(grow(project(where / "large"), events))
    places = [worktree(small, "alpha"), worktree(large, "alpha")]
    inbox = [*PROGRAM, "inbox"]
    interleaved([inbox, inbox], places, 2)
    little, much = interleaved([inbox, inbox], places, rounds)
    return [ratio(f"the same read with {events:,} events behind it", much, little, 1.2)]
