"""The adapters: settings, documents and answers of each program. `test_programs.py` drives the installed programs; these
tests need none."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, git

from gitcoord import Coord, RepositoryError
from gitcoord.agents import HARNESSES, MOMENTS, Answer, Call, install, load, patched_paths, skill
from gitcoord.agents.settings import SETTINGS

Pair = tuple[Path, Path]
MINE = ["gemini", "copilot", "opencode", "cursor"]
PLUGIN_COMMAND = 'moment=%s find="${CLAUDE_PLUGIN_ROOT}/hooks/find"; test ! -f "$find" || . "$find"'
ROOT = Path(__file__).resolve().parents[2]


# settings

BEFORE = {
    "gemini": '{\n  // mine\n  "theme": "dark",\n  "hooks": {"BeforeTool": [{"hooks": [{"command": "mine"}]}]}\n}\n',
    "copilot": '{"version": 1, "hooks": {"Stop": [{"type": "command", "bash": "mine"}]}}',
    "cursor": '{"version":1,"hooks":{"stop":[{"command":"./mine.sh"}], "other": []}}\n',
}


@pytest.mark.parametrize("name", MINE)
def test_hooks_go_in_twice_and_out_without_a_trace(name: str, hermetic: Path) -> None:
    at = install.install(name, os.environ)
    path = Path(at.path)
    text = path.read_text()
    assert (at.runs, at.why, at.program) == (True, "", sys.executable)
    assert at.skill.endswith("/skills/git-coord/SKILL.md") and Path(at.skill).read_bytes() == skill.whole()
    assert install.install(name, os.environ) == at and path.read_text() == text
    assert install.uninstall(name, os.environ).moments == at.moments
    assert not path.exists() and install.status(name, os.environ).why == "not installed"
    assert [p for p in hermetic.rglob("*") if p.is_file()] == [hermetic / ".gitconfig"]
    assert set(at.moments) >= {"start", "edit", "edited", "tools", "stop", "end"} and set(at.moments) <= set(MOMENTS)


@pytest.mark.parametrize("name", list(BEFORE))
def test_what_was_in_the_settings_stays_and_comes_back_byte_for_byte(name: str, hermetic: Path) -> None:
    path = Path(SETTINGS[name].path(os.environ))
    path.parent.mkdir(parents=True)
    path.write_text(BEFORE[name])
    assert install.install(name, os.environ).runs
    assert "mine" in path.read_text() and "agent-hook" in path.read_text()
    install.uninstall(name, os.environ)
    assert path.read_text() == BEFORE[name]


def test_hooks_go_in_beside_a_strangers_skill_of_that_name(hermetic: Path) -> None:
    path = hermetic / ".gemini" / "skills" / "git-coord" / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    at = install.install("gemini", os.environ)
    assert (at.runs, at.skill) == (True, "")
    install.uninstall("gemini", os.environ)
    assert path.read_text() == "mine\n"


def test_a_plugin_of_opencode_that_is_not_ours_is_left_alone(hermetic: Path) -> None:
    path = Path(SETTINGS["opencode"].path(os.environ))
    path.parent.mkdir(parents=True)
    path.write_text("export const Mine = async () => ({})\n")
    with pytest.raises(RepositoryError, match="gitcoord did not write"):
        install.install("opencode", os.environ)
    install.uninstall("opencode", os.environ)
    assert path.read_text() == "export const Mine = async () => ({})\n"


# documents


@pytest.mark.parametrize("name", HARNESSES)
def test_nothing_in_a_document_makes_an_adapter_fail(name: str) -> None:
    harness = load(name)
    odd: list[dict[str, Any]] = [
        {},
        {"session_id": 3, "cwd": None, "tool_input": "x", "workspace_roots": [1]},
        {"tool_input": []},
    ]
    for moment in MOMENTS:
        for document in odd:
            call = harness.read(moment, document) if moment in _moments(name) else None
            assert call is None or (call.session_id, call.paths) == ("", ())


def _moments(name: str) -> list[str]:
    if name == "opencode":
        return list(MOMENTS)
    commands = json.dumps(SETTINGS[name].entries(lambda moment: f"<{moment}>"))
    return [moment for moment in MOMENTS if f"<{moment}>" in commands]


SAID = [
    ("gemini", "prompt", "BeforeAgent", Answer("news"), {"hookEventName": "BeforeAgent", "additionalContext": "news"}),
    ("gemini", "edit", "BeforeTool", Answer(deny="locked"), {"decision": "deny", "reason": "locked"}),
    ("gemini", "stop", "AfterAgent", Answer(go_on="mail"), {"decision": "deny", "reason": "mail"}),
    ("copilot", "start", "SessionStart", Answer("you are"), {"additionalContext": "you are"}),
    ("copilot", "tools", "PostToolUse", Answer("news"), {"additionalContext": "news"}),
    ("copilot", "look", "PreToolUse", Answer("mind"), {"hookEventName": "PreToolUse", "additionalContext": "mind"}),
    (
        "copilot", "edit", "PreToolUse", Answer(deny="locked"),
        {"hookEventName": "PreToolUse", "permissionDecision": "deny", "permissionDecisionReason": "locked"},
    ),
    ("copilot", "stop", "Stop", Answer(go_on="mail"), {"decision": "block", "reason": "mail"}),
    ("opencode", "edit", "edit", Answer("mind", "locked"), {"context": "mind", "deny": "locked"}),
    ("opencode", "stop", "stop", Answer(go_on="mail"), {"go_on": "mail"}),
    (
        "cursor", "start", "sessionStart", Answer("you are"),
        {"additional_context": "you are", "env": {"CURSOR_CONVERSATION_ID": "c"}},
    ),
    ("cursor", "edit", "preToolUse", Answer(deny="no"), {"permission": "deny", "user_message": "no", "agent_message": "no"}),
    ("cursor", "stop", "stop", Answer(go_on="mail"), {"followup_message": "mail"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "moment", "event", "answer", "document"), SAID)
def test_an_answer_is_what_the_program_takes_and_no_more(
    name: str, moment: str, event: str, answer: Answer, document: dict[str, Any]
) -> None:
    output = load(name).say(Call(name, moment, "c", "/", event), answer)
    said = json.loads(output.stdout)
    assert said.get("hookSpecificOutput", said) == document and len(said) == (
        1 if "hookSpecificOutput" in said else len(document)
    )
    assert (output.stderr, output.code) == ("", 0)


def test_a_patch_names_its_files() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-x\n+y\n*** Move to: b.py\n*** Add File: a.py\n+z\n*** End Patch\n"
    assert patched_paths(patch) == patched_paths({"input": patch}) == ("a.py", "b.py")
    assert patched_paths({"path": "a.py"}) == patched_paths(None) == ()


# whole hooks


class Conversation:
    """A conversation in `where` without its program: another process that runs the hooks as the program would."""

    def __init__(self, name: str, where: Path, cli: Cli, environ: dict[str, str], cwd: Path | None = None) -> None:
        self.environ = {**os.environ, **environ}
        assert cli(where, "hooks", "install", name).code == 0
        document = json.loads(Path(SETTINGS[name].path(os.environ)).read_text())
        found = [c for entries in document["hooks"].values() for e in entries for c in (e.get("hooks", [e])[0]["command"],)]
        self.commands = {command.partition("moment=")[2].partition(";")[0]: command for command in found}
        pipe = subprocess.PIPE
        program = [sys.executable, str(Path(__file__).parents[1] / "agent_program.py")]
        self.program = subprocess.Popen(program, cwd=cwd or where, stdin=pipe, stdout=pipe, text=True)

    def __call__(self, moment: str, **document: Any) -> Any:
        """The answer to the program at a moment; None for none."""
        assert self.program.stdin and self.program.stdout
        order = {"command": self.commands[moment], "document": json.dumps(document), "env": self.environ}
        self.program.stdin.write(json.dumps(order) + "\n")
        self.program.stdin.flush()
        code, out, err = json.loads(self.program.stdout.readline())
        assert (code, err) == (0, "")
        return json.loads(out) if out else None

    def close(self) -> None:
        assert self.program.stdin and self.program.stdout
        self.program.stdin.close()
        self.program.wait(10)
        self.program.stdout.close()


Converse = Callable[..., Conversation]


@pytest.fixture
def converse() -> Iterator[Converse]:
    """Starts conversations, and ends them with the test."""
    with ExitStack() as stack:

        def start(*args: Any) -> Conversation:
            found = Conversation(*args)
            stack.callback(found.close)
            return found

        yield start


@pytest.fixture
def cursor(worktrees: Pair, cli: Cli, hermetic: Path, converse: Converse) -> Conversation:
    """Cursor in alpha: its hooks run in its own folder, and are told the workspace."""
    (hermetic / ".cursor").mkdir()
    assert cli(worktrees[0], "init").code == 0
    environ = {"CURSOR_PROJECT_DIR": str(worktrees[0]), "CURSOR_VERSION": "2.4"}
    return converse("cursor", worktrees[0], cli, environ, hermetic / ".cursor")


def test_cursor_from_the_first_word_to_the_last(cursor: Conversation, worktrees: Pair, cli: Cli) -> None:
    alpha, beta = worktrees
    base = {"conversation_id": "c-1", "generation_id": "g", "cursor_version": "2.4", "workspace_roots": [str(alpha)]}
    edit = {**base, "tool_name": "Write", "tool_input": {"file_path": str(alpha / "readme.txt"), "content": "x"}}
    assert cli(beta, "send", "alpha", "hello there").code == 0

    begun = cursor("start", **base, hook_event_name="sessionStart", session_id="c-1")
    assert "You are alpha, on branch alpha" in begun["additional_context"]
    assert "  > hello there" in begun["additional_context"]
    assert begun["env"] == {"CURSOR_CONVERSATION_ID": "c-1"}
    assert re.fullmatch(
        r"alpha of the clone \S+, by the rule: the agent program's session id\n", cli(alpha, "whoami", env=begun["env"]).out
    )

    assert cursor("tools", **base, hook_event_name="postToolUse") is None
    assert cursor("edit", **edit, hook_event_name="preToolUse") is None
    (alpha / "readme.txt").write_text("x\n")
    assert cursor("edited", **base, hook_event_name="afterFileEdit", file_path=str(alpha / "readme.txt"), edits=[]) is None
    with Coord.open(beta) as coord:
        assert [f.path for f in coord.sessions.get("alpha").files] == ["readme.txt"]

    (beta / "readme.txt").write_text("y\n")
    assert cli(beta, "editing", "readme.txt").code == 0
    assert cli(beta, "send", "alpha", "mind the readme").code == 0
    told = cursor("look", **edit, hook_event_name="postToolUse")

    assert "beta changed readme.txt just now, uncommitted" in told["additional_context"]
    assert "  > mind the readme" in cursor("tools", **base, hook_event_name="postToolUse")["additional_context"]
    assert cursor("tools", **base, hook_event_name="postToolUse") is None

    git(alpha, "config", "coord.guard", "block")
    assert cli(beta, "lock", "readme.txt").code == 0
    refused = cursor("edit", **edit, hook_event_name="preToolUse")
    assert refused["permission"] == "deny" and "readme.txt is locked by beta" in refused["agent_message"]

    assert cursor("stop", **base, hook_event_name="stop", status="completed", loop_count=0) is None
    assert cli(beta, "send", "alpha", "stop at once", "--urgent").code == 0
    held = cursor("stop", **base, hook_event_name="stop", status="completed", loop_count=0)
    assert "  > stop at once" in held["followup_message"]
    assert cursor("stop", **base, hook_event_name="stop", status="completed", loop_count=1) is None
    assert cursor("end", **base, hook_event_name="sessionEnd", reason="completed") is None
    with Coord.open(beta) as coord:
        assert coord.sessions.get("alpha").state == "gone"


def test_the_brief_comes_back_after_a_compaction_that_is_only_announced(cursor: Conversation, worktrees: Pair) -> None:
    base = {"conversation_id": "c-1", "workspace_roots": [str(worktrees[0])]}
    assert cursor("start", **base)
    assert cursor("tools", **base) is None
    assert cursor("forget", **base, hook_event_name="preCompact", trigger="auto") is None
    assert "You are alpha, on branch alpha" in cursor("tools", **base)["additional_context"]
    assert cursor("tools", **base) is None
    assert cursor("forget", **base) is None
    assert "You are alpha" in cursor("start", **base)["additional_context"]
    assert cursor("tools", **base) is None


def test_claudes_hooks_are_silent_inside_of_cursor_and_copilot(worktrees: Pair, cli: Cli, converse: Converse) -> None:
    """Both read Claude's settings, too."""
    for environ in ({"CURSOR_VERSION": "2.4"}, {"COPILOT_CLI": "1"}):
        claude = converse("claude", worktrees[0], cli, environ)
        assert claude("start", session_id="s-1", cwd=str(worktrees[0]), hook_event_name="SessionStart") is None
    assert converse("claude", worktrees[0], cli, {})("start", session_id="s-1", cwd=str(worktrees[0]))


# the plugin


def plugin(moment: str, where: Path, path: str, **document: Any) -> str:
    """The output of the plugin's hook of a moment, with `path` as PATH."""
    find = ROOT / "plugin" / "hooks" / "find"
    environ = {**os.environ, "PATH": path, "CLAUDE_PLUGIN_ROOT": str(find.parents[1])}
    shell = subprocess.run(
        ["/bin/sh", "-c", PLUGIN_COMMAND % moment],
        cwd=where,
        env=environ,
        input=json.dumps(document),
        capture_output=True,
        text=True,
    )
    assert (shell.returncode, shell.stderr) == (0, "")
    return shell.stdout


def test_the_plugin_finds_gitcoord_on_the_path_or_is_silent(worktrees: Pair, tmp_path: Path) -> None:
    document = {"session_id": "s-1", "cwd": str(worktrees[0]), "hook_event_name": "SessionStart", "source": "startup"}
    assert plugin("start", worktrees[0], "/usr/bin:/bin", **document) == ""
    folder = tmp_path / "with space"
    folder.mkdir()
    program = folder / "git-coord"
    for first in (f"#!{sys.executable}\n", f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"):
        program.write_text(first)
        program.chmod(0o755)
        path = os.pathsep.join(["/usr/bin", str(folder), "/bin"])
        assert "You are alpha, on branch alpha" in plugin("start", worktrees[0], path, **document)
    program.write_text("#!/usr/bin/perl\n")
    assert plugin("start", worktrees[0], path, **document) == ""


def test_the_plugin_leaves_it_to_the_settings_hooks_where_there_are_any(worktrees: Pair, cli: Cli) -> None:
    document = {"session_id": "s-1", "cwd": str(worktrees[0]), "hook_event_name": "SessionStart", "source": "startup"}
    assert cli(worktrees[0], "hooks", "install", "claude").code == 0
    assert plugin("start", worktrees[0], os.environ["PATH"], **document) == ""
    assert cli(worktrees[0], "hooks", "uninstall", "claude").code == 0
    assert "You are alpha" in plugin("start", worktrees[0], os.environ["PATH"], **document)
