"""Simulate a long day of twenty sessions: measure reads after it, disk usage, and the memory of a watcher."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from itertools import count
from pathlib import Path
from random import Random

from bench.campaign.work import DEEDS, Worker
from bench.ground import project, text
from bench.measure import PROGRAM, Row, at_most, git, interleaved
from gitcoord import Coord, CoordError

SESSIONS = 20
READS = ("inbox", "tasks", "board", "brief", "status", "locks", "notes", "check file1.txt")
COORD, SPARE = 2.0, 5e6
"""The largest size of coord/: a multiple of git's objects, and some bytes more (docs/decisions.md)."""
SLOWER = 1.3
"""The largest ratio of a read's time to that before the day."""
_NUMBERS = count(1)
_APART = ("sync", "tidy", "look")


def soak(where: Path, events: int, rounds: int) -> list[Row]:
    """Write many mixed events, with `git gc` beside them."""
    repo = project(where / "soak")
    _work(repo, 300, 1)
    before = _reads(repo, rounds)
    with Watcher(repo) as watcher:
        _work(repo, min(2000, events // 4), 2)
        early = watcher.memory()
        _work(repo, events, 3)
        late = watcher.memory()
    git(repo, "gc", "--quiet")
    after = _reads(repo, rounds)
    rows = [
        Row(
            f"{read}, {events:,} events later",
            f"{now:.1f} ms",
            f"{then:.1f} ms",
            f"{now / then:.2f} x",
            f"<= {SLOWER} x",
            now <= then * SLOWER,
        )
        for read, then, now in zip(READS, before, after, strict=True)
    ]
    ours, objects = _size(repo / ".git" / "coord"), _size(repo / ".git" / "objects")
    bound = COORD * objects + SPARE
    rows.append(at_most("coord/ beside git's objects", ours / 1e6, bound / 1e6, "MB", f"{objects / 1e6:.1f} MB"))
    rows.append(at_most("memory of watch, grown by", max(0.0, late - early), 4.0, "MB", f"{early:.0f} MB"))
    rows.append(at_most("lines of watch on stderr", watcher.said, 0, "lines"))
    return rows


def _reads(repo: Path, rounds: int) -> list[float]:
    os.environ["GIT_COORD_SESSION"] = "w0"
    try:
        return interleaved([[*PROGRAM, *read.split()] for read in READS], [repo] * len(READS), rounds)
    finally:
        del os.environ["GIT_COORD_SESSION"]


def _work(repo: Path, events: int, seed: int) -> None:
    """The work of sessions in a day, in turn; mail is read and tasks are done about as fast as they come."""
    chance, over = Random(seed), threading.Event()
    kinds = {kind: weight for kind, weight in DEEDS.items() if kind not in _APART}
    collector = threading.Thread(target=_collect, args=(repo, over))
    collector.start()
    try:
        desks = [Coord.open(repo, environ={**os.environ, "GIT_COORD_SESSION": f"w{n}"}) for n in range(SESSIONS)]
        workers = [_Talker(coord, f"w{n}", chance) for n, coord in enumerate(desks)]
        for _ in range(events):
            deed = chance.choices(list(kinds), list(kinds.values()))[0]
            try:
                getattr(chance.choice(workers), deed)()
            except CoordError:
                continue  # refused: another session has the lock
        for desk in desks:
            desk.close()
    finally:
        over.set()
        collector.join()


def _collect(repo: Path, over: threading.Event) -> None:
    while not over.wait(5):
        subprocess.run(["git", "-C", str(repo), "gc", "--quiet"], capture_output=True, check=False)


def _size(where: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in where.rglob("*") if path.is_file())


class _Talker(Worker):
    """Makes texts of the usual length of messages, which also pack as badly."""

    def text(self) -> str:
        return text(next(_NUMBERS))


class Watcher:
    """A `watch` that runs meanwhile. Memory in MB, from /proc; 0 without /proc."""

    def __init__(self, repo: Path) -> None:
        self._repo = repo
        self.said = 0.0

    def __enter__(self) -> Watcher:
        argv = [sys.executable, "-m", "gitcoord", "watch"]
        env = {**os.environ, "GIT_COORD_SESSION": "watcher"}
        self._process = subprocess.Popen(argv, cwd=self._repo, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return self

    def memory(self) -> float:
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        _, err = self._process.communicate()
        self.said = float(len(err.splitlines())) + (self._process.returncode not in (143, -15))
