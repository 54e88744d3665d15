"""Rows of what waits for the person: the most pressing kind first, the oldest of each first, each with its action."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.text import span
from gitcoord.ui.facts import Facts
from gitcoord.ui.model.board import TaskRow, pressing
from gitcoord.ui.model.jobs import JobRow, failed
from gitcoord.ui.model.offers import Choice, choice, of_message, of_session
from gitcoord.ui.model.overlaps import Pair
from gitcoord.ui.model.people import SessionRow
from gitcoord.ui.model.words import SHORT, body, line, name

if TYPE_CHECKING:
    from gitcoord.features.messages.inbox import Message


class Need(NamedTuple):
    """Something that waits for the person. `choices` are the possible acts, the likeliest first; if there are none,
    `command` is the command to type. `section` and `about` lead to the row that it is about."""

    key: str
    kind: str
    who: str
    text: str
    at: float | None
    choices: tuple[Choice, ...] = ()
    section: str = ""
    about: str = ""
    whole: str = ""
    urgent: bool = False
    command: str = ""


def needs(facts: Facts, waiting: tuple[SessionRow, ...], pairs: tuple[Pair, ...], jobs: tuple[JobRow, ...]) -> tuple[Need, ...]:
    """All that waits for the person; empty when all is well."""
    tasks = pressing(facts)
    return (
        *_messages(facts),
        *_waiting(waiting),
        *_conflicts(pairs),
        *_blocked(tasks),
        *_failed(jobs),
        *_died(tasks),
        *_lost(facts),
        *_trouble(facts),
    )


def _messages(facts: Facts) -> Iterator[Need]:
    for message in facts.awaiting.messages:
        yield _message(message, facts)
    if facts.awaiting.remaining:
        more = f"{facts.awaiting.remaining} more messages wait behind these"
        yield Need("more", "message", "", more, None, command="git coord inbox")
    if facts.awaiting.held:
        what = f"{facts.awaiting.held} messages of other clones are held back: they are not signed"
        yield Need("held", "trust", "", what, None, command="git coord inbox --all")


def _message(m: Message, facts: Facts) -> Need:
    is_read = m.state in ("read", "acked")
    kind = "ack" if m.needs_ack else "message"
    who = "gitcoord" if m.notice else name(m.sender, facts.clone)
    text = ("asks for an ack: " if m.needs_ack and is_read else "") + line(m.text)
    choices = of_message(m.id, "ack" if m.needs_ack else "read", not is_read, bool(m.notice))
    return Need(m.id, kind, who, text, m.at, choices, "conversation", m.thread, body(m.text), m.urgent)


def _waiting(waiting: tuple[SessionRow, ...]) -> Iterator[Need]:
    for row in sorted(waiting, key=lambda row: row.at or 0):
        where = f" in {row.worktree}" if row.worktree else ""
        what = f"waits for its human{where}: {row.focus}" if row.focus else f"waits for its human{where}"
        yield Need(f"waiting {row.key}", "waiting", row.name, what, row.at, row.choices, "sessions", row.key)


def _conflicts(pairs: tuple[Pair, ...]) -> Iterator[Need]:
    for pair in pairs:
        if pair.conflicts:
            count = len(pair.conflicts)
            files = f"{count} files, {', '.join(pair.conflicts[:3])}" if count > 1 else pair.conflicts[0]
            whole = "\n".join(pair.conflicts)
            who = f"{pair.a}, {pair.b}"
            text = f"will not merge: {files}"
            yield Need(f"conflict {pair.key}", "conflict", who, text, None, pair.choices, "overlaps", pair.key, whole)


def _blocked(tasks: tuple[TaskRow, ...]) -> Iterator[Need]:
    for task in sorted((task for task in tasks if task.status == "blocked"), key=lambda task: task.at):
        text = f"{task.title}: {task.words}" if task.words else task.title
        who = task.holder or task.creator
        choices = (choice("comment", id=task.key), *(c for c in task.choices if c.offer != "comment"))
        yield Need(f"task {task.key}", "blocked", who, text, task.at, choices, "board", task.key)


def _failed(jobs: tuple[JobRow, ...]) -> Iterator[Need]:
    for job in sorted(failed(jobs), key=lambda job: job.ended or 0):
        last = job.tail.strip().rpartition("\n")[2]
        text = f"{job.name}: {job.how}" + (f": {line(last, 120)}" if last else "")
        yield Need(f"job {job.key}", "failed", job.session, text, job.ended, job.choices, "jobs", job.key, job.tail)


def _died(tasks: tuple[TaskRow, ...]) -> Iterator[Need]:
    for task in sorted((task for task in tasks if task.status == "claimed"), key=lambda task: task.at):
        text = f"is gone and held {task.key[:SHORT]} {task.title}"
        yield Need(f"died {task.key}", "died", task.holder, text, task.at, task.choices, "board", task.key)


def _lost(facts: Facts) -> Iterator[Need]:
    """Lost acts whose task continues elsewhere, except those of sessions that are gone."""
    going = {task.id: task for task in facts.board.tasks if task.status not in ("done", "dropped")}
    here = {f"{session.session}@{session.clone}" for session in facts.sessions}
    for loss in facts.lost:
        task = going.get(loss.task)
        if task and task.id not in facts.board.held and task.holder != loss.by and (loss.by in here or not loss.taken):
            who = name(loss.by, facts.clone)
            by = f": {name(task.holder, facts.clone)} {'took it over' if loss.taken else 'holds it'}" if task.holder else ""
            text = f"lost its {loss.kind} of {task.id[:SHORT]} {line(task.title)}{by}"
            yield Need(f"lost {loss.id}", "lost", who, text, loss.at, of_session(who), "board", task.id)


def _trouble(facts: Facts) -> Iterator[Need]:
    trouble = facts.trouble
    if trouble.sync and trouble.sync.error:
        what = f"with {trouble.sync.remote} failed: {trouble.sync.error}"
        at = trouble.sync.at
        yield Need("sync", "sync", "", line(what, 300), at, (choice("sync"),), whole=body(what, 2000), command="git coord sync")
    if trouble.sync and trouble.sync.refused:
        what = f"{trouble.sync.remote} rejects: {', '.join(trouble.sync.refused)}"
        yield Need("refused", "sync", "", line(what, 300), None, command="git coord doctor")
    for doubt in trouble.warnings:
        text = line(doubt.what, 300)
        yield Need(f"trust {doubt.clone}", "trust", line(doubt.clone, 60), text, None, command=line(doubt.command))
    for strange in trouble.malformed:
        events = "1 malformed event" if strange.events == 1 else f"{strange.events} malformed events"
        what = f"{events}: {strange.reason}"
        yield Need(f"odd {strange.clone}", "trust", line(strange.clone, 60), line(what), None, command="git coord status")
    for out in trouble.left_out:
        yield Need(f"out {out.clone}", "trust", line(out.clone, 60), line(out.why), None, command="git coord status")


def quiet_for(facts: Facts, now: float) -> str:
    """The line for a view in which nothing needs the person."""
    newest = max((e.at for e in facts.events[:1]), default=None)
    return "Nothing needs you." + (f" The last event was {span(max(0.0, now - newest))} ago." if newest else "")
