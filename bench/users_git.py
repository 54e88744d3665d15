"""Measure how 100,000 events and 50 sessions slow down the user's own git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bench.ground import grow, project
from bench.measure import Row, at_most, git, interleaved, ratio
from gitcoord import Coord


def slowed(where: Path, rounds: int, events: int, sessions: int) -> list[Row]:
    """`git status`, `log`, `commit`, `fetch` and the `have` lines of a fetch, with and without coordination."""
    without, with_us = project(where / "without"), project(where / "with")
    grow(with_us, events)
    for number in range(sessions):
        environ = {**os.environ, "GIT_COORD_SESSION": f"worker-{number}"}
        with Coord.open(with_us, environ=environ, long_lived=False) as coord:
            coord.sessions.join()
    offered = _haves(with_us) - _haves(without)
    rows = []
    for args in (["status"], ["log", "-n", "20"], ["commit", "-q", "--allow-empty", "-m", "x"], ["fetch", "origin"]):
        command = ["git", *args]
        interleaved([command, command], [without, with_us], 2)
        base, ours = interleaved([command, command], [without, with_us], rounds)
        rows.append(ratio(f"the user's `git {args[0]}`", ours, base, 1.1))
    return [*rows, at_most("`have` lines of a fetch, more than without", offered, 0, "lines")]


def _haves(repo: Path) -> int:
    """Add one commit at the remote, fetch it, and count the commits that were offered."""
    other = repo.parent / f"{repo.name}-other"
    git(repo.parent, "clone", "-q", str(repo.parent / f"{repo.name}.remote.git"), str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "news")
    git(other, "push", "-q", "origin", "HEAD")
    env = {**os.environ, "GIT_TRACE_PACKET": "1"}
    done = subprocess.run(["git", "-C", str(repo), "fetch", "origin"], env=env, capture_output=True, text=True, check=True)
    return sum("fetch> have" in line for line in done.stderr.splitlines())
