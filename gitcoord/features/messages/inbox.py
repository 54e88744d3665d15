"""The inbox: the mail of a session, page by page, and conversations."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from gitcoord import lean_json as json
from gitcoord.features.messages.fold import LEDGER
from gitcoord.features.messages.ledger import IN_TIME, PAGE, bounced_first, bounces, my_boxes
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.query import get_event, resolve_id
from gitcoord.log.trust import TRUSTED, is_own, trusted_values
from gitcoord.names import clone_in, mailbox, split_mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import Homes, display, resolve_name
from gitcoord.store.objects import Oid

# events


def notifier(clone: Clone, message: Message) -> str:
    """The author of a notice: gitcoord itself, or another clone's gitcoord."""
    at = clone_in(message.sender)
    return "gitcoord" if is_own(clone, at) else f"gitcoord@{at}"


def sender_of(clone: Clone, message: Message) -> str | None:
    """`from` in JSON: a session, bare when local; of a notice the clone that wrote it, null for this one."""
    if not message.notice:
        return display(message.sender, clone.id)
    who = notifier(clone, message)
    return who if "@" in who else None


class Message(NamedTuple):
    """A message as its recipient sees it. Times are Unix seconds, names are mailboxes; `notice` is gitcoord's own."""

    id: Oid
    sender: str
    to: tuple[str, ...]
    text: str
    at: int
    thread: str
    reply_to: str | None
    urgent: bool
    needs_ack: bool
    state: str
    attachments: tuple[str, ...]
    notice: str


class Inbox(NamedTuple):
    """A page of messages, oldest first, and how many more wait behind it; `held` are unread ones of other clones that
    `coord.requireSigned` keeps back."""

    messages: tuple[Message, ...]
    remaining: int
    held: int = 0


_FACTS = """m.id, m.author, m.clone, m.at, m.thread, m.reply_to, m.urgent, m.needs_ack, m.attachments, m.notice,
       e.text, e.data"""
FACTS = f"{_FACTS}, 0\nFROM events e CROSS JOIN messages m ON m.id = e.id"
"""COLUMNS for readers that are not recipients. The order of the join is fixed: in the order of events, the newest are found
without sorting all."""
COLUMNS = f"""{_FACTS}, max(d.state)
FROM deliveries d JOIN messages m ON m.id = d.message JOIN events e ON e.id = m.id"""
_PAGE = """
SELECT m.id, count(*) OVER () FROM deliveries d JOIN messages m ON m.id = d.message {events}
WHERE d.box IN (SELECT value FROM json_each(?)) AND d.addressed = 1 AND {condition}
GROUP BY m.id ORDER BY m.lc {direction}, m.id {direction} LIMIT ?
"""
_EVENTS = "JOIN events e ON e.id = m.id"
"""The join for conditions on columns of `events`; it doubles the time."""
_UNREAD = f"d.state = 0 AND {IN_TIME}"
_OWED = "(m.needs_ack = 1 AND d.state < 4 AND m.notice = '' AND m.id NOT IN (SELECT message FROM bounces))"


def inbox(
    clone: Clone,
    me: Identity,
    everything: bool = False,
    again: bool = False,
    sender: str | None = None,
    limit: int = PAGE,
    now: float | None = None,
    owed: bool = False,
) -> Inbox:
    """My unread messages, oldest first; `everything` adds read ones, `again` returns the messages that were marked last
    once more, `owed` those that I have not acked as asked.

    With `coord.requireSigned`, other clones' messages without a good signature are only counted in `held`, unless
    `everything`. Marks nothing: call `mark` with the messages that were really shown.
    """
    now = time.time() if now is None else now
    trusted = trusted_values(clone) if not everything else None

    def ask(db: sqlite3.Connection) -> tuple[Inbox, bool]:
        boxes = my_boxes(db, clone, me.name)
        condition, values = _UNREAD, list[object]((int(now),))
        if again:
            condition, values = "m.id IN (SELECT value FROM json_each(?))", [json.dumps(_last_marked(db, clone, me))]
        elif owed:
            condition, values = _OWED, []
        elif everything:
            condition, values = "1", []
        if sender is not None:
            name, at = split_mailbox(resolve_name(db, sender, clone.id))
            condition, values = f"({condition}) AND m.author = ? AND m.clone = ?", [*values, name, at]
        held = 0
        if trusted is not None:
            held = _count(db, boxes, f"({condition}) AND NOT {TRUSTED}", [*values, *trusted])
            condition, values = f"({condition}) AND {TRUSTED}", [*values, *trusted]
        page = _page(db, boxes, condition, values, limit, newest=everything)
        return page._replace(held=held), bool(bounces(db, clone, now))

    return bounced_first(clone, now, ask)


_AWAITING = f"({_UNREAD} OR {_OWED})"


def awaiting(clone: Clone, me: Identity, limit: int = PAGE, now: float | None = None) -> Inbox:
    """Messages that wait for me, oldest first: unread ones, and those that I have not acked as asked.

    Messages that `coord.requireSigned` keeps back are left out, and counted in `held`.
    """
    now = time.time() if now is None else now
    trusted = trusted_values(clone)

    def ask(db: sqlite3.Connection) -> tuple[Inbox, bool]:
        boxes, due = my_boxes(db, clone, me.name), bool(bounces(db, clone, now))
        if trusted is None:
            return _page(db, boxes, _AWAITING, [int(now)], limit, newest=False), due
        held = _count(db, boxes, f"{_AWAITING} AND NOT {TRUSTED}", [int(now), *trusted])
        page = _page(db, boxes, f"{_AWAITING} AND {TRUSTED}", [int(now), *trusted], limit, newest=False)
        return page._replace(held=held), due

    return bounced_first(clone, now, ask)


def _page(
    db: sqlite3.Connection, boxes: Sequence[str], condition: str, values: Sequence[object], limit: int, newest: bool
) -> Inbox:
    mine = json.dumps(list(boxes))
    sql = _PAGE.format(events=_EVENTS if "e." in condition else "", condition=condition, direction="DESC" if newest else "ASC")
    chosen = db.execute(sql, (mine, *values, limit)).fetchall()
    whole = (
        f"SELECT {COLUMNS} WHERE d.box IN (SELECT value FROM json_each(?)) AND d.addressed = 1"
        " AND m.id IN (SELECT value FROM json_each(?)) GROUP BY m.id ORDER BY m.lc, m.id"
    )
    rows = db.execute(whole, (mine, json.dumps([oid for oid, _ in chosen]))).fetchall()
    return Inbox(tuple(message_of(row) for row in rows), (chosen[0][1] if chosen else 0) - len(chosen))


def _count(db: sqlite3.Connection, boxes: Sequence[str], condition: str, values: Sequence[object]) -> int:
    sql = _PAGE.format(events=_EVENTS, condition=condition, direction="ASC")
    row = db.execute(sql, (json.dumps(list(boxes)), *values, 1)).fetchone()
    return int(row[1]) if row else 0


def _last_marked(db: sqlite3.Connection, clone: Clone, me: Identity) -> list[str]:
    rows = db.execute(
        "SELECT data FROM events WHERE type = 'receipt' AND clone = ? AND author = ? ORDER BY lc DESC, id DESC LIMIT 20",
        (clone.id, me.name),
    )
    found = (json.loads(data) for (data,) in rows)
    return next((d["ids"] for d in found if d.get("state") in ("read", "surfaced")), [])


def message_of(row: tuple[Any, ...]) -> Message:
    """A message from a row of COLUMNS."""
    oid, author, clone, at, thread, reply_to, urgent, needs_ack, attachments, notice, text, data, state = row
    to = tuple(json.loads(data).get("to", ()))
    return Message(
        oid, mailbox(author, clone), to, text, at, thread, reply_to, bool(urgent), bool(needs_ack), LEDGER[state],
        tuple(json.loads(attachments)), notice,
    )  # fmt: skip


def unread_among(db: sqlite3.Connection, boxes: Collection[str], ids: Sequence[str]) -> set[str]:
    """Those of some messages that are unread in one of some mailboxes."""
    rows = db.execute(
        "SELECT message FROM deliveries WHERE state = 0 AND addressed = 1 AND message IN (SELECT value FROM json_each(?))"
        " AND box IN (SELECT value FROM json_each(?))",
        (json.dumps(list(ids)), json.dumps(list(boxes))),
    )
    return {message for (message,) in rows}


def unread_counts(db: sqlite3.Connection) -> dict[str, int]:
    """The number of unread messages of each mailbox; former names count for the present one."""
    found: dict[str, int] = {}
    homes = Homes(db)
    unread = "SELECT box, count(*) FROM deliveries WHERE state = 0 AND addressed = 1"
    # few messages bounce: checking each unread one costs ten times as much as the count
    bounced = f"{unread} AND message IN (SELECT message FROM bounces) GROUP BY box"
    for sign, query in ((1, f"{unread} GROUP BY box"), (-1, bounced)):
        for box, count in db.execute(query).fetchall():
            home = homes.of(box)
            found[home] = found.get(home, 0) + sign * count
    return {box: count for box, count in found.items() if count}


def thread(clone: Clone, prefix: str) -> list[Event]:
    """A whole conversation, oldest first."""

    def ask(db: sqlite3.Connection) -> list[Event]:
        oid = resolve_id(db, prefix, "message")
        (first,) = db.execute("SELECT thread FROM messages WHERE id = ?", (oid,)).fetchone()
        ids = db.execute(
            "SELECT id FROM messages WHERE (thread = ?1 AND thread != id) OR (id = ?1 AND thread = ?1) ORDER BY lc, id",
            (first,),
        ).fetchall()
        return [get_event(db, found) for (found,) in ids]

    return clone.read(ask)


def unread_notices(db: sqlite3.Connection, clone: Clone, box: str, notice: str, about: str) -> list[Oid]:
    """Unseen notices of this clone about something, in a mailbox."""
    query = (
        "SELECT m.id FROM deliveries d JOIN messages m ON m.id = d.message JOIN events e ON e.id = m.id"
        " WHERE d.box = ? AND d.state = 0 AND d.addressed = 1 AND m.clone = ? AND m.notice = ?"
        " AND json_extract(e.data, '$.about') = ? ORDER BY m.lc"
    )
    return [Oid(oid) for (oid,) in db.execute(query, (box, clone.id, notice, about))]
