"""The guard against growth: counts are compared with the allowed ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import counted


def test_what_grows_unasked_fails_and_what_shrinks_does_not() -> None:
    assert counted._row("inbox", "modules", 86, 86).ok
    assert counted._row("inbox", "modules", 80, 86).ok
    assert not counted._row("inbox", "modules", 87, 86).ok
    assert not counted._row("inbox", "modules", 1, None).ok, "what is not in the file is allowed nothing"
    assert counted._row("inbox", "system calls", 1080, 1000).ok and not counted._row("inbox", "system calls", 1200, 1000).ok
    assert not counted._row("inbox", "heavy", ["click"], []).ok
    assert counted._row("inbox", "heavy", [], ["click"]).ok


def test_a_command_is_counted_from_outside(worktrees: tuple[Path, Path], tmp_path: Path) -> None:
    found = counted.count(counted.Command("note", ("note", "hello"), worktrees[0]), tmp_path / "count")
    assert found["objects written"] == 1 and found["SQL statements"] != 0 and found["heavy"] == []


@pytest.mark.parametrize("name", json.loads(counted.ALLOWED.read_text()))
def test_no_quick_command_may_load_what_is_heavy(name: str) -> None:
    assert json.loads(counted.ALLOWED.read_text())[name]["heavy"] == []
