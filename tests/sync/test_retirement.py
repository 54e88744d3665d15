"""Clones that are silent for long: who is gone, what that frees, and how a clone ends without its owner."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from clones import make_met, set_clocks, sync_all
from conftest import Cli

from gitcoord import Coord, Refused
from gitcoord.features.tasks.standing import TTL

DAY = 86400.0


def let_time_pass(path: Path, seconds: float) -> None:
    """As if this clone had heard of nobody else for so long: what it saw last is that much older."""
    with Coord.open(path) as coord:
        shift = "UPDATE presence SET seen = seen - ? WHERE clone != ?"
        coord.clone.read(lambda db: db.execute(shift, (seconds, coord.clone.id)))
        coord.clone.index.db.commit()


def test_a_session_that_was_silent_for_a_day_is_gone_for_everybody_else(tmp_path: Path, cli: Cli) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(ada, as_name="w") as coord:
        task = coord.tasks.add("held for ever").id
        coord.tasks.claim(task)
        away = f"w@{coord.clone.id}"
    sync_all([ada, bob])
    me = {"GIT_COORD_SESSION": "w"}
    assert cli(bob, "wait", f"session:{away}=gone", "--timeout", "1", env=me).code == 1
    assert away in cli(bob, "send", "all", "hello", env=me).out
    let_time_pass(bob, DAY + 60)
    assert cli(bob, "wait", f"session:{away}=gone", "--timeout", "1", env=me).code == 0
    assert cli(bob, "send", "all", "hello", env=me).code == 2, "nobody is left"
    assert away not in cli(bob, "sessions", env=me).out and away in cli(bob, "sessions", "--all", env=me).out
    assert task[:7] in cli(bob, "tasks", "--ready", env=me).out, "it is offered"


def test_without_a_sync_nobody_knows_whether_others_are_silent(tmp_path: Path, cli: Cli) -> None:
    _, (_, bob) = make_met(tmp_path, 2)
    let_time_pass(bob, 2 * DAY)
    os.utime(bob / ".git/coord/heard", (time.time() - 1.5 * DAY,) * 2)
    assert "recipient" not in (sent := cli(bob, "send", "all", "after a weekend", env={"GIT_COORD_SESSION": "w"})).err
    assert sent.code == 0 and "w@ada" in sent.out


def test_coord_gone_is_a_setting(tmp_path: Path, cli: Cli) -> None:
    _, (_, bob) = make_met(tmp_path, 2)
    let_time_pass(bob, DAY + 60)
    me = {"GIT_COORD_SESSION": "w"}
    assert "w@ada" not in cli(bob, "sessions", env=me).out
    for value, shown in (("1w", True), ("12h", False), ("nonsense", False)):
        assert cli(bob, "sessions", env={**me, **config("coord.gone", value)}).out.count("w@ada") == shown


def config(key: str, value: str) -> dict[str, str]:
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": value}


def test_what_is_offered_can_be_had_only_after_the_silence_of_a_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(ada, as_name="w") as coord:
        task = coord.tasks.add("held for ever").id
        coord.tasks.claim(task)
    sync_all([ada, bob])
    let_time_pass(bob, DAY + 60)
    with Coord.open(bob, as_name="w") as coord:
        assert coord.tasks.next(claim=True) is None, "the lease was seen unchanged for no time at all"
        with pytest.raises(Refused):
            coord.tasks.claim(task)
        wall, up = set_clocks(monkeypatch)
        wall[0] += TTL + 1
        up[0] += TTL + 1
        found = coord.tasks.next(claim=True)
        assert found and found.id == task
