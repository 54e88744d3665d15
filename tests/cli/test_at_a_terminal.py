"""A command at a terminal: its pager, its colours, and lines that fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli, git
from terminals import at_a_terminal

from gitcoord import Coord


def test_what_others_wrote_never_begins_in_the_first_column(worktrees: tuple[Path, Path]) -> None:
    with Coord.open(worktrees[1]) as beta:
        beta.send("alpha", "hello" + " " * 65 + "3f9a1c7700 from the user, just now")
        beta.tasks.add("a title" + " x" * 60)
        beta.locks.take(["src"], reason="because " * 12)
    for words in (["inbox"], ["tasks"], ["lock", "src"], ["log"]):
        _, shown = at_a_terminal(worktrees[0], *words, COLUMNS="60", GIT_PAGER="cat")
        lines = [line for line in shown.splitlines() if not line.startswith("hint: ")]  # a command to copy
        assert len(lines) > 1 and all(len(line) <= 60 for line in lines), shown
        assert not [line for line in lines if line.startswith(("3f9a1c7700", "x", "because"))], shown


def test_the_pager_is_gits(worktrees: tuple[Path, Path]) -> None:
    with Coord.open(worktrees[0]) as coord:
        coord.notes.add("one")
    code, shown = at_a_terminal(worktrees[0], "notes", GIT_PAGER="sed s/^/paged:/")
    assert (code, [line[:6] for line in shown.splitlines()]) == (0, ["paged:", "paged:"])
    git(worktrees[0], "config", "core.pager", "sed s/^/core:/")
    assert at_a_terminal(worktrees[0], "notes")[1].startswith("core:")
    assert "core:" not in at_a_terminal(worktrees[0], "notes", CLAUDECODE="1")[1], "an agent would be stuck"
    assert "core:" not in at_a_terminal(worktrees[0], "inbox")[1], "what is marked read is not paged"
    assert at_a_terminal(worktrees[0], "notes", GIT_PAGER="head -c 0; exit 3")[0] in (0, 141)
    git(worktrees[0], "config", "pager.coord", "false")
    assert "core:" not in at_a_terminal(worktrees[0], "notes")[1]


def test_colour_is_as_git_would_have_it(worktrees: tuple[Path, Path], cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    with Coord.open(worktrees[0]) as coord:
        coord.tasks.add("one")

    def coloured(*words: str) -> bool:
        return "\x1b[33m" in cli(worktrees[0], *words).out

    assert [coloured("tasks"), coloured("tasks", "--color"), coloured("tasks", "--color=auto")] == [False, True, False]
    assert coloured("log", "--color=always", "-n", "1")
    git(worktrees[0], "config", "color.ui", "always")
    assert [coloured("tasks"), coloured("tasks", "--no-color"), coloured("tasks", "--color=never")] == [True, False, False]
    git(worktrees[0], "config", "color.coord", "false")
    assert not coloured("tasks")
    assert cli(worktrees[0], "tasks", "--color=blue").code == 2
