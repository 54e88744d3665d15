"""gitcoord: messages, sessions and notes between the worktrees and clones of one git repository.

    from gitcoord import Coord

    with Coord.open() as coord:
        coord.send("worker-1", "the schema is merged")
        for message in coord.inbox().messages:
            print(message.sender, message.text)

`Coord` has the verbs of the command line. Everything it raises for cause is a `CoordError`, which carries a hint.
Start-up matters here: what a verb needs is imported when it is called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gitcoord.errors import CoordError, Refused, RemoteError, RepositoryError, UsageError

if TYPE_CHECKING:
    from gitcoord.api import Locks
    from gitcoord.doctor import Finding
    from gitcoord.features.messages.inbox import Inbox, Message
    from gitcoord.features.messages.ledger import SentMessage
    from gitcoord.features.messages.sending import Sent
    from gitcoord.features.notes import Note
    from gitcoord.features.numbers import Allocation
    from gitcoord.features.overlaps.conflicts import Collision
    from gitcoord.features.state import Keys
    from gitcoord.features.tasks import Tasks
    from gitcoord.jobs_api import Jobs
    from gitcoord.log.clone import Clone
    from gitcoord.log.event import Event
    from gitcoord.log.retention import Collected, Redacted
    from gitcoord.log.trust import Signer
    from gitcoord.overview.brief import Brief
    from gitcoord.overview.counts import Short
    from gitcoord.overview.status import Status
    from gitcoord.overview.waiting import Held
    from gitcoord.sessions.identity import Identity
    from gitcoord.sessions.membership import Session
    from gitcoord.sessions.records import Record
    from gitcoord.setup import Initialized, Traces
    from gitcoord.store.hooks import Hook
    from gitcoord.store.objects import Oid
    from gitcoord.store.signing import Signature
    from gitcoord.sync.exchange import Report
    from gitcoord.sync.purge_remote import Standing

__all__ = ["Coord", "CoordError", "Refused", "RemoteError", "RepositoryError", "UsageError"]
__version__ = "0.1.0"
BEAT_EVERY = 20.0
"""Seconds after which the next call of a long-lived process counts as another sign of life."""


class Coord:
    """One session's view of one repository. Not for use from several threads at a time.

    `identity` is who the calls speak for; it is found once, and again after `join`. Times are Unix seconds, sessions
    are mailboxes (`name@clone`), ids are full object ids; arguments take bare names and unique id prefixes too.
    """

    def __init__(self, clone: Clone, cwd: str, as_name: str | None = None) -> None:
        self.clone = clone
        self.cwd = cwd
        self._as_name = as_name
        self._identity: Identity | None = None
        self._beat_at = 0.0

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] = ".",
        as_name: str | None = None,
        environ: Mapping[str, str] | None = None,
        long_lived: bool = True,
    ) -> Coord:
        """Open the repository that git finds from `path`. `as_name` speaks for that session and marks nothing read.

        `long_lived` prefers libgit2, which is quicker for many calls and slower for one. Raises RepositoryError.
        """
        from gitcoord import features
        from gitcoord.log.clone import Clone
        from gitcoord.store.discovery import find_repository

        repo = find_repository(path, environ)
        return cls(Clone(repo, features.load, long_lived), _absolute(path), as_name)

    def close(self) -> None:
        """Let go of files."""
        self.clone.close()

    def __enter__(self) -> Coord:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def identity(self) -> Identity:
        """The session these calls speak for, and the rule that said so."""
        if self._identity is None:
            from gitcoord.sessions.identity import current

            self._identity = current(self.clone, self._as_name)
            self._beat_at = 0.0
        if not 0 <= time.monotonic() - self._beat_at < BEAT_EVERY:
            from gitcoord.sessions.presence import beat

            self._beat_at = time.monotonic()
            self._identity = beat(self.clone, self._identity)
        return self._identity

    @property
    def speaker(self) -> Identity:
        """`identity` of a call that writes: a name that is free or vacant is taken first. Raises RepositoryError."""
        from gitcoord.sessions.presence import settle

        self._identity = settle(self.clone, self.identity)
        return self._identity

    def speak_as(self, identity: Identity) -> None:
        """Speak for a session that is known already, without looking for it by the rules."""
        self._identity = identity
        self._beat_at = time.monotonic()

    # set-up

    def init(self, hooks: bool = True) -> Initialized:
        """Install the git hooks and register placeholders for the worktrees; see `setup.init`."""
        from gitcoord import setup

        return setup.init(self.clone, hooks)

    def hooks(self, action: str = "status") -> list[Hook]:
        """`install`, `uninstall` or `status` of the git hooks; see `githooks`."""
        from gitcoord.store import hooks as githooks

        actions = {"install": githooks.install, "uninstall": githooks.uninstall, "status": githooks.status}
        return actions[action](self.clone.repo)

    def doctor(self, fix: bool = False) -> list[Finding]:
        """What is well and what is not; with `fix`, after mending what can be mended."""
        from gitcoord import doctor

        return doctor.examine(self.clone, fix)

    def traces(self, everyone: bool = False) -> Traces:
        """What `purge` would remove."""
        from gitcoord import setup

        return setup.traces(self.clone, everyone)

    def purge(self, everyone: bool = False) -> Traces:
        """Remove our refs, files, hooks and settings from the repository; see `setup.purge`."""
        from gitcoord import setup

        return setup.purge(self.clone, everyone)

    def withdraw(self, remote: str | None = None, really: bool = False) -> Standing:
        """Delete this clone's refs at a remote; without `really`, only say which those are. Raises RemoteError."""
        from gitcoord.sync import purge_remote

        return (purge_remote.withdraw if really else purge_remote.standing)(self.clone, remote, self.cwd)

    # sessions

    def join(
        self,
        name: str | None = None,
        role: str | None = None,
        focus: str | None = None,
        pid: int | None = None,
        origin: str | None = None,
    ) -> Record:
        """Register, or rename the caller's session; `origin` is the clone to adopt `name` from. See `sessions.join`."""
        from gitcoord.sessions import membership

        record = membership.join(self.clone, self.identity, name, role, focus, pid, origin)
        self._identity = None
        if self._as_name is not None:
            self._as_name = record.name
        return record

    def leave(self) -> Record:
        """End the caller's session."""
        from gitcoord.sessions import membership

        record = membership.leave(self.clone, self.identity)
        self._identity = None
        return record

    def sessions(self, everyone: bool = False) -> list[Session]:
        """Who works here; `everyone` includes those that are gone."""
        from gitcoord.sessions import membership

        return membership.list_sessions(self.clone, everyone)

    def session(self, name: str) -> Session:
        """One session. Raises UsageError if nobody is called so."""
        from gitcoord.sessions import membership

        return membership.find_session(self.clone, name)

    def focus(self, text: str) -> Record:
        """Say what the session works on."""
        from gitcoord.sessions import membership

        return membership.set_focus(self.clone, self.speaker, text)

    def editing(self, paths: Sequence[str]) -> Record:
        """Say which files the session edits."""
        from gitcoord.sessions import membership

        return membership.editing(self.clone, self.speaker, paths, self.cwd)

    # messages

    def send(
        self,
        to: str | Sequence[str],
        text: str,
        urgent: bool = False,
        needs_ack: bool = False,
        expires: int | None = None,
        queue: bool = False,
        local: bool = False,
        attachments: Mapping[str, bytes] | None = None,
    ) -> Sent:
        """Send to sessions, `all` or `role:R`; on return the message is on the log. `expires` in seconds.

        Raises UsageError for an unknown or ambiguous recipient and for text that cannot be stored.
        """
        from gitcoord.features.messages import sending

        options = sending.Options(urgent, needs_ack, expires, queue, local, attachments)
        return sending.send(self.clone, self.speaker, [to] if isinstance(to, str) else to, text, options)

    def reply(self, message_id: str, text: str, attachments: Mapping[str, bytes] | None = None) -> Sent:
        """Answer a message in its thread."""
        from gitcoord.features.messages import sending

        options = sending.Options(attachments=attachments)
        return sending.reply(self.clone, self.speaker, message_id, text, options)

    def ack(self, message_id: str, text: str = "") -> Sent | None:
        """Acknowledge a message, with an answer if there is text."""
        from gitcoord.features.messages import sending

        return sending.ack(self.clone, self.speaker, message_id, text)

    def inbox(
        self,
        peek: bool = False,
        everything: bool = False,
        again: bool = False,
        sender: str | None = None,
        limit: int = 20,
    ) -> Inbox:
        """My unread messages, oldest first, marked read unless `peek` (or when looking on with `as_name`)."""
        from gitcoord.features.messages import inbox as messages

        page = messages.inbox(self.clone, self.identity, everything, again, sender, limit)
        if not peek:
            self.mark_read(page.messages)
        return page

    def wait_for_mail(self, timeout: float | None = None, sender: str | None = None, output: int | None = None) -> Inbox | None:
        """Sleep until there is unread mail; None after `timeout` seconds. Marks nothing: see `mark_read`."""
        from gitcoord.overview import waiting

        return waiting.wait_for_mail(self, timeout, sender, output)

    def wait(self, conditions: Sequence[str], timeout: float | None = None, output: int | None = None) -> Held | None:
        """Sleep until one condition holds (`session:w1=gone`, `message`, …); None after `timeout` seconds.

        `output` is a file descriptor: BrokenPipeError is raised when its reader goes away. Raises UsageError.
        """
        from gitcoord.overview import waiting

        return waiting.wait_for_any(self, conditions, timeout, output)

    def watch(self, kind: str | None = None, since: str | None = None, output: int | None = None) -> Iterator[Event]:
        """Every event as it arrives, of one type or all, from now on or after the event `since`."""
        from gitcoord.overview import waiting

        return waiting.follow(self, kind, since, output)

    def mark_read(self, shown: Iterable[Message]) -> None:
        """Mark what was really shown; nothing for one who only looks on."""
        from gitcoord.features.messages import ledger

        fresh = [message.id for message in shown if message.state not in ("read", "acked")]
        if fresh and not self.identity.observer and not self.identity.shared:
            ledger.mark(self.clone, self.speaker, fresh)

    def sent(self, undelivered: bool = False, limit: int = 20) -> list[SentMessage]:
        """What I sent, newest first, with the state at each recipient."""
        from gitcoord.features.messages import ledger

        return ledger.sent(self.clone, self.identity, undelivered, limit)

    # locks

    @property
    def locks(self) -> Locks:
        """Locks and checks: `coord.locks.take(["src/*.py"])`."""
        from gitcoord.api import Locks

        return Locks(self)

    # jobs

    @property
    def jobs(self) -> Jobs:
        """Supervised commands: `coord.jobs.start(["make"])`, `.list()`, `.get(ID)`, …"""
        from gitcoord.jobs_api import Jobs

        return Jobs(self)

    # history

    def thread(self, message_id: str) -> list[Event]:
        """A conversation, oldest first."""
        from gitcoord.features.messages import inbox as messages

        return messages.thread(self.clone, message_id)

    def search(self, words: str, limit: int = 20) -> list[Event]:
        """Messages and notes that contain `words`, oldest first."""
        from gitcoord.log import query

        return self.clone.read(lambda db: query.search_events(db, words, limit))

    def log(self, since: int | None = None, kind: str | None = None, limit: int = 20) -> list[Event]:
        """The newest events, newest first."""
        from gitcoord.log import query

        return self.clone.read(lambda db: query.list_events(db, since, kind, limit))

    def note(self, text: str, paths: Sequence[str] = ()) -> Oid:
        """Write a note for everybody, present and future."""
        from gitcoord.features import notes

        return notes.add_note(self.clone, self.speaker, text, paths, self.cwd)

    def notes(self, path: str | None = None, limit: int = 20) -> list[Note]:
        """The newest notes, newest first."""
        from gitcoord.features import notes

        return notes.list_notes(self.clone, path, self.cwd, limit)

    # trust

    def signatures(self, ids: Iterable[str]) -> dict[str, Signature]:
        """What events of other clones are worth, by id: `verified` (by whom), `unknown`, `bad` or `unsigned`.

        Empty where nobody signs, unless `coord.requireSigned` is set; events of this clone are never in it.
        """
        from gitcoord.log import trust

        return trust.signatures(self.clone, ids)

    def signers(self) -> list[Signer]:
        """The other clones: what their newest checkpoint is worth, the key each is known for, and what is wrong."""
        from gitcoord.log import trust

        return trust.signers(self.clone)

    def redact(self, event_id: str) -> Redacted:
        """Take one event of this clone's out of its log; see `retention.redact`."""
        from gitcoord.log import retention

        return retention.redact(self.clone, event_id)

    def gc(self, keep: float = 90 * 24 * 3600) -> Collected:
        """Drop from this clone's log what ended more than `keep` seconds ago; see `retention.gc`."""
        from gitcoord.log import retention

        return retention.gc(self.clone, keep)

    def accept(self, clone: str) -> Signer:
        """Take a clone as it signs now. Raises UsageError for one that is not known."""
        from gitcoord.log import trust

        return trust.accept(self.clone, clone)

    # work

    @property
    def tasks(self) -> Tasks:
        """The task board."""
        from gitcoord.features.tasks import Tasks

        return Tasks(self)

    def alloc(self, sequence: str, start: int | None = None) -> Allocation:
        """The next number of a sequence, handed out exactly once."""
        from gitcoord.features import numbers

        return numbers.allocate(self.clone, self.speaker, sequence, start)

    # other clones

    def sync(self, remote: str | None = None, quiet: bool = False) -> Report:
        """Exchange everything with a remote: `remote`, else the one used before; `quiet` asks for no password.

        Raises RemoteError when it is out of reach or refuses, UsageError when none is known.
        """
        from gitcoord.sync import exchange

        return exchange.sync(self.clone, remote, self.cwd, quiet)

    def sync_preview(self, remote: str | None = None) -> dict[str, int]:
        """What a sync would send: how many events of each type, and presences."""
        from gitcoord.sync import exchange

        return exchange.preview(self.clone, remote, self.cwd)

    def sync_watch(self, remote: str | None = None, every: float = 5.0) -> Iterator[Report | RemoteError]:
        """Keep in step with a remote for ever: at once when something of ours is new, else every so many seconds."""
        from gitcoord.sync import background

        return background.watch(self.clone, remote, self.cwd, every)

    # overview

    def status(self) -> Status:
        """Where I stand, without looking into worktrees."""
        from gitcoord.overview import status

        return status.status(self.clone, self.identity)

    def status_short(self) -> Short:
        """What of it fits a prompt."""
        from gitcoord.overview import counts

        return counts.short(self.clone, self.identity)

    def brief(self, budget: int = 1000) -> Brief:
        """The digest to go on with, in at most `budget` tokens; marks nothing read."""
        from gitcoord.overview import brief

        return brief.brief(self.clone, self.identity, budget)

    @property
    def state(self) -> Keys:
        """My keys and values that outlive me: `set`, `get`, `unset`, `show`."""
        from gitcoord.features.state import Keys

        return Keys(self.clone, self.identity)

    def conflicts(self, only: str | None = None) -> list[Collision]:
        """Which files will collide between live sessions, and which both changed; `only` what concerns one session."""
        from gitcoord.features.overlaps import conflicts

        return conflicts.conflicts(self.clone, self.identity, only)


def _absolute(path: str | os.PathLike[str]) -> str:
    """Not normalized: `..` behind a symbolic link leads elsewhere."""
    return os.getcwd() if path == "." else os.path.join(os.getcwd(), path)
