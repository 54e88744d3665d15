"""Tell a holder that another clone ended or took its claim, if that clone wrote no notice. An honest clone writes a notice
with the event; one that pushes only the event would end a claim in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gitcoord.features.tasks.fold import ended_claims, events_of, split_text
from gitcoord.features.tasks.read import WORDS
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.names import split_mailbox
from gitcoord.sessions.mailboxes import display
from gitcoord.store.objects import Oid

MAX_LINES = 20
"""Largest number of tasks that one notice names; it counts the others."""
_STEPS = WORDS.keys() - {"task"}


class _Loss(NamedTuple):
    holder: str
    task: str
    line: str


def tell_holders(clone: Clone, arrived: Sequence[Event]) -> None:
    """Tell sessions of this clone of claims that `arrived` ended without a notice."""
    steps = {event.id: event.data["task"] for event in arrived if event.v == 1 and event.type in _STEPS}
    if not steps:
        return
    notices = [event for event in arrived if event.v == 1 and event.type == "message"]
    told = {(event.data.get("about"), box) for event in notices for box in event.data["to"]}
    lost = clone.read(lambda db: list(_losses(db, clone, steps)))
    losses = [loss for loss in lost if (loss.task, loss.holder) not in told]
    holders = dict.fromkeys(loss.holder for loss in losses)
    if holders:
        drafts = [_notice(holder, [loss for loss in losses if loss.holder == holder]) for holder in holders]
        clone.append(lambda db: drafts, local=True)


def _losses(db: sqlite3.Connection, clone: Clone, steps: Mapping[Oid, str]) -> Iterator[_Loss]:
    here = clone.id or ""
    for task, events in events_of(db, sorted(set(steps.values()))).items():
        for event, holder in ended_claims(events):
            if event.id in steps and clone.has(holder):
                what = "took over" if event.type == "task.claim" else WORDS[event.type]
                title = split_text(events[0].text)[0]
                yield _Loss(holder, task, f"{display(event.sender, here)} {what} {task[:10]} {title}, which you held")


def _notice(holder: str, losses: Sequence[_Loss]) -> Draft:
    lines = [loss.line for loss in losses[:MAX_LINES]]
    if len(losses) > MAX_LINES:
        lines.append(f"{len(losses) - MAX_LINES} more of your tasks: git coord tasks --all")
    facts = {"to": [holder], "notice": "task", "about": losses[0].task}
    return Draft("message", "\n".join(lines), facts, author=split_mailbox(holder)[0])
