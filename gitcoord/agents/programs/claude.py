"""Claude Code. Verified with 2.1.329 and 2.1.197. It drops a whole document if one key has the wrong type."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.agents import Answer, Call, Harness, Output, call_of, path_in, text_of
from gitcoord.lean import Any

EVENTS = {
    "start": "SessionStart",
    "prompt": "UserPromptSubmit",
    "look": "PreToolUse",
    "edit": "PreToolUse",
    "edited": "PostToolUse",
    "tools": "PostToolBatch",
    "waiting": "Notification",
    "stop": "Stop",
    "wake": "Stop",
    "end": "SessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Read the document, which is the same at all moments; only inside a subagent it has `agent_id`."""
    path = path_in(document, "file_path", "notebook_path")
    return call_of("claude", moment, document, EVENTS, (path,) if path else (), text_of(document, "agent_id"))


def say(call: Call, answer: Answer) -> Output:
    """Answer: Claude passes a reason for Stop to the model as a user's message; text for an idle session goes by stderr
    and exit 2."""
    if call.moment == "wake":
        return Output(stderr=answer.go_on, code=2)
    if answer.go_on:
        return Output(json.dumps({"decision": "block", "reason": answer.go_on}))
    specific: dict[str, str] = {"hookEventName": call.event}
    if answer.deny:
        specific |= {"permissionDecision": "deny", "permissionDecisionReason": answer.deny}
    if answer.context:
        specific["additionalContext"] = answer.context
    return Output(json.dumps({"hookSpecificOutput": specific}))


HARNESS = Harness("claude", "Claude Code", "CLAUDE_CODE_SESSION_ID", "CLAUDE_PID", read, say)
