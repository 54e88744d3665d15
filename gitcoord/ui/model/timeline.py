"""Rows of the timeline: every event, the newest first."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.ui.model.words import HELD, body, line, name

if TYPE_CHECKING:
    from gitcoord.log.event import Event


class EventRow(NamedTuple):
    """An event: its time, type, author and first line."""

    key: str
    at: float
    kind: str
    who: str
    text: str
    whole: str


def timeline(events: Iterable[Event], here: str, held: Collection[str]) -> tuple[EventRow, ...]:
    """Events as rows, in their order; without the words of those that are `held` back."""
    told = ((e, HELD if e.id in held else e.text) for e in events)
    return tuple(
        EventRow(e.id, e.at, line(e.type, 40), name(e.sender, here), line(text, 200), body(text, 4000)) for e, text in told
    )
