"""gitcoord: messages, sessions, tasks and locks between the worktrees and clones of one git repository.

    from gitcoord import Coord

    with Coord.open() as coord:
        coord.send("worker-1", "the schema is merged")
        for message in coord.inbox().messages:
            print(message.sender, message.text)

Start at `api` for the Python API. The rooms below it, from top to bottom: `agents`, `overview`, `features`, `sync`,
`sessions`, `log`, `store`, `system`. `docs/architecture.md` has the picture.
"""

from __future__ import annotations

from gitcoord.errors import CoordError, Refused, RemoteError, RepositoryError, UsageError
from gitcoord.lean import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitcoord.api import Coord

__all__ = ["Coord", "CoordError", "Refused", "RemoteError", "RepositoryError", "UsageError"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load `Coord` when it is used first, because hooks import this package and need only a part of it."""
    if name == "Coord":
        from gitcoord.api import Coord

        return Coord
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
