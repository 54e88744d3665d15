"""Everybody's conversations: messages with their ledgers, for views."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord import lean_json as json
from gitcoord.features.messages.fold import EXPIRED, QUEUED
from gitcoord.features.messages.inbox import FACTS, Message, message_of
from gitcoord.features.messages.ledger import Delivery, delivery_of
from gitcoord.lean import NamedTuple, re, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.trust import held_back
from gitcoord.names import split_mailbox
from gitcoord.sessions.mailboxes import leading_to, resolve_name


class Said(NamedTuple):
    """A message, its state with each of its recipients, and whether `coord.requireSigned` keeps it back."""

    message: Message
    ledger: tuple[Delivery, ...]
    held: bool = False


class Talk(NamedTuple):
    """Messages, oldest first; `more` says that there are older ones."""

    said: tuple[Said, ...]
    more: bool


class Which(NamedTuple):
    """A choice of messages: of or to one session, and one `other` (a session of this clone), containing `words`, not older
    than `since` (Unix seconds), with or without gitcoord's own notices."""

    notices: bool = False
    session: str | None = None
    words: str = ""
    other: str | None = None
    since: int | None = None


EVERYTHING = Which()


def recent(clone: Clone, limit: int, which: Which = EVERYTHING) -> Talk:
    """The newest messages, oldest of them first. Raises UsageError for an unknown session."""

    def ask(db: sqlite3.Connection) -> tuple[list[Message], dict[str, list[Delivery]]]:
        condition, values = _condition(db, clone, which)
        query = f"SELECT {FACTS} WHERE {condition} ORDER BY e.lc DESC, e.id DESC LIMIT ?"
        found = [message_of(row) for row in db.execute(query, (*values, limit + 1))]
        return found, _ledgers(db, [message.id for message in found])

    found, ledgers = clone.read(ask)
    held = held_back(clone, [message.id for message in found])
    said = [Said(m, tuple(ledgers.get(m.id, ())), m.id in held) for m in reversed(found[:limit])]
    return Talk(tuple(said), len(found) > limit)


def _condition(db: sqlite3.Connection, clone: Clone, which: Which) -> tuple[str, list[object]]:
    conditions, values = ["1" if which.notices else "m.notice = ''"], list[object]()
    if which.words:
        conditions.append("e.text LIKE ? ESCAPE '\\'")
        values.append("%" + re.sub(r"([%_\\])", r"\\\1", which.words) + "%")
    if which.since is not None:
        conditions.append("e.at >= ?")
        values.append(which.since)
    if which.session is not None:
        theirs = leading_to(db, resolve_name(db, which.session, clone.id or ""))
        if which.other is None:
            conditions.append(f"({_TO} OR {_BY})")
            values += [json.dumps(theirs), _senders(theirs)]
        else:
            mine = leading_to(db, clone.box(which.other))
            conditions.append(f"({_TO} AND {_BY} OR {_TO} AND {_BY})")
            values += [json.dumps(theirs), _senders(mine), json.dumps(mine), _senders(theirs)]
    return " AND ".join(conditions), values


_TO = "m.id IN (SELECT message FROM deliveries WHERE box IN (SELECT value FROM json_each(?)))"
_BY = (
    "EXISTS (SELECT 1 FROM json_each(?) s WHERE m.author = json_extract(s.value, '$[0]')"
    " AND m.clone = json_extract(s.value, '$[1]'))"
)


def _senders(boxes: Sequence[str]) -> str:
    return json.dumps([list(split_mailbox(box)) for box in boxes])


def _ledgers(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, list[Delivery]]:
    rows = db.execute(
        "SELECT d.message, d.box, d.state, d.at, EXISTS (SELECT 1 FROM bounces b WHERE b.message = d.message),"
        " (SELECT min(g.at) FROM glimpses g WHERE g.message = d.message AND g.box = d.box)"
        " FROM deliveries d WHERE d.addressed = 1 AND d.message IN (SELECT value FROM json_each(?)) ORDER BY d.box",
        (json.dumps(list(ids)),),
    )
    found: dict[str, list[Delivery]] = {}
    for message, box, state, at, bounced, seen in rows:
        floor = EXPIRED if bounced else QUEUED
        found.setdefault(message, []).append(delivery_of(box, max(state, floor), at, seen))
    return found
