"""Mail that a session has never been shown, and acks that it owes."""

from __future__ import annotations

import time

from gitcoord import lean_json as json
from gitcoord.features.messages.fold import READ, SURFACED
from gitcoord.features.messages.inbox import COLUMNS, Message, message_of
from gitcoord.features.messages.ledger import IN_TIME, my_boxes
from gitcoord.lean import sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.trust import OURS_FIRST, TRUSTED, trusted_values
from gitcoord.sessions.identity import Identity

LIMIT = 50
"""Messages that are considered for one hook."""


_LOUD = " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = m.id AND json_extract(e.data, '$.quiet'))"


def waking_mail(clone: Clone, me: Identity, urgent: bool = False, now: float | None = None) -> list[Message]:
    """`waiting_mail` without notices that can wait."""
    return waiting_mail(clone, me, urgent, now, _LOUD)


def waiting_mail(clone: Clone, me: Identity, urgent: bool = False, now: float | None = None, only: str = "") -> list[Message]:
    """My messages that were never shown, not even in part; urgent ones first, those of this clone before others', which take
    turns, then the oldest. Left out are those that `coord.requireSigned` keeps back. `only` is a further condition in SQL."""
    now = time.time() if now is None else now
    trusted = trusted_values(clone)
    only += (" AND m.urgent = 1" if urgent else "") + (f" AND {TRUSTED}" if trusted else "")

    def ask(db: sqlite3.Connection) -> list[Message]:
        boxes = json.dumps(my_boxes(db, clone, me.name))
        values = (clone.id, boxes, int(now), *(trusted or ()), clone.id, LIMIT)
        chosen = [oid for (oid,) in db.execute(_WAITING.format(only=only), values)]
        if not chosen:
            return []
        whole = f"SELECT {COLUMNS} WHERE d.box IN (SELECT value FROM json_each(?)) AND m.id IN (SELECT value FROM json_each(?))"
        rows = db.execute(f"{whole} GROUP BY m.id", (boxes, json.dumps(chosen)))
        return sorted(map(message_of, rows), key=lambda message: chosen.index(message.id))

    return clone.read(ask)


_WAITING = (
    "SELECT m.id FROM deliveries d JOIN messages m ON m.id = d.message JOIN events e ON e.id = m.id, (SELECT ? AS here)"
    " WHERE d.box IN (SELECT value FROM json_each(?)) AND d.addressed = 1 AND d.state = 0"
    f" AND {IN_TIME}{{only}}"
    " AND NOT EXISTS (SELECT 1 FROM glimpses g WHERE g.message = d.message AND g.box = d.box AND g.clone = ?)"
    f" GROUP BY m.id ORDER BY m.urgent DESC, {OURS_FIRST.format(word='m').replace(':here', 'here')},"
    " row_number() OVER (PARTITION BY m.clone, m.urgent ORDER BY m.lc, m.id), m.lc, m.id LIMIT ?"
)
"""The clones take turns, ours first: a clone that sends a thousand messages keeps no other clone's waiting."""


def owed_acks(clone: Clone, me: Identity, now: float | None = None) -> list[Message]:
    """Messages that I was shown and asked to ack, and have not acked, oldest first."""
    now = time.time() if now is None else now

    def ask(db: sqlite3.Connection) -> list[Message]:
        rows = db.execute(
            f"SELECT {COLUMNS} WHERE d.box IN (SELECT value FROM json_each(?)) AND d.addressed = 1 AND m.needs_ack = 1"
            " AND (d.state IN (?, ?) OR (d.state = 0 AND EXISTS (SELECT 1 FROM glimpses g WHERE g.message = d.message"
            f" AND g.box = d.box AND g.clone = ?))) AND {IN_TIME}"
            " GROUP BY m.id ORDER BY m.lc, m.id LIMIT ?",
            (json.dumps(my_boxes(db, clone, me.name)), SURFACED, READ, clone.id, int(now), LIMIT),
        )
        return [message_of(row) for row in rows.fetchall()]

    return clone.read(ask)
