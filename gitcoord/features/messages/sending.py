"""Send messages: find the recipients that a user names, and write the message."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from gitcoord.errors import Refused, UsageError
from gitcoord.features.messages.fold import ACKED, MAX_RECIPIENTS, READ
from gitcoord.features.messages.ledger import is_local, mark, my_deliveries
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event, LaterDraft, check_attachment, check_text
from gitcoord.log.query import get_event, resolve_id
from gitcoord.log.schemas import is_one_line
from gitcoord.log.secrets import LooksSecret
from gitcoord.names import EVERYBODY, mailbox, session_name, split_mailbox
from gitcoord.sessions.identity import Identity, person_name, worktree_name
from gitcoord.sessions.mailboxes import address, addressed, canonical, known_mailboxes, leading_to, resolve_name
from gitcoord.sessions.membership import present, states
from gitcoord.sessions.presence import expect, register
from gitcoord.store.objects import Oid
from gitcoord.store.worktrees import Worktree, list_worktrees


class Recipient(NamedTuple):
    """A recipient at the time of sending: its mailbox, its liveness and its last sign of life."""

    session: str
    state: str
    beat: float | None
    waits_for_sync: bool = False
    """Whether the recipient is in another clone, which receives it with the next sync."""


class Sent(NamedTuple):
    """A message that was written."""

    id: Oid
    thread: str
    recipients: tuple[Recipient, ...]
    kept: str = ""
    """The kind of secret that it seems to contain, if it was kept in this clone because of that."""


class Options(NamedTuple):
    """The options of a message. `expires` is a number of seconds from now; a message with a `key` is written once."""

    urgent: bool = False
    needs_ack: bool = False
    expires: int | None = None
    queue: bool = False
    local: bool = False
    attachments: Mapping[str, bytes] | None = None
    key: str = ""


PLAIN = Options()
MAX_KEY = 100
"""Largest length of a key, as in the schema of a message."""


def send(clone: Clone, me: Identity, to: Sequence[str], text: str, options: Options = PLAIN) -> Sent:
    """Send `text` to sessions, `all` or `role:R`. Raises UsageError for an unknown recipient; then nothing is written.

    With a key that this session has used before, nothing is written: returns that message. Raises Refused if its text or
    recipients differ.
    """
    _check(text, options)
    with clone.locked():
        if options.key and (known := _sent_before(clone, me, options.key)):
            return _sent(clone, _the_same(clone, known, to, text))
        boxes, opens = _recipients_or_newcomers(clone, me, to, options.queue)
        if options.local:
            boxes = _only_here(clone, boxes, to)
        register(clone, me)
        drafts = _in_parts(me, text, options, boxes, {"opens": opens, "audience": _audience(to)})
        try:
            return _append(clone, drafts, options.local)
        except LooksSecret as secret:
            near = _near(clone, boxes)
            if len(near) < len(boxes) and (not near or len(_audience(to)) < len(to)):
                raise  # otherwise the recipient would wait for it in vain
            local = _draft(me, text, options, {"to": near, "opens": opens, "audience": _audience(to)})
            return _append(clone, [local], True)._replace(kept=secret.found)


def reply(clone: Clone, me: Identity, prefix: str, text: str, options: Options = PLAIN) -> Sent:
    """Answer a message in its thread: to its sender, or to its recipients when it is the caller's own. That acks it, if it
    asks for an ack."""
    _check(text, options)
    with clone.locked():
        original = clone.read(lambda db: get_event(db, resolve_id(db, prefix, "message")))
        register(clone, me)
        boxes = _reply_boxes(clone, me, original)
        thread = original.data.get("thread") or original.id
        draft = _draft(me, text, options, {"to": boxes, "thread": thread, "reply_to": original.id})
        local = options.local or clone.read(lambda db: is_local(db, original.id))
        try:
            sent = _append(clone, [draft], local)
        except LooksSecret as secret:
            if len(_near(clone, boxes)) < len(boxes):
                raise
            sent = _append(clone, [draft], True)._replace(kept=secret.found)
        mark(clone, me, [original.id], ACKED if original.data.get("needs_ack") else READ)  # an answer is more than an ack
        return sent


def ack(clone: Clone, me: Identity, prefix: str, text: str = "", options: Options = PLAIN) -> Sent | None:
    """Acknowledge a message addressed to me, with an answer if there is text. Raises UsageError if it was not to me."""
    oid = clone.read(lambda db: resolve_id(db, prefix, "message"))
    if not clone.read(lambda db: my_deliveries(db, clone, me.name, [oid])):
        raise UsageError(f"{prefix} was not sent to {me.name}", "git coord inbox --all")
    sent = reply(clone, me, oid, text, options) if text else None
    register(clone, me)
    mark(clone, me, [oid], ACKED)
    return sent


def _sent_before(clone: Clone, me: Identity, key: str) -> Event | None:
    """The message that this session sent with `key`, under its present name or a former one."""

    def find(db: sqlite3.Connection) -> Event | None:
        with_it = (
            "SELECT m.id FROM messages m JOIN events e ON e.id = m.id"
            " WHERE (m.clone, m.author) = (?, ?) AND json_extract(e.data, '$.key') = ? LIMIT 1"
        )
        senders = [split_mailbox(box) for box in leading_to(db, clone.box(me.name))]
        rows = (db.execute(with_it, (at, name, key)).fetchone() for name, at in senders)
        return next((get_event(db, row[0]) for row in rows if row), None)

    return clone.read(find)


def _the_same(clone: Clone, known: Event, to: Sequence[str], text: str) -> Event:
    """`known`, which was sent with the same key, if it says the same to the same recipients. Raises Refused."""
    groups = _audience(to)
    boxes = clone.read(lambda db: {canonical(db, addressed(db, word, clone.id)) for word in to if word not in groups})
    homes = clone.read(lambda db: {canonical(db, box) for box in known.data["to"]})
    if known.text == text and known.data.get("audience", []) == groups and (boxes <= homes if groups else boxes == homes):
        return known
    raise Refused(f"this key is that of another message, {known.id[:10]}", f"git coord show {known.id[:10]}")


def _check(text: str, options: Options) -> None:
    if not text.strip():
        raise UsageError("the text is empty", "give it as words, with -m TEXT or with -F FILE")
    check_text(text)
    if len(options.key) > MAX_KEY or not is_one_line(options.key):
        raise UsageError(f"a key is one line of up to {MAX_KEY} characters", "git coord send TO TEXT --key ID")
    for name, content in (options.attachments or {}).items():
        check_attachment(name, content)


def _only_here(clone: Clone, boxes: Sequence[str], to: Sequence[str]) -> list[str]:
    """Keep a local message in this clone: a recipient in another clone is refused, and only the members of a group here get
    it."""
    here = _near(clone, boxes)
    away = [box for box in boxes if box not in here]
    if away and (not here or len(_audience(to)) < len(to)):
        raise UsageError(f"{away[0]} is in another clone, and --local keeps the message here", "leave out --local")
    return here


def _near(clone: Clone, boxes: Sequence[str]) -> list[str]:
    """Those of some mailboxes that belong to this clone and that no other clone has adopted."""
    return clone.read(lambda db: [box for box in boxes if clone.has(box) and clone.has(canonical(db, box))])


def _audience(to: Sequence[str]) -> list[str]:
    return [word for word in to if word.startswith(("@", "role:")) or word == EVERYBODY]


def recipients_of(clone: Clone, me: Identity, to: Sequence[str]) -> list[str]:
    """The mailboxes that names, roles and `all` stand for now. Raises UsageError."""
    return _recipients_or_newcomers(clone, me, to, False)[0]


def _recipients_or_newcomers(clone: Clone, me: Identity, to: Sequence[str], queue: bool) -> tuple[list[str], list[str]]:
    """As `_recipients`; the name of a worktree without a session stands for its expected session."""
    try:
        return _recipients(clone, me, to, queue)
    except UsageError:
        meant = [worktree for worktree in list_worktrees(clone.repo) if _is_meant(clone, worktree, to)]
        if not [worktree for worktree in meant if expect(clone, worktree)]:
            raise
        return _recipients(clone, me, to, queue)


def _is_meant(clone: Clone, worktree: Worktree, to: Sequence[str]) -> bool:
    return worktree.git_dir != clone.repo.common_dir and worktree_name(worktree.path) in to


def _recipients(clone: Clone, me: Identity, to: Sequence[str], queue: bool) -> tuple[list[str], list[str]]:
    """The mailboxes that `to` stands for now, and the names that --queue opens. Raises UsageError."""
    if not to:
        raise UsageError("no recipient is named", "git coord sessions")
    boxes: list[str] = []
    opens: list[str] = []
    here = clone.settled_id()
    for word in to:
        group = word.removeprefix("@").removeprefix("role:")
        if word.startswith(("@", "role:")) or word == EVERYBODY:
            boxes += _members(clone, me, group, word)
        elif _is_unopened(clone, word, here) or (queue and not _is_known(clone, word)):
            opens.append(session_name(word))
            boxes.append(mailbox(word, here))
        else:
            boxes.append(clone.read(lambda db, word=word: addressed(db, word, here)))  # type: ignore[misc]
    return list(dict.fromkeys(boxes)), opens


def _is_unopened(clone: Clone, word: str, here: str) -> bool:
    """Whether `word` is the user of this repository, if they have written nothing yet: they can receive mail all the
    same."""
    if word != person_name(clone.repo):
        return False
    return clone.read(lambda db: canonical(db, mailbox(word, here)) not in known_mailboxes(db))


def _is_known(clone: Clone, word: str) -> bool:
    try:
        clone.read(lambda db: resolve_name(db, word, clone.id))
    except UsageError as error:
        if "ambiguous" in error.what:
            raise
        return False
    return True


def _members(clone: Clone, me: Identity, group: str, word: str) -> list[str]:
    """The sessions that are not gone, without the sender; with a role, only those of that role."""
    mine = clone.box(me.name)
    meant = [s.box for s in present(clone) if s.box != mine and (group == EVERYBODY or s.role == group)]
    if not meant:
        raise UsageError(f"{word} reaches no session at the moment", "git coord sessions")
    return meant


def _draft(me: Identity, text: str, options: Options, data: Mapping[str, Any]) -> Draft:
    attachments = options.attachments or {}
    facts: dict[str, Any] = {key: value for key, value in data.items() if value}
    facts |= {key: True for key in ("urgent", "needs_ack") if getattr(options, key)}
    facts |= {"key": options.key} if options.key else {}
    if options.expires is not None:
        facts["expires"] = int(time.time()) + options.expires
    if attachments:
        facts["attachments"] = sorted(attachments)
    return Draft("message", text, facts, attachments, me.name)


def _in_parts(
    me: Identity, text: str, options: Options, boxes: Sequence[str], data: Mapping[str, Any]
) -> list[Draft | LaterDraft]:
    """A message for each MAX_RECIPIENTS of the recipients; the others are in the thread of the first one."""
    first = _draft(me, text, options, {"to": boxes[:MAX_RECIPIENTS], **data})

    def later(start: int) -> LaterDraft:
        part = {"to": boxes[start : start + MAX_RECIPIENTS], "audience": data["audience"]}
        return lambda ids: _draft(me, text, options._replace(key=""), {**part, "thread": ids[0]})

    return [first, *(later(start) for start in range(MAX_RECIPIENTS, len(boxes), MAX_RECIPIENTS))]


def _append(clone: Clone, drafts: Sequence[Draft | LaterDraft], local: bool) -> Sent:
    events = clone.append(lambda db: drafts, local)
    if events[0].data.get("urgent"):
        from gitcoord.features.messages import ring

        ring.mail(clone, events)
    return _sent(clone, *events)


def _sent(clone: Clone, event: Event, *parts: Event) -> Sent:
    """A written message, with the state of its recipients; `parts` of it are for further recipients."""
    boxes = [box for each in (event, *parts) for box in each.data["to"]]
    homes = clone.read(lambda db: [canonical(db, box) for box in boxes])
    life = states(clone, homes)
    recipients = tuple(Recipient(box, *life[box], not clone.has(box)) for box in homes)
    return Sent(event.id, event.data.get("thread") or event.id, recipients)


def _reply_boxes(clone: Clone, me: Identity, original: Event) -> list[str]:
    mine = clone.box(me.name)
    sender, home = clone.read(lambda db: (address(db, original.sender), canonical(db, original.sender)))
    return [sender] if home != mine else [box for box in original.data["to"] if isinstance(box, str)]
