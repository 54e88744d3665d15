"""The real Gemini CLI, Copilot CLI and opencode, offline: the texts that the model was shown, and the files written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, git
from model import Tool, Turn, running
from programs import Copilot, Gemini, Opencode, OpencodeServer, program

from gitcoord import Coord
from gitcoord.agents.install import FOLDER
from gitcoord.agents.settings import SETTINGS

Start = Callable[[str], Any]
BETA = {"GIT_COORD_SESSION": "beta"}
AS_BETA = "GIT_COORD_SESSION=beta git coord"


@pytest.fixture(params=[Gemini, Copilot, Opencode], ids=lambda kind: kind.name)
def start(
    request: pytest.FixtureRequest, hermetic: Path, worktrees: tuple[Path, Path], repo: Path, cli: Cli
) -> Iterator[Start]:
    """`start("alpha")`: the program in that linked worktree, with our hooks in its settings and a model of its own."""
    program(request.param.name)
    assert cli(repo, "init").code == 0
    with ExitStack() as stack:

        def prepare(name: str) -> Any:
            agent = request.param(repo.parent / name, stack.enter_context(running()), hermetic)
            assert cli(repo, "hooks", "install", agent.name).code == 0
            return agent

        yield prepare


def test_a_session_is_told_where_it_is_what_is_new_and_who_changes_what(start: Start, repo: Path, cli: Cli) -> None:
    agent = start("alpha")
    assert cli(repo.parent / "beta", "send", "alpha", "hello there").code == 0
    others = f"cd {repo.parent / 'beta'} && echo more >>readme.txt && {AS_BETA} editing readme.txt && {AS_BETA} send alpha two"
    agent.model.says(
        Turn(tools=(agent.shell(others),)),
        Turn(tools=(agent.read(),)),
        Turn(tools=(agent.edit("hello", "good day"),)),
        Turn(tools=(agent.shell("git coord whoami; git coord inbox"),)),
        Turn("all done"),
    )
    assert "all done" in agent.ask("change it")

    first, *_, last = (text.replace("&gt;", ">") for text in agent.model.seen)
    assert "You are alpha, on branch alpha" in first
    assert "from beta, " in first and "  > hello there" in first
    assert last.count("  > hello there") == 1 and last.count("  > two") == 1
    assert last.count("You are alpha, on branch alpha") == 1
    assert last.count("beta changed readme.txt just now, uncommitted") == 1
    assert "alpha of the clone " in last and "the session of this worktree" not in last
    assert "No new messages." in last
    assert (repo.parent / "alpha" / "readme.txt").read_text() == "good day\n"

    with Coord.open(repo.parent / "beta", environ=None) as coord:
        states = [r.state for message in coord.messages.sent() for r in message.recipients if not r.session.startswith("beta")]
        assert states == ["surfaced", "surfaced"]
        alpha = coord.sessions.get("alpha")
        assert (alpha.state, alpha.harness) == ("gone", agent.name)
    assert not (repo / ".git" / "coord" / "agents" / "@error").exists()


def test_what_another_has_locked_is_not_changed_where_the_user_wants_that(start: Start, repo: Path, cli: Cli) -> None:
    agent = start("alpha")
    git(repo, "config", "coord.guard", "block")
    assert cli(repo.parent / "beta", "lock", "readme.txt", "-m", "I rewrite it").code == 0
    agent.model.says(Turn(tools=(agent.read(),)), Turn(tools=(agent.edit("hello", "good day"),)), Turn("all right"))
    assert "all right" in agent.ask("change it")
    assert "readme.txt is locked by beta for another 2 h" in agent.model.seen[-1]
    assert (repo.parent / "alpha" / "readme.txt").read_text() == "hello\n"


def test_urgent_mail_keeps_a_turn_going_once(start: Start, repo: Path, cli: Cli) -> None:
    agent = start("alpha")
    if agent.name == "opencode":
        pytest.skip("`opencode run` ends with the turn; in its terminal the plugin begins a new one")
    git(repo, "config", "coord.surface", "turn")
    agent.model.says(
        Turn(tools=(agent.shell(f"{AS_BETA} send alpha stop at once --urgent"),)), Turn("done so far"), Turn("I see")
    )
    assert "I see" in agent.ask("go")
    assert agent.model.seen[-1].replace("&gt;", ">").count("  > stop at once") == 1
    assert "stop at once" not in agent.model.seen[1].partition("done so far")[0].partition("--urgent")[2]
    assert len(agent.model.seen) == 3


def test_its_mcp_server_speaks_for_the_session(start: Start, repo: Path) -> None:
    agent = start("alpha")
    agent.add_server()
    agent.model.says(Turn(tools=(Tool(f"{agent.served}send_message", {"to": "beta", "text": "by MCP"}),)), Turn("all done"))
    assert "all done" in agent.ask("tell beta")
    with Coord.open(repo.parent / "beta", environ=None) as coord:
        (message,) = coord.inbox().messages
        assert (message.sender.partition("@")[0], message.text) == ("alpha", "by MCP")


@pytest.mark.parametrize("gone", ["python", "hooks"])
def test_without_gitcoord_the_program_works_as_if_there_were_no_hooks(start: Start, repo: Path, cli: Cli, gone: str) -> None:
    agent = start("alpha")
    settings = Path(SETTINGS[agent.name].path(agent.environ))
    settings.write_text(settings.read_text().replace(sys.executable if gone == "python" else FOLDER, "/gone"))
    assert cli(repo.parent / "beta", "send", "alpha", "hello there").code == 0
    agent.model.says(Turn(tools=(agent.read(),)), Turn(tools=(agent.edit("hello", "good day"),)), Turn("all done"))
    assert "all done" in agent.ask("change it")
    assert (repo.parent / "alpha" / "readme.txt").read_text() == "good day\n"
    assert "hello there" not in agent.model.seen[-1]
    assert "queued" in cli(repo.parent / "beta", "sent").out


@pytest.fixture
def opencode(worktrees: tuple[Path, Path], hermetic: Path, cli: Cli) -> Iterator[OpencodeServer]:
    """opencode that stays, in alpha."""
    program("opencode")
    assert cli(worktrees[0], "init").code == 0 and cli(worktrees[0], "hooks", "install", "opencode").code == 0
    with running() as model:
        agent = OpencodeServer(worktrees[0], model, hermetic)
        try:
            yield agent
        finally:
            agent.close()


def test_an_idle_session_of_opencode_is_woken_by_a_message(opencode: OpencodeServer, repo: Path, cli: Cli) -> None:
    beta, model = repo.parent / "beta", opencode.model
    git(repo, "config", "coord.wakeAfter", "0")
    model.says(Turn("hello"))
    assert opencode.ask("hi") == "hello"
    for number in (1, 2):
        assert cli(beta, "send", "alpha", f"wake up, {number}").code == 0
        assert model.asked(number + 1)
    assert model.seen[-1].count("  > wake up, 1") == model.seen[-1].count("  > wake up, 2") == 1
    assert model.seen[-1].count("You are alpha, on branch alpha") == 1
    opencode.close()
    with Coord.open(beta) as coord:
        assert [message.recipients[0].state for message in coord.messages.sent()] == ["surfaced", "surfaced"]
        assert coord.sessions.get("alpha").state == "gone"


def test_urgent_mail_begins_another_turn_of_opencode_once(opencode: OpencodeServer, repo: Path) -> None:
    git(repo, "config", "coord.surface", "turn")
    urgent = opencode.shell(f"{AS_BETA} send alpha stop at once --urgent")
    opencode.model.says(Turn(tools=(urgent,)), Turn("done so far"), Turn("I see"))
    assert opencode.ask("go") == "done so far"
    assert opencode.model.asked(3)
    assert opencode.model.seen[2].count("  > stop at once") == 1
    assert "  > stop at once" not in opencode.model.seen[1]


def test_opencode_knows_after_a_compaction_and_its_helpers_get_no_mail(opencode: OpencodeServer, repo: Path, cli: Cli) -> None:
    model = opencode.model
    model.says(Turn("hello"))
    assert opencode.ask("first words") == "hello"
    opencode.compact()
    model.says(Turn("I know"))
    assert opencode.ask("and now?") == "I know"
    assert "first words" not in model.seen[-1] and model.seen[-1].count("You are alpha, on branch alpha") == 1

    helper = {"description": "look", "prompt": "look around", "subagent_type": "general"}
    model.says(
        Turn(tools=(opencode.shell(f"{AS_BETA} send alpha to the session"), Tool("task", helper))),
        Turn(tools=(opencode.read(),)),
        Turn("looked"),
        Turn("done"),
    )
    assert opencode.ask("let somebody look") == "done"
    helpers = [text for text in model.seen if "look around" in text and "let somebody look" not in text]
    assert helpers and not any("  > to the session" in text or "You are alpha" in text for text in helpers)
    assert model.seen[-1].count("  > to the session") == 1
    with Coord.open(repo.parent / "beta") as coord:
        assert [s.session for s in coord.sessions.list() if s.session] == ["alpha", "beta"]
