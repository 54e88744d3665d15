"""Repositories that are made once and copied: a copy costs a tenth of a new one with its worktrees, clones and sessions."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import NamedTuple

SMALL = 64 * 1024
"""Bytes up to which a file may name the place where it lies."""

LASTS = 60.0
"""Seconds for which a template with sessions is copied: nobody in it may seem idle or gone."""


class Template(NamedTuple):
    place: Path
    made: float


class Templates:
    """The templates of one process, below the directory `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.known: dict[Hashable, Template] = {}

    def copy(self, key: Hashable, make: Callable[[Path], object], to: Path, lasts: float = float("inf")) -> None:
        """Put into the directory `to` what `make` makes in an empty one; make it anew after `lasts` seconds."""
        found = self.known.get(key)
        if found is None or time.monotonic() - found.made > lasts:
            place = self.root / str(len(os.listdir(self.root)))
            place.mkdir()
            found = Template(place, time.monotonic())
            make(place)
            self.known[key] = found
        to.mkdir(parents=True, exist_ok=True)
        _copy(str(found.place), str(to), os.fsencode(found.place), os.fsencode(to))


def _copy(source: str, target: str, old: bytes, new: bytes) -> None:
    """Copy a directory's contents; files that contain the path `old` have `new` in the copy."""
    with os.scandir(source) as entries:
        for entry in entries:
            to = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), to)
            elif entry.is_dir():
                os.mkdir(to)
                os.chmod(to, entry.stat().st_mode & 0o7777)
                _copy(entry.path, to, old, new)
            elif entry.name.endswith(".sample"):
                try:
                    os.link(entry.path, to)  # half of a new repository, and nobody writes to them
                except OSError:  # the copy is on another file system
                    _copy_file(entry, to, old, new)
            else:
                _copy_file(entry, to, old, new)


def _copy_file(entry: os.DirEntry[str], to: str, old: bytes, new: bytes) -> None:
    with open(entry.path, "rb") as file:
        data = file.read()
    if len(data) <= SMALL and old in data:
        data = data.replace(old, new)
        data = _at_home(data, to) if to.endswith("/coord/clone") else data
    was = entry.stat()
    with open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, was.st_mode), "wb") as file:
        file.write(data)
    os.utime(to, ns=(was.st_atime_ns, was.st_mtime_ns))


def _at_home(data: bytes, to: str) -> bytes:
    """Write the new place into a clone's files, so that it does not take itself for a copy."""
    facts = json.loads(data)
    facts["inode"] = os.stat(os.path.dirname(to)).st_ino
    return json.dumps(facts).encode() + b"\n"
