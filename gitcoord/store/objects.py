"""Git objects as values: their raw bytes and the id that follows from them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache

from gitcoord.lean import Any, Literal, NamedTuple, NewType, cast, import_module, suppress

Oid = NewType("Oid", str)
"""A full object id in hexadecimal: 40 digits for SHA-1, 64 for SHA-256."""

Hash = Callable[[bytes], Any]
Kind = Literal["commit", "tree", "blob"]


class GitObject(NamedTuple):
    """An object to be stored: `data` is the raw body, without git's own header."""

    kind: Kind
    oid: Oid
    data: bytes


def make_object(kind: Kind, data: bytes, object_format: str) -> GitObject:
    """Make the object that git makes of `data` in a repository of `object_format` (`sha1` or `sha256`)."""
    header = b"%s %d\0" % (kind.encode(), len(data))
    return GitObject(kind, Oid(_hash(object_format)(header + data).hexdigest()), data)


def digest(data: bytes, object_format: str) -> bytes:
    """The hash of plain bytes, as at the end of a pack."""
    return bytes(_hash(object_format)(data).digest())


@cache
def _hash(object_format: str) -> Hash:
    """The hash function, without `hashlib` for SHA-1: loading OpenSSL for it costs 10 ms of every write."""
    if object_format == "sha1":
        try:
            return cast(Hash, import_module("_sha1").sha1)
        except ImportError:  # a Python that was built without this module
            pass
    import hashlib

    return cast(Hash, getattr(hashlib, object_format))


def make_tree(files: Mapping[str, Oid], object_format: str) -> GitObject:
    """A flat tree of plain files, in git's order (by the bytes of the name)."""
    entries = sorted((name.encode(), oid) for name, oid in files.items())
    data = b"".join(b"100644 %s\0%s" % (name, bytes.fromhex(oid)) for name, oid in entries)
    return make_object("tree", data, object_format)


def parent_of(commit: bytes) -> Oid | None:
    """The first parent named in a raw commit, or None for a root. A parent can only be in the line below the tree."""
    start = commit.find(b"\n") + 1
    if not commit.startswith(b"parent ", start):
        return None
    return Oid(commit[start + 7 : commit.find(b"\n", start)].decode("ascii", "replace"))


def drop_empty_file(common_dir: str, oid: Oid) -> None:
    """Remove an empty loose object, which a power loss left: git and libgit2 would both treat it as written."""
    path = f"{common_dir}/objects/{oid[:2]}/{oid[2:]}"
    with suppress(OSError):
        if os.stat(path).st_size == 0:
            os.unlink(path)


def is_intact(item: GitObject) -> bool:
    """Whether the bytes match the id."""
    return make_object(item.kind, item.data, "sha256" if len(item.oid) == 64 else "sha1").oid == item.oid


def named_in(item: GitObject) -> list[Oid]:
    """The objects that an event needs: parent and tree of a commit, the files of a tree."""
    if item.kind == "tree":
        return [oid for _, oid in tree_entries(item.data, len(item.oid) // 2)]
    if item.kind == "blob":
        return []
    words = [line.split(b" ") for line in item.data.split(b"\n\n", 1)[0].split(b"\n")]
    return [Oid(word[1].decode("ascii", "replace")) for word in words if word[0] in (b"tree", b"parent") and len(word) == 2]


def tree_entries(data: bytes, digest_size: int) -> list[tuple[str, Oid]]:
    """Names and ids of a raw tree, in git's order, as far as it is one."""
    found, at = [], 0
    while data.find(b" ", at) > 0 and data.find(b"\0", at) > 0:
        start = data.index(b"\0", at) + 1
        name = data[data.index(b" ", at) + 1 : start - 1].decode("utf-8", "replace")
        at = start + digest_size
        found.append((name, Oid(data[start:at].hex())))
    return found
