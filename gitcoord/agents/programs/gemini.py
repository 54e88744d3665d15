"""Gemini CLI. Verified with 0.61.0. A hook before a tool can refuse it but not say anything, so warnings come with the
result."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.agents import Answer, Call, Harness, Output, call_of, path_in
from gitcoord.lean import Any

EVENTS = {
    "start": "SessionStart",
    "prompt": "BeforeAgent",
    "look": "AfterTool",
    "edit": "BeforeTool",
    "edited": "AfterTool",
    "shell": "BeforeTool",
    "ran": "AfterTool",
    "tools": "AfterTool",
    "waiting": "Notification",
    "forget": "PreCompress",
    "stop": "AfterAgent",
    "end": "SessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Read the document. Gemini has no helpers that its hooks would report."""
    path = path_in(document, "file_path", "absolute_path")
    return call_of("gemini", moment, document, EVENTS, (path,) if path else ())


def say(call: Call, answer: Answer) -> Output:
    """Answer; a reason that keeps the turn going (`go_on`) becomes the next prompt."""
    if answer.deny or answer.go_on:
        return Output(json.dumps({"decision": "deny", "reason": answer.deny or answer.go_on}))
    return Output(json.dumps({"hookSpecificOutput": {"hookEventName": call.event, "additionalContext": answer.context}}))


HARNESS = Harness("gemini", "Gemini CLI", "GEMINI_SESSION_ID", "", read, say, deaf=("edit", "shell"))
