"""Measure a rebuild of the index, beside `git log` over the same refs; and a wake-up."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench.ground import CLONE, grow, project, with_sessions, worktree
from bench.measure import Row, at_most, git, ratio, timed
from gitcoord import Coord


def rebuild(where: Path, events: int) -> list[Row]:
    """Delete the index, then read once."""
    repo = grow(project(where / "rebuild"), events)
    (repo / ".git" / "coord").mkdir()

    def read() -> None:
        with Coord.open(repo) as coord:
            assert len(coord.events.log(limit=1)) == 1

    ours = timed(read)
    ref = f"refs/coord/log/{CLONE}/0001"
    theirs = timed(lambda: git(repo, "log", "--format=%B", ref))
    return [ratio(f"rebuild of the index, {events:,} events", ours * 1000, theirs * 1000, 3)]


WAITER = """
import sys, time
from gitcoord import Coord
from gitcoord.store.watch import wait_until
coord = Coord.open(sys.argv[1])
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    assert wait_until(coord.clone.repo, lambda: coord.inbox().messages or None, 60)
    print(time.perf_counter(), flush=True)
"""


def wake_up(where: Path, rounds: int) -> list[Row]:
    """Measure the time from the start of a send until a waiting process has read the message and marked it read."""
    repo = with_sessions(project(where / "wake"))
    argv = [sys.executable, "-c", WAITER, str(worktree(repo, "beta")), str(rounds)]
    taken = []
    with (
        Coord.open(worktree(repo, "alpha")) as alpha,
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as waiter,
    ):
        assert waiter.stdout is not None and waiter.stdout.readline() == "ready\n"
        for number in range(rounds):
            time.sleep(0.1)  # let it fall asleep again
            start = time.perf_counter()
            alpha.send("beta", f"wake up {number}")
            taken.append((float(waiter.stdout.readline()) - start) * 1000)
    return [at_most("wake-up: start of a send to the waiter having read it", median(taken), 25, "ms")]
