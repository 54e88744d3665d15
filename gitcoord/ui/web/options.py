"""The options of the web server."""

from __future__ import annotations

from typing import NamedTuple


class Options(NamedTuple):
    """`port` 0 takes a free one, `socket` is a path instead of one; `opens` starts the browser."""

    port: int = 0
    socket: str = ""
    read_only: bool = False
    opens: bool = False
