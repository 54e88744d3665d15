"""The MCP server, `git coord mcp`: six tools over the API, for programs that would rather call a tool than a shell.

`tools` does the work, `forms` words the results, `caller` finds out who called, `server` speaks the protocol. Only
`server` needs the SDK, which is an extra. This room may use `api` and the rooms below; begin with `tools`. Never mark
mail read that was not delivered to the client.
"""

from __future__ import annotations

from gitcoord.errors import RepositoryError
from gitcoord.system.extras import install_command


def serve(as_name: str | None = None) -> None:
    """Speak MCP on stdin and stdout until stdin ends. Raises RepositoryError when the SDK is not installed."""
    try:
        from gitcoord.mcp import server
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "anyio", "jsonschema"):
            raise
        raise RepositoryError("the MCP server needs the package mcp, version 2", install_command("mcp")) from None
    server.run(as_name)
