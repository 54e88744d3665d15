"""Find out whether Codex runs our hooks: it silently ignores hooks that its user has not looked at and trusted.

Codex itself is asked, because a changed hook has to be trusted again. If it cannot be asked, its settings at least say
whether any hook was ever trusted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from threading import Timer

from gitcoord import lean_json as json
from gitcoord.lean import Any, suppress

PATIENCE = 10.0
"""Seconds for Codex to answer."""
_ASK = "type /hooks in codex, and trust them"


def why_not(path: str, home: str, environ: Mapping[str, str]) -> str:
    """The reason why the hooks in the file `path` do not run; empty if they do."""
    states = _asked(path, environ)
    if states is None:
        return "" if _ever_trusted(path, home) else f"Codex has not trusted them yet: {_ASK}"
    if not states:
        return "Codex reads none of them: see its warnings at start"
    missing = [state for state in states if state not in ("trusted", "managed")]
    return f"Codex has not trusted {len(missing)} of {len(states)}: {_ASK}" if missing else ""


def _asked(path: str, environ: Mapping[str, str]) -> list[str] | None:
    """Codex's answer about each hook in that file; None without an answer."""
    program = shutil.which("codex", path=environ.get("PATH"))
    if program is None:
        return None
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = _answer(program, environ)
        real = os.path.realpath(path)
        mine = [hook for place in found["data"] for hook in place["hooks"] if os.path.realpath(hook["sourcePath"]) == real]
        return [_state(hook) for hook in mine if "# gitcoord" in (hook.get("command") or "")]
    return None


def _state(hook: Mapping[str, Any]) -> str:
    return str(hook["trustStatus"]) if hook["enabled"] else "off"


def _answer(program: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The result of `hooks/list` of its JSON-RPC server. Raises OSError, ValueError, KeyError."""
    asked: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": {"clientInfo": {"name": "gitcoord", "version": "1"}}},
        {"method": "initialized"},
        {"id": 2, "method": "hooks/list", "params": {"cwds": [os.getcwd()]}},
    ]
    server = subprocess.Popen(
        [program, "app-server"],
        env=dict(environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin and server.stdout
    limit = Timer(PATIENCE, server.kill)
    limit.start()
    try:
        server.stdin.write("".join(json.dumps(line) + "\n" for line in asked))
        server.stdin.flush()
        for line in server.stdout:
            document: dict[str, Any] = json.loads(line)
            if document.get("id") == 2:
                result: dict[str, Any] = document["result"]
                return result
        raise ValueError("no answer")
    finally:
        limit.cancel()
        server.kill()
        server.communicate()


def _ever_trusted(path: str, home: str) -> bool:
    import tomllib

    try:
        with open(os.path.join(home, "config.toml"), "rb") as file:
            noted = tomllib.load(file)["hooks"]["state"]
        return any(key.startswith(f"{path}:") and "trusted_hash" in value for key, value in noted.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
