"""The lines around the lists (the head, the tabs, the keys), and the layout."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.widgets import Static

from gitcoord.ui.model.offers import OFFERS
from gitcoord.ui.model.screen import Screen
from gitcoord.ui.model.words import age
from gitcoord.ui.terminal.listings import COLOURS, SECTIONS

SHOWN = 3
"""Acts of a row whose keys are named; the menu has all of them."""

CSS = """
Screen { layout: vertical; }
#head, #tabs { height: 1; width: 100%; }
#foot { dock: bottom; width: 100%; height: auto; max-height: 3; }
#needs { height: 3; border: round ansi_bright_black; }
#needs.pressing { border: round ansi_yellow; }
#panes { height: 1fr; layout: vertical; }
.wide #panes { layout: horizontal; }
#list { height: 3fr; border: round ansi_bright_black; }
#side { height: 2fr; border: round ansi_bright_black; padding: 0 1; scrollbar-size: 0 1; }
.wide #list { width: 3fr; height: 100%; }
.wide #side { width: 2fr; height: 100%; }
#needs:focus, #list:focus, #side:focus { border: round ansi_cyan; }
.low #side { display: none; }
.wide.low #side, .opened #side { display: block; }
.low.opened #list { display: none; }
.wide.low.opened #list { display: block; }
#search { display: none; height: 3; dock: bottom; }
#narrow { display: none; }
.tiny #narrow { display: block; height: 100%; }
.tiny #head, .tiny #needs, .tiny #tabs, .tiny #panes, .tiny #foot { display: none; }
ModalScreen { align: center middle; }
#form { width: 80%; max-width: 76; height: auto; max-height: 90%; border: round ansi_cyan; padding: 0 1; }
#form TextArea { height: 7; }
.hint { color: ansi_bright_black; margin-top: 1; }
"""


def put(where: Static, text: Text) -> None:
    """Show a text, unless it is shown already."""
    if getattr(where, "put_before", None) != (text, text.spans):
        where.put_before = (text, text.spans)  # type: ignore[attr-defined]
        where.update(text)


def head(shown: Screen | None, wrong: str, now: float) -> Text:
    """The line with the project, the person, the sessions by state, the exchange and errors."""
    if shown is None:
        return Text(f" {wrong or 'looking…'}", "bold red" if wrong else "dim")
    head = shown.head
    text = Text().append(f" {head.project}", "bold")
    if wrong:  # first, because the line may be cut
        text.append(f"  {wrong}; trying again", "bold red")
    text.append(f"  you are {head.user}", "dim")
    for state, count in head.states:
        text.append("  ").append(f"{count} {state}", COLOURS.get(state, ""))
    if head.remote:
        text.append(f"  {head.remote} ", "cyan").append(
            f"synced {age(head.synced, now)}" if head.synced else "not synced", "dim"
        )
        text.append(f", {head.unsent} to send" if head.unsent else "", "yellow")
    return text


def tabs(shown: Screen, section: int, words: str, width: int) -> Text:
    """The line with the sections and their counts."""
    text = Text()
    for n, tab in enumerate(SECTIONS):
        count = tab.count(shown)
        name = tab.name.capitalize() if width >= 90 else tab.short
        label = f" {n + 1} {name}{f' {count}' if count and width >= 60 else ''} "
        text.append(label, "bold reverse" if n == section else "")
    return text.append(f" /{words}", "yellow") if words else text


def keys(row: Any, section: int, read_only: bool, width: int) -> Text:
    """The keys that do something here, on one line: as many as fit, and always how to learn of the others."""
    choices = [] if read_only else [choice.offer for choice in getattr(row, "choices", ())]
    acts = [(OFFERS[name].key, OFFERS[name].label) for name in choices[:SHOWN]]
    more = [("x", "more")] if len(choices) > SHOWN else []
    new = [] if read_only else [("n", "new task" if SECTIONS[section].name == "board" else "new message")]
    rest = [*more, *new, ("/", "search"), ("?", "help"), ("q", "leave")]
    while acts and sum(len(key) + len(what) + 3 for key, what in (*acts, *rest)) > width:
        acts.pop()
    text = Text(" ")
    for key, what in (*acts, *rest):
        text.append(key, "bold cyan").append(f" {what}  ")
    text.truncate(width)
    return text
