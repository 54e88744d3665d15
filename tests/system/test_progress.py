"""Progress: one line on a terminal that goes away, from a second on; nothing anywhere else."""

from __future__ import annotations

import io
import sys
import time

import pytest

from gitcoord.system.streams import Progress, counted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def work(now: list[float], steps: list[float]) -> None:
    with Progress("Reading events") as progress:
        for seconds in steps:
            now[0] += seconds
            progress.add(1000)


def test_items_are_counted_on_their_way(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(Progress, "allowed", True)
    found = []
    for item in counted("Looking through events", iter("abc")):
        now[0] += 0.6
        found.append(item)
    assert (found, terminal.getvalue()) == (["a", "b", "c"], "\rLooking through events: 3\x1b[K\r\x1b[K")


@pytest.mark.parametrize(
    "steps, expected",
    [
        ([0.3, 0.3, 0.3], ""),
        ([0.6, 0.6, 0.1], "\rReading events: 2,000\x1b[K\r\x1b[K"),
        ([1.5, 0.1, 0.25, 0.1], "\rReading events: 1,000\x1b[K\rReading events: 3,000\x1b[K\r\x1b[K"),
    ],
)
def test_a_command_shows_what_takes_long(
    now: list[float], monkeypatch: pytest.MonkeyPatch, steps: list[float], expected: str
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(Progress, "allowed", True)
    work(now, steps)
    assert terminal.getvalue() == expected


@pytest.mark.parametrize("allowed, terminal", [(False, Terminal()), (True, io.StringIO())])
def test_nothing_is_written_on_another_programs_terminal_or_into_a_pipe(
    now: list[float], monkeypatch: pytest.MonkeyPatch, allowed: bool, terminal: io.StringIO
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(Progress, "allowed", allowed)
    work(now, [2.0, 2.0])
    assert terminal.getvalue() == ""
