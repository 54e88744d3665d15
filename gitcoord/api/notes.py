"""`coord.notes`: a feed for everybody in the repository, present and future."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.features.notes import Note
    from gitcoord.store.objects import Oid


class Notes(Facade):
    """Notes, optionally about paths, which are typed relative to `coord.cwd`.

    Example:

        coord.notes.add("the tests need PostgreSQL 15", ["tests"])
        coord.notes.list("tests", limit=5)
    """

    __slots__ = ()

    def add(self, text: str, paths: Sequence[str] = ()) -> Oid:
        """Write a note; returns its id. Raises UsageError for text or a path that cannot be stored."""
        from gitcoord.features import notes

        return self._write(lambda me: notes.add_note(self._clone, me, text, paths, self._coord.cwd))

    def list(
        self, path: str | None = None, *, limit: int = 20, since: int | None = None, session: str | None = None
    ) -> list[Note]:
        """The newest notes, newest first; with `path`, those about it; `since` in Unix seconds, `session` their author."""
        from gitcoord.features import notes

        return notes.list_notes(self._clone, path, self._coord.cwd, limit, notes.Which(since, session))
