"""The steps of a claim or a sync: calls that change something, here or at the remote. One can be stopped at each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gitcoord.features.locks import leased as locks
from gitcoord.features.tasks import leased as tasks
from gitcoord.features.tasks import settling
from gitcoord.log.clone import Clone
from gitcoord.store import transport
from gitcoord.store.libgit2 import Libgit2Store
from gitcoord.store.plumbing import PlumbingStore
from gitcoord.sync import leases

STEPS = [
    (transport, "start_look"), (transport, "answer"), (transport, "fetch"), (transport, "push"), (Clone, "write_alone"),
    (Clone, "point"), (Clone, "append"), (PlumbingStore, "move"), (Libgit2Store, "move"), (leases, "change"),
    (tasks, "change"), (settling, "change"), (locks, "change"),
]  # fmt: skip
"""Features have `change` under a name of their own: one that was first imported while it is replaced would keep the
replacement for good."""


def stopping(step: int, stop: Callable[[], None]) -> Iterator[tuple[object, str, Any]]:
    """The replacements of all steps, which call `stop` before or after the step of that number; if the program continues,
    at every later step, too."""
    left = [step]

    def tick() -> None:
        left[0] -= 1
        if left[0] < 0:
            stop()

    def wrap(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            tick()
            result = function(*args, **kwargs)
            tick()
            return result

        return call

    for place, name in STEPS:
        yield place, name, wrap(getattr(place, name))
