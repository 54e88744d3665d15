"""opencode. Verified with 1.18.33. Its hooks are functions of a plugin; ours (opencode.js) runs the same script as the
others."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.agents import Answer, Call, Harness, Output, command_in, patched_paths, text_of
from gitcoord.lean import Any
from gitcoord.system.files import read_bytes


def read(moment: str, document: Mapping[str, Any]) -> Call:
    """Read the document that opencode.js makes: Claude's keys, as far as it has values for them."""
    tool_input = document.get("tool_input")
    path = text_of(tool_input, "file_path") if isinstance(tool_input, dict) else ""
    return Call(
        "opencode",
        moment,
        text_of(document, "session_id"),
        text_of(document, "cwd"),
        moment,
        text_of(document, "source"),
        text_of(document, "agent_id"),
        (path,) if path else patched_paths(tool_input),
        command_in(document) if moment == "shell" else "",
        document.get("stop_hook_active") is True,
    )


def say(call: Call, answer: Answer) -> Output:
    """Answer; the plugin knows where to put it."""
    return Output(json.dumps({key: value for key, value in answer._asdict().items() if value}))


def plugin(python: str, folder: str) -> str:
    """The plugin, for this Python and this folder of hooks."""
    text = read_bytes(os.path.join(os.path.dirname(__file__), "opencode.js")).decode()
    for name, value in (('"@PYTHON@"', python), ('"@HOOKS@"', folder)):
        text = text.replace(name, json.dumps(value))
    return text


HARNESS = Harness("opencode", "opencode", "OPENCODE_SESSION_ID", "OPENCODE_PID", read, say)
