"""Write many objects at once, as one pack: one process and one file instead of one of each for every object
(gitformat-pack(5))."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from gitcoord.store.contract import Store
from gitcoord.store.objects import GitObject, digest
from gitcoord.store.refs import failure

FEW = 64
"""Objects that are as well written one by one."""
_TYPES = {"commit": 1, "tree": 2, "blob": 3}


def write_all(store: Store, objects: Sequence[GitObject]) -> None:
    """As `Store.write`, for any number of objects."""
    if len(objects) <= FEW:
        store.write(objects)
        return
    unique = {item.oid: item for item in objects}
    data = b"PACK" + (2).to_bytes(4, "big") + len(unique).to_bytes(4, "big")
    data += b"".join(_entry(item) for item in unique.values())
    done = store.repo.git("index-pack", "--stdin", stdin=data + digest(data, store.repo.object_format))
    if done.code:
        raise failure(store.repo, "cannot write a pack", done)
    store.write([item for item in unique.values() if item.kind == "tree" and not item.data])  # git claims to have it always


def _entry(item: GitObject) -> bytes:
    """The type and the length, seven bits at a time but for the first four, and the body."""
    size = len(item.data)
    head = bytearray([_TYPES[item.kind] << 4 | size & 15])
    size >>= 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + zlib.compress(item.data)
