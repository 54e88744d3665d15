"""Where each agent program keeps its hooks, and what they look like there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

CommandOf = Callable[[str], str]
"""What the hook of a moment runs."""
Entries = list[tuple[str, dict[str, Any]]]
"""The program's own event, and an entry in its list of hooks."""
Environ = Mapping[str, str]

EDITS = "Edit|Write|MultiEdit|NotebookEdit"


class Settings(NamedTuple):
    """One program's settings file: a JSON document with `hooks`, in which every event has a list of entries."""

    name: str
    title: str
    program: str
    """What it is called as a command."""
    home: Callable[[Environ], str]
    """Its directory."""
    path: Callable[[Environ], str]
    entries: Callable[[CommandOf], Entries]
    empty: str = "{}\n"
    """The document to begin with where there is none."""
    why_not: Callable[[str, Environ], str] | None = None
    """What keeps installed hooks from running that only this program knows; empty if nothing does."""


def _home(environ: Environ) -> str:
    return environ.get("HOME") or os.path.expanduser("~")


def _claude_home(environ: Environ) -> str:
    return environ.get("CLAUDE_CONFIG_DIR") or os.path.join(_home(environ), ".claude")


def _claude(command: CommandOf) -> Entries:
    def entry(moment: str, matcher: str = "", **options: Any) -> dict[str, Any]:
        hook = {"type": "command", "command": command(moment), "timeout": 10, **options}
        return {**({"matcher": matcher} if matcher else {}), "hooks": [hook]}

    sleeper: dict[str, Any] = {"asyncRewake": True, "timeout": 86400}
    return [
        ("SessionStart", entry("start", timeout=30)),
        ("SessionStart", entry("wake", **sleeper)),
        ("UserPromptSubmit", entry("prompt")),
        ("PreToolUse", entry("look", "Read")),
        ("PreToolUse", entry("edit", EDITS)),
        ("PreToolUse", entry("waiting", "AskUserQuestion|ExitPlanMode")),
        ("PostToolUse", entry("edited", EDITS)),
        ("PostToolBatch", entry("tools")),
        ("Notification", entry("waiting", "permission_prompt|elicitation_dialog|agent_needs_input")),
        ("Stop", entry("stop", timeout=30)),
        ("Stop", entry("wake", **sleeper)),
        ("SessionEnd", entry("end")),
    ]


def _codex_home(environ: Environ) -> str:
    return environ.get("CODEX_HOME") or os.path.join(_home(environ), ".codex")


def _codex(command: CommandOf) -> Entries:
    """The user's shell runs them, which may be none that reads sh."""

    def entry(moment: str, matcher: str = "", timeout: int = 10) -> dict[str, Any]:
        hook = {"type": "command", "command": f"sh -c {shlex.quote(command(moment))}", "timeout": timeout}
        return {**({"matcher": matcher} if matcher else {}), "hooks": [hook]}

    return [
        ("SessionStart", entry("start", timeout=30)),
        ("UserPromptSubmit", entry("prompt")),
        ("PreToolUse", entry("edit", "apply_patch|Edit|Write")),
        ("PostToolUse", entry("edited", "apply_patch|Edit|Write")),
        ("PostToolUse", entry("tools")),
        ("PermissionRequest", entry("waiting")),
        ("Stop", entry("stop", timeout=30)),
        ("SessionEnd", entry("end", timeout=3)),
    ]


def _codex_trust(path: str, environ: Environ) -> str:
    from gitcoord.agents.codex_trust import why_not

    return why_not(path, _codex_home(environ), environ)


SETTINGS = {
    "claude": Settings(
        "claude", "Claude Code", "claude", _claude_home, lambda e: os.path.join(_claude_home(e), "settings.json"), _claude
    ),
    "codex": Settings(
        "codex",
        "Codex",
        "codex",
        _codex_home,
        lambda e: os.path.join(_codex_home(e), "hooks.json"),
        _codex,
        why_not=_codex_trust,
    ),
}
