"""Reading a file by its name: `pathlib` costs every command 4 ms, so what each of them imports uses plain paths."""

from __future__ import annotations

import os

from gitcoord.errors import Unreadable


def read_bytes(path: str) -> bytes:
    """The whole content. Raises OSError."""
    with open(path, "rb") as file:
        return file.read()


def read_if_there(path: str) -> bytes | None:
    """The whole content of a file of ours; None if there is no such file. Raises Unreadable, which is not the same."""
    try:
        return read_bytes(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> Unreadable:
    """The one wording for a file of ours that is there, or may be, and cannot be read."""
    return Unreadable(f"cannot read {path}: {error.strerror or error}", "make it readable for this user")


def signature(path: str) -> tuple[int, ...]:
    """What changes whenever a file is replaced by another; empty where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def make_directory(path: str) -> None:
    """Make one directory, if there is none; never those above it, which are not ours. Raises OSError."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
