"""Measure the time of a message from a command in one clone to a waiter in another, without `git coord sync`."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from bench.measure import PROGRAM, Row, git
from gitcoord import Coord

P50, P95 = 3.0, 8.0
"""Seconds that half of all messages take, and nearly all."""


def deliveries(where: Path, messages: int, delays: tuple[float, ...]) -> list[Row]:
    """Send messages between two clones with a lookout each, through a slow remote."""
    rows = []
    for delay in delays:
        place = where / f"latency{delay * 1000:.0f}"
        place.mkdir()
        with _pair(place, delay) as (ada, bob, box):
            seconds = sorted(_one(ada, bob, box, number) for number in range(messages))
        rows += [
            _row(delay, "p50", statistics.median(seconds), P50),
            _row(delay, "p95", seconds[min(messages - 1, round(0.95 * messages))], P95),
        ]
    return rows


def _row(delay: float, what: str, seconds: float, budget: float) -> Row:
    name = f"delivery between clones that nobody syncs, remote {delay * 1000:.0f} ms away: {what}"
    return Row(name, f"{seconds:.1f} s", "", "", f"<= {budget:.0f} s", seconds <= budget)


@contextmanager
def _pair(place: Path, delay: float) -> Iterator[tuple[Path, Path, str]]:
    git(place, "init", "-q", "--bare", str(place / "hub.git"))
    clones = [place / "ada", place / "bob"]
    for path in clones:
        git(place, "init", "-q", str(path))
        git(path, "remote", "add", "origin", str(place / "hub.git"))
        git(path, "config", "user.name", path.name.capitalize())
        for kind in ("upload", "receive"):
            git(path, "config", f"remote.origin.{kind}pack", f"sleep {delay}; git-{kind}-pack")
        with Coord.open(path, as_name="w") as coord:
            coord.sessions.join("w")
            coord.remote.sync()
    with Coord.open(clones[1], as_name="w") as coord:
        box = f"w@{coord.clone_id}"
    with Coord.open(clones[0], as_name="w") as coord:
        coord.remote.sync()
    try:
        yield clones[0], clones[1], box
    finally:
        for path in clones:  # and the lookouts end
            git(path, "config", "coord.autosync", "false")


def _one(ada: Path, bob: Path, box: str, number: int) -> float:
    environ = {**os.environ, "GIT_COORD_SESSION": "w"}
    waiter = subprocess.Popen([*PROGRAM, "inbox", "--wait=60"], cwd=bob, env=environ, stdout=subprocess.PIPE)
    time.sleep(1 + 2 * Random(number).random())
    subprocess.run([*PROGRAM, "send", box, f"message {number}", "--as", "w"], cwd=ada, check=True, capture_output=True)
    sent = time.monotonic()
    out, _ = waiter.communicate(timeout=90)
    if f"message {number}".encode() not in out:
        raise SystemExit(f"message {number} did not arrive: {out!r}")
    return time.monotonic() - sent
