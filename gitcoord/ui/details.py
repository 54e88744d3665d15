"""Read one item in depth, on demand: a task with its history, a session's events, a job's output, a search."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gitcoord.errors import CoordError, UsageError
from gitcoord.ui.facts import FURTHEST, Facts, gather
from gitcoord.ui.model.talk import Thread, threads
from gitcoord.ui.model.timeline import EventRow, timeline
from gitcoord.ui.model.words import HELD, body, line, name

if TYPE_CHECKING:
    from gitcoord import Coord

TAIL = 16 * 1024
"""Bytes of a job's output that are shown, from its end."""
HISTORY = 100
"""Events of one session that are shown at first."""


class Step(NamedTuple):
    """An act on a task, or a comment."""

    at: float
    who: str
    what: str
    text: str


class TaskDetail(NamedTuple):
    """A task with all acts and comments, oldest first."""

    key: str
    title: str
    text: str
    filed_by: str
    at: float
    steps: tuple[Step, ...]


class Output(NamedTuple):
    """The end of a job's output, or why it is not here; `size` is the number of bytes of the whole output."""

    key: str
    text: str
    size: int
    running: bool


def task(coord: Coord, id: str) -> TaskDetail:
    """A task in depth. Raises UsageError for an unknown id."""
    found, here = coord.tasks.show(id), coord.clone_id
    held = coord.trust.held_back([found.id, *(s.id for s in found.history), *(c.id for c in found.comments)])
    steps = [
        Step(
            s.at, name(s.sender, here), s.what + (" (void: another was quicker)" if s.void else ""), _words(s.id, s.text, held)
        )
        for s in found.history
    ]
    steps += [Step(c.at, name(c.sender, here), "says", _words(c.id, c.text, held)) for c in found.comments]
    steps.sort(key=lambda step: step.at)
    title, text = (HELD, "") if found.id in held else (line(found.title), body(found.text))
    return TaskDetail(found.id, title, text, name(found.creator, here), found.at, tuple(steps))


def _words(id: str, text: str, held: Collection[str]) -> str:
    return HELD if text and id in held else body(text, 4000)


def session(coord: Coord, name: str, limit: int = HISTORY) -> tuple[EventRow, ...]:
    """The events of one session, the newest first. Raises UsageError for an unknown name."""
    events = coord.events.log(session=name, limit=min(limit, FURTHEST))
    return timeline(events, coord.clone_id, coord.trust.held_back([event.id for event in events]))


def job(coord: Coord, id: str) -> Output:
    """The end of a job's output. Raises UsageError for an unknown id."""
    found = coord.jobs.get(id)
    try:
        written = coord.jobs.log(found.id)
    except CoordError as error:
        return Output(found.id, line(error.what), 0, found.state == "running")
    text = written[-TAIL:].decode("utf-8", "replace")
    return Output(found.id, body(_settled(text)), len(written), found.state == "running")


def _settled(text: str) -> str:
    """The output with only the last state of each line that was overwritten (a progress bar)."""
    return "\n".join(part.rstrip("\r").rpartition("\r")[2] for part in text.split("\n"))


def talk(coord: Coord, words: str = "", session: str = "", notices: bool = False, limit: int = 100) -> tuple[Thread, ...]:
    """The conversation of one session, or with some words in it. Raises UsageError for an unknown name."""
    facts: Facts = gather(coord, time.time())
    found = coord.messages.recent(
        limit=min(limit, FURTHEST), words=words[:200], session=session or None, notices=notices
    )  # fmt: skip
    return threads(found, facts)


DETAILS: Mapping[str, tuple[Callable[..., Any], Mapping[str, type]]] = {
    "task": (task, {"id": str}),
    "session": (session, {"name": str, "limit": int}),
    "job": (job, {"id": str}),
    "talk": (talk, {"words": str, "session": str, "notices": bool, "limit": int}),
}


def ask(coord: Coord, kind: str, arguments: Mapping[str, Any]) -> Any:
    """The rows about one item. Raises UsageError for an invalid question."""
    if kind not in DETAILS:
        raise UsageError(f"{kind!a} is not a thing to be shown", "one of " + ", ".join(DETAILS))
    look, takes = DETAILS[kind]
    for key, value in arguments.items():
        if type(value) is not takes.get(key) or (isinstance(value, int) and not 0 <= value <= FURTHEST):
            raise UsageError(f"{kind}: {key!a} cannot be {value!a:.60}", f"it takes {', '.join(takes)}")
    try:
        return look(coord, **arguments)
    except TypeError:
        raise UsageError(f"{kind} needs more", f"it takes {', '.join(takes)}") from None
