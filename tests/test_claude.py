"""Claude Code for real, offline: what the model was shown, and what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Cli, git
from model import Tool, Turn, running
from programs import Claude, program


@pytest.fixture
def pair(hermetic: Path, repo: Path, cli: Cli) -> Iterator[Callable[[str], Claude]]:
    """`pair("alpha")`: a conversation in that linked worktree, in a repository with gitcoord and Claude's hooks."""
    program("claude")
    for name in ("alpha", "beta"):
        git(repo, "worktree", "add", "-q", str(repo.parent / name))
    assert cli(repo, "init").code == 0
    assert cli(repo, "hooks", "install", "claude").code == 0
    with ExitStack() as stack:

        def start(name: str) -> Claude:
            claude = Claude(repo.parent / name, stack.enter_context(running()), hermetic)
            stack.callback(claude.close)
            return claude

        yield start


def edit(where: Path, old: str, new: str) -> Tool:
    return Tool("Edit", {"file_path": str(where / "readme.txt"), "old_string": old, "new_string": new})


def read(where: Path) -> Tool:
    return Tool("Read", {"file_path": str(where / "readme.txt")})


def shell(command: str) -> Tool:
    return Tool("Bash", {"command": command})


def test_two_sessions(pair: Callable[[str], Claude], repo: Path, cli: Cli) -> None:
    """A changes a file, B is warned before it changes the same; A writes, B sees it once; B is compacted, and knows."""
    a, b = pair("alpha"), pair("beta")
    a.model.says(Turn(tools=(read(a.where),)), Turn(tools=(edit(a.where, "hello", "good day"),)), Turn("changed"))
    assert a.ask("change it") == "changed"
    task = cli(repo, "task", "add", "the greeting").out.split()[0]
    b.model.says(
        Turn(tools=(shell(f"git coord task claim {task}"),)),
        Turn(tools=(read(b.where),)),
        Turn(tools=(edit(b.where, "hello", "good night"),)),
        Turn("changed too"),
    )
    assert b.ask("change it as well") == "changed too"
    for n, x in enumerate([*a.model.seen, "-", *b.model.seen]):
        print("#", n, x[-3000:])
    assert 0
