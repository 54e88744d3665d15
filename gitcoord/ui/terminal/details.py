"""The pane beside a list: one row in full, with the details read about it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.text import Text

from gitcoord.ui.details import Output, TaskDetail
from gitcoord.ui.model.board import TaskRow
from gitcoord.ui.model.jobs import JobRow
from gitcoord.ui.model.needs import Need
from gitcoord.ui.model.overlaps import LockRow, Pair
from gitcoord.ui.model.people import SessionRow
from gitcoord.ui.model.talk import SaidRow, Thread
from gitcoord.ui.model.timeline import EventRow
from gitcoord.ui.model.words import SHORT, age, left

LEDGER = {"queued": "dim", "expired": "red", "surfaced": "", "read": "green", "acked": "bold green"}


def detail(row: Any, deep: Any, now: float) -> Text:
    """A row in full; `deep` has the details read about it, None before they come."""
    make = _MAKERS.get(type(row))
    return make(row, deep, now) if make else Text()


def question(row: Any) -> tuple[str, dict[str, Any]] | None:
    """The question about a row: a kind of details and its arguments."""
    if isinstance(row, TaskRow):
        return "task", {"id": row.key}
    if isinstance(row, JobRow):
        return "job", {"id": row.key}
    if isinstance(row, SessionRow) and row.name:
        return "session", {"name": row.key}
    return None


def _facts(text: Text, *facts: tuple[str, str]) -> Text:
    """Lines of a name and a value; those without a value are left out."""
    for name, value in facts:
        if value:
            text.append(f"{name:<9}", "dim").append(f"{value}\n")
    return text


def _need(row: Need, deep: Any, now: float) -> Text:
    text = Text().append(f"{row.kind}", "bold").append(f"  {row.who}  {age(row.at, now)}\n\n")
    text.append(row.whole or row.text).append("\n")
    if row.command:
        text.append(f"\n{row.command}\n", "cyan")
    return text


def _session(row: SessionRow, deep: Any, now: float) -> Text:
    text = (
        Text()
        .append(row.name or f"worktree {row.worktree}", "bold")
        .append(f"  {'you' if row.is_user else row.state} {age(row.at, now)}\n\n")
    )
    facts = (("worktree", row.worktree), ("branch", row.branch), ("task", row.task), ("focus", row.focus))
    unread = f"{row.unread} unread" if row.unread else ""
    _facts(text, *facts, ("role", row.role), ("program", row.harness), ("mail", unread))
    if row.files:
        text.append("\n1 file changed\n" if len(row.files) == 1 else f"\n{len(row.files)} files changed\n", "bold").append(
            "".join(f"  {path}\n" for path in row.files)
        )
    if deep:
        text.append("\nlately\n", "bold")
        for event in deep:
            text.append(f"{age(event.at, now):>4} ", "dim").append(f"{event.kind} ", "cyan").append(f"{event.text}\n")
    return text


def _thread(row: Thread, deep: Any, now: float) -> Text:
    text = Text()
    for said in row.said:
        _said(text, said, now)
    return text


def _said(text: Text, row: SaidRow, now: float) -> None:
    marks = (" urgent" if row.urgent else "") + (" asks for an ack" if row.needs_ack else "")
    text.append(row.who, "bold cyan" if row.mine else "bold").append(f" → {', '.join(row.to)}  {age(row.at, now)}", "dim")
    text.append(f"{marks}\n", "yellow").append("".join(f"  {line}\n" for line in row.text.split("\n")))
    if row.attachments:
        text.append(f"  attached: {', '.join(row.attachments)}\n", "cyan")
    for n, mark in enumerate(row.ledger):
        text.append("  " if n == 0 else ", ").append(f"{mark.name} {mark.state}", LEDGER.get(mark.state, ""))
        if mark.state != "queued":
            text.append(f" {age(mark.at, now)}", "dim")
    text.append("\n\n" if row.ledger else "\n")


def _task(row: TaskRow, deep: TaskDetail | None, now: float) -> Text:
    text = Text().append(row.title, "bold").append(f"\n{row.key[:SHORT]}  {row.status}, priority {row.priority}\n\n", "dim")
    holder = f"{row.holder} ({row.holder_state})" if row.holder_state else row.holder
    tentative = "tentative, until the next sync" if row.tentative else ""
    _facts(text, ("held by", holder), ("claim", tentative), ("for", row.assignee), ("labels", ", ".join(row.labels)))
    _facts(text, ("filed by", row.creator), ("because", row.words))
    for title, tasks in (("waits for", row.waits), ("needed by", row.needed_by)):
        if tasks:
            text.append(f"\n{title}\n", "bold").append("".join(f"  {task}\n" for task in tasks))
    if deep and deep.key == row.key:
        text.append(f"\n{deep.text}\n" if deep.text else "").append("\nhistory\n", "bold")
        for step in deep.steps:
            text.append(f"{age(step.at, now):>4} ", "dim").append(step.who, "bold").append(f" {step.what}\n")
            text.append("".join(f"       {line}\n" for line in step.text.split("\n")) if step.text else "")
    return text


def _pair(row: Pair, deep: Any, now: float) -> Text:
    text = Text().append(f"{row.a} and {row.b}\n", "bold")
    for title, style, files in (("will not merge", "red", row.conflicts), ("changed by both, merges", "yellow", row.merges)):
        if files:
            text.append(f"\n{title}\n", style).append("".join(f"  {path}\n" for path in files))
    return text


def _lock(row: LockRow, deep: Any, now: float) -> Text:
    text = Text().append("\n".join(row.patterns), "bold").append("\n\n")
    kind = "shared" if row.shared else "exclusive"
    times = (("since", age(row.at, now)), ("for", f"{left(row.expires, now)} more"))
    return _facts(text, ("held by", row.holder), ("kind", kind), ("reason", row.reason), *times)


def _job(row: JobRow, deep: Output | None, now: float) -> Text:
    text = Text().append(row.name, "bold").append(f"  {row.state}  {row.how}\n\n", "red" if row.failed else "")
    ended = age(row.ended, now) if row.ended else ""
    _facts(text, ("session", row.session), ("command", row.command), ("started", age(row.started, now)), ("ended", ended))
    output = deep.text if deep and deep.key == row.key else row.tail
    return text.append("\noutput\n", "bold").append(output or "(nothing yet)") if output or deep else text


def _event(row: EventRow, deep: Any, now: float) -> Text:
    text = Text().append(f"{row.who}  {row.kind}  {age(row.at, now)}\n{row.key}\n\n", "bold")
    return text.append(row.whole)


_MAKERS: dict[type, Callable[[Any, Any, float], Text]] = {
    Need: _need,
    SessionRow: _session,
    Thread: _thread,
    TaskRow: _task,
    Pair: _pair,
    LockRow: _lock,
    JobRow: _job,
    EventRow: _event,
}
