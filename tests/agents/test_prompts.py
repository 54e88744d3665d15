"""Real permission prompts at a terminal: others see that a session waits, its user is called, and the answer ends the
waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, git
from model import Model, Turn, running
from programs import AtTerminal, ClaudeAttended, Codex, Copilot, Gemini, Opencode, eventually

from gitcoord import Coord

Attended = ClaudeAttended | Codex | Gemini | Copilot | Opencode


@pytest.fixture
def model() -> Iterator[Model]:
    with running() as found:
        yield found


@pytest.fixture(params=[ClaudeAttended, Codex, Gemini, Copilot, Opencode], ids=lambda kind: kind.name)
def agent(
    request: pytest.FixtureRequest, model: Model, hermetic: Path, repo: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> Attended:
    """The program in the linked worktree `alpha`, with our hooks."""
    git(repo, "worktree", "add", "-q", str(repo.parent / "alpha"))
    found: Attended = request.param(repo.parent / "alpha", model, hermetic)
    assert cli(repo, "init").code == 0
    assert cli(repo, "hooks", "install", found.name, env=found.environ).code == 0
    if isinstance(found, Codex):
        found.trust()
    return found


@pytest.fixture
def terminal(agent: Attended) -> Iterator[AtTerminal]:
    found = agent.at_terminal()
    try:
        yield found
    finally:
        found.close()


def test_a_session_waits_while_its_human_is_asked(
    agent: Attended, terminal: AtTerminal, model: Model, repo: Path, tmp_path: Path
) -> None:
    called, made = tmp_path / "called", agent.where / "made"
    git(repo, "config", "coord.notify", f">>'{called}' printf '%s\\n'")
    model.says(Turn(tools=(agent.asking(f"touch {made}"),)), Turn("all done"))
    terminal.prompt("begin")
    terminal.await_text(agent.asks)
    with Coord.open(repo) as coord:
        assert eventually(lambda: coord.sessions.get("alpha").state == "waiting"), terminal.screen
        assert not made.exists()
        terminal.type("\r")
        assert eventually(made.exists), terminal.screen
        assert eventually(lambda: coord.sessions.get("alpha").state == "active")
    assert eventually(called.exists) and called.read_text() == "alpha waits for you\n"


@pytest.mark.parametrize("agent", [ClaudeAttended, Opencode], ids=lambda kind: kind.name, indirect=True)
def test_a_helper_that_asks_has_its_session_wait_until_it_works_again(
    agent: ClaudeAttended | Opencode, terminal: AtTerminal, model: Model, repo: Path
) -> None:
    made, seen = agent.where / "made", threading.Event()
    model.says_to("begin", Turn(tools=(agent.helper("look into it"),)), Turn("all done", until=seen))
    model.says_to("look into it", Turn(tools=(agent.asking(f"touch {made}"),)), Turn("helped", until=seen))
    terminal.prompt("begin")
    terminal.await_text(agent.asks)
    with Coord.open(repo) as coord:
        assert eventually(lambda: coord.sessions.get("alpha").state == "waiting"), terminal.screen
        terminal.type("\r")
        assert eventually(made.exists), terminal.screen
        assert eventually(lambda: coord.sessions.get("alpha").state == "active")
    seen.set()
