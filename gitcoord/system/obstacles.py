"""Find a directory, file or link that lies in the place of a file or folder of ours and cannot serve as one.

`doctor` moves it aside. Nothing is deleted, because it is not ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

FOLDERS = frozenset(
    ["agents", "beats", "jobs", os.path.join("jobs", "running"), "local", "mail", "names", "reports", "sessions", "touched",
     "waiters"]
)  # fmt: skip
FILES = frozenset(
    [
        "alarms", "asked", "autosync", "blocks", "boots", "checked", "clone", "collected", "conflicts.json", "forks", "guard",
        "heard", "hook", "index.sqlite", "journal", "journal.old", "leases", "limited", "lock", "look", "marked", "noted",
        "packing", "packs", "public", "refreshed", "remote", "remote.failed", "signatures", "superseded", "sleeps", "surface",
        "sync.lock", "sync.turn", "umask", "view", "wanted", "went",
    ]
)  # fmt: skip


def find(coord_dir: str) -> Iterator[str]:
    """The paths of all obstacles."""
    for name in sorted(FOLDERS | FILES):
        path = os.path.join(coord_dir, name)
        if not os.path.lexists(path):
            continue
        if not (_is_folder if name in FOLDERS else _is_file)(path):
            yield path
        elif name in FOLDERS:
            inside = (os.path.join(name, entry) for entry in sorted(os.listdir(path)) if ".aside" not in entry)
            yield from (
                os.path.join(coord_dir, one) for one in inside if not (one in FOLDERS or _is_file(f"{coord_dir}/{one}"))
            )


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _is_file(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def move_aside(coord_dir: str) -> list[str]:
    """Rename all obstacles; returns a line for each. Raises OSError."""
    said = []
    for path in list(find(coord_dir)):
        number = 1
        while os.path.lexists(fresh := f"{path}.aside{number}"):
            number += 1
        os.rename(path, fresh)
        said.append(f"{path} was in the place of a file of gitcoord; it is now {fresh}")
    return said
