"""The live view, `git coord ui`: what needs its person, who works on what, and what was said, in a terminal or a
browser.

`facts` reads the API, `model` makes rows of the facts, `desk` keeps them up to date and acts as the person. `terminal` and
`web` are the two faces, whose libraries are an extra. This room may use `api` alone; begin with `model`. Never let a face
decide what a row says, and never write as another session than the person's.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gitcoord.errors import RepositoryError
from gitcoord.system.extras import install_command

if TYPE_CHECKING:
    from gitcoord.ui.desk import Desk
    from gitcoord.ui.web.options import Options

LIBRARIES = ("textual", "rich", "starlette", "uvicorn", "anyio", "h11")


def in_terminal(place: str, read_only: bool = False) -> None:
    """Show the view in this terminal until the person leaves it. Raises RepositoryError without a terminal, or without
    the libraries."""
    desk = _checked(place, read_only)
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise RepositoryError("the live view needs a terminal", "git coord ui --web, or: git coord ui --json")
    desk.begin()  # it reads while the libraries are loaded
    try:
        from gitcoord.ui.terminal.app import run
    except ModuleNotFoundError as error:
        raise missing(error) from None
    run(desk)


def _checked(place: str, read_only: bool) -> Desk:
    """A desk that can be opened, for a person. Raises CoordError."""
    from gitcoord.ui.desk import Desk

    desk = Desk(place, read_only)
    desk.check()
    return desk


def in_browser(place: str, options: Options) -> None:
    """Serve the view to a browser on this machine until it is interrupted. Raises RepositoryError for a port that is
    taken, or without the libraries."""
    desk = _checked(place, options.read_only)
    desk.begin()
    try:
        from gitcoord.ui.web.serving import serve
    except ModuleNotFoundError as error:
        raise missing(error) from None
    serve(desk, options)


def missing(error: ModuleNotFoundError) -> Exception:
    """The error for a library that is not installed; any other missing module is a bug of ours."""
    if (error.name or "").partition(".")[0] not in LIBRARIES:
        return error
    return RepositoryError("the live view needs the packages textual, starlette and uvicorn", install_command("ui"))
