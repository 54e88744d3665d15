"""The verbs mcp and skill."""

from __future__ import annotations

from gitcoord.cli.command import command
from gitcoord.cli.output import say_json, say_whole
from gitcoord.cli.params import common


@command(short_help="serve agents over MCP")
@common
def mcp(as_name: str | None, as_json: bool) -> None:
    """Serve MCP on stdin and stdout, for an agent program to start (claude mcp add coord -- git coord mcp).

    Example: git coord mcp
    """
    from gitcoord.mcp import serve

    serve(as_name)


@command(short_help="print what teaches an agent")
@common
def skill(as_name: str | None, as_json: bool) -> None:
    """Print the skill: when and how to use git coord. Append it to AGENTS.md, where the agent reads that.

    Example: git coord skill >> AGENTS.md
    """
    from gitcoord.agents.skill import text

    say_json({"text": text()}) if as_json else say_whole(text().rstrip("\n"))
