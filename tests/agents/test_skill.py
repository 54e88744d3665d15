"""The skill and the Claude Code plugin: they are true, are installed and removed without a trace, and Claude accepts
them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from conftest import Cli
from model import Tool, Turn, running
from programs import Claude, program

from gitcoord import Coord, RepositoryError, __version__
from gitcoord.agents import skill
from gitcoord.text import tokens

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = ROOT / "plugin"


def commands() -> list[list[str]]:
    """Every command that the skill shows, as words."""
    lines = re.findall(r"^    (git coord .*)$", skill.text(), re.MULTILINE)
    inline = [found for found in re.findall(r"`(git coord [^`]+)`", skill.text()) if found != "git coord VERB --help"]
    return [shlex.split(line, comments=True)[2:] for line in [*lines, *inline]]


def test_it_costs_less_than_600_tokens() -> None:
    assert tokens(skill.whole().decode()) < 600


def test_its_front_matter_is_what_every_harness_understands() -> None:
    front = skill.whole().decode().split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in front.splitlines())
    assert fields["name"] == skill.NAME == skill.path_in("/skills").split("/")[2]
    assert set(fields) == {"name", "description"} and len(fields["description"]) < 1024


def test_every_command_in_it_runs(worktrees: tuple[Path, Path], cli: Cli) -> None:
    """In the order of the skill, where what it takes for granted is there."""
    alpha, beta = worktrees
    with Coord.open(beta) as coord:
        ids = {"reply": coord.send("alpha", "shall we?").id, "ack": coord.send("alpha", "please ack", needs_ack=True).id}
        coord.tasks.add("merge the schema")
    ran = []
    for words in commands():
        if words[:2] == ["task", "done"]:
            with Coord.open(alpha) as coord:
                ids["task"] = coord.tasks.list(mine=True)[0].id
        filled = [{"NAME": "beta", "PATH": "readme.txt", "ID": ids.get(words[0], "")}.get(word, word) for word in words]
        filled = ["1s" if word == "10m" else "echo" if word == "make" else word for word in filled]
        done = cli(alpha, *filled)
        assert done.code in ((0, 1) if words[0] == "wait" else (0,)), (words, done)
        ran.append(words[0])
    assert len(ran) > 15 and {"brief", "inbox", "send", "check", "lock", "task", "state", "note", "run", "wait"} <= set(ran)


def test_the_verb_prints_it_without_its_front_matter(repo: Path, cli: Cli) -> None:
    ran = cli(repo, "skill")
    assert (ran.code, ran.err, ran.out) == (0, "", skill.text())
    assert ran.out.startswith("# git coord\n\nOthers work on this repository")
    assert json.loads(cli(repo, "skill", "--json").out) == {"text": skill.text()}


def test_it_goes_in_and_out_without_a_trace(tmp_path: Path) -> None:
    skills = tmp_path / ".claude" / "skills"
    (tmp_path / ".claude").mkdir()
    assert not skill.is_installed(str(skills)) and not skill.uninstall(str(skills))
    assert skill.install(str(skills)) and skill.is_installed(str(skills))
    assert (skills / "git-coord" / "SKILL.md").read_bytes() == skill.whole()
    assert not skill.install(str(skills))
    assert skill.uninstall(str(skills))
    assert [path.name for path in tmp_path.rglob("*")] == [".claude"]


def test_an_older_one_is_replaced_and_a_strangers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "git-coord" / "SKILL.md"
    path.parent.mkdir()
    path.write_text("---\nname: git-coord\ndescription: old\n---\n\nold\n")
    (tmp_path / "other").mkdir()
    assert skill.install(str(tmp_path)) and path.read_bytes() == skill.whole()
    path.write_text("mine\n")
    with pytest.raises(RepositoryError, match="gitcoord did not write"):
        skill.install(str(tmp_path))
    assert not skill.uninstall(str(tmp_path))
    assert path.read_text() == "mine\n" and (tmp_path / "other").is_dir()


# the plugin


def test_the_plugin_has_the_version_and_the_words_of_the_program() -> None:
    manifest = json.loads((PLUGIN / ".claude-plugin" / "plugin.json").read_text())
    assert (manifest["name"], manifest["version"]) == ("git-coord", __version__)
    marketplace = json.loads((ROOT / ".claude-plugin" / "marketplace.json").read_text())
    (entry,) = marketplace["plugins"]
    assert (entry["name"], (ROOT / entry["source"]).resolve()) == (manifest["name"], PLUGIN)
    server = json.loads((PLUGIN / ".mcp.json").read_text())["mcpServers"]["coord"]
    assert [server["command"], *server["args"]] == ["git", "coord", "mcp"]


@pytest.mark.parametrize("what", [ROOT, PLUGIN], ids=["marketplace", "plugin"])
def test_claude_finds_nothing_wrong_with_it(what: Path) -> None:
    done = subprocess.run([program("claude"), "plugin", "validate", "--strict", str(what)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_claude_installs_it_from_this_repository(repo: Path) -> None:
    def claude(*args: str) -> str:
        done = subprocess.run([program("claude"), "plugin", *args], cwd=repo, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    claude("marketplace", "add", str(ROOT))
    claude("install", "git-coord@gitcoord")
    details = claude("details", "git-coord@gitcoord")
    assert re.search(r"Skills \(1\) +git-coord\n", details) and re.search(r"MCP servers \(1\) +coord ", details)
    claude("uninstall", "git-coord@gitcoord")
    assert "git-coord@gitcoord" not in claude("list")


@pytest.mark.parametrize("twice", [False, True], ids=["alone", "beside the hooks of the settings"])
def test_a_session_with_the_plugin(twice: bool, hermetic: Path, worktrees: tuple[Path, Path], repo: Path, cli: Cli) -> None:
    """The brief and mail once, the MCP server with the session of the hooks, the skill on the list."""
    program("claude")
    alpha, beta = worktrees
    assert cli(repo, "init").code == 0
    if twice:
        assert cli(repo, "hooks", "install", "claude").code == 0
    assert cli(beta, "send", "alpha", "hello there").code == 0
    server = "mcp__plugin_git-coord_coord__"
    with running() as model:
        claude = Claude(alpha, model, hermetic, "--plugin-dir", str(PLUGIN))
        model.says(
            Turn(tools=(Tool("Bash", {"command": "git coord focus 'the plugin'"}),)),
            Turn(tools=(Tool(f"{server}send_message", {"to": "beta", "text": "hello back"}),)),
            Turn(tools=(Tool(f"{server}status", {"show": "brief"}),)),
            Turn("done"),
        )
        assert claude.ask("answer") == "done"
        claude.close()
    last = model.seen[-1]
    assert last.count("You are alpha, on branch alpha") == 1
    assert last.count("  > hello there") == 1
    assert '"session":"alpha"' in last and '"focus":"the plugin"' in last
    assert "git-coord:git-coord" in last
    with Coord.open(beta) as coord:
        assert [message.text for message in coord.messages.receive().messages] == ["hello back"]
        assert [message.recipients[0].state for message in coord.messages.sent()] == ["surfaced"]
