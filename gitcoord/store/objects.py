"""Git objects as values: their raw bytes and the id that follows from them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NewType

Oid = NewType("Oid", str)
"""A full object id in hexadecimal: 40 digits for SHA-1, 64 for SHA-256."""

Kind = Literal["commit", "tree", "blob"]


@dataclass(frozen=True, slots=True)
class GitObject:
    """An object to be stored: `data` is the raw body, without git's own header."""

    kind: Kind
    oid: Oid
    data: bytes


def make_object(kind: Kind, data: bytes, object_format: str) -> GitObject:
    """Give `data` the id git gives it in a repository of `object_format` (`sha1` or `sha256`)."""
    digest = hashlib.new(object_format, usedforsecurity=False)
    digest.update(b"%s %d\0" % (kind.encode(), len(data)))
    digest.update(data)
    return GitObject(kind, Oid(digest.hexdigest()), data)


def make_tree(files: Mapping[str, Oid], object_format: str) -> GitObject:
    """A flat tree of plain files, in git's order (by the bytes of the name)."""
    entries = sorted((name.encode(), oid) for name, oid in files.items())
    data = b"".join(b"100644 %s\0%s" % (name, bytes.fromhex(oid)) for name, oid in entries)
    return make_object("tree", data, object_format)


def parent_of(commit: bytes) -> Oid | None:
    """The first parent named in a raw commit, or None for a root. It stands right below the tree, or nowhere."""
    start = commit.find(b"\n") + 1
    if not commit.startswith(b"parent ", start):
        return None
    return Oid(commit[start + 7 : commit.find(b"\n", start)].decode("ascii", "replace"))


def drop_empty_file(common_dir: Path, oid: Oid) -> None:
    """Remove a loose object of no bytes, left by a power loss: both git and libgit2 would take it for written."""
    path = f"{common_dir}/objects/{oid[:2]}/{oid[2:]}"
    with suppress(OSError):
        if os.stat(path).st_size == 0:
            os.unlink(path)
