"""Whether this is the first command since the machine was started.

`coord/boots` has the ids of the last boots that were seen here; several, because two kernels may share one repository.
Where the system has no such id, only `git coord doctor --fix` looks for what a power loss left. Every command loads this.
"""

from __future__ import annotations

from gitcoord.errors import RepositoryError
from gitcoord.lean import suppress
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.process import boot_id

MAX_BOOTS = 8


def is_new(path: str) -> bool:
    """Whether no command has looked since this boot. `path` is that of `coord/boots`."""
    here = boot_id()
    return bool(here) and here not in _boots(path)


def note(path: str) -> None:
    """A command has looked. Failing costs time only."""
    with suppress(RepositoryError):
        write_whole(path, "\n".join([*_boots(path), boot_id()][-MAX_BOOTS:]) + "\n")


def _boots(path: str) -> list[str]:
    try:
        return read_ours(path).decode("ascii", "replace").split()
    except OSError:
        return []
