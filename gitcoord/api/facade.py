"""What the facades of the API have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gitcoord.log.clone import Clone
    from gitcoord.sessions.identity import Identity


class Speaker(Protocol):
    """Who calls: the session that the calls speak for, its clone, and the folder that paths are typed in."""

    @property
    def clone(self) -> Clone: ...

    @property
    def cwd(self) -> str: ...

    @property
    def identity(self) -> Identity: ...

    def beat(self) -> None: ...

    def settle(self) -> None: ...

    def renamed(self, name: str) -> None: ...


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
    def _writer(self) -> Identity:
        """The session that writes: where its name is still to be taken, it is taken first. Raises RepositoryError."""
        self._coord.beat()
        self._coord.settle()
        return self._coord.identity
