"""Messages: sent to mailboxes, tracked until acked (DESIGN 3).

The ledger of a message has one row a recipient: queued < expired < surfaced < read < acked, the highest wins. A receipt
speaks only for sessions of the clone that wrote it, a bounce only for messages of the clone that wrote it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gitcoord.clone import Clone
from gitcoord.errors import UsageError
from gitcoord.event import Draft, Event, check_attachment, check_text
from gitcoord.events import get_event, resolve_id
from gitcoord.identity import Identity
from gitcoord.index.feature import Feature, want, want_strings
from gitcoord.mailboxes import canonical, resolve_name
from gitcoord.names import EVERYBODY, is_name, mailbox, session_name, split_mailbox
from gitcoord.presence import register
from gitcoord.sessions import list_sessions, states
from gitcoord.store.objects import Oid

LEDGER = ("queued", "expired", "surfaced", "read", "acked")
QUEUED, EXPIRED, SURFACED, READ, ACKED = range(5)
PAGE = 20

# events


def _fold(db: sqlite3.Connection, event: Event) -> None:
    if event.type == "message":
        _fold_message(db, event)
    else:
        _fold_receipt(db, event)


def _fold_message(db: sqlite3.Connection, event: Event) -> None:
    to = want_strings(event, "to")
    reply_to = want(event, "reply_to", str, "") or None
    notice = want(event, "notice", str, "")
    db.execute(
        "INSERT OR IGNORE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (event.id, event.lc, event.clone, event.author, event.at, want(event, "thread", str, "") or event.id, reply_to,
         want(event, "urgent", bool, False), want(event, "needs_ack", bool, False), want(event, "expires", int, 0),
         json.dumps(want_strings(event, "attachments")), notice),
    )  # fmt: skip
    for box in to:
        _raise_ledger(db, event.id, box, QUEUED, event.at, addressed=True)
    for name in want_strings(event, "opens"):
        db.execute("INSERT OR IGNORE INTO names VALUES (?, ?, NULL, 0, '')", (event.clone, name))
    if notice == "bounce":
        about = want(event, "about", str)
        db.execute("INSERT OR IGNORE INTO bounces VALUES (?, ?)", (about, event.clone))


def _fold_receipt(db: sqlite3.Connection, event: Event) -> None:
    box = mailbox(want(event, "session", str), event.clone)
    state = want(event, "state", str)
    if state in LEDGER[SURFACED:]:
        for message in want_strings(event, "ids"):
            _raise_ledger(db, message, box, LEDGER.index(state), event.at)


def _raise_ledger(db: sqlite3.Connection, message: str, box: str, state: int, at: int, addressed: bool = False) -> None:
    """The highest state wins, and of equal ones the earliest: no order of arrival matters."""
    db.execute(
        "INSERT INTO deliveries VALUES (?, ?, ?, ?, ?) ON CONFLICT (message, box) DO UPDATE SET"
        " at = CASE WHEN excluded.state > state THEN excluded.at"
        " WHEN excluded.state = state THEN min(at, excluded.at) ELSE at END,"
        " state = max(state, excluded.state), addressed = max(addressed, excluded.addressed)",
        (message, box, state, at, addressed),
    )


FEATURE = Feature(
    "messages",
    frozenset({"message", "receipt"}),
    """
    CREATE TABLE messages (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, clone TEXT NOT NULL, author TEXT NOT NULL,
        at INTEGER NOT NULL, thread TEXT NOT NULL, reply_to TEXT, urgent INTEGER NOT NULL, needs_ack INTEGER NOT NULL,
        expires INTEGER NOT NULL, attachments TEXT NOT NULL, notice TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX messages_sender ON messages (clone, author, lc, id);
    CREATE INDEX messages_thread ON messages (thread);
    CREATE INDEX messages_expiring ON messages (expires) WHERE expires > 0;
    CREATE TABLE deliveries (message TEXT NOT NULL, box TEXT NOT NULL, state INTEGER NOT NULL, at INTEGER NOT NULL,
        addressed INTEGER NOT NULL, PRIMARY KEY (message, box)) WITHOUT ROWID;
    CREATE INDEX deliveries_unread ON deliveries (box, message) WHERE state = 0 AND addressed = 1;
    CREATE INDEX deliveries_box ON deliveries (box);
    CREATE TABLE bounces (message TEXT NOT NULL, clone TEXT NOT NULL, PRIMARY KEY (message, clone)) WITHOUT ROWID;
    """,
    _fold,
)

# sending


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where a message stands with one recipient; `at` (Unix seconds) is when it got there."""

    session: str
    state: str
    at: int


@dataclass(frozen=True, slots=True)
class Recipient:
    """A recipient at the time of sending: its mailbox, its liveness and its last sign of life."""

    session: str
    state: str
    beat: float | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is on the log now."""

    id: Oid
    thread: str
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class Options:
    """How to send. `expires` is a number of seconds from now."""

    urgent: bool = False
    needs_ack: bool = False
    expires: int | None = None
    queue: bool = False
    local: bool = False
    attachments: Mapping[str, bytes] | None = None


def send(clone: Clone, me: Identity, to: Sequence[str], text: str, options: Options = Options()) -> Sent:
    """Send `text` to sessions, `all` or `role:R`. Raises UsageError for an unknown recipient; then nothing is written."""
    _check(text, options)
    with clone.locked():
        boxes, opens = _recipients(clone, me, to, options.queue)
        register(clone, me)
        draft = _draft(me, text, options, {"to": boxes, "opens": opens, "audience": _audience(to)})
        return _append(clone, [draft], options.local)


def reply(clone: Clone, me: Identity, prefix: str, text: str, options: Options = Options()) -> Sent:
    """Answer a message, in its thread: to its sender, or to its recipients when it is one's own."""
    _check(text, options)
    with clone.locked():
        original = clone.read(lambda db: get_event(db, resolve_id(db, prefix, "message")))
        register(clone, me)
        boxes = _reply_boxes(clone, me, original)
        thread = original.data.get("thread") or original.id
        draft = _draft(me, text, options, {"to": boxes, "thread": thread, "reply_to": original.id})
        local = options.local or clone.read(lambda db: _is_local(db, original.id))
        sent = _append(clone, [draft], local)
        mark(clone, me, [original.id], READ)
        return sent


def ack(clone: Clone, me: Identity, prefix: str, text: str = "", options: Options = Options()) -> Sent | None:
    """Acknowledge a message addressed to me, with an answer if there is text. Raises UsageError if it was not to me."""
    oid = clone.read(lambda db: resolve_id(db, prefix, "message"))
    if not clone.read(lambda db: _my_deliveries(db, clone, me.name, [oid])):
        raise UsageError(f"{prefix} was not sent to {me.name}", "git coord inbox --all")
    sent = reply(clone, me, oid, text, options) if text else None
    register(clone, me)
    mark(clone, me, [oid], ACKED)
    return sent


def _check(text: str, options: Options) -> None:
    if not text.strip():
        raise UsageError("the text is empty", "give it as words, with -m TEXT or with -F FILE")
    check_text(text)
    for name, content in (options.attachments or {}).items():
        check_attachment(name, content)


def _audience(to: Sequence[str]) -> list[str]:
    return [word for word in to if word.startswith(("@", "role:")) or word == EVERYBODY]


def _recipients(clone: Clone, me: Identity, to: Sequence[str], queue: bool) -> tuple[list[str], list[str]]:
    """The mailboxes that `to` means now, and the names that --queue opens. Raises UsageError."""
    boxes: list[str] = []
    opens: list[str] = []
    here = clone.settled_id()
    for word in to:
        group = word.removeprefix("@").removeprefix("role:")
        if word.startswith(("@", "role:")) or word == EVERYBODY:
            boxes += _members(clone, me, group, word)
        elif queue and not _is_known(clone, word):
            opens.append(session_name(word))
            boxes.append(mailbox(word, here))
        else:
            boxes.append(clone.read(lambda db, word=word: resolve_name(db, word, here)))  # type: ignore[misc]
    return list(dict.fromkeys(boxes)), opens


def _is_known(clone: Clone, word: str) -> bool:
    try:
        clone.read(lambda db: resolve_name(db, word, clone.id or ""))
    except UsageError as error:
        if "ambiguous" in error.what or not is_name(word):
            raise
        return False
    return True


def _members(clone: Clone, me: Identity, group: str, word: str) -> list[str]:
    """The sessions that are not gone, without the sender; of one role unless everybody is meant."""
    sessions = [s for s in list_sessions(clone) if s.session and (s.session, s.local) != (me.name, True)]
    meant = [s for s in sessions if group == EVERYBODY or s.role == group]
    if not meant:
        raise UsageError(f"{word} is nobody at the moment", "git coord sessions")
    return [mailbox(s.session or "", s.clone or "") for s in meant]


def _draft(me: Identity, text: str, options: Options, data: Mapping[str, Any]) -> Draft:
    attachments = options.attachments or {}
    facts: dict[str, Any] = {key: value for key, value in data.items() if value}
    facts |= {key: True for key in ("urgent", "needs_ack") if getattr(options, key)}
    if options.expires is not None:
        facts["expires"] = int(time.time()) + options.expires
    if attachments:
        facts["attachments"] = sorted(attachments)
    return Draft("message", text, facts, attachments, me.name)


def _append(clone: Clone, drafts: Sequence[Draft], local: bool) -> Sent:
    event = clone.append(lambda db: drafts, local)[-1]
    life = states(clone, event.data["to"])
    recipients = tuple(Recipient(box, *life[box]) for box in event.data["to"])
    return Sent(event.id, event.data.get("thread") or event.id, recipients)


def _reply_boxes(clone: Clone, me: Identity, original: Event) -> list[str]:
    mine = mailbox(me.name, clone.id or "")
    sender = clone.read(lambda db: mailbox(canonical(db, original.author, original.clone), original.clone))
    return [sender] if sender != mine else [box for box in original.data["to"] if isinstance(box, str)]


def _is_local(db: sqlite3.Connection, oid: str) -> bool:
    row = db.execute("SELECT local FROM events WHERE id = ?", (oid,)).fetchone()
    return bool(row and row[0])


# reading


@dataclass(frozen=True, slots=True)
class Message:
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


@dataclass(frozen=True, slots=True)
class Inbox:
    """A page of messages, oldest first, and how many more wait behind it."""

    messages: tuple[Message, ...]
    remaining: int


_SELECT = """
SELECT m.id, m.author, m.clone, m.at, m.thread, m.reply_to, m.urgent, m.needs_ack, m.attachments, m.notice,
       e.text, e.data, max(d.state)
FROM deliveries d JOIN messages m ON m.id = d.message JOIN events e ON e.id = m.id
WHERE d.box IN ({boxes}) AND d.addressed = 1 AND {condition}
GROUP BY m.id ORDER BY m.lc {direction}, m.id {direction} LIMIT ?
"""
_UNREAD = "d.state = 0 AND (m.expires = 0 OR m.expires > ?)"


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

    Marks nothing: call `mark` with what was really shown.
    """
    now = time.time() if now is None else now

    def ask(db: sqlite3.Connection) -> Inbox:
        boxes = my_boxes(db, clone, me.name)
        condition, values = _UNREAD, list[object]((int(now),))
        if again:
            condition, values = "m.id IN (SELECT value FROM json_each(?))", [json.dumps(_last_marked(db, clone, me))]
        elif everything:
            condition, values = "1", []
        if sender is not None:
            name, at = split_mailbox(resolve_name(db, sender, clone.id or ""))
            condition, values = f"{condition} AND m.author = ? AND m.clone = ?", [*values, name, at]
        return _page(db, boxes, condition, values, limit, newest=everything)

    return clone.read(ask)


def _page(
    db: sqlite3.Connection, boxes: Sequence[str], condition: str, values: Sequence[object], limit: int, newest: bool
) -> Inbox:
    marks = ", ".join("?" * len(boxes))
    sql = _SELECT.format(boxes=marks, condition=condition, direction="DESC" if newest else "ASC")
    rows = db.execute(sql, (*boxes, *values, limit)).fetchall()
    total = len(rows)
    if total == limit:
        counted = f"SELECT count(*) FROM (SELECT m.id {sql[sql.index('FROM deliveries') : sql.index('ORDER BY')]})"
        total = db.execute(counted, (*boxes, *values)).fetchone()[0]
    found = [_message(row) for row in rows]
    return Inbox(tuple(reversed(found)) if newest else tuple(found), total - len(rows))


def _message(row: tuple[Any, ...]) -> Message:
    oid, author, clone, at, thread, reply_to, urgent, needs_ack, attachments, notice, text, data, state = row
    to = tuple(json.loads(data).get("to", ()))
    return Message(
        oid, mailbox(author, clone), to, text, at, thread, reply_to, bool(urgent), bool(needs_ack), LEDGER[state],
        tuple(json.loads(attachments)), notice,
    )  # fmt: skip


def my_boxes(db: sqlite3.Connection, clone: Clone, name: str) -> list[str]:
    """The mailboxes that a session of this clone empties: its own, and those of its former names."""
    here = clone.id or ""
    former = [old for (old,) in db.execute("SELECT name FROM names WHERE clone = ? AND alias_of IS NOT NULL", (here,))]
    return [mailbox(name, here), *(mailbox(old, here) for old in former if canonical(db, old, here) == name)]


def _last_marked(db: sqlite3.Connection, clone: Clone, me: Identity) -> list[str]:
    rows = db.execute(
        "SELECT data FROM events WHERE type = 'receipt' AND clone = ? AND author = ? ORDER BY lc DESC, id DESC LIMIT 20",
        (clone.id, me.name),
    )
    found = (json.loads(data) for (data,) in rows)
    return next((d["ids"] for d in found if d.get("state") in ("read", "surfaced")), [])


def mark(clone: Clone, me: Identity, ids: Iterable[Oid], state: int = READ) -> None:
    """Record that messages reached `state` with me: one event, and none for those that were further already."""
    wanted = list(ids)
    for local in (False, True):

        def decide(db: sqlite3.Connection, local: bool = local) -> list[Draft]:
            behind = [
                (oid, box) for oid, box, reached in _my_deliveries(db, clone, me.name, wanted)
                if reached < state and _is_local(db, oid) == local
            ]  # fmt: skip
            return _receipts(me, behind, state)

        if wanted and (not local or clone.read(lambda db: any(_is_local(db, oid) for oid in wanted))):
            clone.append(decide, local)


def _my_deliveries(db: sqlite3.Connection, clone: Clone, name: str, ids: Sequence[Oid]) -> list[tuple[Oid, str, int]]:
    boxes = my_boxes(db, clone, name)
    marks = ", ".join("?" * len(boxes))
    rows = db.execute(
        f"SELECT message, box, state FROM deliveries WHERE addressed = 1 AND box IN ({marks})"
        " AND message IN (SELECT value FROM json_each(?))",
        (*boxes, json.dumps(list(ids))),
    )
    return rows.fetchall()


def _receipts(me: Identity, behind: Sequence[tuple[Oid, str]], state: int) -> list[Draft]:
    """One receipt a mailbox: mail to a former name is marked under that name."""
    by_name: dict[str, list[Oid]] = {}
    for oid, box in behind:
        by_name.setdefault(split_mailbox(box)[0], []).append(oid)
    word = LEDGER[state]
    return [
        Draft("receipt", f"{me.name} {word} {len(ids)}", {"session": name, "state": word, "ids": ids}, author=me.name)
        for name, ids in by_name.items()
    ]


def unread_counts(db: sqlite3.Connection) -> dict[str, int]:
    """How many messages wait unread in each mailbox; former names count for the present one."""
    found: dict[str, int] = {}
    rows = db.execute("SELECT box, count(*) FROM deliveries WHERE state = 0 AND addressed = 1 GROUP BY box").fetchall()
    for box, count in rows:
        name, at = split_mailbox(box)
        home = mailbox(canonical(db, name, at), at)
        found[home] = found.get(home, 0) + count
    return found


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message of mine and where it stands with each recipient."""

    id: Oid
    text: str
    at: int
    recipients: tuple[Delivery, ...]


def sent(clone: Clone, me: Identity, undelivered: bool = False, limit: int = PAGE) -> list[SentMessage]:
    """What I sent, newest first; `undelivered`: only what some recipient has not read yet."""

    def ask(db: sqlite3.Connection) -> list[SentMessage]:
        waiting = " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.message = m.id AND addressed = 1 AND state < 3)"
        rows = db.execute(
            "SELECT m.id, e.text, m.at FROM messages m JOIN events e ON e.id = m.id WHERE m.clone = ? AND m.author IN"
            " (SELECT value FROM json_each(?)) AND m.notice = ''"
            f"{waiting if undelivered else ''} ORDER BY m.lc DESC, m.id DESC LIMIT ?",
            (clone.id, json.dumps([split_mailbox(box)[0] for box in my_boxes(db, clone, me.name)]), limit),
        ).fetchall()
        return [SentMessage(oid, text, at, deliveries(db, oid)) for oid, text, at in rows]

    return clone.read(ask)


def deliveries(db: sqlite3.Connection, oid: str) -> tuple[Delivery, ...]:
    """The ledger of one message."""
    bounced = db.execute(
        "SELECT 1 FROM bounces b JOIN messages m ON m.id = b.message AND m.clone = b.clone WHERE m.id = ?", (oid,)
    )
    floor = EXPIRED if bounced.fetchone() else QUEUED
    rows = db.execute("SELECT box, state, at FROM deliveries WHERE message = ? AND addressed = 1 ORDER BY box", (oid,))
    return tuple(Delivery(box, LEDGER[max(state, floor)], at) for box, state, at in rows)


def thread(clone: Clone, prefix: str) -> list[Event]:
    """A whole conversation, oldest first."""

    def ask(db: sqlite3.Connection) -> list[Event]:
        oid = resolve_id(db, prefix, "message")
        ids = db.execute(
            "SELECT id FROM messages WHERE thread = (SELECT thread FROM messages WHERE id = ?) ORDER BY lc, id", (oid,)
        ).fetchall()
        return [get_event(db, found) for (found,) in ids]

    return clone.read(ask)


# expiry


def bounce(clone: Clone, now: float | None = None) -> list[Event]:
    """Tell the senders of this clone which of their messages expired unread; once each, whoever notices first."""
    now = time.time() if now is None else now
    due: Callable[[sqlite3.Connection], list[Draft]] = lambda db: _due(db, clone, now)  # noqa: E731
    return clone.append(due) if clone.id and clone.read(due) else []


def _due(db: sqlite3.Connection, clone: Clone, now: float) -> list[Draft]:
    rows = db.execute(
        "SELECT m.id, m.author, substr(e.text, 1, 60), group_concat(d.box, ', ') FROM messages m"
        " JOIN events e ON e.id = m.id JOIN deliveries d ON d.message = m.id AND d.addressed = 1 AND d.state = 0"
        " WHERE m.expires > 0 AND m.expires <= ? AND m.clone = ?"
        " AND NOT EXISTS (SELECT 1 FROM bounces b WHERE b.message = m.id AND b.clone = m.clone) GROUP BY m.id",
        (int(now), clone.id),
    ).fetchall()
    return [
        Draft(
            "message",
            f"Expired before {boxes} read it: {' '.join(text.split())}",
            {"to": [mailbox(author, clone.id or "")], "notice": "bounce", "about": oid, "reply_to": oid},
            author=author,
        )
        for oid, author, text, boxes in rows
    ]
