"""Recovery data: the raw objects this clone wrote in its last day or two, and the tips of its own logs.

Neither an index nor a judge: nothing is read from it while git still has what we wrote, and what it does not know, it
does not take off. One that is there and cannot be read raises Unreadable everywhere: that is not the same as none. A
text file, one record a line, so that a line torn by a crash spoils itself alone:

    journal 1 UNIX-TIME UPTIME
    o KIND OID BASE64
    t REF=OID [REF=OID]
"""

from __future__ import annotations

import os
import time

from gitcoord.lean import Collection, Iterable, Iterator, Mapping, NamedTuple, Sequence, suppress
from gitcoord.store.objects import GitObject, Oid, is_intact, named_in
from gitcoord.store.ref_names import is_log
from gitcoord.system import clocks
from gitcoord.system.files import open_ours, rename_ours, unreadable
from gitcoord.system.lock import sync_directory, unwritable, write_whole

KEEP_SECONDS = 24 * 3600
TAIL = 1 << 13


class Place(NamedTuple):
    """A position in the journal: how far into which file."""

    inode: int
    offset: int


class Journal:
    """Written under the write lock only."""

    def __init__(self, directory: str, fsync: bool = False) -> None:
        self.path = os.path.join(directory, "journal")
        self.old_path = os.path.join(directory, "journal.old")
        self.fsync = fsync
        self._began: tuple[int, float, float | None] = (0, 0.0, None)
        self._end = 0, 0
        """The inode and the size after our last whole line."""
        self._noted: tuple[tuple[int, int], dict[str, Oid]] = (0, 0), {}

    def add(self, objects: Sequence[GitObject]) -> None:
        """Keep `objects`, to be called before they are written to git. Raises RepositoryError; then nothing is kept."""
        self._append(b"".join(_object_line(item) for item in objects))

    def note(self, tips: Mapping[str, Oid]) -> None:
        """Record where our logs stand."""
        end = self._append(b"t %s\n" % " ".join(f"{ref}={oid}" for ref, oid in sorted(tips.items())).encode())
        self._noted = end, dict(tips)

    def tips(self) -> dict[str, Oid]:
        """The last tips recorded; empty when there is no journal."""
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            return self._read_tips()
        except OSError as error:
            raise unreadable(self.path, error) from error
        if self._noted[0] != (stat.st_ino, stat.st_size):
            self._noted = (stat.st_ino, stat.st_size), self._read_tips()
        return self._noted[1]

    def _read_tips(self) -> dict[str, Oid]:
        for path in (self.path, self.old_path):
            line = _last_line(path, b"t ")
            if line is not None:
                pairs = (word.partition("=") for word in line[2:].decode("ascii", "replace").split())
                return {ref: Oid(oid) for ref, _, oid in pairs if is_log(ref)}
        return {}

    def objects(self, since: Place | None = None) -> Iterator[GitObject]:
        """Every object kept (added after `since`), oldest first. Torn lines are passed over."""
        here = since is not None and _inode(self.path) == since.inode
        files = [(self.path, since.offset)] if since and here else [(self.old_path, 0), (self.path, 0)]
        for path, offset in files:
            for line in _lines(path, offset):
                item = _parse_object(line)
                if item is not None:
                    yield item

    def written(self, oids: Iterable[Oid]) -> set[Oid]:
        """Those of `oids` that were written here lately."""
        known = {oid.decode("ascii", "replace") for path in (self.path, self.old_path) for oid in _ids(_lines(path))}
        return {oid for oid in oids if oid in known}

    def has(self, oids: Iterable[Oid]) -> bool:
        """Whether all of `oids` were written here lately; the newest are looked for first."""
        wanted = {oid.encode() for oid in oids}
        if wanted:
            wanted -= _ids(_tail(self.path, TAIL * 32).splitlines())
        for path in (self.path, self.old_path):
            if wanted:
                wanted -= _ids(_lines(path))
        return not wanted

    def needed(self, tips: Iterable[Oid], since: Place | None = None) -> dict[Oid, GitObject]:
        """The objects kept, whole, that are reachable from `tips`: not those of a writer that died before its ref moved."""
        kept = {item.oid: item for item in self.objects(since)}
        found: dict[Oid, GitObject] = {}
        todo = list(tips)
        while todo:
            item = kept.get(todo.pop())
            if item is not None and item.oid not in found and is_intact(item):
                found[item.oid] = item
                todo += named_in(item)
        return found

    def ids_after(self, place: Place | None) -> tuple[list[tuple[int, Oid]], Place | None]:
        """The objects added after `place` (None, or a place in an older file: from the start), each with the offset where
        its line ends; and the place where the file ends now. Nothing is decoded."""
        try:
            with open(open_ours(self.path, os.O_RDONLY), "rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                offset = place.offset if place and place.inode == inode else 0
                file.seek(offset)
                found = []
                for line in file:
                    offset += len(line)
                    if line.startswith(b"o ") and line.count(b" ") == 3:
                        found.append((offset, Oid(line.split(b" ", 3)[2].decode("ascii", "replace"))))
                return found, Place(inode, offset)
        except FileNotFoundError:
            return [], None
        except OSError as error:
            raise unreadable(self.path, error) from error

    def scrub(self, oids: Collection[Oid]) -> None:
        """Forget the bytes of `oids`. Raises RepositoryError."""
        gone = {oid.encode() for oid in oids}
        for path in (self.path, self.old_path):
            if gone & _ids(_lines(path)):
                lines = [line for line in _lines(path) if not gone & _ids([line])]
                write_whole(path, b"".join(line + b"\n" for line in lines).decode("ascii", "replace"))

    def rotate(self, now: float) -> bool:
        """Begin a new file once this one began a day ago, or a day ahead of a clock that jumped back; the one before the
        last is dropped. Says whether it did."""
        if not self._is_old(now):
            return False
        tips = self.tips()
        rename_ours(self.path, self.old_path)
        self.note(tips)
        return True

    def _is_old(self, now: float) -> bool:
        try:
            inode = os.stat(self.path).st_ino
            if inode != self._began[0]:
                with open(open_ours(self.path, os.O_RDONLY), "rb") as file:
                    _, _, at, *up = file.readline(64).split()
                    self._began = inode, int(at), int(up[0]) if up else None
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unreadable(self.path, error) from error
        except (IndexError, ValueError):
            return True  # its head is torn: only a new file has a known age
        return clocks.age(self._began[1], self._began[2], now) > KEEP_SECONDS

    def _append(self, data: bytes) -> tuple[int, int]:
        """Returns the inode and the size that the file has then."""
        try:
            fd = open_ours(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise unwritable(os.path.dirname(self.path), error) from error
        try:
            stat = os.fstat(fd)
            size = stat.st_size
            if size == 0:
                data = b"journal 1 %d %d\n" % (time.time(), clocks.uptime(time.time())) + data
            elif (stat.st_ino, size) != self._end and _byte_at(fd, size - 1) != b"\n":
                data = b"\n" + data  # a writer died in the middle of its line
            self._write_whole(fd, data, size)
            self._end = stat.st_ino, size + len(data)
            return self._end
        finally:
            os.close(fd)

    def _write_whole(self, fd: int, data: bytes, size: int) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if self.fsync:
                os.fsync(fd)
                if size == 0:
                    sync_directory(os.path.dirname(self.path))
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(fd, size)
            raise unwritable(os.path.dirname(self.path), error) from error


def _object_line(item: GitObject) -> bytes:
    import binascii  # here: reading a repository needs no objects of the journal

    body = binascii.b2a_base64(item.data, newline=False)
    return b"o %s %s %s\n" % (item.kind.encode(), item.oid.encode(), body)


def _parse_object(line: bytes) -> GitObject | None:
    parts = line.split(b" ")
    if len(parts) != 4 or parts[0] != b"o" or parts[1] not in (b"commit", b"tree", b"blob"):
        return None
    import binascii

    try:
        return GitObject(parts[1].decode(), Oid(parts[2].decode()), binascii.a2b_base64(parts[3]))  # type: ignore[arg-type]
    except (ValueError, UnicodeDecodeError):
        return None


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _lines(path: str, offset: int = 0) -> Iterator[bytes]:
    try:
        with open(open_ours(path, os.O_RDONLY), "rb") as file:
            file.seek(offset)
            for line in file:
                if line.endswith(b"\n"):
                    yield line[:-1]
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(path, error) from error


def _ids(lines: Iterable[bytes]) -> set[bytes]:
    """The ids in the lines of objects."""
    words = (line.split(b" ", 3) for line in lines if line.startswith(b"o "))
    return {word[2] for word in words if len(word) == 4}


def _byte_at(fd: int, offset: int) -> bytes:
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, 1)


def _tail(path: str, size: int) -> bytes:
    try:
        with open(open_ours(path, os.O_RDONLY), "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            return b"\n" * (end <= size) + file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise unreadable(path, error) from error


def _last_line(path: str, start: bytes) -> bytes | None:
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
