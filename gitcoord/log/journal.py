"""Recovery data: the raw objects this clone wrote in its last day or two, and the tips of its own logs.

Nothing is read from the journal while git still has what we wrote, and an event is never removed because the journal does
not have it. A journal that exists and cannot be read raises Unreadable everywhere, because it may still have what is
needed. It is a text file with one record on each line, so a line that a crash cut short makes no other line unreadable:

    journal 1 UNIX-TIME UPTIME SERIAL
    o KIND OID BASE64
    t REF=OID [REF=OID]

After a megabyte or a day a new file is begun, with a higher serial number; the last day of old files is in `archive`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from gitcoord.lean import TYPE_CHECKING, NamedTuple, suppress
from gitcoord.store.objects import GitObject, Oid, is_intact, named_in
from gitcoord.store.ref_names import is_log
from gitcoord.system import clocks
from gitcoord.system.files import open_ours, replace_ours, unreadable
from gitcoord.system.lock import sync_directory, unwritable, write_whole

if TYPE_CHECKING:
    from gitcoord.log.archive import Segment

KEEP_SECONDS = 24 * 3600
MAX_SIZE = 1 << 20
"""Size of the newest file from which a writer begins another, once most of its objects are packed."""
HUGE = 4 * MAX_SIZE
"""Size from which a writer begins another file in any case."""
TAIL = 1 << 13


class JournalPlace(NamedTuple):
    """A position in the journal: the serial number of a file (in its head), and an offset in it."""

    serial: int
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
        """Add `objects`, before they are written to git. Raises RepositoryError; then none is kept."""
        self._append(b"".join(_object_line(item) for item in objects))

    def note(self, tips: Mapping[str, Oid]) -> None:
        """Record the tips of our logs."""
        end = self._append(_tips_line(tips))
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
        line = _last_line(self.path, b"t ")
        if line is None:
            from gitcoord.log import archive

            line = archive.tips_line(self._archived()[0])
        pairs = (word.partition("=") for word in (line or b"t ")[2:].decode("ascii", "replace").split())
        return {ref: Oid(oid) for ref, _, oid in pairs if is_log(ref)}

    def _archived(self) -> tuple[list[Segment], bool]:
        """The archived records of the last day, and whether all of them are intact."""
        from gitcoord.log import archive

        try:
            return archive.read(self.old_path)
        except FileNotFoundError:
            return [], True
        except OSError as error:
            raise unreadable(self.old_path, error) from error

    def objects(self, since: JournalPlace | None = None) -> Iterator[GitObject]:
        """Every object in the journal (added after `since`), oldest first. Torn lines are skipped."""
        serial, offset = _serial(self.path), 0
        if since and serial == since.serial:
            offset = since.offset
        else:
            from gitcoord.log import archive

            yield from (item for _, _, item in archive.objects(self._archived()[0], since))
        for line in _lines(self.path, offset):
            item = _parse_object(line)
            if item is not None:
                yield item

    def written(self, oids: Iterable[Oid]) -> set[Oid]:
        """Those of `oids` that were written here lately."""
        wanted = set(oids)
        known = {oid.decode("ascii", "replace") for oid in _ids(_lines(self.path))}
        if not wanted <= known:
            known |= self._archived_ids()
        return wanted & known

    def _archived_ids(self) -> set[str]:
        from gitcoord.log import archive

        return {item.oid for _, _, item in archive.objects(self._archived()[0])}

    def has(self, oids: Iterable[Oid]) -> bool:
        """Whether all of `oids` were written here lately; the newest are looked for first."""
        wanted = {oid.encode() for oid in oids}
        if wanted:
            wanted -= _ids(_tail(self.path, TAIL * 32).splitlines())
        if wanted:
            wanted -= _ids(_lines(self.path))
        return not wanted or {oid.decode("ascii", "replace") for oid in wanted} <= self._archived_ids()

    def needed(self, tips: Iterable[Oid], since: JournalPlace | None = None) -> dict[Oid, GitObject]:
        """The intact objects that are reachable from `tips`: not those of a writer that died before its ref moved."""
        kept = {item.oid: item for item in self.objects(since)}
        found: dict[Oid, GitObject] = {}
        todo = list(tips)
        while todo:
            item = kept.get(todo.pop())
            if item is not None and item.oid not in found and is_intact(item):
                found[item.oid] = item
                todo += named_in(item)
        return found

    def ids_after(self, place: JournalPlace | None) -> tuple[list[tuple[JournalPlace, Oid]], JournalPlace | None]:
        """The objects added after `place` (None: all), each with the place where its line ends; and the place where the
        newest file ends now. Nothing of that file is decoded."""
        from gitcoord.log.archive import objects

        serial = _serial(self.path)
        begins = place.offset if place and place.serial == serial else 0
        found = [] if begins else [(JournalPlace(*at), item.oid) for *at, item in objects(self._archived()[0], place)]
        try:
            with open(open_ours(self.path, os.O_RDONLY), "rb") as file:
                offset = file.seek(begins)
                for line in file:
                    offset += len(line)
                    if line.startswith(b"o ") and line.count(b" ") == 3:
                        found.append((JournalPlace(serial, offset), Oid(line.split(b" ", 3)[2].decode("ascii", "replace"))))
                return found, JournalPlace(serial, offset)
        except FileNotFoundError:
            return found, None
        except OSError as error:
            raise unreadable(self.path, error) from error

    def scrub(self, oids: Collection[Oid]) -> None:
        """Remove the bytes of `oids` from the journal. Raises RepositoryError."""
        gone = {oid.encode() for oid in oids}
        if gone & _ids(_lines(self.path)):
            lines = [line for line in _lines(self.path) if not gone & _ids([line]) and not line.startswith(b"journal ")]
            self._begin(_serial(self.path) + 1, b"".join(line + b"\n" for line in lines))
        if not self._archived_ids().isdisjoint(oids):
            from gitcoord.log import archive

            try:
                replace_ours(self.old_path, archive.without(self._archived()[0], oids), durable=True)
            except OSError as error:
                raise unwritable(os.path.dirname(self.path), error) from error

    def rotate(self, now: float, packed: Callable[[], JournalPlace | None] = lambda: None) -> bool:
        """Begin a new file once this one is large, or began a day ago, or (by a clock that jumped back) a day from now. Its
        content is kept for another day. A large file is archived up to the place `packed`, before which no object is loose:
        the objects after it are checked again soon. Returns whether it did. Raises RepositoryError; then nothing
        changed."""
        size = self._size_when_due(now)
        if not size:
            return False
        serial, end = _serial(self.path), size
        if size <= HUGE and not self._is_old(now):
            place = packed()
            if place is None or place.serial != serial or not size // 2 < place.offset <= size:
                return False
            end = place.offset
        self._rotate(serial, end, now)
        return True

    def _rotate(self, serial: int, end: int, now: float) -> None:
        from gitcoord.log import archive

        tips, (at, up) = _tips_line(self.tips()), self._read_began()
        rest = b"".join(line + b"\n" for line in _lines(self.path, end) if line.startswith(b"o "))
        at, up = (at, up or 0.0) if at else (now, clocks.uptime(now))
        head = archive.Segment(serial, int(at), int(up), end)
        try:
            archive.add(self.old_path, archive.segment(head, _kept(self.path, end), tips.rstrip(b"\n")), now)
        except OSError as error:
            raise unwritable(os.path.dirname(self.path), error) from error
        self._begin(serial + 1, rest + tips)

    def _begin(self, serial: int, lines: bytes) -> None:
        write_whole(self.path, (_new_head(serial) + lines).decode("ascii", "replace"), durable=self.fsync)

    def _size_when_due(self, now: float) -> int:
        """The size of the newest file if it is large or old; else 0."""
        try:
            stat = os.stat(self.path)
            if stat.st_ino != self._began[0]:
                self._began = stat.st_ino, *self._read_began()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise unreadable(self.path, error) from error
        return stat.st_size if stat.st_size > MAX_SIZE or self._is_old(now) else 0

    def _read_began(self) -> tuple[float, float | None]:
        with open(open_ours(self.path, os.O_RDONLY), "rb") as file:
            words = file.readline(80).split()
        if len(words) < 3 or not all(word.isdigit() for word in words[2:]):
            return 0.0, None  # its head is torn, so its age is unknown
        return int(words[2]), int(words[3]) if len(words) > 3 else None

    def _is_old(self, now: float) -> bool:
        return clocks.age(self._began[1], self._began[2], now) > KEEP_SECONDS

    def _append(self, data: bytes) -> tuple[int, int]:
        """Append a line; returns the inode and the new size of the file."""
        try:
            fd = open_ours(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        except OSError as error:
            raise unwritable(os.path.dirname(self.path), error) from error
        try:
            stat = os.fstat(fd)
            size = stat.st_size
            if size == 0:
                data = _new_head(int(time.time() * 1000)) + data
            elif (stat.st_ino, size) != self._end and _byte_at(fd, size - 1) != b"\n":
                data = b"\n" + data  # a writer was killed in the middle of its line
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


def _new_head(serial: int) -> bytes:
    now = time.time()
    return b"journal 1 %d %d %d\n" % (now, clocks.uptime(now), serial)


def _tips_line(tips: Mapping[str, Oid]) -> bytes:
    return b"t %s\n" % " ".join(f"{ref}={oid}" for ref, oid in sorted(tips.items())).encode()


def _serial(path: str) -> int:
    """The number of the newest file; 0 without one, or if its head is torn."""
    try:
        with open(open_ours(path, os.O_RDONLY), "rb") as file:
            words = file.readline(80).split()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise unreadable(path, error) from error
    return int(words[4]) if len(words) == 5 and words[0] == b"journal" and words[4].isdigit() else 0


def _kept(path: str, end: int) -> Iterator[tuple[int, GitObject]]:
    """The objects of the newest file up to `end`, each with the offset where its line ends."""
    offset = 0
    for line in _lines(path):
        offset += len(line) + 1
        item = _parse_object(line) if offset <= end else None
        if item is not None:
            yield offset, item


def _object_line(item: GitObject) -> bytes:
    import binascii  # imported here: reading a repository needs no object of the journal

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
    """The last whole line that begins with `start`; reads only as much of the file's end as needed."""
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
