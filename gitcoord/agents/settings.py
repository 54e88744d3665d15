"""The place and the form of hooks in each agent program's settings."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping

from gitcoord.agents import slash
from gitcoord.lean import Any, NamedTuple

CommandOf = Callable[[str], str]
"""The command of a hook, by moment."""
Entries = list[tuple[str, dict[str, Any]]]
"""The program's own event, and an entry in its list of hooks."""
Environ = Mapping[str, str]

SCRIPT_MARK = "// gitcoord: "

EDITS = "Edit|Write|MultiEdit|NotebookEdit"
SHELLS = "Bash|PowerShell"
CURSOR_EDITS = "Write|Edit|StrReplace|Delete"


class Settings(NamedTuple):
    """One program's settings file: a JSON document with `hooks`, in which every event has a list of entries."""

    name: str
    title: str
    program: str
    """The program's command."""
    home: Callable[[Environ], str]
    """The program's directory."""
    path: Callable[[Environ], str]
    entries: Callable[[CommandOf], Entries]
    empty: str = "{}\n"
    """The document to begin with if the file does not exist."""
    why_not: Callable[[str, Environ], str] | None = None
    """The reason why installed hooks do not run, if only the program knows; otherwise empty."""
    script: Callable[[str, str], str] | None = None
    """The text of the file, if its hooks are code, for a Python and a folder of hooks. It begins with SCRIPT_MARK."""


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
        ("PreToolUse", entry("shell", SHELLS)),
        ("PostToolUse", entry("ran", SHELLS)),
        ("PostToolUseFailure", entry("ran", SHELLS)),
        ("PostToolBatch", entry("tools")),
        ("Notification", entry("waiting", "permission_prompt|elicitation_dialog|agent_needs_input")),
        ("Stop", entry("stop", timeout=30)),
        ("Stop", entry("wake", **sleeper)),
        ("StopFailure", entry("failed")),
        ("UserPromptExpansion", entry("command", slash.MATCHER)),
        ("SessionEnd", entry("end")),
    ]


def _codex_home(environ: Environ) -> str:
    return environ.get("CODEX_HOME") or os.path.join(_home(environ), ".codex")


def _codex(command: CommandOf) -> Entries:
    """Wrap the command, because the user's shell runs it and may not read sh."""

    def entry(moment: str, matcher: str = "", timeout: int = 10) -> dict[str, Any]:
        hook = {"type": "command", "command": f"sh -c {shlex.quote(command(moment))}", "timeout": timeout}
        return {**({"matcher": matcher} if matcher else {}), "hooks": [hook]}

    return [
        ("SessionStart", entry("start", timeout=30)),
        ("UserPromptSubmit", entry("prompt")),
        ("PreToolUse", entry("edit", "apply_patch|Edit|Write")),
        ("PostToolUse", entry("edited", "apply_patch|Edit|Write")),
        ("PreToolUse", entry("shell", "Bash")),
        ("PostToolUse", entry("ran", "Bash")),
        ("PostToolUse", entry("tools")),
        ("PermissionRequest", entry("waiting")),
        ("Stop", entry("stop", timeout=30)),
        ("UserPromptSubmit", entry("wake")),
        ("Interrupt", entry("interrupted", timeout=3)),
        ("SessionEnd", entry("end", timeout=3)),
    ]


def _codex_trust(path: str, environ: Environ) -> str:
    from gitcoord.agents.codex_trust import why_not

    return why_not(path, _codex_home(environ), environ)


def _gemini_home(environ: Environ) -> str:
    return os.path.join(environ.get("GEMINI_CLI_HOME") or _home(environ), ".gemini")


def _gemini(command: CommandOf) -> Entries:
    """Gemini's entry; its timeouts are milliseconds."""

    def entry(moment: str, matcher: str = "", seconds: int = 10) -> dict[str, Any]:
        hook = {"type": "command", "name": f"gitcoord-{moment}", "command": command(moment), "timeout": seconds * 1000}
        return {**({"matcher": matcher} if matcher else {}), "hooks": [hook]}

    return [
        ("SessionStart", entry("start", seconds=30)),
        ("BeforeAgent", entry("prompt")),
        ("BeforeTool", entry("edit", "^(write_file|replace)$")),
        ("AfterTool", entry("look", "^(read_file|write_file|replace)$")),
        ("AfterTool", entry("edited", "^(write_file|replace)$")),
        ("BeforeTool", entry("shell", "^run_shell_command$")),
        ("AfterTool", entry("ran", "^run_shell_command$")),
        ("AfterTool", entry("tools")),
        ("Notification", entry("waiting")),
        ("PreCompress", entry("forget", "manual")),  # it says `auto` before every step, even without compressing
        ("AfterAgent", entry("stop", seconds=30)),
        ("SessionEnd", entry("end")),
    ]


def _copilot_home(environ: Environ) -> str:
    return environ.get("COPILOT_HOME") or os.path.join(_home(environ), ".copilot")


def _copilot(command: CommandOf) -> Entries:
    """Copilot's entry; a matcher before a tool uses Claude's names of tools, after it its own."""

    def entry(moment: str, matcher: str = "", seconds: int = 10) -> dict[str, Any]:
        hook = {"type": "command", "bash": command(moment), "timeoutSec": seconds}
        return {**({"matcher": matcher} if matcher else {}), **hook}

    return [
        ("SessionStart", entry("start", seconds=30)),
        ("UserPromptSubmit", entry("prompt")),
        ("PreToolUse", entry("look", "Read")),
        ("PreToolUse", entry("edit", "Edit|Write")),
        ("PreToolUse", entry("waiting", "AskUserQuestion")),
        ("PostToolUse", entry("edited", "edit|create|str_replace_editor|apply_patch")),
        ("PreToolUse", entry("shell", "Bash")),
        ("PostToolUse", entry("ran", "bash")),
        ("PostToolUse", entry("tools")),
        ("Notification", entry("waiting", "permission_prompt|elicitation_dialog")),
        ("PreCompact", entry("forget")),
        ("Stop", entry("stop", seconds=30)),
        ("SessionEnd", entry("end")),
    ]


def _opencode_home(environ: Environ) -> str:
    config = environ.get("XDG_CONFIG_HOME") or os.path.join(_home(environ), ".config")
    return environ.get("OPENCODE_CONFIG_DIR") or os.path.join(config, "opencode")


def _opencode_plugin(python: str, folder: str) -> str:
    from gitcoord.agents.programs.opencode import plugin

    return plugin(python, folder)


def _cursor_home(environ: Environ) -> str:
    return os.path.join(_home(environ), ".cursor")


def _cursor(command: CommandOf) -> Entries:
    def entry(moment: str, matcher: str = "", seconds: int = 10, **options: Any) -> dict[str, Any]:
        hook = {"command": command(moment), "timeout": seconds, **options}
        return {**({"matcher": matcher} if matcher else {}), **hook}

    return [
        ("sessionStart", entry("start", seconds=30)),
        ("preToolUse", entry("edit", CURSOR_EDITS)),
        ("postToolUse", entry("look", f"Read|{CURSOR_EDITS}")),
        ("postToolUse", entry("tools")),
        ("afterFileEdit", entry("edited")),
        ("beforeShellExecution", entry("shell")),
        ("afterShellExecution", entry("ran")),
        ("preCompact", entry("forget")),
        ("stop", entry("stop", seconds=30, loop_limit=5)),
        ("sessionEnd", entry("end")),
    ]


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
    "gemini": Settings(
        "gemini", "Gemini CLI", "gemini", _gemini_home, lambda e: os.path.join(_gemini_home(e), "settings.json"), _gemini
    ),
    "copilot": Settings(
        "copilot",
        "GitHub Copilot CLI",
        "copilot",
        _copilot_home,
        lambda e: os.path.join(_copilot_home(e), "hooks", "gitcoord.json"),
        _copilot,
        '{"version": 1}\n',
    ),
    "opencode": Settings(
        "opencode",
        "opencode",
        "opencode",
        _opencode_home,
        lambda e: os.path.join(_opencode_home(e), "plugin", "gitcoord.js"),
        lambda command: [],
        script=_opencode_plugin,
    ),
    "cursor": Settings(
        "cursor",
        "Cursor",
        "cursor-agent",
        _cursor_home,
        lambda e: os.path.join(_cursor_home(e), "hooks.json"),
        _cursor,
        '{"version": 1}\n',
    ),
}
