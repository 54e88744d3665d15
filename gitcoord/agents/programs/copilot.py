"""GitHub Copilot CLI. Verified with 1.0.102. Events with Claude's names give almost the same documents as Claude's.

Copilot denies a tool when a hook before it fails, so nothing here may fail; the script ensures that.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.agents import Answer, Call, Harness, Output, call_of, patched_paths, path_in
from gitcoord.lean import Any

EVENTS = {
    "start": "SessionStart",
    "prompt": "UserPromptSubmit",
    "look": "PreToolUse",
    "edit": "PreToolUse",
    "edited": "PostToolUse",
    "shell": "PreToolUse",
    "ran": "PostToolUse",
    "tools": "PostToolUse",
    "waiting": "Notification",
    "forget": "PreCompact",
    "stop": "Stop",
    "end": "SessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Read the document. Its hooks run for helpers as for the session, and do not say which it is."""
    path = path_in(document, "path", "file_path")
    return call_of("copilot", moment, document, EVENTS, (path,) if path else patched_paths(document.get("tool_input")))


def say(call: Call, answer: Answer) -> Output:
    """Answer; before a tool Copilot takes a nested document, elsewhere a flat one."""
    if answer.go_on:
        return Output(json.dumps({"decision": "block", "reason": answer.go_on}))
    if call.event != "PreToolUse":
        return Output(json.dumps({"additionalContext": answer.context}))
    specific = {"hookEventName": call.event, "additionalContext": answer.context}
    if answer.deny:
        specific = {"hookEventName": call.event, "permissionDecision": "deny", "permissionDecisionReason": answer.deny}
    return Output(json.dumps({"hookSpecificOutput": specific}))


HARNESS = Harness("copilot", "GitHub Copilot CLI", "COPILOT_AGENT_SESSION_ID", "", read, say)
