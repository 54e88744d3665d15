"""Cursor, from its documentation of 2026; no test runs the program. It takes no text with a prompt, so news is shown at
the beginning, with the result of a tool, or when the turn would end."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.agents import Answer, Call, Harness, Output, command_in, text_of
from gitcoord.lean import Any

EVENTS = {
    "start": "sessionStart",
    "look": "postToolUse",
    "edit": "preToolUse",
    "edited": "afterFileEdit",
    "shell": "beforeShellExecution",
    "ran": "afterShellExecution",
    "tools": "postToolUse",
    "forget": "preCompact",
    "stop": "stop",
    "end": "sessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Read the document. The conversation is the session; without `cwd`, the first of the workspace's roots counts."""
    tool_input = document.get("tool_input")
    path = text_of(tool_input if isinstance(tool_input, dict) else document, "file_path", "path", "target_file")
    roots = document.get("workspace_roots")
    root = roots[0] if isinstance(roots, list) and roots and isinstance(roots[0], str) else ""
    loops = document.get("loop_count")
    return Call(
        "cursor",
        moment,
        text_of(document, "conversation_id", "session_id"),
        root or text_of(document, "cwd"),
        text_of(document, "hook_event_name") or EVENTS[moment],
        text_of(document, "reason"),
        "",
        (path,) if path else (),
        command_in(document) if moment == "shell" else "",
        isinstance(loops, int) and loops > 0,
    )


def say(call: Call, answer: Answer) -> Output:
    """Answer; the first answer also gives the session's name to the shells that Cursor starts."""
    if answer.deny:
        return Output(json.dumps({"permission": "deny", "user_message": answer.deny, "agent_message": answer.deny}))
    if answer.go_on:
        return Output(json.dumps({"followup_message": answer.go_on}))
    told: dict[str, Any] = {"additional_context": answer.context}
    if call.moment == "start":
        told["env"] = {"CURSOR_CONVERSATION_ID": call.session_id}
    return Output(json.dumps(told))


HARNESS = Harness("cursor", "Cursor", "CURSOR_CONVERSATION_ID", "", read, say, deaf=("edit", "shell"))
