"""`coord.remote`: the exchange with other clones."""

from __future__ import annotations

from collections.abc import Iterator

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.errors import RemoteError
    from gitcoord.sync.exchange import Report
    from gitcoord.sync.moving import Moved
    from gitcoord.sync.purge_remote import RemoteRefs


class Remote(Facade):
    """The coordination remote: the one named, otherwise the last one. Raises RemoteError, UsageError.

    Example:

        coord.remote.vouch("origin")
        coord.remote.preview("origin")
        coord.remote.sync("origin")
        coord.remote.set("origin")
        coord.remote.connected()
        coord.remote.is_visit("origin")
        coord.remote.syncs_by_itself()
        next(coord.remote.watch())
        coord.remote.withdraw(really=True)
    """

    __slots__ = ()

    def sync(self, remote: str | None = None, *, quiet: bool = False) -> Report:
        """Exchange everything; with `quiet` git asks nobody for a password."""
        from gitcoord.sync import exchange

        return exchange.sync(self._clone, remote, self._coord.cwd, quiet)

    def set(self, remote: str, *, force: bool = False) -> Moved:
        """Move coordination to a remote, with the claims of this clone. Raises Refused if another clone has one of
        them."""
        from gitcoord.sync import moving

        return moving.move(self._clone, remote, self._coord.cwd, force)

    def vouch(self, remote: str | None = None) -> None:
        """Say that the remote is private, if gitcoord cannot find that out; remembered for its URL."""
        from gitcoord.sync import public_guard, remotes

        with self._clone.locked():
            public_guard.vouch(self._clone, remotes.choose(self._clone.repo, remote, self._coord.cwd).name)

    def preview(self, remote: str | None = None) -> dict[str, int]:
        """The events that a sync would send, counted by type, and the number of presences."""
        from gitcoord.sync import exchange

        return exchange.preview(self._clone, remote, self._coord.cwd)

    def watch(self, remote: str | None = None, every: float = 5.0) -> Iterator[Report | RemoteError]:
        """Sync for ever: at once after events of ours, otherwise every so many seconds."""
        from gitcoord.sync import background

        return background.watch(self._clone, remote, self._coord.cwd, every)

    def withdraw(self, remote: str | None = None, *, really: bool = False) -> RemoteRefs:
        """Delete this clone's refs at a remote; without `really`, only list them."""
        from gitcoord.sync import purge_remote

        act = purge_remote.withdraw if really else purge_remote.standing
        return act(self._clone, remote, self._coord.cwd)

    def connected(self) -> str:
        """The name or URL of the coordination remote, without a password in it; "" before the first sync."""
        from gitcoord.errors import without_password
        from gitcoord.sync import remotes

        if not remotes.is_connected(self._clone.repo):
            return ""
        return without_password(remotes.current(self._clone.repo).remote)

    def is_visit(self, remote: str) -> bool:
        """Whether a sync with this remote exchanges no claims, because they belong to another remote."""
        from gitcoord.sync import remotes

        return remotes.is_visit(self._clone.repo, remotes.choose(self._clone.repo, remote, self._coord.cwd))

    def syncs_by_itself(self) -> bool:
        """Whether written events are sent in the background."""
        from gitcoord.sync import remotes

        return remotes.wants_autosync(self._clone.repo)
