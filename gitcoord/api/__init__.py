"""The Python API: `Coord`, and one facade for each noun. The command line, the MCP server and the views call only this.

This room may use every room below. Begin with `Coord`, then any facade: all follow one pattern. Flags are keyword-only,
and reading marks nothing. Start-up time matters here: a method imports what it needs when it is called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from gitcoord.lean import TYPE_CHECKING, Any, Self, import_module

if TYPE_CHECKING:
    from gitcoord.api.events import Events
    from gitcoord.api.jobs import Jobs
    from gitcoord.api.locks import Locks
    from gitcoord.api.messages import Messages
    from gitcoord.api.notes import Notes
    from gitcoord.api.numbers import Numbers
    from gitcoord.api.overview import Overview
    from gitcoord.api.remote import Remote
    from gitcoord.api.repository import Repository
    from gitcoord.api.sessions import Sessions
    from gitcoord.api.state import State
    from gitcoord.api.tasks import Tasks
    from gitcoord.api.trust import Trust
    from gitcoord.features.messages.inbox import Inbox
    from gitcoord.features.messages.sending import Sent
    from gitcoord.log.clone import Clone
    from gitcoord.overview.waiting import MetCondition
    from gitcoord.sessions.identity import Identity
    from gitcoord.sessions.records import Record

BEAT_EVERY = 20.0
"""Seconds after which the next call of a long-lived process counts as another sign of life."""


def _noun(name: str) -> Any:
    """The facade of a noun, from the module of its name; loaded when it is asked for."""
    return property(lambda coord: getattr(import_module(f"gitcoord.api.{name}"), name.capitalize())(coord))


class Coord:
    """One session's view of one repository. Not for use from several threads at a time.

    Times are Unix seconds, sessions are mailboxes (`name@clone`), ids are full object ids; arguments take bare names and
    unique id prefixes too. Every error that a user can cause is a `CoordError`, which has a hint.
    """

    def __init__(self, clone: Clone, cwd: str, as_name: str | None = None) -> None:
        self.clone = clone
        self.cwd = cwd
        self._as_name = as_name
        self._identity: Identity | None = None
        self._seen: Sequence[Record] = ()  # the records, if read just now
        self._beat_at = -BEAT_EVERY

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] = ".",
        *,
        as_name: str | None = None,
        environ: Mapping[str, str] | None = None,
        long_lived: bool = True,
    ) -> Self:
        """Open the repository that git finds from `path`. `as_name` speaks for that session and marks nothing read;
        `long_lived` prefers libgit2, which is quicker for many calls and slower for one. Raises RepositoryError.
        """
        from gitcoord.opening import open_clone

        return cls(open_clone(path, environ, long_lived), _absolute(path), as_name)

    def close(self) -> None:
        """Close files."""
        self.clone.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # who calls

    @property
    def identity(self) -> Identity:
        """The session that the calls speak for, and the rule that decided; found once, and again after `join`."""
        if self._identity is None:
            from gitcoord.sessions.identity import current

            self._identity, self._seen = current(self.clone, self._as_name, self._seen), ()
        return self._identity

    @property
    def elsewhere(self) -> str:
        """The worktree of this terminal's session, if that is another worktree and this one has no session."""
        from gitcoord.sessions.identity import is_elsewhere

        me = self._identity
        return me.record.worktree if me and me.record and is_elsewhere(self.clone.repo, me) else ""

    def speak_as(self, identity: Identity) -> None:
        """Speak for a known session, without applying the rules."""
        self._identity = identity
        self._beat_at = time.monotonic()

    def renamed(self, name: str) -> None:
        """Find the identity anew, because the session is called `name` now, or has ended."""
        self._identity = None
        if self._as_name is not None:
            self._as_name = name

    def beat(self) -> None:
        """Give a sign of life, at most every 20 seconds; methods that speak for the session do it themselves."""
        if not 0 <= time.monotonic() - self._beat_at < BEAT_EVERY:
            from gitcoord.sessions.housekeeping import beat

            self._beat_at = time.monotonic()
            self._identity = beat(self.clone, self.identity)

    def decide(self, *, register: bool = False) -> None:
        """Find the identity anew, under the write lock; `register` takes the name before the session writes."""
        from gitcoord.sessions.presence import register_caller

        known, self._identity = self.identity, None
        self._identity = register_caller(self.clone, known) if register else self.identity

    @property
    def clone_id(self) -> str:
        """The id of this clone; "" before its first write."""
        return self.clone.id

    @property
    def worktree(self) -> str | None:
        """The worktree's root; None in a bare repository."""
        return self.clone.repo.worktree

    @property
    def mailbox(self) -> str:
        """The mailbox of the session that speaks."""
        return f"{self.identity.name}@{self.clone_id}"

    # the nouns

    messages: Messages = _noun("messages")
    """Messages: sent, received, acknowledged."""
    sessions: Sessions = _noun("sessions")
    """The sessions of the repository, and the caller's own."""
    notes: Notes = _noun("notes")
    """Notes for everybody, present and future."""
    tasks: Tasks = _noun("tasks")
    """The task board."""
    locks: Locks = _noun("locks")
    """Locks on paths and patterns."""
    jobs: Jobs = _noun("jobs")
    """Supervised commands."""
    state: State = _noun("state")
    """The caller's keys and values, which outlive it."""
    numbers: Numbers = _noun("numbers")
    """Sequences of numbers, each given out exactly once."""
    events: Events = _noun("events")
    """The history: every event, searching it, and following it."""
    remote: Remote = _noun("remote")
    """The exchange with other clones."""
    trust: Trust = _noun("trust")
    """The signatures of other clones' events."""
    overview: Overview = _noun("overview")
    """Answers that join several nouns: status, brief, conflicts."""
    repository: Repository = _noun("repository")
    """Set-up, health and removal."""

    # shortcuts

    def send(self, to: str | Sequence[str], text: str, **options: Any) -> Sent:
        """See `Messages.send`."""
        return self.messages.send(to, text, **options)

    def inbox(self, **options: Any) -> Inbox:
        """See `Messages.inbox`."""
        return self.messages.inbox(**options)

    def wait(self, conditions: Sequence[str], timeout: float | None = None, output: int | None = None) -> MetCondition | None:
        """Sleep until one condition holds (`session:w1=gone`, `message`, …); None after `timeout` seconds.

        `output` is a file descriptor: BrokenPipeError is raised when its reader goes away. Raises UsageError.
        """
        from gitcoord.overview import waiting

        self.beat()
        return waiting.wait_for_any(self, conditions, timeout, output)


def _absolute(path: str | os.PathLike[str]) -> str:
    """An absolute path, not normalized, because `..` behind a symbolic link leads elsewhere."""
    return os.getcwd() if path == "." else os.path.join(os.getcwd(), path)
