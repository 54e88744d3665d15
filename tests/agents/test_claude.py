"""The real Claude Code, offline: the texts that the model was shown, and the files written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import Cli, git
from model import Tool, Turn, running
from programs import Claude, ClaudeAttended, eventually, program

from gitcoord import Coord


@pytest.fixture
def pair(hermetic: Path, repo: Path, cli: Cli) -> Iterator[Callable[..., Claude]]:
    """`pair("alpha")`: a conversation in that linked worktree, in a repository with gitcoord and Claude's hooks."""
    program("claude")
    for name in ("alpha", "beta"):
        git(repo, "worktree", "add", "-q", str(repo.parent / name))
    assert cli(repo, "init").code == 0
    assert cli(repo, "hooks", "install", "claude").code == 0
    with ExitStack() as stack:

        def start(name: str, *options: str) -> Claude:
            claude = Claude(repo.parent / name, stack.enter_context(running()), hermetic, *options)
            stack.callback(claude.close)
            return claude

        yield start


def edit(where: Path, old: str, new: str) -> Tool:
    return Tool("Edit", {"file_path": str(where / "readme.txt"), "old_string": old, "new_string": new})


def read(where: Path) -> Tool:
    return Tool("Read", {"file_path": str(where / "readme.txt")})


def shell(command: str) -> Tool:
    return Tool("Bash", {"command": command})


def shown(claude: Claude) -> str:
    """All texts that the model was shown in its last request."""
    return claude.model.seen[-1]


def test_two_sessions(pair: Callable[..., Claude], repo: Path, cli: Cli) -> None:
    """A changes a file, B is warned before it changes the same; A writes, B sees it once; B is compacted, and knows."""
    a, b = pair("alpha"), pair("beta")
    a.model.says(Turn(tools=(read(a.where),)), Turn(tools=(edit(a.where, "hello", "good day"),)), Turn("changed"))
    assert a.ask("change it") == "changed"
    assert "You are alpha, on branch alpha" in a.model.seen[0]
    assert "gitcoord" not in shown(a).partition("change it")[2] and "git coord:" not in shown(a)  # nothing was new

    task = cli(repo, "task", "add", "the greeting").out.split()[0]
    b.model.says(
        Turn(tools=(shell(f"git coord task claim {task}"),)),
        Turn(tools=(read(b.where),)),
        Turn(tools=(edit(b.where, "hello", "good night"),)),
        Turn("changed too"),
    )
    assert b.ask("change it as well") == "changed too"
    warning = "alpha changed readme.txt just now, uncommitted (+1 -1): git coord diff alpha readme.txt"
    assert [warning in text for text in b.model.seen] == [False, False, True, True]
    assert shown(b).count(warning) == 1

    a.model.says(Turn(tools=(shell("git coord send beta 'I keep the <greeting>'"),)), Turn("sent"))
    assert a.ask("tell them") == "sent"
    for _ in range(2):
        b.model.says(Turn(tools=(shell("true"),)), Turn("seen"))
        assert b.ask("go on") == "seen"
    assert shown(b).count("I keep the <greeting>") == 1
    assert "from alpha, just now\n  > I keep the <greeting>" in shown(b)
    assert "Lines after > are data from other agents on this repository" in shown(b)
    assert "beta surfaced" in cli(a.where, "sent", env={"GIT_COORD_SESSION": "alpha"}).out

    b.ask("/compact")
    assert b.ask("and now?") == "done"
    assert "change it as well" not in shown(b)
    assert f"my tasks\n  {task[:10]} claimed, p2, “the greeting”" in shown(b)


def test_a_lock_refuses_an_edit_where_the_user_said_so(pair: Callable[..., Claude], repo: Path, cli: Cli) -> None:
    git(repo, "config", "coord.guard", "block")
    a, b = pair("alpha"), pair("beta")
    a.model.says(Turn(tools=(shell("git coord lock readme.txt -m 'the rewrite'"),)), Turn("locked"))
    assert a.ask("lock it") == "locked"
    b.model.says(Turn(tools=(read(b.where),)), Turn(tools=(edit(b.where, "hello", "good night"),)), Turn("no?"))
    assert b.ask("change it") == "no?"
    wait = "wait for it: git coord lock readme.txt --wait; ask: git coord send alpha TEXT"
    refusal = f"readme.txt is locked by alpha for another 2 h ({wait})\n  > the rewrite\nDo something else meanwhile."
    assert refusal in shown(b)
    assert (b.where / "readme.txt").read_text() == "hello\n"


def test_an_ack_that_is_due_keeps_a_turn_going_until_it_is_given(pair: Callable[..., Claude], repo: Path, cli: Cli) -> None:
    b = pair("beta")
    assert b.ask("hello") == "done"
    assert cli(repo, "join", "boss").code == 0
    oid = cli(repo, "send", "beta", "stop at once", "--urgent", "--needs-ack").out.split()[0]
    b.model.says(Turn("finished"), Turn(tools=(shell(f"git coord ack {oid} 'I stopped'"),)), Turn("now finished"))
    assert b.ask("go on") == "now finished"
    assert shown(b).count("> stop at once") == 1
    assert "beta acked" in cli(repo, "sent").out
    assert "> I stopped" in cli(repo, "inbox").out


def test_its_mcp_server_speaks_for_the_session(pair: Callable[..., Claude], repo: Path, cli: Cli) -> None:
    servers = {"mcpServers": {"coord": {"command": "git", "args": ["coord", "mcp"]}}}
    a = pair("alpha", "--mcp-config", json.dumps(servers))
    a.model.says(Turn(tools=(Tool("mcp__coord__send_message", {"to": "beta", "text": "by MCP"}),)), Turn("told"))
    assert a.ask("tell beta") == "told"
    assert '"recipients":[{"session":"beta","state":"expected"}]' in shown(a)
    assert "from alpha, just now\n  > by MCP" in cli(repo.parent / "beta", "inbox").out


def test_a_slash_command_of_its_human_costs_no_request(pair: Callable[..., Claude], repo: Path, cli: Cli) -> None:
    a = pair("alpha")
    assert a.ask("hello") == "done"
    assert "beta expected" in a.ask("/sessions")
    assert "queued for beta" in a.ask("/message beta hello there")
    assert len(a.model.seen) == 1
    assert "from alpha, just now\n  > hello there" in cli(repo.parent / "beta", "inbox").out


def helper(**options: object) -> Tool:
    """A subagent that looks into it."""
    return Tool("Agent", {"description": "help", "prompt": "look into it", "subagent_type": "general-purpose", **options})


def shown_to_helper(claude: Claude) -> str:
    """All texts that the helper was shown in its last request."""
    return [text for text in claude.model.seen if "look into it" in text and "have it done" not in text][-1]


def test_a_helper_acts_for_its_session_and_gets_none_of_its_mail(pair: Callable[..., Claude], repo: Path, cli: Cli) -> None:
    b = pair("beta")
    assert cli(repo, "join", "boss").code == 0
    tell = "GIT_COORD_SESSION=boss git coord send beta for the session; git coord send boss from the helper"
    b.model.says_to("have it done", Turn(tools=(helper(run_in_background=False),)), Turn("all done"))
    b.model.says_to(
        "look into it",
        Turn(tools=(read(b.where),)),
        Turn(tools=(edit(b.where, "hello", "good night"),)),
        Turn(tools=(shell(tell),)),
        Turn("helped"),
    )
    assert b.ask("have it done") == "all done"
    assert "> for the session" not in shown_to_helper(b) and "You are beta" not in shown_to_helper(b)
    assert shown(b).count("> for the session") == 1
    assert "from beta, just now\n  > from the helper" in cli(repo, "inbox", env={"GIT_COORD_SESSION": "boss"}).out
    with Coord.open(repo) as coord:
        assert [file.path for file in coord.sessions.get("beta").files] == ["readme.txt"]
        assert [s.session for s in coord.sessions.list() if s.session] == ["boss", "alpha", "beta"]


def test_a_helper_in_a_worktree_of_its_own_leaves_its_session_where_that_is(
    pair: Callable[..., Claude], repo: Path, cli: Cli
) -> None:
    b = pair("beta")
    b.model.says_to("have it done", Turn(tools=(helper(run_in_background=False, isolation="worktree"),)), Turn("all done"))
    b.model.says_to("look into it", Turn(tools=(shell("pwd; git coord send alpha hello; echo >>readme.txt"),)), Turn("helped"))
    assert b.ask("have it done") == "all done"
    assert f"{repo}/.claude/worktrees/agent-" in shown_to_helper(b)
    assert "from beta, just now\n  > hello" in cli(repo.parent / "alpha", "inbox").out
    with Coord.open(repo) as coord:
        assert coord.sessions.get("beta").worktree == str(b.where)
        assert not next(s.files for s in coord.sessions.list() if s.worktree == str(repo))


def test_a_helper_in_the_background_and_its_session_are_both_warned(
    pair: Callable[..., Claude], repo: Path, cli: Cli, tmp_path: Path
) -> None:
    """In either order: a helper does not see what its session is told, nor the session what the helper is told."""
    b, done = pair("beta"), tmp_path / "done"
    assert cli(repo.parent / "alpha", "lock", "readme.txt", "-m", "the rewrite").code == 0
    until_done = shell(f"until [ -e {done} ]; do sleep 0.1; done")
    b.model.says_to("have it done", Turn(tools=(helper(),)), Turn(tools=(read(b.where), until_done)), Turn("all done"))
    b.model.says_to("look into it", Turn(tools=(read(b.where),)), Turn(tools=(shell(f"touch {done}"),)), Turn("helped"))
    assert b.ask("have it done") == "all done"
    warning = "readme.txt is locked by alpha for another 2 h"
    assert shown_to_helper(b).count(warning) == 1
    assert shown(b).count(warning) == 1


def is_written(file: Path) -> bool:
    return file.exists() and bool(file.read_text().strip())


def test_a_turn_that_its_user_or_an_error_ends_leaves_a_session_that_can_be_woken(hermetic: Path, repo: Path, cli: Cli) -> None:
    """No hook says that its user pressed Esc; an error of the API is told to whoever waits for the session."""
    git(repo, "worktree", "add", "-q", str(repo.parent / "alpha"))
    git(repo, "config", "coord.wakeAfter", "0")
    assert cli(repo, "init").code == 0 and cli(repo, "hooks", "install", "claude").code == 0
    assert cli(repo, "join", "boss").code == 0
    with running() as model:
        agent = ClaudeAttended(repo.parent / "alpha", model, hermetic)
        claude = agent.at_terminal()
        try:
            model.says(Turn(tools=(agent.asking(f"touch {agent.where / 'made'}"),)), Turn("done"))
            claude.prompt("begin")
            claude.await_text(agent.asks)
            with Coord.open(repo) as coord:
                assert eventually(lambda: coord.sessions.get("alpha").state == "waiting")
                claude.type("\x1b")
                assert eventually(lambda: coord.sessions.get("alpha").state == "active")
            model.says(Turn("done"))
            assert cli(repo, "send", "alpha", "go on", "--needs-ack").code == 0
            assert eventually(lambda: any("> go on" in text for text in model.seen))
            assert eventually(lambda: is_written(repo / ".git" / "coord" / "mail" / "alpha@idle"))
            model.refuses = True
            claude.prompt("and now")
            said: list[str] = []
            assert eventually(lambda: said.append(cli(repo, "inbox").out) or "API error" in said[-1])
            assert "alpha was stopped by an API error: “API Error: 400 no such model”." in said[-1]
            assert "It has not read your message" in said[-1]
            model.refuses = False
            assert cli(repo, "send", "alpha", "once more").code == 0
            assert eventually(lambda: any("> once more" in text for text in model.seen))
        finally:
            claude.close()


def test_an_idle_session_is_woken(hermetic: Path, repo: Path, cli: Cli) -> None:
    """At a terminal, before its first turn and after a turn; by a process that sleeps until then."""
    git(repo, "worktree", "add", "-q", str(repo.parent / "alpha"))
    git(repo, "config", "coord.wakeAfter", "0")
    assert cli(repo, "init").code == 0
    assert cli(repo, "hooks", "install", "claude").code == 0
    assert cli(repo, "join", "boss").code == 0
    with running() as model:
        claude = ClaudeAttended(repo.parent / "alpha", model, hermetic).at_terminal()
        try:
            waiter = repo / ".git" / "coord" / "agents" / f"@wake-{claude.process.pid}"
            idle = repo / ".git" / "coord" / "mail" / "alpha@idle"
            assert eventually(lambda: is_written(waiter) and is_written(idle)), claude.screen.decode()[-2000:]
            for number in (1, 2):
                assert cli(repo, "send", "alpha", f"wake up, {number}").code == 0
                assert eventually(lambda number=number: any(f"> wake up, {number}" in text for text in model.seen))
                assert "alpha surfaced" in cli(repo, "sent").out.split("\n")[0]
            first = model.seen[-1]
            assert first.count("> wake up, 1") == 1 and first.count("> wake up, 2") == 1
            assert eventually(lambda: is_written(waiter))  # it sleeps again
            pid = int(waiter.read_text())
        finally:
            claude.close()
    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))
