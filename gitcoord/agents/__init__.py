"""What coding agents' hooks run, and the seam between it and each agent program.

A program calls `hooks/agent-hook` with its own name and one of MOMENTS. That script decides without Python whether
there is anything to do; when there is, it starts `python -m gitcoord.agents PROGRAM MOMENT` with the program's JSON
document on standard input. `handlers` knows what is to be done at each of them and nothing of any program; an adapter
(`gitcoord.agents.programs.<program>`, with a HARNESS) turns the document into a `Call` and the `Answer` into what its program
takes. Adding a program is adding an adapter and a line in HARNESSES, and its session id to the script.

This room may use `opening`, `overview` and what lies below. Begin with `handlers`, then `show`. Never let a hook stop the
agent: whatever fails is kept in `coord/agents/@error`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from gitcoord.errors import UsageError
from gitcoord.lean import Any, NamedTuple, import_module

HARNESSES = ("claude", "codex", "gemini", "copilot", "opencode", "cursor")
"""The programs there are adapters for."""

MOMENTS = {
    "start": "a conversation begins, is resumed, or was compacted",
    "prompt": "a turn begins",
    "look": "a file is about to be read: the model may need to know who else changes it",
    "edit": "a file is about to be changed: the guard",
    "edited": "a file was changed",
    "tools": "a batch of tool calls is done, before the model goes on",
    "waiting": "the session waits for its human",
    "forget": "the conversation is about to be compacted, by a program that does not say when it was",
    "stop": "the model wants to end its turn",
    "wake": "an own process, which may sleep until there is something for an idle session",
    "end": "the conversation is over",
}


class Call(NamedTuple):
    """One call of a hook, as its program's document says it."""

    harness: str
    moment: str
    session_id: str
    cwd: str
    event: str = ""
    """The program's own name of the moment."""
    source: str = ""
    """How it began (`startup`, `resume`, `clear`, `compact`) or why it is over."""
    subagent: str = ""
    """Who of the session's helpers this is about; empty for the session itself."""
    paths: tuple[str, ...] = ()
    """The files that a tool is about to read or change, absolute or relative to `cwd`."""
    held_before: bool = False
    """This turn goes on only because a hook of somebody's kept it going."""


class Answer(NamedTuple):
    """What a hook has to say; an adapter leaves out what its program cannot be told at that moment."""

    context: str = ""
    """For the model to read."""
    deny: str = ""
    """Why the tool call is refused."""
    go_on: str = ""
    """What keeps the turn from ending; at `wake`, what begins a new one."""


class Output(NamedTuple):
    """What the hook's process gives back."""

    stdout: str = ""
    stderr: str = ""
    code: int = 0


class Harness(NamedTuple):
    """An adapter. `session_variable` is the variable by which the program's children are told its session id."""

    name: str
    title: str
    session_variable: str
    pid_variable: str
    """The variable that holds the program's pid; empty where there is none."""
    read: Callable[[str, Mapping[str, Any]], Call]
    """A moment and the document, as a call. May raise KeyError, TypeError, ValueError: then nothing is done."""
    say: Callable[[Call, Answer], Output]
    """An answer as the program takes it, strictly: several refuse a document with a key too many."""
    nudge: Callable[[Call, str], None] | None = None
    """Has an idle conversation begin a turn, which then is told what is new; given the path of the running program. None
    where what a `wake` hook prints does that."""
    serves_many: str = ""
    """What the command line of a process has in it that runs several conversations, and so can stand for none."""
    deaf: tuple[str, ...] = ()
    """Moments at which the model can be refused something, and told nothing."""


def load(name: str) -> Harness:
    """The adapter of a program. Raises KeyError for one there is none for."""
    if name not in HARNESSES:
        raise KeyError(name)
    harness: Harness = import_module(f"gitcoord.agents.programs.{name}").HARNESS
    return harness


def check_names(names: Sequence[str]) -> None:
    """Raises UsageError for a program there is no adapter for."""
    for name in names:
        if name not in HARNESSES:
            raise UsageError(f"{name!a} is not an agent program that gitcoord knows", "one of " + ", ".join(HARNESSES))


def text_of(document: Mapping[str, Any], *keys: str) -> str:
    """The first of `keys` that has text; empty if none does."""
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
    """The call that a document in Claude's shape makes, which most programs took over; `events` are their names for ours."""
    return Call(
        harness,
        moment,
        text_of(document, "session_id"),
        text_of(document, "cwd"),
        text_of(document, "hook_event_name") or events[moment],
        text_of(document, "source", "reason"),
        subagent,
        paths,
        document.get("stop_hook_active") is True,
    )


def path_in(document: Mapping[str, Any], *keys: str) -> str:
    """The file that a tool is to read or change, as one of `keys` of its input says; empty if none does."""
    tool_input = document.get("tool_input")
    return text_of(tool_input, *keys) if isinstance(tool_input, dict) else ""


_PATCHED = re.compile(r"^\*\*\* (?:(?:Add|Update|Delete) File|Move to): (.+)$", re.MULTILINE)


def patched_paths(tool_input: Any) -> tuple[str, ...]:
    """The files that a patch in Codex's format names, which other programs' models write, too."""
    patch = text_of(tool_input, "command", "input", "patch") if isinstance(tool_input, dict) else tool_input
    return tuple(dict.fromkeys(_PATCHED.findall(patch))) if isinstance(patch, str) else ()
