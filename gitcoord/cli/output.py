"""Print lines, JSON and colour for people and agents."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection

from gitcoord import lean_json as json
from gitcoord.lean import Any, re
from gitcoord.system.streams import columns_of, in_pager, shows_everything
from gitcoord.text import ago as ago
from gitcoord.text import as_json, block, harmless
from gitcoord.text import inert as inert
from gitcoord.text import one_line as one_line
from gitcoord.text import quoted as quoted
from gitcoord.text import rfc3339 as rfc3339
from gitcoord.text import said as said


class Asked:
    """The wishes of the command line: one JSON document, and the fields to keep of it (all, if none is named)."""

    json = False
    fields: tuple[str, ...] = ()
    colour: bool | None = None
    """None: on a terminal."""
    is_settled = False
    """Whether the line says when to use colour."""


NEVER = ("never", "false", "no", "off", "0")
COLOURS = {"always": True, **dict.fromkeys(NEVER, False)}
_columns: int | None = None
"""The width of the terminal; 0 without one, None if not known yet."""
_COLOUR = r"(\x1b\[(?:0|2|31|32|33|35|36)m)"


def say(*lines: str) -> None:
    """Print lines of output, an empty one if there is none. A foreign value cannot end a line, or hide in it."""
    sys.stdout.write("".join(f"{_on_screen(_painted(line))}\n" for line in lines or ("",)))


def say_block(text: str) -> None:
    """Print lines that were put together before: each is ours, or was made `inert` or `quoted`."""
    sys.stdout.write("\n".join(map(_on_screen, block(text).split("\n"))) + "\n")


def say_whole(text: str) -> None:
    """Print a text for its reader to copy or to process: nothing is broken to fit a terminal."""
    sys.stdout.write(block(text) + "\n")


def _on_screen(line: str) -> str:
    """A line as it fits on the terminal, if there is one."""
    global _columns
    if _columns is None:
        _columns = columns_of(sys.stdout)
    if not _columns:
        return line
    from gitcoord.system.screen import fitted

    return fitted(line, _columns)


def _painted(line: str) -> str:
    """A line made inert, except for the colours of `paint`."""
    if "\x1b" not in line:
        return inert(line)
    return "".join(part if place % 2 else inert(part) for place, part in enumerate(re.split(_COLOUR, line)))


def not_signed(oid: str, held: Collection[str]) -> str:
    """The mark of an item that `coord.requireSigned` keeps back, where it is shown because the user asked for it."""
    return f"  ({paint('not signed', '31')})" if oid in held else ""


def say_json(value: Any, exact: bool = False) -> None:
    """Print one JSON document. Hidden characters in its texts are shown as in lines, so that a model that gets a value sees
    them. With `exact`, for text that this session wrote, they are JSON's own escapes."""
    value = value if exact else harmless(value)
    value = _chosen(value) if Asked.fields else value
    sys.stdout.write(as_json(json.dumps(value, ensure_ascii=not shows_everything(), separators=(", ", ": "))) + "\n")


def _chosen(value: Any) -> Any:
    """The fields that were asked for, in this order: of a document, or of each one in a list."""
    if isinstance(value, list):
        return [_chosen(one) for one in value]
    return {name: value[name] for name in Asked.fields if name in value} if isinstance(value, dict) else value


def set_colour(settings: Callable[[str], str | None]) -> None:
    """Follow `color.ui`, `color.coord` and `color.pager`, unless the line said --color."""
    if Asked.is_settled:
        return
    value = (settings("color.coord") or settings("color.ui") or "auto").lower()
    Asked.colour = COLOURS.get(value)
    if Asked.colour is None and in_pager() and (settings("color.pager") or "true").lower() in NEVER:
        Asked.colour = False


def coloured() -> bool:
    """Whether to use colour: as the line or the settings say, otherwise on a terminal, unless NO_COLOR is set
    (no-color.org)."""
    if Asked.colour is not None:
        return Asked.colour
    return (sys.stdout.isatty() or in_pager()) and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """`text` in an ANSI colour, on a terminal."""
    return f"\x1b[{code}m{text}\x1b[0m" if coloured() else text
