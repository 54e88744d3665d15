"""Measure what agents pay to read gitcoord's output, in tokens as `gitcoord.text.tokens` estimates them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from bench.ground import project, with_sessions, worktree
from bench.measure import PROGRAM, Row, at_most
from gitcoord.agents import skill
from gitcoord.text import tokens


def read_by_agents(where: Path) -> list[Row]:
    """Count the tokens of a quiet repository's brief, one message, the list of verbs and the longest help of a verb."""
    repo = with_sessions(project(where / "tokens"))
    alpha, beta = worktree(repo, "alpha"), worktree(repo, "beta")
    _print(beta, "send", "alpha", "the schema is merged, please rebase")
    return [
        at_most("tokens: bare `git coord`", tokens(_print(alpha)), 500, "tokens"),
        at_most("tokens: longest `VERB --help`", max(tokens(_print(alpha, v, "--help")) for v in _verbs()), 150, "tokens"),
        at_most("tokens: one message in `inbox`", tokens(_print(alpha, "inbox")), 60, "tokens"),
        at_most("tokens: `inbox` with nothing new", tokens(_print(alpha, "inbox")), 10, "tokens"),
        at_most("tokens: `brief` in a quiet repository", tokens(_print(alpha, "brief")), 400, "tokens"),
        at_most("tokens: the skill, when it is read", tokens(skill.whole().decode()), 600, "tokens"),
        at_most("tokens: the MCP server's `tools/list`", tokens(_tool_list()), 1000, "tokens"),
    ]


def _tool_list() -> str:
    """The answer to tools/list as it goes over the wire."""
    from gitcoord.mcp import server, tools

    listed = [server.listed(tool).model_dump(by_alias=True, exclude_none=True, mode="json") for tool in tools.TOOLS]
    return json.dumps({"tools": listed}, separators=(",", ":"))


def _verbs() -> list[str]:
    from gitcoord.cli.verbs import VERBS

    return [verb for verbs in VERBS.values() for verb in verbs]


def _print(where: Path, *args: str) -> str:
    return subprocess.run(
        [*PROGRAM, *args], cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout
