"""`coord.events`: the history, event by event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.log.event import Event
    from gitcoord.log.retention import Redacted
    from gitcoord.overview.vigil import Vigil


SEARCHED = ("message", "note", "task", "task.comment", "task.edit", "task.done", "task.block")
"""The types of the events in whose texts words are found, unless a type is named."""


class Events(Facade):
    """All events of all clones that are known here.

    Example:

        note = coord.notes.add("said too much")
        coord.events.log(kind="note", limit=5)
        coord.events.log(session="alpha")
        coord.events.get(note).text
        coord.events.search("too much")
        "note" in coord.events.types()
        follow = coord.events.watch(since=coord.events.log(limit=2)[-1].id)
        next(follow).type
        with coord.events.vigil() as vigil:
            vigil.wait(0.01)
        coord.events.redact(note)
    """

    __slots__ = ()

    def log(
        self, *, since: int | None = None, kind: str | None = None, session: str | None = None, limit: int = 20
    ) -> list[Event]:
        """The newest events, newest first; `since` in Unix seconds, `kind` an event type, `session` their author.

        Raises UsageError for an unknown name.
        """
        return self._list(since, (kind,) if kind else (), session, limit)

    def search(
        self,
        words: str,
        *,
        since: int | None = None,
        kind: str | None = None,
        session: str | None = None,
        limit: int = 20,
    ) -> list[Event]:
        """The newest messages, notes, tasks and comments that contain `words`, oldest of them first; see `log`."""
        return self._list(since, (kind,) if kind else SEARCHED, session, limit, words)[::-1]

    def _list(self, since: int | None, kinds: Sequence[str], session: str | None, limit: int, words: str = "") -> list[Event]:
        from gitcoord.log import query

        if session is None:
            return self._clone.read(lambda db: query.list_events(db, since, kinds, limit, (), words))
        from gitcoord.sessions.mailboxes import boxes_of

        return self._clone.read(
            lambda db: query.list_events(db, since, kinds, limit, boxes_of(db, session, self._clone.id or ""), words)
        )

    def get(self, event_id: str) -> Event:
        """One event, of any type. Raises UsageError."""
        from gitcoord.log import query

        return self._clone.read(lambda db: query.get_event(db, query.resolve_id(db, event_id)))

    def types(self) -> set[str]:
        """The event types that this version knows, and others that were seen."""
        from gitcoord.log import query

        known = {kind for entry in self._clone.registry.entries for kind in entry.types.split()}
        return known | self._clone.read(query.known_types)

    def watch(self, *, kind: str | None = None, since: str | None = None, output: int | None = None) -> Iterator[Event]:
        """Every event as it arrives, of one type or all, from now on or after the event `since`.

        `output` is a file descriptor: BrokenPipeError is raised when its reader goes away.
        """
        from gitcoord.overview import waiting

        return waiting.follow(self._coord, kind, since, output)

    def vigil(self, *, tells: bool = True) -> Vigil:
        """A context in which `wait` sleeps until something may have changed. `tells`: deaths are told, and the
        remote is asked for news."""
        from gitcoord.overview.vigil import Vigil

        return Vigil(self._coord, tells)

    def redact(self, event_id: str) -> Redacted:
        """Take one event of this clone's out of its log. Copies may exist elsewhere. Raises UsageError."""
        from gitcoord.log import retention
        from gitcoord.sync import remotes

        return retention.redact(self._clone, event_id, remotes.is_waiting)
