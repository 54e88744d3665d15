"""Measure appends: one process, many processes, and bytes on disk."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.ground import project, text, with_sessions, worktree
from bench.measure import Row, at_least, at_most, git
from gitcoord import Coord

WRITER = """
import sys, time
from gitcoord import Coord
coord = Coord.open(sys.argv[1], environ={**__import__("os").environ, "GIT_COORD_SESSION": "alpha"})
coord.identity
print("ready", flush=True)
sys.stdin.readline()
times = []
for number in range(int(sys.argv[2])):
    start = time.perf_counter()
    coord.clone.append(lambda db: [__import__("gitcoord.log.event").event.Draft("note", f"{number}", author="alpha")])
    times.append(time.perf_counter() - start)
print(" ".join(f"{t:.6f}" for t in times))
"""


def alone(where: Path, events: int) -> list[Row]:
    """Measure one process that keeps writing."""
    repo = with_sessions(project(where / "alone"))
    _run_writers(worktree(repo, "alpha"), 1, 10)
    _, taken = _run_writers(worktree(repo, "alpha"), 1, events)
    return [at_least("append in one process", events / taken, 2000, "events/s")]


def together(where: Path, writers: int, events: int) -> list[Row]:
    """Measure many processes on one log: all acknowledged events exist, and no process waits long."""
    repo = with_sessions(project(where / "together"))
    with Coord.open(repo) as coord:
        before = len(coord.events.log(limit=10**9))
        times, taken = _run_writers(worktree(repo, "alpha"), writers, events)
        lost = before + writers * events - len(coord.events.log(limit=10**9))
    times.sort()
    slow = times[int(len(times) * 0.99)] * 1000
    return [
        at_least(f"{writers} writers together", writers * events / taken, 1000, "events/s"),
        at_most("  99 of 100 wait less than", slow, 200, "ms"),
        at_most("  lost", lost, 0, "events"),
    ]


def _run_writers(where: Path, writers: int, events: int) -> tuple[list[float], float]:
    """Start all at once; returns the seconds of each append, and of the whole."""
    pipe = subprocess.PIPE
    argv = [sys.executable, "-c", WRITER, str(where), str(events)]
    running = [subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) for _ in range(writers)]
    for writer in running:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    start = time.perf_counter()
    for writer in running:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    times = [float(t) for writer in running for t in (writer.stdout.readline().split() if writer.stdout else [])]
    taken = time.perf_counter() - start
    for writer in running:
        writer.communicate()
    return times, taken


def disk(where: Path, messages: int) -> list[Row]:
    """Measure the bytes of a message of 200 bytes after `git gc`."""
    repo = with_sessions(project(where / "disk"))
    git(repo, "gc", "-q", "--prune=now")
    before = _objects_size(repo)
    with Coord.open(worktree(repo, "alpha")) as alpha:
        for number in range(messages):
            alpha.send("beta", text(number))
    git(repo, "gc", "-q", "--prune=now")
    return [at_most("disk after `git gc`, a message", (_objects_size(repo) - before) / messages, 500, "bytes")]


def _objects_size(repo: Path) -> int:
    return sum(path.stat().st_size for path in (repo / ".git" / "objects").rglob("*") if path.is_file())


def heartbeats(where: Path, beats: int) -> list[Row]:
    """Count the additional objects after many presence commits, with a clock by which an hour is 1.5 seconds."""
    repo = with_sessions(project(where / "beats"))
    before = _objects(repo)
    with Coord.open(worktree(repo, "alpha")) as coord:
        clone, began = coord.clone, time.time()
        clone.clock = lambda: began + (time.time() - began) * 3600 / 1.5
        for number in range(beats):
            clone.put_presence("alpha", {"state": "active", "ttl": 900, "beat": number})
        clone.clock = lambda: began + (time.time() - began + 10) * 3600 / 1.5
        clone.sweep()
    return [at_most(f"objects that {beats:,} heartbeats leave", _objects(repo) - before, 1000, "objects")]


def _objects(repo: Path) -> int:
    counted = dict(line.split(": ") for line in git(repo, "count-objects", "-v").splitlines())
    return int(counted["count"]) + int(counted["in-pack"])
