"""What this room needs of a clone; `log.clone.Clone` has it, and is not imported here, because it stands above."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from gitcoord.log.event import Draft, Event, LaterDraft
from gitcoord.store.contract import Store
from gitcoord.store.repository import Repository

T = TypeVar("T")


class Reader(Protocol):
    """A clone that can be asked."""

    repo: Repository
    store: Store
    clock: Callable[[], float]

    @property
    def id(self) -> str | None:
        """Its id; None until the first write."""

    def path(self, *parts: str) -> str:
        """A file below `coord/`."""

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the index, brought up to date."""


class Writer(Reader, Protocol):
    """A clone that can be written to."""

    def settled_id(self) -> str:
        """Its id, made if there is none."""

    def append(
        self,
        decide: Callable[[sqlite3.Connection], Sequence[Draft | LaterDraft]],
        local: bool = False,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> list[Event]:
        """Decide on the newest state and write what `decide` returns."""
