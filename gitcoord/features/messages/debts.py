"""Debts: who owes whom a receipt. Urgent mail is to be read; mail that asks for an ack is to be acked."""

from __future__ import annotations

import time
from collections.abc import Sequence

from gitcoord import lean_json as json
from gitcoord.features.messages.fold import READ
from gitcoord.features.messages.ledger import BOUNCED, OWES, my_boxes
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.trust import held_back
from gitcoord.names import mailbox, name_in
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import Homes
from gitcoord.store.objects import Oid


class Debt(NamedTuple):
    """A receipt that `debtor` owes `creditor` (mailboxes) since `at` (Unix seconds): `owes` is `ack` or `read`, `is_read`
    whether the message was read."""

    id: Oid
    debtor: str
    creditor: str
    owes: str
    at: int
    text: str
    is_read: bool


_DEBTS = f"""
SELECT m.id, m.author, m.clone, d.box, d.state, m.needs_ack, m.at, e.text
FROM messages m CROSS JOIN deliveries d ON d.message = m.id AND d.addressed = 1 JOIN events e ON e.id = m.id
WHERE m.notice = '' AND (m.urgent = 1 OR m.needs_ack = 1) AND ({OWES}) AND NOT {BOUNCED} AND m.at <= ?
"""


def debts(db: sqlite3.Connection, boxes: Sequence[str] | None = None, until: float | None = None) -> list[Debt]:
    """The debts of some mailboxes, or of all, oldest first; `until` leaves out messages that were sent later."""
    whose, values = "", list[object]((time.time() if until is None else until,))
    if boxes is not None:
        whose = " AND d.box IN (SELECT value FROM json_each(?))"
        values.append(json.dumps(list(boxes)))
    return [
        Debt(Oid(oid), box, mailbox(author, clone), "ack" if needs_ack else "read", at, text, state >= READ)
        for oid, author, clone, box, state, needs_ack, at, text in db.execute(f"{_DEBTS}{whose} ORDER BY m.lc, m.id", values)
    ]


def overdue(clone: Clone, until: float) -> list[Debt]:
    """Everybody's debts for messages that were sent before `until`, but those that `coord.requireSigned` keeps back."""

    def ask(db: sqlite3.Connection) -> list[Debt]:
        homes = Homes(db)
        return [d._replace(debtor=homes.of(d.debtor), creditor=homes.of(d.creditor)) for d in debts(db, None, until)]

    found = clone.read(ask)
    held = held_back(clone, [debt.id for debt in found])
    return [debt for debt in found if debt.id not in held]


class Balance(NamedTuple):
    """The number of acks that a session owes for mail that it has read, the time of the oldest such message (Unix
    seconds), and the number of receipts that others owe it."""

    by_me: int
    oldest: int | None
    to_me: int


def balance(db: sqlite3.Connection, clone: Clone, me: Identity) -> Balance:
    """The debts of a session, and those of others to it."""
    boxes = my_boxes(db, clone, me.name)
    mine = [debt.at for debt in debts(db, boxes) if debt.is_read]
    (others,) = db.execute(_CLAIMS, (clone.id, json.dumps([name_in(box) for box in boxes]))).fetchone()
    return Balance(len(mine), mine[0] if mine else None, others)


_CLAIMS = f"""
SELECT count(*) FROM messages m CROSS JOIN deliveries d ON d.message = m.id AND d.addressed = 1
WHERE m.notice = '' AND (m.urgent = 1 OR m.needs_ack = 1) AND ({OWES}) AND NOT {BOUNCED}
AND m.clone = ? AND m.author IN (SELECT value FROM json_each(?))
"""
