"""The verbs of `Coord` that come in groups, each one call of its module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gitcoord import Coord
    from gitcoord.features.locks.locks import Lock
    from gitcoord.overview.checks import Check


class Locks(NamedTuple):
    """`coord.locks`: advisory locks on paths and gitignore-style patterns, typed relative to `coord.cwd`."""

    coord: Coord

    def take(
        self,
        patterns: Sequence[str],
        reason: str = "",
        ttl: int | None = None,
        shared: bool = False,
        wait: float | None = 0,
        everywhere: bool = False,
    ) -> Lock:
        """Lock for `ttl` seconds (2 h), waiting up to `wait` seconds, or for ever with None; `everywhere` in all clones
        of the remote. Raises locks.Held, RemoteError."""
        from gitcoord.features.locks import locks
        from gitcoord.features.overlaps import notices

        wish = locks.Wish(locks.typed(self.coord.clone, self.coord.cwd, patterns), shared, reason, ttl or locks.TTL)
        taken = locks.lock(self.coord.clone, self.coord.speaker, wish, wait, everywhere)
        notices.notice(self.coord.clone, self.coord.identity.name)  # who locks is about to edit, or has begun to
        return taken

    def release(self, patterns: Sequence[str] = (), everything: bool = False, force: bool = False) -> list[Lock]:
        """End locks of mine; with `force` also another's, who is told. Raises Refused."""
        from gitcoord.features.locks import locks

        wanted = locks.typed(self.coord.clone, self.coord.cwd, patterns)
        return locks.unlock(self.coord.clone, self.coord.speaker, wanted, everything, force)

    def held(self) -> list[Lock]:
        """The locks that hold, oldest first."""
        from gitcoord.features.locks import locks

        return locks.list_locks(self.coord.clone)

    def check(self, paths: Sequence[str]) -> list[Check]:
        """What is known of each path: locks, who works in its worktree, recent edits, notes."""
        from gitcoord.overview import checks

        return checks.check(self.coord.clone, self.coord.identity, paths, self.coord.cwd)

    def pre_commit(self) -> int:
        """What the pre-commit hook runs: its exit code; see `guard`."""
        from gitcoord.features.locks import guard

        return guard.pre_commit(self.coord.clone, self.coord.identity)
