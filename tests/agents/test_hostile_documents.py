"""Absurd settings files and hook documents: they give an error that says so, or nothing, and never run a command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord
from gitcoord.agents import HARNESSES, MOMENTS, jsonedit, load
from gitcoord.agents.install import FOLDER, _ours, _with, _without
from gitcoord.agents.settings import SETTINGS
from gitcoord.errors import RepositoryError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("hooks"), inner, max_size=3),
    max_leaves=12,
)
TEXTS = st.text(alphabet='{}[]",:/*\\ \n\t"ab1#', max_size=40) | JSON.map(json.dumps) | st.text(max_size=30)
BROKEN = [
    "[" * 100_000, '{"hooks":' * 50_000, '{"a":' + "9" * 5000 + "}", '"\\ud800"', "\ufeff{}", "/*", "//",
    '{"hooks": {"Stop": [',
    '{"hooks": {"Stop": {}}}', '{"hooks": []}', '{"hooks": {"Stop": [{"hooks": [{"command": "# gitcoord +event"}]}]}}', "{}x",
]  # fmt: skip
BY_JSON = [name for name in HARNESSES if SETTINGS[name].script is None]


def worked_on(name: str, text: str) -> None:
    """Install and uninstall in memory, and look at what is there. Raises RepositoryError for no settings."""
    found = SETTINGS[name]
    after = _with(found, text, "settings.json")
    assert _ours(after, "settings.json")
    before = _without(found, after, "settings.json") or ""
    assert not _ours(before, "settings.json")


@given(TEXTS, st.sampled_from(BY_JSON))
@examples(250)
def test_any_settings_are_changed_or_refused(text: str, name: str) -> None:
    try:
        worked_on(name, text)
    except RepositoryError as error:
        assert "settings.json" in error.what and error.hint


@pytest.mark.parametrize("text", BROKEN)
def test_what_went_wrong_with_settings_once(text: str) -> None:
    for name in BY_JSON:
        began = time.process_time()
        try:
            worked_on(name, text)
        except RepositoryError as error:
            assert len(error.what) < 500
        assert time.process_time() - began < 10


@given(JSON)
@examples(200)
def test_what_is_found_in_a_document_is_what_it_says(value: Any) -> None:
    assert jsonedit.load(json.dumps(value)) == json.loads(json.dumps(value))


# documents of hooks, as Python reads them


@given(st.dictionaries(st.sampled_from(
    ["session_id", "conversation_id", "cwd", "tool_input", "source", "hook_event_name", "file_path", "stop_hook_active",
     "tool_name", "toolArgs", "agent_id", "sessionId", "workspace_roots", "edits"]), JSON))  # fmt: skip
@example({"tool_input": {"file_path": ["x"]}})
@example({"tool_input": "*** Begin Patch\n*** Update File: \x00\n"})
@example({"toolArgs": "[" * 10})
@examples(150)
def test_any_document_is_a_call_or_nothing(document: dict[str, Any]) -> None:
    for name in HARNESSES:
        harness = load(name)
        for moment in MOMENTS:
            try:
                call = harness.read(moment, document)
            except (KeyError, TypeError, ValueError):
                continue
            assert all(isinstance(path, str) for path in call.paths) and isinstance(call.session_id, str)


# documents of hooks, as the shell reads them

STUB = "#!/bin/sh\nexit 0\n"
WORDS = st.sampled_from([
    "a", "b", "/", "..", "$(touch PWN)", "`touch PWN`", "'", '\\"', "\\n", "\n", ";touch PWN;", "&", "|", "*", "?", "[", "%s",
    "$IFS", "${x:=PWN}", "\x1b[31m", "\u202e", " ", "-rf", "*** Update File: ", "*** Begin Patch", '"', "}", "{", "\\",
])  # fmt: skip
SAID = st.lists(WORDS, max_size=8).map("".join)


@pytest.fixture
def hooked(repo: Path, tmp_path: Path) -> Path:
    """A repository with a conversation `c1`, and files that a hook asks about."""
    with Coord.open(repo, as_name="w") as coord:
        coord.sessions.join()
    coord_dir = repo / ".git" / "coord"
    for name in ("agents", "touched", "mail", "beats"):
        (coord_dir / name).mkdir(exist_ok=True)
    (coord_dir / "agents" / "c1").write_text("w\n")
    (coord_dir / "touched" / "other").write_text("readme.txt\n")
    stub = tmp_path / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    return repo


@given(data=st.data())
@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_document_makes_the_script_do_anything(hooked: Path, tmp_path: Path, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(["file_path", "notebook_path", "path", "command", "patch"]))
    head = data.draw(st.sampled_from(['{"session_id":"c1","tool_input":{', '{"session_id":"', '{"conversation_id":"c1",', ""]))
    document = f'{head}"{key}":"{data.draw(SAID)}"}}}}'
    harness = data.draw(st.sampled_from(HARNESSES))
    moment = data.draw(st.sampled_from(["prompt", "look", "edit", "edited", "tools", "stop"]))
    run_script(hooked, tmp_path, harness, moment, document)


@pytest.mark.parametrize("moment", ["edit", "edited", "look"])
@pytest.mark.parametrize("document", [
    '{"session_id":"c1","tool_input":{"file_path":"$(touch PWN)"}}',
    '{"session_id":"c1","tool_input":{"file_path":"`touch PWN`;touch PWN"}}',
    '{"session_id":"../../../PWN","tool_input":{"file_path":"x"}}',
    '{"session_id":"c1","tool_input":{"file_path":"' + "a/" * 3000 + '"}}',
    '{"session_id":"c1","tool_input":{"command":"*** Begin Patch\\n*** Update File: $(touch PWN)\\n*** End Patch"}}',
    '{"session_id":"c1","tool_input":{"file_path":"-rf"}}',
])  # fmt: skip
def test_what_went_wrong_with_documents_once(hooked: Path, tmp_path: Path, moment: str, document: str) -> None:
    run_script(hooked, tmp_path, "claude", moment, document)


def run_script(where: Path, tmp_path: Path, harness: str, moment: str, document: str) -> None:
    """The hook's script, with a Python that does nothing: silent, quick, and outside of `coord/` nothing changes."""
    environ = {**os.environ, "python": str(tmp_path / "python"), "CLAUDE_CODE_SESSION_ID": "c1"}
    before = listing(where)
    began = time.monotonic()
    done = subprocess.run(
        ["sh", f"{FOLDER}/agent-hook", harness, moment], cwd=where, input=document.encode("utf-8", "replace"),
        capture_output=True, env=environ, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), (harness, moment, document)
    assert time.monotonic() - began < 30
    assert listing(where) == before, (harness, moment, document)
    assert not list(where.parent.rglob("PWN"))


def listing(where: Path) -> list[str]:
    """All files but ours, whose names are of known kinds."""
    ours = where / ".git" / "coord"
    assert all(re.fullmatch(r"[@\w.-]+", path.name) for path in ours.rglob("*"))
    return sorted(str(path) for path in where.parent.rglob("*") if ours not in path.parents)


TOOLS = ("dd", "sleep", "git", "grep", "sh")


@pytest.mark.parametrize("moment", ["tools", "edit"])
@pytest.mark.parametrize("with_timeout", [True, False], ids=["timeout(1)", "none"])
def test_a_program_that_says_nothing_and_keeps_the_input_open_is_not_waited_for(
    hooked: Path, tmp_path: Path, moment: str, with_timeout: bool
) -> None:
    path = tmp_path / "few"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(str(shutil.which(tool)))
    env = {**os.environ, "PATH": os.environ["PATH"] if with_timeout else str(path), "python": sys.executable}
    program = subprocess.Popen(
        ["sh", str(Path(FOLDER) / "agent-hook"), "codex", moment],
        cwd=hooked,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert program.wait(60) == 0
        assert program.stdout and program.stdout.read() == b""
    finally:
        program.kill()
        program.wait()


@pytest.mark.parametrize("with_timeout", [True, False], ids=["timeout(1)", "none"])
def test_the_document_is_read_without_timeout_too(hooked: Path, tmp_path: Path, with_timeout: bool) -> None:
    """The path at an edit comes through: it stands in the list of what the session has touched."""
    path = tmp_path / "few"
    path.mkdir()
    for tool in TOOLS:
        (path / tool).symlink_to(str(shutil.which(tool)))
    script = (Path(FOLDER) / "agent-hook").read_text().partition("start_python() {")[0] + 'read_head; printf %s "$head"'
    env = {**os.environ, "PATH": os.environ["PATH"] if with_timeout else str(path), "python": sys.executable}
    ran = subprocess.run(
        ["sh", "-c", script, "sh", "codex", "edit"], cwd=hooked, env=env, input=b'{"session_id": "a"}\n', capture_output=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b'{"session_id": "a"}', b"")
