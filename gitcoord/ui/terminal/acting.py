"""The acts of the person in the terminal view: forms and questions, then the act, then its answer in the last line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

from rich.text import Text
from textual.app import App
from textual.message import Message

from gitcoord.errors import CoordError
from gitcoord.text import one_line
from gitcoord.ui.desk import News
from gitcoord.ui.model.offers import ANYWHERE, OFFERS, Choice
from gitcoord.ui.model.screen import Screen
from gitcoord.ui.terminal import listings
from gitcoord.ui.terminal.forms import Form, Menu, Question, Values
from gitcoord.ui.terminal.rows import Rows

SAID_FOR = 8.0
"""Seconds for which the answer to an act stays."""


class Source(Protocol):
    """The source of the view: the desk, or a test's replacement."""

    read_only: bool

    def start(self, tell: Callable[[News], None], wrote: Callable[[str], None]) -> None: ...
    def stop(self) -> None: ...
    def act(self, name: str, arguments: Mapping[str, Any]) -> Future[str]: ...
    def ask(self, kind: str, arguments: Mapping[str, Any]) -> Future[Any]: ...
    def more(self, page: str, whole: bool = False) -> None: ...
    def look_again(self) -> None: ...


class Arrived(Message):
    """A message from another thread; `take` is called with it."""

    def __init__(self, take: Callable[[], None]) -> None:
        super().__init__()
        self.take = take


class Acting(App[None]):
    """The part of the view that acts."""

    def __init__(self, source: Source) -> None:
        # Textual chooses its filter before it knows the theme, and for another one than ours it is black on black
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.source = source
        self.shown: Screen | None = None
        self.section = 0
        self.said = Text()
        """The answer to the last act, for a while."""
        self._drafts: dict[str, Values] = {}
        """The values of the forms of failed acts, which the forms show again."""

    @property
    def current(self) -> Rows:
        """The list that keys are meant for."""
        raise NotImplementedError

    def redraw_rest(self) -> None:
        """Draw the tabs, the details and the last line."""
        raise NotImplementedError

    def later(self, take: Callable[[], None]) -> None:
        """Call a function in the view's thread, from any thread."""
        self.post_message(Arrived(take))

    def on_arrived(self, message: Arrived) -> None:
        message.take()

    def action_new(self) -> None:
        """Write a message or, on the board, file a task."""
        self.perform(Choice("add" if listings.SECTIONS[self.section].name == "board" else "send", {}))

    def action_offer(self, name: str) -> None:
        """Do the offer of a key, if the row has it."""
        found = next((choice for choice in self.choices() if choice.offer == name), None)
        if found is not None:
            self.perform(found)
        elif name in ANYWHERE:
            self.perform(Choice(name, {}))

    def action_menu(self) -> None:
        """Show all offers of the row."""
        offers = [(choice.offer, OFFERS[choice.offer]) for choice in self.choices()]
        self.push_screen(Menu(offers), lambda name: self.action_offer(name) if name else None)

    def choices(self) -> tuple[Choice, ...]:
        """The offers of the row under the cursor."""
        row = self.current.row
        return tuple(row.choices) if row is not None and hasattr(row, "choices") else ()

    def perform(self, choice: Choice) -> None:
        """Ask the questions of an offer, then act."""
        offer = OFFERS[choice.offer]
        if self.source.read_only:
            self.say(Text(" this view only looks on (--read-only)", "yellow"))
            return
        fields = [field for field in offer.fields if field.name not in choice.given]
        if offer.asks:
            self.push_screen(
                Question(offer.asks, self._about()), lambda yes: self.act(offer.act, choice.given) if yes else None
            )
        elif fields:
            title = f"{offer.label} {choice.given.get('to', '')}".strip().capitalize()
            form = Form(title, fields, self._names(), self._drafts.get(str(choice), {}))
            self.push_screen(form, lambda values: self._filled(choice, values))
        else:
            self.act(offer.act, choice.given)

    def _about(self) -> str:
        """The row under the cursor, on one line."""
        found = [entry for entry in self.current.listing.entries if entry.key == self.current.key]
        return one_line("  ".join(cell.text.strip() for entry in found for cell in entry.cells if cell.text.strip()))

    def _names(self) -> list[str]:
        return list(self.shown.names) if self.shown else []

    def _filled(self, choice: Choice, values: Values | None) -> None:
        if values is not None:
            self._drafts[str(choice)] = values
            self.act(OFFERS[choice.offer].act, {**choice.given, **values}, str(choice))

    def act(self, act: str, arguments: Mapping[str, Any], draft: str = "") -> None:
        """Do an act as the person; the answer is shown when it comes. What fails keeps its draft."""
        try:
            answer = self.source.act(act, arguments)
        except CoordError as error:
            self.say(failure(error))
            return
        answer.add_done_callback(lambda done: self.later(lambda: self._done(done, draft)))

    def _done(self, done: Future[str], draft: str) -> None:
        self.source.look_again()
        error = done.exception()
        if error is None:
            self._drafts.pop(draft, None)
        self.say(Text(f" {done.result()}", "green") if error is None else failure(error))

    def say(self, text: Text) -> None:
        """Show a text in the last line, for a while."""
        self.said = text
        self.redraw_rest()
        self.set_timer(SAID_FOR, lambda: self._unsay(text))

    def _unsay(self, text: Text) -> None:
        if self.said is text:
            self.said = Text()
            self.redraw_rest()


def failure(error: BaseException | None) -> Text:
    """An error with its hint."""
    if isinstance(error, CoordError):
        hint = f"  ({one_line(error.hint, 200)})" if error.hint else ""
        return Text(f" {one_line(error.what, 300)}{hint}", "bold red")
    return Text(f" {type(error).__name__}: {one_line(str(error), 200)}", "bold red")
