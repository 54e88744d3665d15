"""Serve the hooks of coding agents, and keep each agent program behind an adapter.

A program calls `hooks/agent-hook` with its own name and one of MOMENTS. The script decides without Python whether there
is anything to do. If there is, it starts `python -m gitcoord.agents PROGRAM MOMENT` with the program's JSON document on
standard input. `handlers` knows what to do at each moment and nothing of any program. An adapter
(`gitcoord.agents.programs.<program>`, with a HARNESS) turns the document into a `Call`, and the `Answer` into the form
that its program takes. To add a program, add an adapter, a line in HARNESSES, and its session id to the script.

This room may use `opening`, `overview` and the rooms below. Begin with `handlers`, then `show`. Never let a hook stop
the agent: failures are kept in `coord/agents/@error`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from gitcoord.errors import UsageError
from gitcoord.lean import Any, NamedTuple, import_module

HARNESSES = ("claude", "codex", "gemini", "copilot", "opencode", "cursor")
"""The programs that have adapters."""

MOMENTS = {
    "start": "a conversation begins, is resumed, or was compacted",
    "prompt": "a turn begins",
    "look": "a file is about to be read: the model may need to know who else changes it",
    "edit": "a file is about to be changed: the guard",
    "edited": "a file was changed",
    "shell": "a shell command is about to run: the guard",
    "ran": "a shell command has run",
    "command": "the human calls one of our slash commands",
    "tools": "a batch of tool calls is done, before the model goes on",
    "waiting": "the session waits for its human",
    "forget": "the conversation is about to be compacted, by a program that does not say when it was",
    "stop": "the model wants to end its turn",
    "failed": "an error of the model's API ended the turn",
    "interrupted": "the user ended the turn",
    "wake": "an own process, which may sleep until there is something for an idle session",
    "end": "the conversation is over",
}


class Call(NamedTuple):
    """One call of a hook, translated from its program's document."""

    harness: str
    moment: str
    session_id: str
    cwd: str
    event: str = ""
    """The program's own name of the moment."""
    source: str = ""
    """The way the conversation began (`startup`, `resume`, `clear`, `compact`), the reason why it ended, or the error."""
    subagent: str = ""
    """The helper of the session that made the call; empty for the session itself."""
    paths: tuple[str, ...] = ()
    """The files that a tool is about to read or change, absolute or relative to `cwd`."""
    command: str = ""
    """The shell command that is about to run, or the slash command with its arguments."""
    held_before: bool = False
    """This turn continues only because a hook kept it going."""


class Answer(NamedTuple):
    """The answer of a hook. An adapter leaves out parts that its program cannot take at that moment."""

    context: str = ""
    """Text for the model."""
    deny: str = ""
    """The reason why the tool call is refused."""
    go_on: str = ""
    """The reason that keeps the turn from ending; at `wake`, the reason that begins a new one."""


class Output(NamedTuple):
    """The output of the hook's process."""

    stdout: str = ""
    stderr: str = ""
    code: int = 0


class Harness(NamedTuple):
    """An adapter. `session_variable` is the variable by which the program's children are told its session id."""

    name: str
    title: str
    session_variable: str
    pid_variable: str
    """The variable that has the program's pid; empty if there is none."""
    read: Callable[[str, Mapping[str, Any]], Call]
    """Turn a moment and the document into a call. May raise KeyError, TypeError, ValueError: then nothing is done."""
    say: Callable[[Call, Answer], Output]
    """Turn an answer into the program's exact form: several programs refuse a document with an unknown key."""
    nudge: Callable[[Call, str, str], None] | None = None
    """Make an idle conversation begin a turn with a text, whose hooks then show what is new; gets the path of the program.
    None if the output of a `wake` hook does that."""
    serves_many: str = ""
    """A part of the command line of a process that runs several conversations, and so cannot stand for one of them."""
    is_idle: Callable[[int, float], bool | None] | None = None
    """Whether the program with this pid has been idle since a time (Unix seconds); None if that cannot be known. For turns
    that end without a hook."""
    deaf: tuple[str, ...] = ()
    """Moments at which a hook can refuse a tool but not say anything to the model."""


def load(name: str) -> Harness:
    """The adapter of a program. Raises KeyError for an unknown program."""
    if name not in HARNESSES:
        raise KeyError(name)
    harness: Harness = import_module(f"gitcoord.agents.programs.{name}").HARNESS
    return harness


def check_names(names: Sequence[str]) -> None:
    """Check names of programs. Raises UsageError for a program without an adapter."""
    for name in names:
        if name not in HARNESSES:
            raise UsageError(f"{name!a} is not an agent program that gitcoord knows", "one of " + ", ".join(HARNESSES))


def text_of(document: Mapping[str, Any], *keys: str) -> str:
    """The first of `keys` that has text; otherwise empty."""
    found = (document.get(key) for key in keys)
    return next((value for value in found if isinstance(value, str) and value), "")


def call_of(
    harness: str,
    moment: str,
    document: Mapping[str, Any],
    events: Mapping[str, str],
    paths: tuple[str, ...],
    subagent: str = "",
) -> Call:
    """The call in a document of Claude's shape, which most programs adopted; `events` maps their names to ours."""
    return Call(
        harness,
        moment,
        text_of(document, "session_id"),
        text_of(document, "cwd"),
        text_of(document, "hook_event_name") or events[moment],
        text_of(document, "source", "reason"),
        subagent,
        paths,
        command_in(document) if moment == "shell" else "",
        document.get("stop_hook_active") is True,
    )


def command_in(document: Mapping[str, Any]) -> str:
    """The shell command that a tool is about to run."""
    tool_input = document.get("tool_input")
    return text_of(tool_input if isinstance(tool_input, dict) else document, "command", "cmd")


def path_in(document: Mapping[str, Any], *keys: str) -> str:
    """The file that a tool is about to read or change, from one of `keys` of its input; otherwise empty."""
    tool_input = document.get("tool_input")
    return text_of(tool_input, *keys) if isinstance(tool_input, dict) else ""


_PATCHED = re.compile(r"^\*\*\* (?:(?:Add|Update|Delete) File|Move to): (.+)$", re.MULTILINE)


def patched_paths(tool_input: Any) -> tuple[str, ...]:
    """The files named in a patch of Codex's format, which other programs' models also write."""
    patch = text_of(tool_input, "command", "input", "patch") if isinstance(tool_input, dict) else tool_input
    return tuple(dict.fromkeys(_PATCHED.findall(patch))) if isinstance(patch, str) else ()
