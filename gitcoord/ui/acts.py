"""The acts of the person in the view: each is checked, done through the API as the person, and answered in a line.

Input from a face may come from a browser: names, types and sizes are checked here, once, before anything is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gitcoord.errors import UsageError
from gitcoord.names import split_mailbox
from gitcoord.text import inert
from gitcoord.ui.model.words import SHORT, line

if TYPE_CHECKING:
    from gitcoord import Coord
    from gitcoord.features.messages.sending import Sent

LONGEST = 64 * 1024
"""Largest length of an argument, as of a message."""
MOST = 200
"""Largest number of items in a list."""


class Act(NamedTuple):
    """An act with its arguments (`text`, `flag`, `number` or `list`); those after the first `needed` may be left out."""

    do: Callable[..., str]
    takes: Mapping[str, str]
    needed: int


def perform(coord: Coord, name: str, arguments: Mapping[str, Any]) -> str:
    """Do one act; returns a line that says what was done. Raises UsageError for invalid arguments, CoordError."""
    act = ACTS.get(name)
    if act is None:
        raise UsageError(f"{name!a} is not an act", "one of " + ", ".join(ACTS))
    checked = _checked(name, act, arguments)
    return act.do(coord, **checked)


def _checked(name: str, act: Act, arguments: Mapping[str, Any]) -> dict[str, Any]:
    needed = list(act.takes)[: act.needed]
    if missing := [key for key in needed if key not in arguments]:
        raise UsageError(f"{name} needs {', '.join(missing)}", f"it takes {', '.join(act.takes)}")
    if odd := [key for key in arguments if key not in act.takes]:
        raise UsageError(f"{name} does not take {odd[0]!a}", f"it takes {', '.join(act.takes)}")
    for key, value in arguments.items():
        if not _fits(value, act.takes[key]):
            raise UsageError(f"{name}: {key} is not a {act.takes[key]} that can be used", f"it takes {', '.join(act.takes)}")
    return dict(arguments)


def _fits(value: object, kind: str) -> bool:
    if kind == "flag":
        return isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100
    if kind == "list":
        return isinstance(value, list) and len(value) <= MOST and all(_fits(item, "text") for item in value)
    return isinstance(value, str) and len(value) <= LONGEST and "\0" not in value


# messages


def _told(sent: Sent, verb: str) -> str:
    names = [inert(split_mailbox(recipient.session)[0]) for recipient in sent.recipients]
    who = f"{len(names)} sessions" if len(names) > 3 else ", ".join(names)
    kept = f"; it stays in this clone, as it has what looks like {sent.kept}" if sent.kept else ""
    return f"{verb} {who} ({sent.id[:SHORT]}){kept}"


def _send(coord: Coord, to: str, text: str, urgent: bool = False, needs_ack: bool = False) -> str:
    boxes = [word for word in to.replace(",", " ").split() if word]
    return _told(coord.messages.send(boxes, text, urgent=urgent, needs_ack=needs_ack), "sent to")


def _reply(coord: Coord, id: str, text: str) -> str:
    return _told(coord.messages.reply(id, text), "answered")


def _ack(coord: Coord, id: str, text: str = "") -> str:
    sent = coord.messages.ack(id, text)
    return _told(sent, "acked, and answered") if sent else f"acked {id[:SHORT]}"


def _read(coord: Coord, ids: list[str]) -> str:
    wanted = set(ids)
    page = [message for message in coord.messages.awaiting(limit=1000).messages if message.id in wanted]
    coord.messages.mark_read(page)
    return f"{len(page)} marked read" if len(page) != 1 else "marked read"


# tasks


def _named(coord: Coord, id: str) -> str:
    task = coord.tasks.show(id)
    return f"{task.id[:SHORT]} {line(task.title, 60)}"


def _add(coord: Coord, title: str, text: str = "", priority: int = 2, needs: list[str] | None = None, to: str = "") -> str:
    task = coord.tasks.add(title, text, priority=priority, needs=needs or (), assignee=to or None)
    return f"filed {task.id[:SHORT]} {line(task.title, 60)}"


def _claim_for(coord: Coord, id: str, to: str) -> str:
    """A session of another clone claims by its own word; it is told that the task is meant for it."""
    if coord.sessions.get(to).local:
        coord.tasks.claim_for(to, id)
        return f"{inert(to)} holds {_named(coord, id)}, and was told"
    coord.tasks.edit(id, assignee=to)
    return f"{inert(to)} was told that {_named(coord, id)} is for it; in another clone, it claims for itself"


def _claim(coord: Coord, id: str) -> str:
    coord.tasks.claim(id)
    return f"you hold {_named(coord, id)}"


def _release(coord: Coord, id: str) -> str:
    coord.tasks.release(id, force=True)
    return f"{_named(coord, id)} is free again"


def _prioritise(coord: Coord, id: str, priority: int) -> str:
    coord.tasks.edit(id, priority=priority)
    return f"{_named(coord, id)} has priority {priority}"


def _reopen(coord: Coord, id: str) -> str:
    coord.tasks.reopen(id)
    return f"{_named(coord, id)} is open again"


def _done(coord: Coord, id: str, text: str = "") -> str:
    coord.tasks.done(id, text, force=True)
    return f"{_named(coord, id)} is done"


def _drop(coord: Coord, id: str) -> str:
    coord.tasks.drop(id)
    return f"{_named(coord, id)} will not be done"


def _comment(coord: Coord, id: str, text: str) -> str:
    coord.tasks.comment(id, text)
    return f"said on {_named(coord, id)}"


# other acts


def _unlock(coord: Coord, patterns: list[str]) -> str:
    released = coord.locks.release(patterns, force=True, as_held=True)
    return f"unlocked {inert(', '.join(pattern for lock in released for pattern in lock.patterns))}"


def _kill(coord: Coord, id: str) -> str:
    job = coord.jobs.kill(id)
    return f"{line(job.name, 60)} was ended"


def _sync(coord: Coord) -> str:
    report = coord.remote.sync(quiet=True)
    return f"exchanged with {inert(report.remote)}"


ACTS: Mapping[str, Act] = {
    "send": Act(_send, {"to": "text", "text": "text", "urgent": "flag", "needs_ack": "flag"}, 2),
    "reply": Act(_reply, {"id": "text", "text": "text"}, 2),
    "ack": Act(_ack, {"id": "text", "text": "text"}, 1),
    "read": Act(_read, {"ids": "list"}, 1),
    "add": Act(_add, {"title": "text", "text": "text", "priority": "number", "needs": "list", "to": "text"}, 1),
    "claim_for": Act(_claim_for, {"id": "text", "to": "text"}, 2),
    "claim": Act(_claim, {"id": "text"}, 1),
    "release": Act(_release, {"id": "text"}, 1),
    "prioritise": Act(_prioritise, {"id": "text", "priority": "number"}, 2),
    "reopen": Act(_reopen, {"id": "text"}, 1),
    "done": Act(_done, {"id": "text", "text": "text"}, 1),
    "drop": Act(_drop, {"id": "text"}, 1),
    "comment": Act(_comment, {"id": "text", "text": "text"}, 2),
    "unlock": Act(_unlock, {"patterns": "list"}, 1),
    "kill": Act(_kill, {"id": "text"}, 1),
    "sync": Act(_sync, {}, 0),
}
