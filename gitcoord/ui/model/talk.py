"""Rows of the conversation: messages as threads, the one with the newest message first, each message with its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gitcoord.text import inert
from gitcoord.ui.facts import Facts
from gitcoord.ui.model.offers import Choice, choice, of_message
from gitcoord.ui.model.words import HELD, body, line, name

if TYPE_CHECKING:
    from gitcoord.features.messages.talk import Said, Talk


class Mark(NamedTuple):
    """The state of a message with one recipient (queued, expired, surfaced, read or acked), and its time."""

    name: str
    state: str
    at: float


class SaidRow(NamedTuple):
    """A message. `mine` was said by the person; `waits` says what the person still owes: reading it or an ack."""

    key: str
    who: str
    to: tuple[str, ...]
    text: str
    at: float
    ledger: tuple[Mark, ...]
    mine: bool
    waits: str
    unread: bool
    urgent: bool
    needs_ack: bool
    attachments: tuple[str, ...]
    choices: tuple[Choice, ...] = ()


class Thread(NamedTuple):
    """A conversation: its sessions, its first and last message, and the number of its messages that wait for the person."""

    key: str
    who: tuple[str, ...]
    subject: str
    last: str
    last_by: str
    at: float
    waits: int
    said: tuple[SaidRow, ...]
    choices: tuple[Choice, ...] = ()


def threads(talk: Talk, facts: Facts) -> tuple[Thread, ...]:
    """The threads of the messages read so far, the newest first."""
    found: dict[str, list[SaidRow]] = {}
    for said in talk.said:
        found.setdefault(said.message.thread, []).append(_said(said, facts))
    return tuple(sorted((_thread(key, said) for key, said in found.items()), key=lambda t: (-t.at, t.key)))


def _thread(key: str, said: list[SaidRow]) -> Thread:
    who = dict.fromkeys(name for row in said for name in (row.who, *row.to))
    last = said[-1]
    waits = sum(1 for row in said if row.waits)
    return Thread(
        key, tuple(who), line(said[0].text, 160), line(last.text, 160), last.who, last.at, waits, tuple(said), _choices(said)
    )


def _choices(said: list[SaidRow]) -> tuple[Choice, ...]:
    """The offers of a thread: ack or read the messages that wait, the oldest first; answer the last one."""
    acks = [choice("ack", id=row.key) for row in said if row.waits == "ack"]
    unread = [row.key for row in said if row.unread]
    read = [choice("read", ids=unread)] if unread else []
    answered = next((row for row in reversed(said) if not row.mine), said[-1])
    return (*acks[:1], choice("reply", id=answered.key), *read)


def _said(said: Said, facts: Facts) -> SaidRow:
    m, here = said.message, facts.clone
    mine = f"{facts.user}@{here}"
    state = next((d.state for d in said.ledger if d.session == mine), "")
    owed = "" if said.held else _owed(state, m.needs_ack)
    unread = owed != "" and state in ("queued", "surfaced")
    return SaidRow(
        m.id,
        name(m.sender, here),
        tuple(name(box, here) for box in m.to),
        HELD if said.held else body(m.text),
        m.at,
        tuple(Mark(name(d.session, here), d.state, d.at) for d in said.ledger),
        m.sender == mine,
        owed,
        unread,
        m.urgent,
        m.needs_ack,
        tuple(inert(file) for file in m.attachments),
        of_message(m.id, owed, unread, bool(m.notice)),
    )


def _owed(state: str, needs_ack: bool) -> str:
    """The answer that the person still owes the sender of a message in this state."""
    if state in ("", "acked", "expired"):
        return ""
    if needs_ack:
        return "ack"
    return "" if state == "read" else "read"
