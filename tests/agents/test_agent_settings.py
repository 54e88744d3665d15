"""Our hooks in the settings of agent programs: beside what is there, found again, and taken out byte for byte."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from hypothesis import given
from hypothesis import strategies as st

from gitcoord.agents import HARNESSES, jsonedit
from gitcoord.agents.install import MARK, found_here, install, status, uninstall
from gitcoord.agents.settings import SETTINGS
from gitcoord.errors import RepositoryError

BEFORE = [
    "{}",
    "{}\n",
    "{\n}\n",
    "{ }",
    '{"a":1}',
    '{\n  "model": "x"\n}\n',
    '{\n\t"hooks": {},\n\t"b": [1, 2]\n}\n',
    '{\n    "hooks": {\n        "Stop": []\n    }\n}',
    '{\n  "hooks": {\n    "Stop": [\n      {"hooks": [{"type": "command", "command": "mine"}]}\n    ]\n  },\n  "z": null\n}\n',
    '// a comment\n{\n  "hooks": { // another\n    "PreToolUse": [], // and more\n  },\n}\n',
    '{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"mine"}]}]},"ü":"é"}',
]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".claude").mkdir()
    (tmp_path / ".codex").mkdir()
    return {"HOME": str(tmp_path), "PATH": ""}


def document(name: str, environ: dict[str, str]) -> Any:
    return jsonedit.load(Path(SETTINGS[name].path(environ)).read_text())


@pytest.mark.parametrize("before", BEFORE)
def test_installed_beside_what_is_there_and_taken_out_byte_for_byte(before: str, environ: dict[str, str]) -> None:
    path = Path(SETTINGS["claude"].path(environ))
    path.write_text(before)
    known = jsonedit.load(before)
    assert install("claude", environ).runs
    installed = path.read_text()
    after = document("claude", environ)
    assert {key: value for key, value in after.items() if key != "hooks"} == {k: v for k, v in known.items() if k != "hooks"}
    for event, entries in known.get("hooks", {}).items():
        assert after["hooks"][event][: len(entries)] == entries
    install("claude", environ)
    assert path.read_text() == installed
    assert uninstall("claude", environ).moments
    assert path.read_bytes() == before.encode()


@pytest.mark.parametrize("name", HARNESSES)
def test_a_file_that_was_not_there_is_gone_again(name: str, environ: dict[str, str]) -> None:
    path = Path(SETTINGS[name].path(environ))
    install(name, environ)
    assert path.exists()
    uninstall(name, environ)
    assert not path.exists()
    assert not uninstall(name, environ).moments


def test_what_others_add_meanwhile_stays(environ: dict[str, str]) -> None:
    path = Path(SETTINGS["claude"].path(environ))
    install("claude", environ)
    found = document("claude", environ)
    found["hooks"]["Stop"][0]["hooks"].append({"type": "command", "command": "theirs, in our group"})
    found["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "theirs"}]})
    path.write_text(json.dumps(found))
    uninstall("claude", environ)
    groups = [[hook["command"] for hook in group["hooks"]] for group in document("claude", environ)["hooks"]["Stop"]]
    assert groups == [["theirs, in our group"], ["theirs"]]


def test_an_older_installation_is_brought_up_to_date(environ: dict[str, str]) -> None:
    path = Path(SETTINGS["claude"].path(environ))
    install("claude", environ)
    fresh = path.read_text()
    path.write_text(fresh.replace(sys.executable, "/gone/python"))
    assert status("claude", environ).why == "the gitcoord that installed it is gone"
    path.write_text(fresh.replace('"timeout": 30', '"timeout": 31').replace("moment=tools", "moment=prompt"))
    assert status("claude", environ).why == "it differs from what this gitcoord installs"
    install("claude", environ)
    assert status("claude", environ).runs
    assert len(MARK.findall(path.read_text())) == len(MARK.findall(fresh))


def test_a_link_stays_a_link_and_modes_stay(environ: dict[str, str], tmp_path: Path) -> None:
    path, real = Path(SETTINGS["claude"].path(environ)), tmp_path / "dotfiles.json"
    real.write_text("{}\n")
    real.chmod(0o640)
    path.symlink_to(real)
    install("claude", environ)
    assert path.is_symlink() and "agent-hook" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    uninstall("claude", environ)
    assert path.is_symlink() and real.read_text() == "{}\n"


def test_what_is_no_file_is_left_alone(environ: dict[str, str], tmp_path: Path) -> None:
    """A link to /dev/null, say: replacing that by a file would break the machine."""
    os.mkfifo(tmp_path / "device")
    Path(SETTINGS["claude"].path(environ)).symlink_to(tmp_path / "device")
    with pytest.raises(RepositoryError, match="not a regular file"):
        install("claude", environ)
    assert stat.S_ISFIFO((tmp_path / "device").stat().st_mode)


@pytest.mark.parametrize("bad", ["{", "nonsense", '{"hooks": []}', '{"hooks": {"Stop": {}}}', "[]"])
def test_what_is_not_understood_is_left_alone(bad: str, environ: dict[str, str]) -> None:
    path = Path(SETTINGS["claude"].path(environ))
    path.write_text(bad)
    with pytest.raises(RepositoryError):
        install("claude", environ)
    assert path.read_text() == bad


def test_the_commands(repo: Path, hermetic: Path, cli: Cli) -> None:
    path = hermetic / ".claude" / "settings.json"
    ran = cli(repo, "init", "--no-hooks", "--agents", "claude")
    assert ran.code == 0 and f"Claude Code: hooks installed in {path}, they run " in ran.out
    stays = "Hooks of agent programs stay, as all your repositories use them: git coord hooks uninstall claude\n"
    assert cli(repo, "hooks", "uninstall").out == f"No hooks were installed.\n{stays}"
    assert cli(repo, "hooks", "uninstall", "claude").out == f"Claude Code: removed from {path}.\n"
    assert cli(repo, "hooks", "uninstall").out == "No hooks were installed.\n"
    assert cli(repo, "hooks", "uninstall", "claude").out == "Claude Code: no hooks were installed.\n"
    assert not path.exists()
    (hermetic / ".claude").mkdir(exist_ok=True)
    assert "No hooks for " in cli(repo, "init").out
    assert cli(repo, "init", "--no-agents").out.count("Claude") == 0
    ran = cli(repo, "hooks", "install", "emacs")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: 'emacs' is not an agent program that gitcoord knows\nhint: one of claude, codex")


def test_what_is_found_here(environ: dict[str, str], tmp_path: Path) -> None:
    assert found_here(environ)[:2] == ["claude", "codex"]
    assert found_here({"HOME": str(tmp_path / "empty"), "PATH": ""}) == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4), st.sampled_from([None, 1, 2, 4, "\t"]), values)
def test_insert_and_remove_are_each_others_inverse(known: dict[str, Any], indent: Any, new: Any) -> None:
    text = json.dumps(known, indent=indent)
    fresh = jsonedit.insert(text, jsonedit.parse(text), "a key of ours", new)
    assert jsonedit.load(fresh) == {**known, "a key of ours": new}
    assert jsonedit.remove(fresh, jsonedit.parse(fresh), len(known)) == text


@pytest.mark.parametrize(
    "before",
    [*BEFORE, '{"permissions": {"allow": ["Bash(ls)"]}}\n', '{"permissions": {"deny": []}, "statusLine": {"type": "command"}}'],
)
def test_the_rule_and_the_status_line_go_in_and_out_byte_for_byte(before: str, environ: dict[str, str]) -> None:
    path = Path(SETTINGS["claude"].path(environ))
    path.write_text(before)
    known = jsonedit.load(before)
    assert install("claude", environ, ["allow", "status"]).runs
    found = document("claude", environ)
    assert found["permissions"]["allow"] == [*known.get("permissions", {}).get("allow", []), "Bash(git coord:*)"]
    assert found["statusLine"] == known.get("statusLine", found["statusLine"])
    once = path.read_text()
    assert install("claude", environ).runs and path.read_text() == once  # kept, and added once
    uninstall("claude", environ)
    assert path.read_text() == before


def test_slash_commands_go_in_and_out_and_the_users_own_stay(environ: dict[str, str]) -> None:
    commands = Path(environ["HOME"]) / ".claude" / "commands"
    install("claude", environ)
    assert sorted(path.name for path in commands.iterdir()) == ["inbox.md", "message.md", "note.md", "sessions.md"]
    uninstall("claude", environ)
    assert not commands.exists()
    commands.mkdir(parents=True)
    (commands / "note.md").write_text("mine")
    install("claude", environ)
    uninstall("claude", environ)
    assert [(path.name, path.read_text()) for path in commands.iterdir()] == [("note.md", "mine")]


def test_a_rule_of_the_users_own_stays(environ: dict[str, str]) -> None:
    path = Path(SETTINGS["claude"].path(environ))
    path.write_text(before := '{"permissions": {"allow": ["Bash(git coord:*)"]}}')
    install("claude", environ, ["allow"])
    uninstall("claude", environ)
    assert path.read_text() == before
