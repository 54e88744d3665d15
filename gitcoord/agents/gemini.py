"""Gemini CLI. Verified with 0.61.0. Before a tool it can be refused, and told nothing; so warnings come with the result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gitcoord.agents import Answer, Call, Harness, Output, text_of

EVENTS = {
    "start": "SessionStart",
    "prompt": "BeforeAgent",
    "look": "AfterTool",
    "edit": "BeforeTool",
    "edited": "AfterTool",
    "tools": "AfterTool",
    "waiting": "Notification",
    "forget": "PreCompress",
    "stop": "AfterAgent",
    "end": "SessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """It has no helpers of its own that its hooks would tell of."""
    tool_input = document.get("tool_input")
    path = text_of(tool_input, "file_path", "absolute_path") if isinstance(tool_input, dict) else ""
    return Call(
        "gemini",
        moment,
        text_of(document, "session_id"),
        text_of(document, "cwd"),
        text_of(document, "hook_event_name") or EVENTS[moment],
        text_of(document, "source", "reason"),
        "",
        (path,) if path else (),
        document.get("stop_hook_active") is True,
    )


def say(call: Call, answer: Answer) -> Output:
    """A refused answer (`go_on`) becomes the next prompt."""
    if answer.deny or answer.go_on:
        return Output(json.dumps({"decision": "deny", "reason": answer.deny or answer.go_on}))
    return Output(json.dumps({"hookSpecificOutput": {"hookEventName": call.event, "additionalContext": answer.context}}))


HARNESS = Harness("gemini", "Gemini CLI", "GEMINI_SESSION_ID", "", read, say, deaf=("edit",))
