"""`coord.numbers`: sequences that give out each number exactly once."""

from __future__ import annotations

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.features.numbers import Allocation


class Numbers(Facade):
    """Sequences, made by their first use.

    Example:

        coord.numbers.allocate("migrations", start=100).number
    """

    __slots__ = ()

    def allocate(self, sequence: str, *, start: int | None = None, gaps: bool = False) -> Allocation:
        """The next number of a sequence, which begins at `start` (1). With `gaps` this clone takes blocks of them, so that
        it asks the remote less often, and some may stay unused. Raises RemoteError if the remote cannot be reached."""
        from gitcoord.features import numbers

        return self._write(lambda me: numbers.allocate(self._clone, me, sequence, start, gaps), waits=self._is_connected)
