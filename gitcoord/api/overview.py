"""`coord.overview`: answers that join several nouns. Nothing here marks anything read."""

from __future__ import annotations

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.features.overlaps.conflicts import Collision
    from gitcoord.overview.brief import Brief
    from gitcoord.overview.counts import Short
    from gitcoord.overview.status import Status, Trouble


class Overview(Facade):
    """The caller's status, and the files that will conflict.

    Example:

        coord.overview.status().me
        coord.overview.short().unread
        coord.overview.trouble().sync
        coord.overview.brief(budget=400).text
        coord.overview.conflicts()
    """

    __slots__ = ()

    def status(self) -> Status:
        """The caller's status, without looking at worktrees."""
        from gitcoord.overview import status

        return status.status(self._clone, self._me)

    def trouble(self) -> Trouble:
        """Problems with other clones, or with the exchange with them."""
        from gitcoord.overview import status

        return status.trouble(self._clone)

    def short(self) -> Short:
        """The counts of the status, for a prompt."""
        from gitcoord.overview import counts

        return counts.short(self._clone, self._me)

    def brief(self, budget: int = 1000) -> Brief:
        """The brief: the facts that a session needs to continue, in at most `budget` tokens."""
        from gitcoord.overview import brief

        return brief.brief(self._clone, self._me, budget)

    def conflicts(self, only: str | None = None) -> list[Collision]:
        """The files that conflict between live sessions, and those that both changed; with `only`, those of one
        session."""
        from gitcoord.features.overlaps import conflicts

        return conflicts.conflicts(self._clone, self._me, only)
