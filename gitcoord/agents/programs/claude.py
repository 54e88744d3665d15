"""Claude Code. Verified with 2.1.329 and 2.1.197. It drops a whole document if one key has the wrong type."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.agents import Answer, Call, Harness, Output, call_of, path_in, text_of
from gitcoord.lean import Any
from gitcoord.system.files import read_ours

EVENTS = {
    "start": "SessionStart",
    "prompt": "UserPromptSubmit",
    "look": "PreToolUse",
    "edit": "PreToolUse",
    "edited": "PostToolUse",
    "shell": "PreToolUse",
    "ran": "PostToolUse",
    "command": "UserPromptExpansion",
    "tools": "PostToolBatch",
    "waiting": "Notification",
    "stop": "Stop",
    "failed": "StopFailure",
    "wake": "Stop",
    "end": "SessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Read the document, which is the same at all moments; only inside a subagent it has `agent_id`."""
    path = path_in(document, "file_path", "notebook_path")
    call = call_of("claude", moment, document, EVENTS, (path,) if path else (), text_of(document, "agent_id"))
    if moment == "command":
        return call._replace(command=f"{text_of(document, 'command_name')} {text_of(document, 'command_args')}")
    return call._replace(source=text_of(document, "last_assistant_message", "error")) if moment == "failed" else call


def say(call: Call, answer: Answer) -> Output:
    """Answer: Claude passes a reason for Stop to the model as a user's message; text for an idle session goes by stderr
    and exit 2."""
    if call.moment == "wake":
        return Output(stderr=answer.go_on, code=2)
    if call.moment == "command":
        return Output(json.dumps({"decision": "block", "reason": answer.deny}))
    if answer.go_on:
        return Output(json.dumps({"decision": "block", "reason": answer.go_on}))
    specific: dict[str, str] = {"hookEventName": call.event}
    if answer.deny:
        specific |= {"permissionDecision": "deny", "permissionDecisionReason": answer.deny}
    if answer.context:
        specific["additionalContext"] = answer.context
    return Output(json.dumps({"hookSpecificOutput": specific}))


def is_idle(pid: int, since: float) -> bool | None:
    """Whether Claude has been idle since then, by the file that it keeps about each of its processes: no hook runs when
    its user presses Esc. The file is undocumented, so one that differs says nothing."""
    home = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(os.path.expanduser("~"), ".claude")
    path = os.path.join(home, "sessions", f"{pid}.json")
    try:
        facts = json.loads(read_ours(path))
        status, changed = facts["status"], os.stat(path).st_mtime
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return status == "idle" and changed > since if status in ("idle", "busy", "waiting") else None


HARNESS = Harness("claude", "Claude Code", "CLAUDE_CODE_SESSION_ID", "CLAUDE_PID", read, say, is_idle=is_idle)
