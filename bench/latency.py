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

from bench import distant
from bench.measure import PROGRAM, Row, git
from gitcoord import Coord

P50, P95 = 3.0, 8.0
"""Seconds that half of all messages take, and nearly all."""


def deliveries(where: Path, messages: int, delays: tuple[float, ...]) -> list[Row]:
    """Send messages between two clones with a lookout each, through a slow remote."""
    rows = []
    for how, delay in ((how, delay) for how in distant.TRANSPORTS for delay in delays):
        place = where / f"latency-{how}{delay * 1000:.0f}"
        place.mkdir()
        with _pair(place, how, delay) as (ada, bob, box):
            seconds = sorted(_one(ada, bob, box, number) for number in range(messages))
        rows += [
            _row(how, delay, "p50", statistics.median(seconds), P50),
            _row(how, delay, "p95", seconds[min(messages - 1, round(0.95 * messages))], P95),
        ]
    return rows


def _row(how: str, delay: float, what: str, seconds: float, budget: float) -> Row:
    name = f"delivery between clones that nobody syncs, by {how}, {delay * 1000:.0f} ms away: {what}"
    return Row(name, f"{seconds:.1f} s", "", "", f"<= {budget:.0f} s", seconds <= budget)


@contextmanager
def _pair(place: Path, how: str, delay: float) -> Iterator[tuple[Path, Path, str]]:
    hub = place / "hub.git"
    git(place, "init", "-q", "--bare", str(hub))
    clones = [place / "ada", place / "bob"]
    with distant.remote(how, hub, delay) as add:
        for path in clones:
            git(path.parent, "init", "-q", str(path))
            add(path)
            git(path, "config", "user.name", path.name.capitalize())
            git(path, "config", "coord.allowPublic", "true")  # nobody is asked whether it is
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
