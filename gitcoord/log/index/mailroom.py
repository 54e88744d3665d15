"""Marks for the hooks of agents: `coord/mail/<session>` exists while something may be new for that session.

The process that reads an event into the index sets the mark before it commits the transaction. A needless mark is
harmless; a missing one would hide news. So a hook needs no process to know that there is nothing new. A mark may
contain lines: the ids of notes for the session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

from gitcoord.lean import contextmanager, suppress
from gitcoord.system.files import append_ours, names_in

EVERYBODY = ""
"""Stands for every session of this clone."""


class Mailroom:
    """Collects marks while a transaction runs. If no agent's hooks ever ran here, it costs one look at a directory."""

    def __init__(self, coord_dir: str, here: Callable[[], str | None]) -> None:
        self.here = here
        """This clone's id: only its own sessions are marked."""
        self._directory = os.path.join(coord_dir, "mail")
        self._sessions = os.path.join(coord_dir, "sessions")
        self._due: dict[str, list[str]] = {}
        self._rebuilding = False

    def is_open(self) -> bool:
        """Whether marks are needed, because agents' hooks ran here."""
        return not self._rebuilding and os.path.isdir(self._directory)

    def note(self, names: Iterable[str], line: str = "") -> None:
        """Note news for these sessions; `line` is something that the index cannot tell them."""
        for name in names:
            self._due.setdefault(name, []).extend([line] if line else [])

    @contextmanager
    def for_everybody(self) -> Iterator[None]:
        """Mark every session, when all events are read again and it is unknown which are new."""
        self._rebuilding = True
        try:
            yield
        finally:
            self._rebuilding = False
        self._due = {EVERYBODY: []}

    def forget(self) -> None:
        """Drop the marks, because the transaction was rolled back."""
        self._due.clear()

    def deliver(self) -> None:
        """Set the marks, right before the transaction is committed."""
        if not self._due:
            return
        due, self._due = self._due, {}
        lines = due.pop(EVERYBODY, None)
        if lines is not None:
            for name in self._names():
                due.setdefault(name, []).extend(lines)
        for name, own in due.items():
            self._mark(name, own)

    def _names(self) -> list[str]:
        return [name.removesuffix(".json") for name in names_in(self._sessions) if name.endswith(".json")]

    def _mark(self, name: str, lines: Iterable[str]) -> None:
        with suppress(OSError):  # in a read-only repository no hook reads marks
            append_ours(os.path.join(self._directory, name), "".join(f"{line}\n" for line in lines).encode())
