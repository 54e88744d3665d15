"""Tell whether this is the first command since the machine started.

`coord/boots` has the ids of the last boots that were seen here; several, because two kernels may share one repository.
Where the kernel has no file with such an id (macOS, Windows), the file's time says whether it was written since the machine
started; a clock that was set meanwhile costs one needless look. Every command loads this module.
"""

from __future__ import annotations

from gitcoord.errors import RepositoryError
from gitcoord.lean import suppress
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.process import kernel_boot_id
from gitcoord.system.uptime import was_written_since_boot

MAX_BOOTS = 8


def is_new(path: str) -> bool:
    """Whether no command has looked since this boot. `path` is that of `coord/boots`."""
    here = kernel_boot_id()
    return here not in _boots(path) if here else not was_written_since_boot(path)


def note(path: str) -> None:
    """Note that a command has looked. If that fails, the next command looks again."""
    with suppress(RepositoryError):
        write_whole(path, "\n".join([*_boots(path), kernel_boot_id()][-MAX_BOOTS:]) + "\n")


def _boots(path: str) -> list[str]:
    try:
        return read_ours(path).decode("ascii", "replace").split()
    except OSError:
        return []
