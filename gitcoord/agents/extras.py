"""Settings of Claude Code beside the hooks, only where its user wants them: a rule that lets the model run `git coord`
without asking, and a status line.

Words behind the mark of the first hook (`+allow`, `+status`, …) say what was added, so that all of it can be removed again.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection

from gitcoord.agents import jsonedit

RULE = "Bash(git coord:*)"
WORDS = ("allow", "status")
"""The extras, by the words that choose and mark them."""


def add(text: str, wanted: Collection[str]) -> tuple[str, str]:
    """The text with the extras, and the marks for what was added: nothing where the user has such a setting already."""
    made = ""
    if "allow" in wanted:
        text, made = _with_rule(text)
    if "status" in wanted and jsonedit.parse(text).get("statusLine") is None:
        line = {"type": "command", "command": f"{shlex.quote(sys.executable)} -E -P -m gitcoord status --short", "padding": 0}
        text, made = jsonedit.insert(text, jsonedit.parse(text), "statusLine", line), f"{made} +status"
    return text, made


def _with_rule(text: str) -> tuple[str, str]:
    made = ""
    if RULE in _rules(text):
        return text, made
    if jsonedit.parse(text).get("permissions") is None:
        text, made = jsonedit.insert(text, jsonedit.parse(text), "permissions", {"allow": [RULE]}), " +permissions"
    else:
        permissions = jsonedit.parse(text).get("permissions")
        assert permissions is not None
        allowed = permissions.get("allow")
        if allowed is None:
            text, made = jsonedit.insert(text, permissions, "allow", [RULE]), " +rules"
        else:
            text = jsonedit.insert(text, allowed, "", RULE)
    return text, f"{made} +allow"


def _rules(text: str) -> list[str]:
    permissions = jsonedit.load(text).get("permissions")
    allowed = permissions.get("allow") if isinstance(permissions, dict) else None
    return allowed if isinstance(allowed, list) else []


def remove(text: str, made: Collection[str]) -> str:
    """The text without the extras that were added."""
    if "+status" in made:
        text = _without(text, ("statusLine",))
    if "+allow" in made and RULE in _rules(text):
        text = _without(text, ("permissions", "allow"), _rules(text).index(RULE))
    if "+rules" in made and not _rules(text):
        text = _without(text, ("permissions", "allow"))
    if "+permissions" in made and not _rules(text):
        text = _without(text, ("permissions",))
    return text


def _without(text: str, keys: tuple[str, ...], number: int | None = None) -> str:
    """The text without the member that `keys` lead to, or without one element of it."""
    of = jsonedit.parse(text)
    for key in keys if number is not None else keys[:-1]:
        inner = of.get(key)
        if inner is None:
            return text
        of = inner
    names = [name for name, _, _ in of.members]
    if number is None and keys[-1] not in names:
        return text
    return jsonedit.remove(text, of, names.index(keys[-1]) if number is None else number)
