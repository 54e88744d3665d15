"""`coord.messages`: messages to sessions, and how far each got."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gitcoord.features.messages.debts import Debt
    from gitcoord.features.messages.inbox import Inbox, Message
    from gitcoord.features.messages.ledger import SentMessage
    from gitcoord.features.messages.sending import Sent
    from gitcoord.features.messages.talk import Talk
    from gitcoord.log.event import Event
    from gitcoord.sessions.identity import Identity
    from gitcoord.store.objects import Oid
    from gitcoord.store.repository import Repository


class Polled(NamedTuple):
    """A page of the inbox, and the events to wait for: the end of one of the processes, or a move of the repository's
    refs."""

    page: Inbox
    pids: tuple[int, ...]
    place: Repository


class Messages(Facade):
    """Messages that I send and receive. Reading marks nothing: call `mark_read` with the messages that were really shown.

    Example:

        sent = coord.messages.send("beta", "the schema is merged", needs_ack=True)
        coord.messages.reply(sent.id, "the migration, too")
        coord.messages.thread(sent.thread)
        coord.messages.sent(undelivered=True)
        [said.ledger for said in coord.messages.recent(session="beta", words="schema").said]
        [said.message.text for said in coord.messages.with_one("beta").said]
        [debt.owes for debt in coord.messages.overdue(until=1767225600)]
        coord.messages.awaiting(limit=5).remaining
        page = coord.messages.inbox()
        coord.messages.mark_read(page.messages)
        page = coord.messages.poll(waits=True).page
        for message in coord.messages.receive(everything=True).messages:
            coord.messages.ack(message.id, "thanks")
        coord.messages.wait(timeout=0.1)
    """

    __slots__ = ()

    def send(
        self,
        to: str | Sequence[str],
        text: str,
        *,
        urgent: bool = False,
        needs_ack: bool = False,
        expires: int | None = None,
        queue: bool = False,
        local: bool = False,
        attachments: Mapping[str, bytes] | None = None,
        key: str = "",
    ) -> Sent:
        """Send to sessions, `all` or `role:R`; on return the message is written. `expires` in seconds.

        `queue` opens a mailbox for a session that has not joined yet, `local` keeps the message in this clone. A second
        call with the same `key` writes nothing and returns the message of the first. Raises UsageError for an unknown or
        ambiguous recipient and for text that cannot be stored, Refused for a key that another message has.
        """
        from gitcoord.features.messages import sending

        options = sending.Options(urgent, needs_ack, expires, queue, local, attachments, key)
        boxes = [to] if isinstance(to, str) else to
        return self._write(lambda me: sending.send(self._clone, me, boxes, text, options))

    def reply(self, message_id: str, text: str, *, attachments: Mapping[str, bytes] | None = None) -> Sent:
        """Answer a message in its thread, and ack it if it asks for that."""
        from gitcoord.features.messages import sending

        return self._write(
            lambda me: sending.reply(self._clone, me, message_id, text, sending.Options(attachments=attachments))
        )

    def ack(self, message_id: str, text: str = "") -> Sent | None:
        """Acknowledge a message, with an answer if there is text."""
        from gitcoord.features.messages import sending

        return self._write(lambda me: sending.ack(self._clone, me, message_id, text))

    def inbox(
        self,
        *,
        everything: bool = False,
        again: bool = False,
        owed: bool = False,
        sender: str | None = None,
        limit: int = 20,
    ) -> Inbox:
        """My unread messages, oldest first. `everything` adds those read, `again` returns the messages that were marked
        last once more, `owed` those that I have not acked as asked."""
        from gitcoord.features.messages import inbox

        return inbox.inbox(self._clone, self._me, everything, again, sender, limit, owed=owed)

    def awaiting(self, *, limit: int = 20) -> Inbox:
        """The messages that wait for me, oldest first: unread ones, and those that I was asked to acknowledge."""
        from gitcoord.features.messages import inbox

        return inbox.awaiting(self._clone, self._me, limit)

    def receive(self, *, everything: bool = False, again: bool = False, sender: str | None = None, limit: int = 20) -> Inbox:
        """Return a page as `inbox` does, and mark it read."""
        page = self.inbox(everything=everything, again=again, sender=sender, limit=limit)
        self.mark_read(page.messages)
        return page

    def wait(self, timeout: float | None = None, *, sender: str | None = None, output: int | None = None) -> Inbox | None:
        """Sleep until there is unread mail; None after `timeout` seconds. Marks nothing.

        `output` is a file descriptor: BrokenPipeError is raised when its reader goes away.
        """
        from gitcoord.overview import waiting

        self._coord.beat()
        return waiting.wait_for_mail(self._coord, timeout, sender, output)

    def poll(self, *, again: bool = False, waits: bool = False) -> Polled:
        """Return a page as `inbox` does, with the processes that a caller that `waits` has to watch."""
        from gitcoord.features import deaths
        from gitcoord.overview import around

        if waits:
            around.look_out(self._coord)
        return Polled(self.inbox(again=again), tuple(deaths.watched_pids(self._clone)), self._clone.repo)

    def mark_read(self, shown: Iterable[Message]) -> None:
        """Mark messages that were really shown as read; a caller with `as_name` marks nothing."""
        fresh = [message.id for message in shown if message.state not in ("read", "acked")]
        me = self._me
        if fresh and not me.observer and not me.shared:
            if me.record is None and not me.person:
                from gitcoord.api.sessions import Sessions

                Sessions(self._coord).join()
            self._write(lambda me: self._marked(me, fresh))

    def _marked(self, me: Identity, fresh: Sequence[Oid]) -> None:
        from gitcoord.features.messages import ledger

        if me.record is None:
            from gitcoord.sessions.presence import register

            register(self._clone, me)
        ledger.mark(self._clone, me, fresh)

    def sent(
        self,
        *,
        undelivered: bool = False,
        owed: bool = False,
        to: str | None = None,
        since: int | None = None,
        limit: int = 20,
    ) -> list[SentMessage]:
        """My sent messages, newest first, with their state at each recipient: `undelivered` ones, `owed` ones (urgent and
        unread, or not acked as asked), those `to` one session, those not older than `since` (Unix seconds)."""
        from gitcoord.features.messages import ledger

        return ledger.sent(self._clone, self._me, ledger.Wanted(undelivered, owed, to, since), limit)

    def recent(self, *, limit: int = 100, notices: bool = False, session: str | None = None, words: str = "") -> Talk:
        """Everybody's latest messages, oldest first, with the ledger of each: of or to one `session`, containing
        `words`; with `notices` also those that gitcoord itself wrote. Raises UsageError for an unknown name."""
        from gitcoord.features.messages import talk

        return talk.recent(self._clone, limit, talk.Which(notices, session, words))

    def with_one(self, session: str, *, since: int | None = None, limit: int = 20) -> Talk:
        """The latest messages between one session and me, both sides, oldest first; not older than `since` (Unix
        seconds). Raises UsageError for an unknown name."""
        from gitcoord.features.messages import talk

        return talk.recent(self._clone, limit, talk.Which(session=session, other=self._me.name, since=since))

    def overdue(self, until: float) -> list[Debt]:
        """Receipts that sessions owe each other for messages sent before `until` (Unix seconds), oldest first."""
        from gitcoord.features.messages import debts

        return debts.overdue(self._clone, until)

    def thread(self, message_id: str) -> list[Event]:
        """A conversation, oldest first."""
        from gitcoord.features.messages import inbox

        return inbox.thread(self._clone, message_id)
