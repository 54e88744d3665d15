"""The real Codex, offline, in its default sandbox: the texts that the model was shown, and the files written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, git, make_repo
from model import Model, Tool, Turn, running
from programs import Codex, eventually, program

PATCH = "*** Begin Patch\n*** Update File: readme.txt\n@@\n-hello\n+good day\n*** Add File: new.txt\n+new\n*** End Patch\n"


@pytest.fixture
def model() -> Iterator[Model]:
    with running() as found:
        yield found


@pytest.fixture
def outside() -> Iterator[Path]:
    """A repository that is not in a folder for temporary files, which Codex lets everybody write to."""
    if subprocess.run([program("codex"), "sandbox", "--", "true"], capture_output=True).returncode:
        pytest.skip("Codex can make no sandbox on this machine")
    with tempfile.TemporaryDirectory(dir=os.environ.get("GITCOORD_OUTSIDE", "/var/tmp")) as place:
        yield make_repo(Path(place) / "project")


@pytest.fixture
def codex(repo: Path, hermetic: Path, model: Model, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Codex:
    """In the linked worktree `alpha`, with our hooks installed and not yet trusted."""
    found = Codex(repo.parent / "alpha", model, hermetic)
    monkeypatch.setenv("PATH", os.pathsep.join([os.environ["PATH"], str(Path(found.program).parent)]))
    monkeypatch.setenv("CODEX_HOME", str(hermetic / ".codex"))
    monkeypatch.setenv("NOT_A_KEY", "none")
    git(repo, "worktree", "add", "-q", str(found.where))
    assert cli(repo, "init").code == 0
    assert cli(repo, "hooks", "install", "codex").code == 0
    return found


def test_hooks_run_once_they_are_trusted(codex: Codex, repo: Path, cli: Cli) -> None:
    assert "has not trusted 12 of 12" in cli(repo, "hooks", "status", "codex").out
    codex.ask("hello")
    assert "You are alpha" not in codex.model.seen[-1]
    codex.trust()
    assert "hooks installed" in cli(repo, "hooks", "status", "codex").out
    codex.begun = False
    codex.ask("hello")
    assert "You are alpha, on branch alpha" in codex.model.seen[-1]


def test_settings_that_codex_cannot_read_are_told_from_those_it_does_not_trust(codex: Codex, repo: Path, cli: Cli) -> None:
    path = codex.settings.parent / "hooks.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert "hooks do not run: Codex reads none of them" in cli(repo, "hooks", "status", "codex").out


def test_mail_a_patch_and_the_end(codex: Codex, repo: Path, cli: Cli) -> None:
    """Mail is shown once and is surfaced; files that a patch changes are known; the session leaves."""
    codex.trust()
    codex.ask("hello")
    assert "alpha gone" in cli(repo, "sessions", "--all").out
    assert cli(repo, "join", "boss").code == 0
    assert cli(repo, "send", "alpha", "look at *this*", "--needs-ack").code == 0
    touched = repo / ".git" / "coord" / "touched" / "alpha"
    codex.model.says(
        Turn(tools=(Tool("apply_patch", PATCH),)),
        Turn(tools=(Tool("exec_command", {"cmd": f"cat {touched}"}),)),
        Turn("I am done"),  # it owes an ack, and is told so twice
        Turn("really"),
        Turn("so be it"),
    )
    assert codex.ask("go on") == "so be it"
    last = codex.model.seen[-1]
    assert last.count("> look at *this*") == 1
    assert "new.txt\nreadme.txt" in last or "readme.txt\nnew.txt" in last
    assert last.count("These messages ask for an ack") == 2
    assert "alpha surfaced" in cli(repo, "sent").out


def test_a_model_that_calls_its_tools_by_a_script_is_told_as_much(codex: Codex, repo: Path, cli: Cli) -> None:
    """Codex's newest run JavaScript: a patch from there is warned of and refused, and mail comes with the script's
    result."""
    codex.trust()
    git(repo, "config", "coord.guard", "block")
    assert cli(repo, "join", "boss").code == 0
    assert cli(repo, "lock", "readme.txt", "-m", "the rewrite").code == 0
    send = f"GIT_COORD_SESSION=boss {program('git-coord')} send alpha 'in the middle'"
    codex.model.says(
        Turn(tools=(Tool("exec", f"text(await tools.exec_command({json.dumps({'cmd': send})}))"),)),
        Turn(tools=(Tool("exec", f"text(await tools.apply_patch({json.dumps(PATCH)}))"),)),
        Turn("I see"),
    )
    assert codex.ask("go on", "-m", "gpt-6-sol") == "I see"
    assert codex.model.seen[-2].count("  > in the middle") == codex.model.seen[-1].count("  > in the middle") == 1
    assert "readme.txt is locked by boss for another 2 h" in codex.model.seen[-1]
    assert (codex.where / "readme.txt").read_text() == "hello\n"


def test_the_default_sandbox(outside: Path, hermetic: Path, model: Model, cli: Cli) -> None:
    """Shell commands cannot write to the repository, and are told what to set; hooks run outside of the sandbox."""
    codex = Codex(outside, model, hermetic, "workspace-write")
    assert cli(outside, "hooks", "install", "codex", env=codex.environ).code == 0
    codex.trust()
    say = f"{program('git-coord')} note 'from inside'"
    codex.model.says(Turn(tools=(Tool("exec_command", {"cmd": say}),)), Turn("done"))
    assert cli(outside, "init", "--no-hooks").code == 0
    codex.ask("hello")
    git_dir = outside / ".git"
    hint = f'let Codex write there: writable_roots = ["{git_dir}"] in [sandbox_workspace_write] of ~/.codex/config.toml'
    assert f"error: cannot write to {git_dir}/coord: Read-only file system\nhint: {hint}" in codex.model.seen[-1]
    assert "You are project" in codex.model.seen[0]
    codex.settings.write_text(codex.settings.read_text() + f'[sandbox_workspace_write]\nwritable_roots = ["{git_dir}"]\n')
    codex.model.says(Turn(tools=(Tool("exec_command", {"cmd": say}),)), Turn("done"))
    codex.ask("again")
    assert "from inside" in cli(outside, "notes").out


def test_an_mcp_call_writes_though_a_shell_command_may_not(outside: Path, hermetic: Path, model: Model, cli: Cli) -> None:
    """In the default sandbox, which the MCP server is not in."""
    codex = Codex(outside, model, hermetic, "workspace-write")
    server = f'command = "{sys.executable}"\nargs = ["-m", "gitcoord", "mcp"]\nrequired = true\n'
    codex.settings.write_text(f"{codex.settings.read_text()}[mcp_servers.coord]\n{server}")
    assert cli(outside, "init", "--no-hooks").code == 0
    git(outside, "worktree", "add", "-q", "../boss")
    assert cli(outside.parent / "boss", "join").code == 0
    model.says(
        Turn(tools=(Tool("exec_command", {"cmd": f"{program('git-coord')} send boss by the shell"}),)),
        Turn(tools=(Tool("mcp__coord.send_message", {"to": "boss", "text": "by MCP"}),)),
        Turn("done"),
    )
    assert codex.ask("hello") == "done"
    assert f"error: cannot write to {outside}/.git/coord: Read-only file system\nhint: let Codex write there" in model.seen[-1]
    inbox = cli(outside.parent / "boss", "inbox", "--json").out
    assert [(m["from"], m["text"]) for m in json.loads(inbox)] == [("project", "by MCP")]


def test_an_idle_session_is_woken(codex: Codex, repo: Path, cli: Cli) -> None:
    """By a message in its queue that says no more than that there is mail; the hook of that turn shows it."""
    codex.trust()
    git(repo, "config", "coord.wakeAfter", "0")
    assert cli(repo, "join", "boss").code == 0
    terminal = codex.at_terminal()
    try:
        agents = repo / ".git" / "coord" / "agents"
        terminal.prompt("hello there")
        assert eventually(lambda: list(agents.glob("@wake-*"))), terminal.screen.decode(errors="replace")
        assert cli(repo, "send", "alpha", "wake *up*").code == 0
        assert eventually(lambda: any("> wake *up*" in text for text in codex.model.all_shown())), terminal.screen.decode(
            errors="replace"
        )
        last = next(text for text in codex.model.all_shown() if "> wake *up*" in text)
        assert "git coord: there is new mail for this session." in last
        assert "alpha surfaced" in cli(repo, "sent").out
    finally:
        terminal.close()
