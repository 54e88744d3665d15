"""Protocols of a clone, with the parts that this room needs. `log.clone.Clone` is above this room, so it cannot be
imported."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gitcoord.lean import Protocol, TypeVar, sqlite3
from gitcoord.log.event import Draft, Event, LaterDraft
from gitcoord.store.contract import Store
from gitcoord.store.objects import Oid
from gitcoord.store.repository import Repository

T = TypeVar("T")


class Reader(Protocol):
    """A clone that can be read."""

    @property
    def repo(self) -> Repository:
        """Its repository."""

    @property
    def store(self) -> Store:
        """Its objects and refs."""

    @property
    def clock(self) -> Callable[[], float]:
        """The function that returns the time in Unix seconds."""

    @property
    def id(self) -> str:
        """Its id; empty until the first write."""

    @property
    def path(self) -> Callable[..., str]:
        """The function that makes the path of a file below `coord/` from its parts."""

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Bring the index up to date and ask it."""


class Writer(Reader, Protocol):
    """A clone that can be written to."""

    def settled_id(self) -> str:
        """Its id, made if missing."""

    def put_in_place(self, ref: str, new: Oid, old: Oid) -> bool:
        """Point a ref of presence or leases to `new`, if it still names `old`."""

    def append(
        self,
        decide: Callable[[sqlite3.Connection], Sequence[Draft | LaterDraft]],
        local: bool = False,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> list[Event]:
        """Decide on the newest state and write what `decide` returns."""
