"""The common part of the API's facades."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gitcoord.lean import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from gitcoord.log.clone import Clone
    from gitcoord.sessions.identity import Identity
    from gitcoord.sessions.records import Record

T = TypeVar("T")


class Speaker(Protocol):
    """The caller: the session that the calls speak for, its clone, and the directory of its paths."""

    @property
    def clone(self) -> Clone: ...

    @property
    def cwd(self) -> str: ...

    @property
    def identity(self) -> Identity: ...

    def beat(self) -> None: ...

    def decide(self, *, register: bool = False) -> None: ...

    def renamed(self, name: str) -> None: ...

    _seen: Sequence[Record]


class Facade:
    """One noun of the API. Made anew with each use, so it keeps nothing but its caller."""

    __slots__ = ("_coord",)

    def __init__(self, coord: Speaker) -> None:
        self._coord = coord

    @property
    def _clone(self) -> Clone:
        return self._coord.clone

    @property
    def _me(self) -> Identity:
        """The session that speaks, after a sign of life."""
        self._coord.beat()
        return self._coord.identity

    @property
    def _is_connected(self) -> bool:
        """Whether this clone shares a remote with others, so that a claim asks it."""
        from gitcoord.sync import remotes

        return remotes.is_connected(self._coord.clone.repo)

    def _write(self, verb: Callable[[Identity], T], *, waits: bool = False) -> T:
        """Call `verb` with the session that writes. The name of a new session is decided under the same write lock as its
        first event, so that two processes never take one name, and a refused verb registers no session. A verb that `waits`
        for others or for the network cannot be called under the lock, so the session is registered before."""
        from gitcoord.sessions.identity import is_settled

        self._coord.beat()
        if is_settled(self._coord.identity):
            return verb(self._coord.identity)
        if waits:
            self._coord.decide(register=True)
            return verb(self._coord.identity)
        with self._clone.locked():
            self._coord.decide()
            return verb(self._coord.identity)
