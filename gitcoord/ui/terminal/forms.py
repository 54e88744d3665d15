"""Dialogs on top of the view: forms, questions, the menu, the help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Checkbox, Input, Label, Static, TextArea

from gitcoord.ui.model.offers import OFFERS, Field, Offer

Values = dict[str, Any]
PLACEHOLDERS = {"session": "NAME, all or role:ROLE", "name": "NAME"}
"""For the kinds of fields that name sessions."""


class Words(TextArea):
    """A text of several lines: Enter sends, Ctrl-J (or Alt-Enter) begins a new line."""

    class Sent(Message):
        """Enter was pressed."""

    async def _on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.post_message(self.Sent())
        elif event.key in ("ctrl+j", "alt+enter", "shift+enter"):
            event.stop()
            event.prevent_default()
            self.insert("\n")
        else:
            await super()._on_key(event)


class Form(ModalScreen[Values | None]):
    """The fields of an offer; the answer is their values, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave"), Binding("ctrl+s", "send", "send")]

    def __init__(self, title: str, fields: Sequence[Field], names: Sequence[str], draft: Mapping[str, Any]) -> None:
        super().__init__()
        self._title, self._fields, self._names, self._draft = title, fields, names, draft

    def compose(self) -> ComposeResult:
        with Vertical(id="form") as box:
            box.border_title = self._title
            for field in self._fields:
                if field.kind != "flag":
                    yield Label(field.label if field.needed else f"{field.label} (may be empty)", markup=False)
                yield self._widget(field)
            yield Static("Enter sends · Tab goes on · Ctrl-J new line · Esc leaves", classes="hint", markup=False)

    def _widget(self, field: Field) -> Widget:
        known = self._draft.get(field.name, "")
        if field.kind == "text":
            return Words(known, id=field.name, tab_behavior="focus", show_line_numbers=False)
        if field.kind == "flag":
            return Checkbox(field.label, bool(known), id=field.name)
        if field.kind == "priority":
            return Input(str(known) or ("" if field.needed else "2"), id=field.name, restrict="[0-4]?", max_length=1)
        suggester = SuggestFromList(self._names) if field.kind in PLACEHOLDERS else None
        return Input(known, id=field.name, suggester=suggester, placeholder=PLACEHOLDERS.get(field.kind, ""))

    def on_mount(self) -> None:
        self.query_one(f"#{self._fields[0].name}").focus()

    def on_input_submitted(self) -> None:
        self.action_send()

    def on_words_sent(self) -> None:
        self.action_send()

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_send(self) -> None:
        """Return the values, or go to a missing field."""
        values: Values = {}
        for field in self._fields:
            value = self._value(field)
            if field.needed and value in ("", None):
                self.query_one(f"#{field.name}").focus()
                return
            if value not in ("", None):
                values[field.name] = value
        self.dismiss(values)

    def _value(self, field: Field) -> Any:
        widget = self.query_one(f"#{field.name}")
        if isinstance(widget, Words):
            return widget.text.strip()
        if isinstance(widget, Checkbox):
            return widget.value
        text = widget.value.strip() if isinstance(widget, Input) else ""
        return int(text) if field.kind == "priority" and text else text


class Question(ModalScreen[bool]):
    """A question before an act that takes something away; only `y` says yes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "answer(True)", "yes"), Binding("n,escape", "answer(False)", "no")]

    def __init__(self, text: str, about: str) -> None:
        super().__init__()
        self._text, self._about = text, about

    def compose(self) -> ComposeResult:
        with Vertical(id="form") as box:
            box.border_title = "Sure?"
            yield Static(self._text, markup=False)
            yield Static(self._about, classes="hint", markup=False)
            yield Static("y does it · n leaves it", classes="hint", markup=False)

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


MOVING = (
    ("j k, ↓ ↑", "move"), ("< >, g G", "first and last"), ("Ctrl-D Ctrl-U", "a page down, up"), ("0", "what needs you"),
    ("1 … 6, [ ]", "the sections"), ("Tab", "the next pane"), ("Enter", "open, or go to what it is about"),
    ("Esc", "back, or show all again"), ("/", "search: words, or @NAME for one session's messages"),
    ("x", "all that can be done to this row"), (": or Ctrl-P", "every command, by name"), ("R", "look again now"),
    ("?", "this help"), ("q", "leave"),
)  # fmt: skip


class Help(ModalScreen[None]):
    """The keys."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss(None)", "back")]

    def compose(self) -> ComposeResult:
        lines = [f"{keys:<14} {what}" for keys, what in MOVING]
        acts = [f"{offer.key:<14} {offer.label}" for name, offer in OFFERS.items() if name not in ("send", "add")]
        text = "\n".join([*lines, "n              new message; on the board: new task", "", "Where it fits the row:", *acts])
        with VerticalScroll(id="form") as box:
            box.border_title = "Keys"
            yield Static(text, markup=False)


class Menu(ModalScreen[str | None]):
    """The offers of a row; the key of one does it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,x,q", "dismiss(None)", "back")]

    def __init__(self, offers: Sequence[tuple[str, Offer]]) -> None:
        super().__init__()
        self._offers = offers

    def compose(self) -> ComposeResult:
        with Vertical(id="form") as box:
            box.border_title = "What to do"
            lines = [f"{offer.key}  {offer.label}" for _, offer in self._offers]
            yield Static("\n".join(lines) or "Nothing can be done to this row.", markup=False)

    def on_key(self, event: events.Key) -> None:
        for name, offer in self._offers:
            if event.character == offer.key:
                event.stop()
                self.dismiss(name)
                return
