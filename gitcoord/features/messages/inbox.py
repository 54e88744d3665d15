"""Messages: sent to mailboxes, tracked until acked.

The ledger of a message has one row a recipient: queued < expired < surfaced < read < acked, the highest wins. A receipt
speaks only for sessions of the clone that wrote it, a bounce only for messages of the clone that wrote it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from gitcoord.features.messages.ledger import EXPIRED, LEDGER, PAGE, QUEUED, SURFACED, bounced_first, bounces, my_boxes
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Concern, Feature
from gitcoord.log.query import get_event, resolve_id
from gitcoord.log.schemas import ATTACHMENT, FLAG, GROUP, ID, IDS, MAILBOX, NAME, TIME, Schema, line, listed, one_of
from gitcoord.names import is_name, mailbox, split_mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import canonical, display, put_name, resolve_name
from gitcoord.store.objects import Oid

MAX_RECIPIENTS = 1000

# events


def _fold(db: sqlite3.Connection, event: Event) -> None:
    if event.type == "message":
        _fold_message(db, event)
    elif event.type == "receipt":
        _fold_receipt(db, event)
    else:
        _fold_adopt(db, event)


def _fold_message(db: sqlite3.Connection, event: Event) -> None:
    data = event.data
    notice, attachments = data.get("notice", ""), data.get("attachments")
    row = (
        event.id, event.lc, event.clone, event.author, event.at, data.get("thread") or event.id, data.get("reply_to"),
        data.get("urgent", False), data.get("needs_ack", False), data.get("expires", 0),
        json.dumps(attachments) if attachments else "[]", notice,
    )  # fmt: skip
    db.execute("INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    for box in data.get("to", ()):
        _raise_ledger(db, event.id, box, QUEUED, event.at, addressed=True)
        for old in data.get("replaces", ()) if notice else ():
            _replace(db, old, box, event)
    for name in data.get("opens", ()):
        db.execute("INSERT OR IGNORE INTO names VALUES (?, ?, NULL, 0, '')", (event.clone, name))
    if notice == "bounce":
        db.execute("INSERT OR IGNORE INTO bounces VALUES (?, ?)", (data["about"], event.clone))


def _replace(db: sqlite3.Connection, old: str, box: str, event: Event) -> None:
    """A notice says again what an earlier one of the same clone said: who has not seen that one need not."""
    if db.execute("SELECT 1 FROM messages WHERE id = ? AND clone = ? AND notice != ''", (old, event.clone)).fetchone():
        _raise_ledger(db, old, box, EXPIRED, event.at)


def _fold_receipt(db: sqlite3.Connection, event: Event) -> None:
    """It counts for the writing clone's own mailboxes and those it adopted; others wait for an adoption."""
    origin = event.data.get("of", event.clone)
    box, ids = mailbox(event.data["session"], origin), event.data["ids"]
    if event.data.get("part"):
        rows = [(message, box, event.clone, event.at) for message in ids]
        db.executemany("INSERT INTO glimpses VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET at = min(at, excluded.at)", rows)
        return
    state = LEDGER.index(event.data["state"])
    adopted = db.execute("SELECT 1 FROM adoptions WHERE box = ? AND clone = ?", (box, event.clone)).fetchone()
    for message in ids:
        if origin == event.clone or adopted:
            _raise_ledger(db, message, box, state, event.at)
        else:
            parked = (message, box, event.clone, state, event.at)
            db.execute("INSERT OR IGNORE INTO parked VALUES (?, ?, ?, ?, ?)", parked)


def _fold_adopt(db: sqlite3.Connection, event: Event) -> None:
    name, origin = event.data["session"], event.data["from"]
    box = mailbox(name, origin)
    put_name(db, event, origin, name, mailbox(name, event.clone))
    put_name(db, event, event.clone, name, None)
    db.execute("INSERT OR IGNORE INTO adoptions VALUES (?, ?)", (box, event.clone))
    for message, state, at in db.execute(
        "SELECT message, state, at FROM parked WHERE box = ? AND clone = ?", (box, event.clone)
    ).fetchall():
        _raise_ledger(db, message, box, state, at)


def notifier(clone: Clone, message: Message) -> str:
    """Who speaks in a notice: gitcoord itself, or what another clone gives out for its gitcoord."""
    at = split_mailbox(message.sender)[1]
    return "gitcoord" if at == clone.id else f"gitcoord@{at}"


def sender_of(clone: Clone, message: Message) -> str | None:
    """`from` in JSON: a session, bare when local; of a notice the clone that wrote it, null for this one."""
    if not message.notice:
        return display(message.sender, clone.id or "")
    who = notifier(clone, message)
    return who if "@" in who else None


def _raise_ledger(db: sqlite3.Connection, message: str, box: str, state: int, at: int, addressed: bool = False) -> None:
    """The highest state wins, and of equal ones the earliest: no order of arrival matters."""
    db.execute(
        "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?) ON CONFLICT (message, box) DO UPDATE SET"
        " at = CASE WHEN excluded.state > state THEN excluded.at"
        " WHEN excluded.state = state THEN min(at, excluded.at) ELSE at END,"
        " state = max(state, excluded.state), addressed = max(addressed, excluded.addressed)",
        (message, box, state, at, addressed),
    )


def _concerns(db: sqlite3.Connection, event: Event, here: str) -> Concern:
    """The recipients, and who inherits mail."""
    boxes = [mailbox(event.data["session"], event.clone)] if event.type == "adopt" else event.data.get("to", ())
    homes = [split_mailbox(canonical(db, box)) for box in boxes]
    return Concern([name for name, at in homes if at == here and is_name(name)])


def _objection(event: Event) -> str:
    return "a bounce names no message" if event.data.get("notice") == "bounce" and "about" not in event.data else ""


SCHEMAS = {
    "message": Schema(
        {
            "to": listed(MAILBOX, MAX_RECIPIENTS),
            "audience": listed(GROUP, 100),
            "opens": listed(NAME, 100),
            "thread": ID,
            "reply_to": ID,
            "urgent": FLAG,
            "needs_ack": FLAG,
            "expires": TIME,
            "attachments": listed(ATTACHMENT, 100),
            "notice": NAME,
            "about": line(250),
            "replaces": listed(ID, 100),
        },
        ("to",),
        _objection,
    ),
    "receipt": Schema(
        {"session": NAME, "state": one_of(*LEDGER[SURFACED:]), "ids": IDS, "of": NAME, "part": FLAG},
        ("session", "state", "ids"),
    ),
    "adopt": Schema({"session": NAME, "from": NAME}, ("session", "from")),
}

FEATURE = Feature(
    "messages",
    SCHEMAS,
    """
    CREATE TABLE messages (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, clone TEXT NOT NULL, author TEXT NOT NULL,
        at INTEGER NOT NULL, thread TEXT NOT NULL, reply_to TEXT, urgent INTEGER NOT NULL, needs_ack INTEGER NOT NULL,
        expires INTEGER NOT NULL, attachments TEXT NOT NULL, notice TEXT NOT NULL);
    CREATE TABLE deliveries (message TEXT NOT NULL, box TEXT NOT NULL, state INTEGER NOT NULL, at INTEGER NOT NULL,
        addressed INTEGER NOT NULL, PRIMARY KEY (message, box)) WITHOUT ROWID;
    CREATE TABLE adoptions (box TEXT NOT NULL, clone TEXT NOT NULL, PRIMARY KEY (box, clone)) WITHOUT ROWID;
    CREATE TABLE parked (message TEXT NOT NULL, box TEXT NOT NULL, clone TEXT NOT NULL, state INTEGER NOT NULL,
        at INTEGER NOT NULL, PRIMARY KEY (message, box, clone, state, at)) WITHOUT ROWID;
    CREATE TABLE glimpses (message TEXT NOT NULL, box TEXT NOT NULL, clone TEXT NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (message, box, clone)) WITHOUT ROWID;
    CREATE TABLE bounces (message TEXT NOT NULL, clone TEXT NOT NULL, PRIMARY KEY (message, clone)) WITHOUT ROWID;
    """,
    _fold,
    """
    CREATE INDEX messages_sender ON messages (clone, author, lc, id);
    CREATE INDEX messages_thread ON messages (thread);
    CREATE INDEX messages_expiring ON messages (expires) WHERE expires > 0;
    CREATE INDEX deliveries_unread ON deliveries (box, message) WHERE state = 0 AND addressed = 1;
    CREATE INDEX deliveries_box ON deliveries (box);
    """,
    concerns=_concerns,
    living=(
        # not read yet, or not acked as asked
        "SELECT m.id FROM messages m JOIN deliveries d ON d.message = m.id AND d.addressed = 1"
        " WHERE d.state IN (0, 2) AND NOT EXISTS (SELECT 1 FROM bounces b WHERE b.message = m.id)"
        " OR (m.needs_ack AND d.state < 4 AND (m.expires = 0 OR m.expires > :now))",
        # what keeps a mailbox open for a session that is yet to come
        "SELECT e.id FROM events e WHERE e.type = 'message' AND json_type(e.data, '$.opens') = 'array'"
        " AND EXISTS (SELECT 1 FROM json_each(e.data, '$.opens') o JOIN names n ON n.name = o.value"
        " AND n.clone = e.clone AND n.id = '')",
        "SELECT id FROM events WHERE type = 'adopt'",
    ),
)


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


COLUMNS = """m.id, m.author, m.clone, m.at, m.thread, m.reply_to, m.urgent, m.needs_ack, m.attachments, m.notice,
       e.text, e.data, max(d.state)
FROM deliveries d JOIN messages m ON m.id = d.message JOIN events e ON e.id = m.id"""
_SELECT = """
SELECT {columns}
WHERE d.box IN ({boxes}) AND d.addressed = 1 AND {condition}
GROUP BY m.id ORDER BY m.lc {direction}, m.id {direction} LIMIT ?
"""
_UNREAD = "d.state = 0 AND (m.expires = 0 OR m.expires > ?)"
TRUSTED = (
    "(m.clone = ? OR EXISTS (SELECT 1 FROM json_each(?) s WHERE json_extract(s.value, '$[0]') = m.clone"
    " AND json_extract(s.value, '$[1]') = e.epoch AND json_extract(s.value, '$[2]') >= m.lc))"
)


def inbox(
    clone: Clone,
    me: Identity,
    everything: bool = False,
    again: bool = False,
    sender: str | None = None,
    limit: int = PAGE,
    now: float | None = None,
) -> Inbox:
    """My unread messages, oldest first; `everything` adds read ones, `again` is what was marked last, once more.

    With `coord.requireSigned`, other clones' messages that no good signature covers are counted in `held` instead, but
    for `everything`. Marks nothing: call `mark` with what was really shown.
    """
    now = time.time() if now is None else now
    trusted = trusted_values(clone) if not everything else None

    def ask(db: sqlite3.Connection) -> tuple[Inbox, bool]:
        boxes = my_boxes(db, clone, me.name)
        condition, values = _UNREAD, list[object]((int(now),))
        if again:
            condition, values = "m.id IN (SELECT value FROM json_each(?))", [json.dumps(_last_marked(db, clone, me))]
        elif everything:
            condition, values = "1", []
        if sender is not None:
            name, at = split_mailbox(resolve_name(db, sender, clone.id or ""))
            condition, values = f"({condition}) AND m.author = ? AND m.clone = ?", [*values, name, at]
        held = 0
        if trusted is not None:
            held = _count(db, boxes, f"({condition}) AND NOT {TRUSTED}", [*values, *trusted])
            condition, values = f"({condition}) AND {TRUSTED}", [*values, *trusted]
        page = _page(db, boxes, condition, values, limit, newest=everything)
        return page._replace(held=held), bool(bounces(db, clone, now))

    return bounced_first(clone, now, ask)


def _page(
    db: sqlite3.Connection, boxes: Sequence[str], condition: str, values: Sequence[object], limit: int, newest: bool
) -> Inbox:
    marks = ", ".join("?" * len(boxes))
    sql = _SELECT.format(columns=COLUMNS, boxes=marks, condition=condition, direction="DESC" if newest else "ASC")
    rows = db.execute(sql, (*boxes, *values, limit)).fetchall()
    total = len(rows)
    if total == limit:
        total = _count(db, boxes, condition, values)
    found = [message_of(row) for row in rows]
    return Inbox(tuple(reversed(found)) if newest else tuple(found), total - len(rows))


def _count(db: sqlite3.Connection, boxes: Sequence[str], condition: str, values: Sequence[object]) -> int:
    sql = _SELECT.format(columns=COLUMNS, boxes=", ".join("?" * len(boxes)), condition=condition, direction="ASC")
    counted = f"SELECT count(*) FROM (SELECT m.id {sql[sql.index('FROM deliveries') : sql.index('ORDER BY')]})"
    return int(db.execute(counted, (*boxes, *values)).fetchone()[0])


def trusted_values(clone: Clone) -> tuple[str, str] | None:
    """The values for TRUSTED, if signatures are required."""
    if not clone.repo.flag("requiresigned"):
        return None
    from gitcoord.log.trust import verified_up_to

    return clone.id or "", verified_up_to(clone)


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


def unread_counts(db: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait unread in each mailbox; former names count for the present one."""
    found: dict[str, int] = {}
    rows = db.execute(
        "SELECT box, count(*) FROM deliveries WHERE state = 0 AND addressed = 1"
        " AND message NOT IN (SELECT message FROM bounces) GROUP BY box"
    ).fetchall()
    for box, count in rows:
        home = canonical(db, box)
        found[home] = found.get(home, 0) + count
    return found


def thread(clone: Clone, prefix: str) -> list[Event]:
    """A whole conversation, oldest first."""

    def ask(db: sqlite3.Connection) -> list[Event]:
        oid = resolve_id(db, prefix, "message")
        ids = db.execute(
            "SELECT id FROM messages WHERE thread = (SELECT thread FROM messages WHERE id = ?) ORDER BY lc, id", (oid,)
        ).fetchall()
        return [get_event(db, found) for (found,) in ids]

    return clone.read(ask)


def unread_notices(db: sqlite3.Connection, clone: Clone, box: str, notice: str, about: str) -> list[Oid]:
    """The notices of this clone about something that nobody has seen in a mailbox."""
    query = (
        "SELECT m.id FROM deliveries d JOIN messages m ON m.id = d.message JOIN events e ON e.id = m.id"
        " WHERE d.box = ? AND d.state = 0 AND d.addressed = 1 AND m.clone = ? AND m.notice = ?"
        " AND json_extract(e.data, '$.about') = ? ORDER BY m.lc"
    )
    return [Oid(oid) for (oid,) in db.execute(query, (box, clone.id, notice, about))]
