"""The state of a session: a table over the known facts."""

from __future__ import annotations

import pytest

from gitcoord.sessions.liveness import Silence, judge, judge_published
from gitcoord.sessions.records import Record
from gitcoord.system.process import Process

NOW = 1_000_000.0
MINUTE, HOUR = 60.0, 3600.0
BOUND = Record("w1", process=Process(1, "1", "b", "n"))
FREE = Record("w1")
PERSON = Record("ada", person=True)


@pytest.mark.parametrize(
    ("record", "silent", "alive", "state"),
    [
        (FREE._replace(expected=True), 99 * HOUR, None, "expected"),
        (FREE._replace(left=NOW), 0.0, None, "gone"),
        (BOUND, 0.0, True, "active"),
        (BOUND, 4 * MINUTE, True, "active"),
        (BOUND, 5 * MINUTE, True, "idle"),
        (BOUND, 99 * HOUR, True, "idle"),
        (BOUND._replace(waiting=True), 9 * MINUTE, True, "waiting"),
        (BOUND, 0.0, False, "gone"),
        (BOUND, 16 * MINUTE, None, "unknown"),
        (FREE, 4 * MINUTE, None, "active"),
        (FREE, 14 * MINUTE, None, "idle"),
        (FREE, 15 * MINUTE, None, "unknown"),
        (FREE, 119 * MINUTE, None, "unknown"),
        (FREE, 2 * HOUR, None, "gone"),
        (FREE, -9 * HOUR, None, "active"),  # the clock jumped back
        (PERSON, 99 * HOUR, None, "unknown"),
        (PERSON, 1 * MINUTE, False, "active"),
    ],
)
def test_a_session_of_this_clone(record: Record, silent: float, alive: bool | None, state: str) -> None:
    assert judge(record, NOW - silent, alive, NOW).state == state


def test_unknown_and_gone_say_since_when() -> None:
    assert judge(FREE, NOW - HOUR, None, NOW).since == NOW - HOUR
    assert judge(FREE._replace(left=NOW - 5), NOW, None, NOW).since == NOW - 5


@pytest.mark.parametrize(
    ("data", "seen_ago", "state"),
    [
        ({"state": "active", "ttl": 900}, 899.0, "active"),
        ({"state": "active", "ttl": 900}, 901.0, "unknown"),
        ({"state": "gone"}, 0.0, "gone"),
        ({"state": "expected", "ttl": 900}, 9e9, "expected"),
        ({"state": "active", "ttl": 10**12}, 90_000.0, "unknown"),  # nobody speaks for longer than a day
        ({"state": "\x1b[31m"}, 0.0, "unknown"),
        ({}, 0.0, "unknown"),
    ],
)
def test_a_session_of_another_clone(data: dict[str, object], seen_ago: float, state: str) -> None:
    assert judge_published(data, NOW - seen_ago, NOW, Silence()).state == state
