"""Codex. Verified with 0.169; it refuses a whole document for a key too many, and has no cap on held turns of its own."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.agents import Answer, Call, Harness, Output, call_of, patched_paths, text_of
from gitcoord.lean import Any

EVENTS = {
    "start": "SessionStart",
    "prompt": "UserPromptSubmit",
    "edit": "PreToolUse",
    "edited": "PostToolUse",
    "tools": "PostToolUse",
    "waiting": "PermissionRequest",
    "stop": "Stop",
    "wake": "Stop",
    "end": "SessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Files are changed by patches, which name them; relative ones are meant from the working directory."""
    paths = patched_paths(document.get("tool_input")) if moment in ("edit", "edited") else ()
    return call_of("codex", moment, document, EVENTS, paths, text_of(document, "agent_id"))


def say(call: Call, answer: Answer) -> Output:
    """`ask` would let the tool run; a permission is never ours to give."""
    if call.moment in ("waiting", "end", "edited", "wake"):
        return Output()
    if answer.go_on:
        return Output(json.dumps({"decision": "block", "reason": answer.go_on}))
    specific = {"hookEventName": call.event}
    if answer.deny:
        specific |= {"permissionDecision": "deny", "permissionDecisionReason": answer.deny}
    elif answer.context:
        specific["additionalContext"] = answer.context
    return Output(json.dumps({"hookSpecificOutput": specific}))


NUDGE = "git coord: there is new mail for this session."


def nudge(call: Call, path: str) -> None:
    """Codex takes a message for a conversation that sits idle; the words of others go by the hook of the new turn."""
    import subprocess

    subprocess.run(
        [path or "codex", "queue", "--thread", call.session_id, "--message", NUDGE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )


HARNESS = Harness("codex", "Codex", "CODEX_THREAD_ID", "", read, say, nudge, "app-server")
