"""Read the `files` ref storage (gitrepository-layout(5)) directly: a listing for every append, without a process.

This module reads only plain files, and replaces only the value of one. For all others (an empty or garbled file, a symbolic
ref, a strange name) it raises NotPlain, and git is asked instead, whose errors name the problem.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from gitcoord.lean import NamedTuple
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_bytes

_FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_IN_A_NAME = _FIRST | frozenset(".@+-")
_HEX = b"0123456789abcdef"
RACY = 0.1
"""Seconds within which a file may be replaced twice with the same times."""
RACY_DIRECTORY = 3.0
"""The same for the content of a directory, whose inode stays: the coarsest file system counts in steps of two seconds."""


class NotPlain(Exception):
    """Raised for a ref that git itself should read."""


def are_plain(repo: Repository) -> bool:
    """Whether this module can read the refs of a repository: ids of 40 digits, in files."""
    return repo.object_format == "sha1" and not os.path.isdir(os.path.join(repo.common_dir, "reftable"))


class Directory(NamedTuple):
    """The content of a directory of refs: refs and their values, and directories below. `at` is when it last changed."""

    at: int
    refs: dict[str, Oid]
    below: list[str]


class RefFiles:
    """The refs below `refs/coord/` of one repository. Remembers `packed-refs` for as long as the file stays the same, and
    each directory: a ref is never written in place, but renamed into it."""

    def __init__(self, common_dir: str) -> None:
        self._directory = common_dir
        self._signature: tuple[int, ...] = ()
        self._packed: dict[str, Oid] = {}
        self._known: dict[str, Directory] = {}

    def read(self) -> dict[str, Oid]:
        """Every ref and its value. Raises NotPlain."""
        loose: dict[str, Oid] = {}
        self._scan(NAMESPACE, loose)  # before packed-refs: packing a ref writes it there first and then removes the file
        return {**self._read_packed(), **loose}

    def _scan(self, prefix: str, found: dict[str, Oid]) -> None:
        try:
            at = os.stat(f"{self._directory}/{prefix}").st_mtime_ns
        except FileNotFoundError:
            return
        except OSError as error:
            raise NotPlain(prefix) from error
        known = self._known.get(prefix)
        if known is None or known.at != at:
            known = self._known[prefix] = self._list(prefix, at)
        found.update(known.refs)
        for name in known.below:
            self._scan(name, found)

    def _list(self, prefix: str, at: int) -> Directory:
        refs: dict[str, Oid] = {}
        below = []
        try:
            entries = list(os.scandir(f"{self._directory}/{prefix}"))
        except FileNotFoundError:
            return Directory(0, {}, [])
        except OSError as error:
            raise NotPlain(prefix) from error
        for entry in entries:
            if entry.name.endswith(".lock") or entry.name.startswith("."):
                continue
            if entry.name[0] not in _FIRST or not _IN_A_NAME.issuperset(entry.name):
                raise NotPlain(prefix + entry.name)
            if entry.is_dir():
                below.append(f"{prefix}{entry.name}/")
            else:
                self._read_loose(prefix + entry.name, refs)
        settled = abs(time.time_ns() - at) > RACY_DIRECTORY * 1e9
        return Directory(at if settled else 0, refs, below)

    def _read_loose(self, ref: str, found: dict[str, Oid]) -> None:
        try:
            fd = os.open(f"{self._directory}/{ref}", os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except FileNotFoundError:
            return  # packed or deleted since
        except OSError as error:
            raise NotPlain(ref) from error
        try:
            value = os.read(fd, 256).rstrip(b" \n\r\t")
        except OSError as error:
            raise NotPlain(ref) from error
        finally:
            os.close(fd)
        if len(value) != 40 or value.strip(_HEX) or not value.strip(b"0"):
            raise NotPlain(ref)
        found[ref] = Oid(value.decode())

    def _read_packed(self) -> dict[str, Oid]:
        try:
            stat = os.stat(f"{self._directory}/packed-refs")
            signature = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            if signature != self._signature:
                data = read_bytes(f"{self._directory}/packed-refs")
                if data and (not data.endswith(b"\n") or b"\0" in data):  # torn: git refuses it and says why
                    raise NotPlain("packed-refs")
                self._packed = dict(_packed(data))
                self._signature = signature if abs(time.time() - stat.st_mtime) > RACY else ()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise NotPlain("packed-refs") from error
        return self._packed


def replace_value(repo: Repository, ref: str, new: Oid, old: Oid) -> bool:
    """Compare-and-swap a ref that is in a file of its own, under git's lock on it, and without a reflog; returns whether
    that was done. If not, the ref is as it was, and libgit2 finds out why."""
    path = f"{repo.common_dir}/{ref}"
    if repo.config.get("core.logallrefupdates") == "always" or os.path.exists(f"{repo.common_dir}/logs/{ref}"):
        return False
    try:
        fd = os.open(f"{path}.lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError:
        return False
    try:
        with os.fdopen(fd, "wb", buffering=0) as lock:
            done = read_bytes(path).rstrip(b"\n") == old.encode() and lock.write(f"{new}\n".encode()) == len(new) + 1
        if done:
            os.rename(f"{path}.lock", path)
            return True
    except OSError:
        pass
    os.unlink(f"{path}.lock")
    return False


def _packed(data: bytes) -> Iterator[tuple[str, Oid]]:
    """Our refs in `packed-refs`, and their values. Raises NotPlain for a line that git does not write: git refuses the whole
    file then, so nothing in it may count."""
    marker = b" " + NAMESPACE.encode()
    for line in data[:-1].split(b"\n") if data else ():
        if line.startswith(marker, 40):
            oid, ref = line[:40].lower(), line[41:]
            if oid.strip(_HEX) or ref.split() != [ref] or len(ref) <= len(NAMESPACE):
                raise NotPlain("packed-refs")
            yield ref.decode("utf-8", "replace"), Oid(oid.decode())
        elif line[40:46] != b" refs/" and line[:1] not in (b"#", b"^"):
            raise NotPlain("packed-refs")
