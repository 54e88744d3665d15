"""The verb ui."""

from __future__ import annotations

import os

from gitcoord.cli.command import IntRange, command, option
from gitcoord.cli.output import say_json
from gitcoord.cli.params import common, opened
from gitcoord.errors import UsageError


@command(short_help="one live screen")
@option("--web", is_flag=True, help="In the browser.")
@option("--open", "opens", is_flag=True, help="Start the browser, too.")
@option("--port", type=IntRange(0, 65535), default=0, metavar="N", help="Serve on this port.")
@option("--socket", metavar="PATH", default="", help="Serve on a socket.")
@option("--read-only", is_flag=True, help="Show, but do nothing.")
@common
def ui(web: bool, opens: bool, port: int, socket: str, read_only: bool, as_name: str | None, as_json: bool) -> None:
    """Show what needs you and who works on what, and act on it; ? shows the keys.

    The view is yours, by your git name. Agents are refused.

    Example: git coord ui --web --open
    """
    if as_name is not None:
        raise UsageError("the view is always that of the repository's user", "leave out --as")
    if (opens or port or socket) and not web:
        raise UsageError("--open, --port and --socket are for the browser", "git coord ui --web")
    if as_json:
        _print()
        return
    from gitcoord.ui import in_browser, in_terminal

    if web:
        from gitcoord.ui.web.options import Options

        in_browser(os.getcwd(), Options(port, socket, read_only, opens))
    else:
        in_terminal(os.getcwd(), read_only)


def _print() -> None:
    """The rows of the view, once."""
    import time

    from gitcoord.ui.facts import gather, gather_merges
    from gitcoord.ui.model.screen import plain, screen

    with opened() as coord:
        coord.speak_as(coord.sessions.user(looks_on=True))
        say_json(plain(screen(gather(coord, time.time()), gather_merges(coord))))
