"""A sleeping machine is not a death: only the time for which it was awake counts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.sessions import awake
from gitcoord.sessions.awake import Sleeps, slept
from gitcoord.sessions.liveness import GONE_AFTER
from gitcoord.sessions.records import Records

HOUR = 3600.0


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds for which the machine has slept, as its last element."""
    total = [0.0]
    monkeypatch.setattr(awake, "slept", lambda: total[-1])
    return total


def test_the_kernel_says_how_long_it_slept() -> None:
    assert 0 <= slept() <= time.clock_gettime(time.CLOCK_MONOTONIC) + 10 * 365 * 86400
    assert abs(slept() - slept()) < 1


def test_a_machine_that_never_slept_keeps_no_file(tmp_path: Path, asleep: list[float]) -> None:
    assert Sleeps(str(tmp_path)).since(0.0) == 0
    assert list(tmp_path.iterdir()) == []


def test_what_it_slept_before_a_time_does_not_count_after_it(
    repo: Path, asleep: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.notes.add("one")
        here, now = coord.clone.repo.coord_dir, time.time()
    asleep.append(8 * HOUR)
    assert Sleeps(here).since(now - 60) == 8 * HOUR
    assert Sleeps(here).since(now + 60) == 0  # a beat after it was seen to have slept
    asleep.append(9 * HOUR)
    monkeypatch.setattr(time, "time", lambda: now + 2 * HOUR)
    assert Sleeps(here).since(now + 60) == HOUR
    assert Sleeps(here).since(now - 60) == 9 * HOUR
    assert len(Path(here, "sleeps").read_text().splitlines()) == 2


@pytest.mark.parametrize("content", ["", "garbage", "a b c\n", "x 1 2\n\xff", "x" * 100_000])
def test_a_damaged_file_is_as_good_as_none(repo: Path, asleep: list[float], content: str) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.notes.add("one")
        here = coord.clone.repo.coord_dir
    Path(here, "sleeps").write_text(content)
    asleep.append(HOUR)
    assert Sleeps(here).since(time.time() - 60) == HOUR


def state(repo: Path, name: str) -> str:
    with Coord.open(repo, as_name="observer") as coord:
        return str(coord.sessions.get(name).state)


def test_who_was_silent_while_the_machine_slept_is_not_gone(
    repo: Path, worktrees: tuple[Path, Path], cli: Cli, asleep: list[float]
) -> None:
    """Without a process: nothing but its beats speaks for it."""
    with Coord.open(worktrees[0]) as coord:
        coord.tasks.next(claim=True) if coord.tasks.add("build it") else None
        records = Records(coord.clone.repo.coord_dir)
    night = 10 * HOUR
    records.touch("alpha", time.time() - night - 60)
    assert state(repo, "alpha") == "gone"
    asleep.append(night)
    assert state(repo, "alpha") == "active"
    with Coord.open(worktrees[1]) as coord:
        assert coord.tasks.next(claim=True) is None  # it is still alpha's
    records.touch("alpha", time.time() - night - GONE_AFTER - 60)
    assert state(repo, "alpha") == "gone"
    assert git(repo, "status", "--porcelain") == ""
