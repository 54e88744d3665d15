"""The ledger of messages: receipts of their recipients, and notices about messages that expired unread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from gitcoord import lean_json as json
from gitcoord.errors import RepositoryError
from gitcoord.features.messages.fold import EXPIRED, LEDGER, QUEUED, READ, SURFACED
from gitcoord.lean import Any, NamedTuple, TypeVar, sqlite3, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import name_in, same_clone, split_mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import boxes_of, leading_to
from gitcoord.store.objects import Oid

T = TypeVar("T")
PAGE = 20
"""Messages in a list by default."""
OWES = "m.urgent = 1 AND d.state < 3 OR m.needs_ack = 1 AND d.state < 4"
"""SQL condition: a recipient owes a receipt: it has not read urgent mail, or not acked as asked."""
BOUNCED = "EXISTS (SELECT 1 FROM bounces b WHERE b.message = m.id)"
"""SQL condition: the message expired, and its sender was told."""


class Delivery(NamedTuple):
    """The state of a message with one recipient; `at` (Unix seconds) is when it reached that state."""

    session: str
    state: str
    at: int


class SentMessage(NamedTuple):
    """A message of mine, and its state with each recipient."""

    id: Oid
    text: str
    at: int
    recipients: tuple[Delivery, ...]
    waits_for_sync: bool = False
    """Whether recipients in other clones cannot have received it yet."""


class Wanted(NamedTuple):
    """A choice of my messages: those that a recipient has not read (`undelivered`), has not answered as asked (`owed`), to
    one session, not older than `since` (Unix seconds)."""

    undelivered: bool = False
    owed: bool = False
    to: str | None = None
    since: int | None = None


ALL_MINE = Wanted()
_BEHIND = " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.message = m.id AND d.addressed = 1 AND {})"


def sent(
    clone: Clone, me: Identity, wanted: Wanted = ALL_MINE, limit: int = PAGE, now: float | None = None
) -> list[SentMessage]:
    """My sent messages, newest first. Raises UsageError for an unknown session."""

    now = time.time() if now is None else now

    def ask(db: sqlite3.Connection) -> tuple[list[SentMessage], bool]:
        conditions, values = _wanted(db, clone, wanted)
        rows = db.execute(
            "SELECT m.id, e.text, m.at FROM messages m JOIN events e ON e.id = m.id WHERE m.clone = ? AND m.author IN"
            f" (SELECT value FROM json_each(?)) AND m.notice = ''{conditions} ORDER BY m.lc DESC, m.id DESC LIMIT ?",
            (clone.id, json.dumps([name_in(box) for box in my_boxes(db, clone, me.name)]), *values, limit),
        ).fetchall()
        found = [_sent_message(db, clone, *row) for row in rows]
        return found, bool(bounces(db, clone, now))

    return bounced_first(clone, now, ask)


def _wanted(db: sqlite3.Connection, clone: Clone, wanted: Wanted) -> tuple[str, list[object]]:
    """The SQL conditions of a choice, and their values."""
    conditions, values = "", list[object]()
    if wanted.undelivered:
        conditions += _BEHIND.format("d.state < 3")
    if wanted.owed:
        conditions += _BEHIND.format(f"({OWES})") + f" AND NOT {BOUNCED}"
    if wanted.to is not None:
        conditions += _BEHIND.format("d.box IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(boxes_of(db, wanted.to, clone.id or "")))
    if wanted.since is not None:
        conditions += " AND m.at >= ?"
        values.append(wanted.since)
    return conditions, values


def _sent_message(db: sqlite3.Connection, clone: Clone, oid: Oid, text: str, at: int) -> SentMessage:
    ledger = deliveries(db, oid)
    return SentMessage(oid, text, at, ledger, _waits(db, clone, oid, ledger))


def _waits(db: sqlite3.Connection, clone: Clone, oid: Oid, ledger: Sequence[Delivery]) -> bool:
    """Whether a recipient in another clone has not received a message yet."""
    if all(clone.has(d.session) or d.state != "queued" for d in ledger):
        return False
    from gitcoord.sync import remotes

    return not remotes.is_connected(clone.repo) or remotes.is_waiting(db, clone, oid)


def deliveries(db: sqlite3.Connection, oid: str) -> tuple[Delivery, ...]:
    """The ledger of one message."""
    bounced = db.execute("SELECT 1 FROM bounces WHERE message = ?", (oid,))
    floor = EXPIRED if bounced.fetchone() else QUEUED
    rows = db.execute(
        "SELECT box, state, at, (SELECT min(g.at) FROM glimpses g WHERE g.message = d.message AND g.box = d.box)"
        " FROM deliveries d WHERE message = ? AND addressed = 1 ORDER BY box",
        (oid,),
    )
    return tuple(delivery_of(box, max(state, floor), at, seen) for box, state, at, seen in rows)


def delivery_of(box: str, state: int, at: int, seen: int | None) -> Delivery:
    """The delivery in a ledger row. `seen` is when a part of the message was surfaced; for `inbox` it is still unread."""
    return Delivery(box, LEDGER[SURFACED], seen) if seen is not None and state < SURFACED else Delivery(box, LEDGER[state], at)


# receipts


def my_boxes(db: sqlite3.Connection, clone: Clone, name: str) -> list[str]:
    """The mailboxes that a session of this clone empties: its own, and those it inherited."""
    return leading_to(db, clone.box(name))


def mark(clone: Clone, me: Identity, ids: Iterable[Oid], state: int = READ) -> None:
    """Record in one event that messages reached `state` with me, without those that were further already."""
    wanted = list(ids)
    for local in (False, True):

        def decide(db: sqlite3.Connection, local: bool = local) -> list[Draft]:
            behind = [
                (oid, box) for oid, box, reached in my_deliveries(db, clone, me.name, wanted)
                if reached < state and is_local(db, oid) == local
            ]  # fmt: skip
            return receipts(me, clone.id, behind, state)

        if wanted and (not local or clone.read(lambda db: any(is_local(db, oid) for oid in wanted))):
            clone.append(decide, local)


def my_deliveries(db: sqlite3.Connection, clone: Clone, name: str, ids: Sequence[Oid]) -> list[tuple[Oid, str, int]]:
    """Those of `ids` that were sent to a session of this clone: id, mailbox and ledger state."""
    boxes = my_boxes(db, clone, name)
    marks = ", ".join("?" * len(boxes))
    rows = db.execute(
        f"SELECT message, box, state FROM deliveries WHERE addressed = 1 AND box IN ({marks})"
        " AND message IN (SELECT value FROM json_each(?))",
        (*boxes, json.dumps(list(ids))),
    )
    return rows.fetchall()


def receipts(me: Identity, here: str, behind: Sequence[tuple[Oid, str]], state: int, part: bool = False) -> list[Draft]:
    """One receipt for each mailbox: inherited mail is marked under the name it was sent to. `part`: only a part was
    shown."""
    by_box: dict[str, list[Oid]] = {}
    for oid, box in behind:
        by_box.setdefault(box, []).append(oid)
    word = LEDGER[state]
    drafts = []
    for box, ids in by_box.items():
        name, origin = split_mailbox(box)
        data: dict[str, Any] = {"session": name, "state": word, "ids": ids, **({"part": True} if part else {})}
        if not same_clone(origin, here):
            data["of"] = origin
        drafts.append(Draft("receipt", f"{me.name} {word} {len(ids)}", data, author=me.name))
    return drafts


def is_local(db: sqlite3.Connection, oid: str) -> bool:
    """Whether an event stays in this clone."""
    row = db.execute("SELECT local FROM events WHERE id = ?", (oid,)).fetchone()
    return bool(row and row[0])


# expiry


def bounced_first(clone: Clone, now: float, ask: Callable[[sqlite3.Connection], tuple[T, bool]]) -> T:
    """Ask a question. If the answer contains messages of this clone that expired unread, tell their senders (once) and ask
    again."""
    answer, due = clone.read(ask)
    if due:
        with suppress(RepositoryError):  # a read-only repository can still be read
            clone.append(lambda db: bounces(db, clone, now))
            answer, _ = clone.read(ask)
    return answer


IN_TIME = "(m.expires = 0 OR m.expires > ? - coalesce((SELECT min(p.seen - p.at) FROM presence p WHERE p.clone = m.clone), 0))"
"""SQL condition: a message has not expired at the given time. Its end is by its sender's clock, whose offset is estimated
from that clone's presence (`presence.clock_ahead`)."""


def bounces(db: sqlite3.Connection, clone: Clone, now: float) -> list[Draft]:
    """Bounces for the senders of messages of this clone that expired unread, and were not bounced yet."""
    rows = db.execute(
        "SELECT m.id, m.author, substr(e.text, 1, 60), group_concat(d.box, ', ') FROM messages m"
        " JOIN events e ON e.id = m.id JOIN deliveries d ON d.message = m.id AND d.addressed = 1 AND d.state = 0"
        " WHERE m.expires > 0 AND m.expires <= ? AND m.clone = ?"
        " AND NOT EXISTS (SELECT 1 FROM bounces b WHERE b.message = m.id) GROUP BY m.id",
        (int(now), clone.id),
    ).fetchall()
    return [
        Draft(
            "message",
            f"Expired before {boxes} read it: {' '.join(text.split())}",
            {"to": [clone.box(author)], "notice": "bounce", "about": oid, "reply_to": oid},
            author=author,
        )
        for oid, author, text, boxes in rows
    ]
