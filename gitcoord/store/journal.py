"""Recovery data: the raw objects this clone wrote in its last day or two, and the tips of its own logs.

Not an index: nothing is ever read from it while git still has what we wrote. A text file, one record a line, so that
a line torn by a crash spoils itself alone:

    journal 1 UNIX-TIME
    o KIND OID BASE64
    t REF=OID [REF=OID]
"""

from __future__ import annotations

import binascii
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from gitcoord.store.lock import unwritable
from gitcoord.store.objects import GitObject, Oid

KEEP_SECONDS = 24 * 3600
TAIL = 1 << 13


class Journal:
    """Written under the write lock only."""

    def __init__(self, directory: Path, fsync: bool = False) -> None:
        self.path = directory / "journal"
        self.old_path = directory / "journal.old"
        self.fsync = fsync

    def add(self, objects: Sequence[GitObject]) -> None:
        """Keep `objects`, to be called before they are written to git. Raises RepositoryError; then nothing is kept."""
        self._append(b"".join(_object_line(item) for item in objects))

    def note(self, tips: Mapping[str, Oid]) -> None:
        """Record where our logs stand."""
        self._append(_tips_line(tips))

    def tips(self) -> dict[str, Oid]:
        """The last tips recorded; empty when there is no journal."""
        for path in (self.path, self.old_path):
            line = _last_line(path, b"t ")
            if line is not None:
                pairs = (word.partition("=") for word in line[2:].decode("ascii", "replace").split())
                return {ref: Oid(oid) for ref, _, oid in pairs}
        return {}

    def objects(self) -> Iterator[GitObject]:
        """Every object kept, oldest first. Torn lines are passed over."""
        for path in (self.old_path, self.path):
            for line in _lines(path):
                item = _parse_object(line)
                if item is not None:
                    yield item

    def recent_ids(self, limit: int) -> list[Oid]:
        """The ids of the objects added last, at most `limit`, without decoding them."""
        tail = _tail(self.path, limit * 1024).split(b"\n")[1:]
        found = [line.split(b" ", 3)[2] for line in tail if line.startswith(b"o ") and line.count(b" ") == 3]
        return [Oid(oid.decode("ascii", "replace")) for oid in found[-limit:]]

    def rotate(self, now: float) -> None:
        """Begin a new file once this one began more than a day ago; the one before the last is dropped."""
        first = next(_lines(self.path), b"")
        try:
            began = int(first.split()[2])
        except (IndexError, ValueError):
            began = 0
        if first and now - began > KEEP_SECONDS:
            tips = self.tips()
            os.replace(self.path, self.old_path)
            self.note(tips)

    def _append(self, data: bytes) -> None:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise unwritable(self.path.parent, error) from error
        try:
            size = os.fstat(fd).st_size
            if size == 0:
                data = b"journal 1 %d\n" % time.time() + data
            elif _byte_at(fd, size - 1) != b"\n":
                data = b"\n" + data  # a writer died in the middle of its line
            self._write_whole(fd, data, size)
        finally:
            os.close(fd)

    def _write_whole(self, fd: int, data: bytes, size: int) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if self.fsync:
                os.fsync(fd)
        except OSError as error:
            os.ftruncate(fd, size)
            raise unwritable(self.path.parent, error) from error


def _object_line(item: GitObject) -> bytes:
    body = binascii.b2a_base64(item.data, newline=False)
    return b"o %s %s %s\n" % (item.kind.encode(), item.oid.encode(), body)


def _tips_line(tips: Mapping[str, Oid]) -> bytes:
    return b"t %s\n" % " ".join(f"{ref}={oid}" for ref, oid in sorted(tips.items())).encode()


def _parse_object(line: bytes) -> GitObject | None:
    parts = line.split(b" ")
    if len(parts) != 4 or parts[0] != b"o":
        return None
    try:
        return GitObject(parts[1].decode(), Oid(parts[2].decode()), binascii.a2b_base64(parts[3]))  # type: ignore[arg-type]
    except (ValueError, UnicodeDecodeError):
        return None


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        return


def _byte_at(fd: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, 1)


def _tail(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            return b"\n" * (end <= size) + file.read()
    except FileNotFoundError:
        return b""


def _last_line(path: Path, start: bytes) -> bytes | None:
    """The last whole line that begins with `start`, looking at as little of the file's end as it takes."""
    size = TAIL
    while True:
        tail = _tail(path, size)
        whole = tail.split(b"\n")[1:-1]
        for line in reversed(whole):
            if line.startswith(start):
                return line
        if len(tail) < size:
            return None
        size *= 8
