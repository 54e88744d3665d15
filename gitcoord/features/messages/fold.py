"""Fold message events into the tables: messages, and the ledger of each.

The ledger of a message has one row for each recipient: queued < expired < surfaced < read < acked, the highest wins. A
receipt counts only for sessions of the clone that wrote it, a bounce only for messages of the clone that wrote it.
"""

from __future__ import annotations

from gitcoord import lean_json as json
from gitcoord.lean import sqlite3
from gitcoord.log import trust
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Concern, Feature
from gitcoord.log.schemas import ATTACHMENT, FLAG, GROUP, ID, IDS, MAILBOX, NAME, TIME, Schema, line, listed, one_of
from gitcoord.names import lives_in, mailbox, name_in
from gitcoord.sessions.mailboxes import YET_TO_COME, Homes, open_name, put_name

LEDGER = ("queued", "expired", "surfaced", "read", "acked")
QUEUED, EXPIRED, SURFACED, READ, ACKED = range(5)


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
    relayed = data["to"] and db.execute("SELECT 1 FROM relayed WHERE message = ?", (event.id,)).fetchone()
    for box in data["to"]:
        _raise_ledger(db, event.id, box, QUEUED, event.at, addressed=True)
        if relayed:
            _recount(db, event.id, box)
        for old in data.get("replaces", ()) if notice else ():
            _replace(db, old, box, event)
    for name in data.get("opens", ()):
        open_name(db, event.clone, name)
    if notice == "bounce" and "about" in data:
        db.execute("INSERT OR IGNORE INTO bounces VALUES (?, ?)", (data["about"], event.clone))


def _replace(db: sqlite3.Connection, old: str, box: str, event: Event) -> None:
    """Mark earlier notices as replaced by this one, which repeats them; recipients need not read both."""
    if db.execute("SELECT 1 FROM messages WHERE id = ? AND notice != ''", (old,)).fetchone():
        _raise_ledger(db, old, box, EXPIRED, event.at)


def _fold_receipt(db: sqlite3.Connection, event: Event) -> None:
    """Count a receipt for the writing clone's own mailboxes, and for those that it has adopted."""
    origin = event.data.get("of", event.clone)
    box, state = mailbox(event.data["session"], origin), LEDGER.index(event.data["state"])
    part = event.data.get("part", False)
    for message in event.data["ids"]:
        if trust.is_relayed(event):
            row = (message, box, event.id, event.clone, state, part, event.at)
            db.execute("INSERT OR IGNORE INTO relayed VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            _recount(db, message, box)
        elif part:
            _glimpse(db, message, box, event.clone, event.at)
        else:
            _raise_ledger(db, message, box, state, event.at)


def _glimpse(db: sqlite3.Connection, message: str, box: str, clone: str, at: int) -> None:
    earliest = "ON CONFLICT DO UPDATE SET at = min(at, excluded.at)"
    db.execute(f"INSERT INTO glimpses VALUES (?, ?, ?, ?) {earliest}", (message, box, clone, at))


def _recount(db: sqlite3.Connection, message: str, box: str) -> None:
    """Compute the ledger of one recipient again, from its own receipts and those of the clones that speak for it now."""
    at = (message, box)
    told = db.execute("SELECT clone, state, part, at FROM relayed WHERE (message, box) = (?, ?)", at).fetchall()
    speaks = {clone: trust.speaks_for(db, clone, box) for clone, *_ in told}
    db.execute(
        "DELETE FROM glimpses WHERE (message, box) = (?1, ?2)"
        " AND clone IN (SELECT r.clone FROM relayed r WHERE (r.message, r.box) = (?1, ?2))",
        at,
    )
    db.execute("UPDATE deliveries SET state = own, at = own_at WHERE (message, box) = (?, ?)", at)
    for clone, state, part, when in told:
        if not speaks[clone]:
            continue
        if part:
            _glimpse(db, message, box, clone, when)
        else:
            db.execute(_RELAY, (state, when, message, box))


_RELAY = (
    "UPDATE deliveries SET at = CASE WHEN ?1 > state THEN ?2 WHEN ?1 = state THEN min(at, ?2) ELSE at END,"
    " state = max(state, ?1) WHERE (message, box) = (?3, ?4)"
)


def _fold_adopt(db: sqlite3.Connection, event: Event) -> None:
    name, origin = event.data["session"], event.data["from"]
    put_name(db, event, origin, name, mailbox(name, event.clone))
    put_name(db, event, event.clone, name, None)


def _raise_ledger(db: sqlite3.Connection, message: str, box: str, state: int, at: int, addressed: bool = False) -> None:
    """Raise the ledger to the highest state; of equal states the earliest counts, so that the order of arrival does not
    matter."""
    db.execute(
        "INSERT INTO deliveries VALUES (?1, ?2, ?3, ?4, ?5, ?3, ?4) ON CONFLICT (message, box) DO UPDATE SET"
        " at = CASE WHEN excluded.state > state THEN excluded.at"
        " WHEN excluded.state = state THEN min(at, excluded.at) ELSE at END,"
        " state = max(state, excluded.state), addressed = max(addressed, excluded.addressed),"
        " own_at = CASE WHEN excluded.own > own THEN excluded.own_at"
        " WHEN excluded.own = own THEN min(own_at, excluded.own_at) ELSE own_at END, own = max(own, excluded.own)",
        (message, box, state, at, addressed),
    )


def _concerns(db: sqlite3.Connection, event: Event, here: str) -> Concern:
    """The recipients, and sessions that inherit mail."""
    boxes = [mailbox(event.data["session"], event.clone)] if event.type == "adopt" else event.data.get("to", ())
    homes = Homes(db)
    ends = [homes.of(box) for box in boxes]
    return Concern([name_in(box) for box in ends if lives_in(box, here)])


MAX_RECIPIENTS = 1000


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
            "key": line(100),
            "quiet": FLAG,
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
        addressed INTEGER NOT NULL, own INTEGER NOT NULL, own_at INTEGER NOT NULL, PRIMARY KEY (message, box)) WITHOUT ROWID;
    CREATE TABLE relayed (message TEXT NOT NULL, box TEXT NOT NULL, id TEXT NOT NULL, clone TEXT NOT NULL,
        state INTEGER NOT NULL, part INTEGER NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (message, box, id)) WITHOUT ROWID;
    CREATE TABLE glimpses (message TEXT NOT NULL, box TEXT NOT NULL, clone TEXT NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (message, box, clone)) WITHOUT ROWID;
    CREATE TABLE bounces (message TEXT NOT NULL, clone TEXT NOT NULL, PRIMARY KEY (message, clone)) WITHOUT ROWID;
    """,
    _fold,
    """
    CREATE INDEX messages_sender ON messages (clone, author, lc);
    CREATE INDEX messages_thread ON messages (thread) WHERE thread != id;
    CREATE INDEX messages_asking ON messages (id) WHERE urgent = 1 OR needs_ack = 1;
    CREATE INDEX messages_expiring ON messages (expires) WHERE expires > 0;
    CREATE INDEX deliveries_unread ON deliveries (box, message, state, addressed) WHERE state = 0 AND addressed = 1;
    CREATE INDEX deliveries_box ON deliveries (box);
    """,
    concerns=_concerns,
    living=(
        # not read yet, or not acked as asked
        "SELECT m.id FROM messages m JOIN deliveries d ON d.message = m.id AND d.addressed = 1"
        " WHERE d.state IN (0, 2) AND NOT EXISTS (SELECT 1 FROM bounces b WHERE b.message = m.id)"
        " OR (m.needs_ack AND d.state < 4 AND (m.expires = 0 OR m.expires > :now))",
        # messages keep a mailbox open for a session that has not joined yet
        "SELECT e.id FROM events e WHERE e.type = 'message' AND json_type(e.data, '$.opens') = 'array'"
        " AND EXISTS (SELECT 1 FROM json_each(e.data, '$.opens') o"
        f" WHERE EXISTS ({YET_TO_COME.format(clone='e.clone', name='o.value')}))",
        "SELECT id FROM events WHERE type = 'adopt'",
    ),
    forget=(
        "CREATE TEMP TABLE harmed AS SELECT id FROM forgotten UNION SELECT j.value FROM forgotten f"
        " JOIN events e ON e.id = f.id, json_each(e.data, CASE e.type WHEN 'receipt' THEN '$.ids' ELSE '$.replaces' END) j"
        " WHERE e.type IN ('receipt', 'message') UNION SELECT json_extract(e.data, '$.about') FROM forgotten f"
        " JOIN events e ON e.id = f.id WHERE e.type = 'message' AND json_extract(e.data, '$.notice') = 'bounce'",
        "INSERT OR IGNORE INTO again SELECT id FROM messages WHERE id IN (SELECT id FROM harmed)",
        "INSERT OR IGNORE INTO again SELECT e.id FROM events e WHERE e.type = 'receipt' AND EXISTS"
        " (SELECT 1 FROM json_each(e.data, '$.ids') j WHERE j.value IN (SELECT id FROM harmed))",
        "INSERT OR IGNORE INTO again SELECT m.id FROM messages m JOIN events e ON e.id = m.id WHERE m.notice != ''"
        " AND (m.notice = 'bounce' AND json_extract(e.data, '$.about') IN (SELECT id FROM harmed)"
        " OR EXISTS (SELECT 1 FROM json_each(e.data, '$.replaces') j WHERE j.value IN (SELECT id FROM harmed)))",
        "DELETE FROM messages WHERE id IN (SELECT id FROM forgotten)",
        *(
            f"DELETE FROM {table} WHERE message IN (SELECT id FROM harmed)"
            for table in ("deliveries", "relayed", "glimpses", "bounces")
        ),
    ),
)
