"""The files of local logs, `coord/local/CLONE.EPOCH`: objects as git has them, appended in batches.

    gitcoord local log 1
    o KIND ID SIZE          then SIZE bytes of zlib data and a newline
    t ID START ends a batch: the tip of the log, and the place in the file where the batch began

A batch counts once its `t` line is there, so a crash leaves the log as it was before or as it should be after. The lines
have one length, so the end is found without reading the file, and each batch leads to the one before it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from gitcoord.lean import IO, NamedTuple, cast, suppress
from gitcoord.store.objects import GitObject, Kind, Oid, is_intact
from gitcoord.store.ref_names import NAMESPACE, is_local
from gitcoord.store.repository import Repository
from gitcoord.system.files import make_directory, names_in, open_ours, remove_ours, signature, unreadable
from gitcoord.system.lock import sync_directory, unwritable

HEAD = b"gitcoord local log 1\n"
_KINDS = ("commit", "tree", "blob")


class ObjectPlace(NamedTuple):
    """The place of an object in a file: the bytes of its zlib data."""

    kind: Kind
    offset: int
    size: int


class Batch(NamedTuple):
    """The end of a batch: the tip of the log then, and the places in the file where the batch begins and ends."""

    tip: Oid
    start: int
    end: int


class LocalFile:
    """One epoch of a local log. Written under the write lock only."""

    def __init__(self, path: str, digits: int, durable: bool) -> None:
        self.path = path
        self._digits = digits
        self._durable = durable
        self._seen: tuple[int, ...] = ()
        self._last: Batch | None = None
        self._places: dict[Oid, ObjectPlace] = {}
        self._unread = 0
        """The place in the file before which batches were not read yet."""

    def tip(self) -> Oid | None:
        """The tip of the log; None if it is empty. Raises Unreadable."""
        last = self._look()
        return last.tip if last else None

    def _look(self) -> Batch | None:
        """The last batch, searched again if the file has changed."""
        seen = signature(self.path)
        if seen != self._seen or not seen:
            with self._opened() as file:
                self._last = _last_batch(file, self._digits)
            self._seen, self._places, self._unread = seen, {}, self._last.end if self._last else 0
        return self._last

    def _opened(self) -> IO[bytes]:
        try:
            return open(open_ours(self.path, os.O_RDONLY), "rb")
        except OSError as error:
            raise unreadable(self.path, error) from error

    def find(self, oid: Oid) -> ObjectPlace | None:
        """The place of an object, searched from the end, because nearly always a new one is wanted. Raises Unreadable."""
        self._look()
        if oid not in self._places and self._unread > len(HEAD):
            with self._opened() as file:
                while oid not in self._places and self._unread > len(HEAD):
                    self._unread = self._step_back(file)
        return self._places.get(oid)

    def _step_back(self, file: IO[bytes]) -> int:
        """Read the batch that ends where the reading stopped; returns its beginning, or 0 if the file is damaged."""
        batch = _batch_at(file, self._unread, self._digits)
        if batch is None:
            return 0
        for oid, place in _records(file, batch.start):
            self._places.setdefault(oid, place)
        return batch.start

    def read(self, oid: Oid) -> GitObject | None:
        """An object; None if it is missing or damaged. Raises Unreadable."""
        import zlib

        place = self.find(oid)
        if place is None:
            return None
        with self._opened() as file:
            file.seek(place.offset)
            data = file.read(place.size)
        with suppress(zlib.error):
            item = GitObject(place.kind, oid, zlib.decompress(data))
            return item if is_intact(item) else None
        return None

    def append(self, tip: Oid, objects: Sequence[GitObject]) -> None:
        """Add a batch after the last whole one. Raises RepositoryError; then the log is as before."""
        try:
            fd = open_ours(self.path, os.O_RDWR | os.O_CREAT)
            with open(fd, "r+b") as file:
                start = self._start(file)
                try:
                    file.seek(start)
                    file.write(b"".join([*map(_record, objects), _end_line(tip, start)]))
                    file.truncate()
                    file.flush()
                except OSError:
                    with suppress(OSError):
                        os.ftruncate(fd, start)
                    raise
                if self._durable:
                    os.fsync(fd)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _start(self, file: IO[bytes]) -> int:
        """The place where the next batch begins: bytes that a crash left after the last one are overwritten."""
        last = _last_batch(file, self._digits)
        if last is None:
            file.seek(0)
            file.write(HEAD)
        return last.end if last else len(HEAD)


def _record(item: GitObject) -> bytes:
    import zlib

    data = zlib.compress(item.data)
    return b"o %s %s %d\n%s\n" % (item.kind.encode(), item.oid.encode(), len(data), data)


def _end_line(tip: Oid, start: int) -> bytes:
    return b"t %s %016d\n" % (tip.encode(), start)


def _last_batch(file: IO[bytes], digits: int) -> Batch | None:
    """The last whole batch: by the last line, or, if a crash cut that short, by reading from the beginning."""
    end = file.seek(0, os.SEEK_END)
    found = _batch_at(file, end, digits)
    if found is not None or not end:
        return found
    file.seek(0)
    at = len(HEAD) if file.read(len(HEAD)) == HEAD else end
    while at < end:
        for _ in _records(file, at):
            pass
        batch = _batch_at(file, file.tell(), digits)
        if batch is None:
            break
        found, at = batch, batch.end
    return found


def _batch_at(file: IO[bytes], end: int, digits: int) -> Batch | None:
    """The batch whose `t` line ends at `end`."""
    start = end - (digits + 20)
    if start < len(HEAD):
        return None
    file.seek(start)
    words = file.read(end - start).split(b" ")
    right = len(words) == 3 and words[0] == b"t" and len(words[1]) == digits and words[2][:-1].isdigit()
    if not right or not words[2].endswith(b"\n") or not len(HEAD) <= int(words[2]) <= start:
        return None
    return Batch(Oid(words[1].decode("ascii", "replace")), int(words[2]), end)


def _records(file: IO[bytes], at: int) -> Iterator[tuple[Oid, ObjectPlace]]:
    """The objects of the batch that begins at `at`, up to its `t` line; afterwards the file is behind that line."""
    file.seek(at)
    while (words := file.readline(200).split())[:1] == [b"o"] and len(words) == 4 and words[3].isdigit():
        kind, size = words[1].decode("ascii", "replace"), int(words[3])
        if kind in _KINDS:
            yield Oid(words[2].decode("ascii", "replace")), ObjectPlace(cast(Kind, kind), file.tell(), size)
        file.seek(size + 1, os.SEEK_CUR)


class LocalLogs:
    """All local logs of a clone, by the names of their refs."""

    def __init__(self, repo: Repository) -> None:
        self.folder = f"{repo.coord_dir}/local"
        self._digits = 64 if repo.object_format == "sha256" else 40
        self._repo = repo
        self._files: dict[str, LocalFile] = {}

    def files(self) -> dict[str, LocalFile]:
        """The file of each log."""
        found = {}
        for name in names_in(self.folder):
            clone, _, epoch = name.rpartition(".")
            if is_local(ref := f"{NAMESPACE}local/{clone}/{epoch}"):
                found[ref] = self._files.get(ref) or self._file(ref)
        self._files = found
        return found

    def _file(self, ref: str) -> LocalFile:
        clone, epoch = ref.split("/")[3:]
        return LocalFile(f"{self.folder}/{clone}.{epoch}", self._digits, self._repo.flag("fsync"))

    def tips(self) -> dict[str, Oid]:
        """The tip of each log. Raises Unreadable."""
        return {ref: tip for ref, file in self.files().items() if (tip := file.tip())}

    def find(self, oid: Oid) -> LocalFile | None:
        """The file that has an object. Raises Unreadable."""
        return next((file for file in self.files().values() if file.find(oid)), None)

    def read(self, oid: Oid) -> GitObject | None:
        """An object of any log. Raises Unreadable."""
        return next((item for file in self.files().values() if (item := file.read(oid))), None)

    def append(self, ref: str, tip: Oid, objects: Sequence[GitObject]) -> None:
        """Move the log `ref` to `tip`, which is among `objects` or in the log already. Raises RepositoryError."""
        fresh = ref not in self.files()
        if fresh:
            try:
                make_directory(self.folder)
            except OSError as error:
                raise unwritable(self.folder, error) from error
        self._file(ref).append(tip, objects)
        if fresh and self._repo.flag("fsync"):
            sync_directory(self.folder)

    def remove(self, ref: str) -> None:
        """Delete a log. Raises RepositoryError."""
        try:
            remove_ours(self._file(ref).path)
        except OSError as error:
            raise unwritable(self.folder, error) from error
