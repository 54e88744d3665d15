"""Loose object files, looked at directly: git has no command that tells loose from packed without a process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from gitcoord.lean import suppress
from gitcoord.store.objects import Oid
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_bytes


def loose_path(repo: Repository, oid: Oid) -> str:
    """The file of a loose object."""
    return os.path.join(repo.common_dir, "objects", oid[:2], oid[2:])


def is_loose(repo: Repository, oid: Oid) -> bool:
    """Whether the object lies in a file of its own; an empty one, left by a power loss, does not count."""
    try:
        return os.stat(loose_path(repo, oid)).st_size > 0
    except OSError:
        return False


def remove_loose(repo: Repository, oid: Oid) -> bool:
    """Remove a loose object file; says whether there was one. The caller must know that nothing needs it."""
    path = loose_path(repo, oid)
    with suppress(OSError):
        if os.name == "nt":
            os.chmod(path, 0o666)
        os.unlink(path)
        return True
    return False


def count_seventeen(repo: Repository) -> int:
    """The files in objects/17, from which git itself estimates how many loose objects there are (times 256)."""
    return len(_names(os.path.join(repo.common_dir, "objects", "17")))


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def gc_is_running(repo: Repository) -> bool:
    """Whether a git-gc(1) holds its lock here: a lock file of at most twelve hours that names a live process of this host,
    or any process of another."""
    path = os.path.join(repo.common_dir, "gc.pid")
    try:
        age = time.time() - os.stat(path).st_mtime
        pid, _, host = read_bytes(path).decode(errors="replace").partition(" ")
    except OSError:
        return False
    if age > 12 * 3600:
        return False
    if host.strip() != _host():
        return True
    return _is_alive(pid)


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OSError):
        return True
    return True


def all_loose(repo: Repository, oids: Iterable[Oid]) -> list[Oid]:
    """Those of `oids` that are loose."""
    return [oid for oid in oids if is_loose(repo, oid)]


def torn_files(repo: Repository, tree: Oid) -> list[Oid]:
    """The loose objects that a power loss left: files that are empty or full of zeros, and torn files of commits with the
    tree `tree`, as far as their beginning tells. git takes such a file for the object, and its gc fails on it."""
    top = os.path.join(repo.common_dir, "objects")
    found = []
    for directory in _names(top):
        if len(directory) == 2:
            names = [name for name in _names(os.path.join(top, directory)) if len(name) in (38, 62)]
            found += [Oid(directory + n) for n in names if _is_torn(os.path.join(top, directory, n), tree)]
    return found


_SMALL = 4096
"""Bytes of a loose file above which it is not looked at: events, presence and leases are smaller."""


def _is_torn(path: str, tree: Oid) -> bool:
    try:
        with open(path, "rb") as file:
            start = file.read(_SMALL)
            if start[:1] in (b"", b"\0"):
                return not (start + file.read()).strip(b"\0")
    except OSError:
        return False
    return len(start) < _SMALL and _is_torn_commit(start, b"tree " + tree.encode())


def _is_torn_commit(data: bytes, tree: bytes) -> bool:
    """Whether a loose file ends too early or is garbled, and begins as a commit of ours does, as far as it can be
    inflated."""
    import zlib

    stream, found = zlib.decompressobj(), b""
    with suppress(zlib.error):
        for at in range(0, len(data), 16):
            found += stream.decompress(data[at : at + 16])
        if stream.eof:
            return False
    head, _, body = found.partition(b"\0")
    return (b"commit "[: len(head)] == head[:7]) and tree[: len(body)] == body[: len(tree)]
