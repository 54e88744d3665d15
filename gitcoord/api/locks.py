"""`coord.locks`: advisory locks on paths and gitignore-style patterns, typed relative to `coord.cwd`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.features.locks.guard import CommitVerdict
    from gitcoord.features.locks.read import Lock
    from gitcoord.overview.checks import Check
    from gitcoord.sessions.identity import Identity


class Locks(Facade):
    """Locks of the repository. Raises UsageError for a pattern that cannot be used.

    Example:

        coord.locks.take(["src/*.py"], reason="a new name for the parser", ttl=600)
        coord.locks.check(["src/parser.py"])
        [lock.patterns for lock in coord.locks.held()]
        coord.locks.guard().refused
        coord.locks.remarks(["src/*.py"])
        coord.locks.release(everything=True)
    """

    __slots__ = ()

    def take(
        self,
        patterns: Sequence[str],
        *,
        reason: str = "",
        ttl: int | None = None,
        shared: bool = False,
        wait: float | None = 0,
        everywhere: bool = False,
    ) -> Lock:
        """Lock for `ttl` seconds (2 h), waiting up to `wait` seconds, or for ever with None; `everywhere` in all clones
        of the remote. Raises Held, RemoteError."""
        from gitcoord.features.locks import fold, take
        from gitcoord.sessions.presence import presence_changed

        clone = self._clone
        wanted = take.typed(clone, self._coord.cwd, patterns)
        ignored = take.names_ignored(clone, wanted)
        wish = take.Wish(wanted, shared, reason, ttl or fold.TTL, bool(ignored))

        def lock(me: Identity) -> Lock:
            if everywhere:
                from gitcoord.features.locks import leased
                from gitcoord.sessions.ignored import refuse

                refuse(ignored, "leave out --global")
                return leased.lock(clone, me, wish, wait)
            from gitcoord.features.deaths import watched_pids

            return take.lock(clone, me, wish, wait, partial(watched_pids, clone))

        taken = self._write(lock, waits=everywhere or wait != 0)
        presence_changed(clone, self._me.name)  # a session that locks a path is about to edit it, or has begun to
        return taken

    def remarks(self, patterns: Sequence[str]) -> list[str]:
        """Remarks on those of `patterns` that could be meant as a path and as a pattern."""
        from gitcoord.features.locks.patterns import remark_on

        return [line for text in patterns if (line := remark_on(self._clone.repo, self._coord.cwd, text))]

    def release(
        self, patterns: Sequence[str] = (), *, everything: bool = False, force: bool = False, as_held: bool = False
    ) -> list[Lock]:
        """End locks of mine; with `force` also another session's, which is told. `as_held`: the patterns are spelled as
        `held` gives them, not as typed in `coord.cwd`. Raises Refused."""
        from gitcoord.features.locks import take

        wanted = tuple(patterns) if as_held else take.typed(self._clone, self._coord.cwd, patterns)
        return self._write(lambda me: take.unlock(self._clone, me, wanted, everything, force))

    def held(self) -> list[Lock]:
        """The locks that hold, oldest first."""
        from gitcoord.features.locks import take

        return take.list_locks(self._clone)

    def check(self, paths: Sequence[str]) -> list[Check]:
        """The facts about each path: locks, sessions in its worktree, recent edits, notes."""
        from gitcoord.overview import checks

        return checks.check(self._clone, self._me, paths, self._coord.cwd)

    def guard(self) -> CommitVerdict:
        """The pre-commit hook's verdict on the commit that is being made."""
        from gitcoord.features.locks import guard

        return guard.pre_commit(self._clone, self._me)
