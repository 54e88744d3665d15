"""Codex. Verified with 0.169. It refuses a whole document with an unknown key, and does not limit held turns itself."""

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
    "shell": "PreToolUse",
    "ran": "PostToolUse",
    "tools": "PostToolUse",
    "waiting": "PermissionRequest",
    "stop": "Stop",
    "interrupted": "Interrupt",
    "wake": "Stop",
    "end": "SessionEnd",
}


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Read the document. Files are changed by patches, which name them; relative names start from the working
    directory."""
    paths = patched_paths(document.get("tool_input")) if moment in ("edit", "edited") else ()
    return call_of("codex", moment, document, EVENTS, paths, text_of(document, "agent_id"))


def say(call: Call, answer: Answer) -> Output:
    """Answer; never with `ask`, which would let the tool run: gitcoord grants no permission."""
    if call.moment in ("waiting", "interrupted", "end", "edited", "wake"):
        return Output()
    if answer.go_on:
        return Output(json.dumps({"decision": "block", "reason": answer.go_on}))
    specific = {"hookEventName": call.event}
    if answer.deny:
        specific |= {"permissionDecision": "deny", "permissionDecisionReason": answer.deny}
    elif answer.context:
        specific["additionalContext"] = answer.context
    return Output(json.dumps({"hookSpecificOutput": specific}))


def nudge(call: Call, path: str, text: str) -> None:
    """Queue a message for an idle conversation; the hook of the new turn shows others' words."""
    import subprocess

    subprocess.run(
        [path or "codex", "queue", "--thread", call.session_id, "--message", text],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=30,
        check=False,
    )


HARNESS = Harness("codex", "Codex", "CODEX_THREAD_ID", "", read, say, nudge, "app-server")
