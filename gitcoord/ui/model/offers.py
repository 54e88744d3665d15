"""The offers of both faces: the key, the label, the fields to fill in, and the question to ask first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Field(NamedTuple):
    """A field to fill in: a `line`, a `text` of several lines, a `flag`, a `priority`, the `name` of a session, or whom
    to write to: a `session` or several."""

    name: str
    label: str
    kind: str
    needed: bool = True


class Offer(NamedTuple):
    """An act as it is offered. `asks` is the question before an act that takes something away from somebody."""

    act: str
    key: str
    label: str
    fields: tuple[Field, ...] = ()
    asks: str = ""


class Choice(NamedTuple):
    """An offer for one row, by its name, with the arguments that the row gives to the act."""

    offer: str
    given: Mapping[str, Any]


_TEXT = Field("text", "Text", "text")
OFFERS: Mapping[str, Offer] = {
    "reply": Offer("reply", "r", "reply", (Field("text", "Answer", "text"),)),
    "ack": Offer("ack", "a", "ack"),
    "read": Offer("read", "m", "mark read"),
    "write": Offer("send", "w", "write", (Field("to", "To", "session"), _TEXT)),
    "send": Offer(
        "send", "n", "new message",
        (Field("to", "To", "session"), _TEXT, Field("urgent", "Urgent", "flag"), Field("needs_ack", "Ask for an ack", "flag")),
    ),
    "comment": Offer("comment", "c", "comment", (Field("text", "Comment", "text"),)),
    "claim for": Offer("claim_for", "f", "claim for", (Field("to", "For which session", "name"),)),
    "claim": Offer("claim", "y", "claim myself"),
    "release": Offer("release", "e", "release", (), "Take this task from who holds it? They are told."),
    "reopen": Offer("reopen", "o", "reopen"),
    "prioritise": Offer("prioritise", "p", "priority", (Field("priority", "Priority, 0 is the highest", "priority"),)),
    "done": Offer("done", "d", "done", (), "Finish this task for its holder? They are told."),
    "drop": Offer("drop", "D", "drop", (), "Drop this task? It will not be done."),
    "add": Offer(
        "add", "n", "new task",
        (
            Field("title", "Title", "line"),
            Field("text", "More about it", "text", False),
            Field("priority", "Priority, 0 is the highest", "priority", False),
            Field("to", "For which session", "name", False),
        ),
    ),
    "unlock": Offer("unlock", "u", "unlock", (), "End this lock? Its holder is told."),
    "kill": Offer("kill", "K", "kill", (), "End this job, with all processes of its group?"),
    "sync": Offer("sync", "s", "sync now"),
}  # fmt: skip
"""The offers by name. Two offers may have the same act."""

ANYWHERE = ("send", "add", "sync")
"""The offers that need no row."""


def choice(offer: str, **given: Any) -> Choice:
    """An offer for a row."""
    return Choice(offer, given)


def of_message(id: str, waits: str, unread: bool, notice: bool = False) -> tuple[Choice, ...]:
    """The offers for a message that waits for an `ack`, or to be `read`."""
    read = (choice("read", ids=[id]),) if unread else ()
    if notice:
        return read
    ack = (choice("ack", id=id),) if waits == "ack" else ()
    return (*ack, choice("reply", id=id), *read)


def of_session(name: str) -> tuple[Choice, ...]:
    """The offers for a session that can be written to."""
    return (choice("write", to=name),) if name else ()


def of_task(id: str, status: str, held: bool, orphaned: bool = False) -> tuple[Choice, ...]:
    """The offers for a task in its present state; `orphaned`: a session that is gone holds it."""
    if status in ("done", "dropped"):
        return (choice("reopen", id=id), choice("comment", id=id))
    back = (choice("release", id=id),) if held else ()
    blocked = (choice("reopen", id=id),) if status == "blocked" else ()
    free = (choice("claim for", id=id), choice("claim", id=id)) if status == "open" or orphaned else ()
    return (*blocked, *free[:1], *back, *(choice(name, id=id) for name in ("prioritise", "comment", "done", "drop")), *free[1:])
