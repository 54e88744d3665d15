"""`journal.old`: the compressed older parts of the journal, of the last day.

Segments, oldest first: a line, the bytes that it announces, and a newline.

    z SERIAL UNIX-TIME UPTIME END BYTES

The bytes are the zlib-compressed records of one file of the journal up to its offset END. A record is a line `o KIND ID
OFFSET SIZE`, the SIZE bytes of an object, and a newline. OFFSET is where the object's line ended in that file. The last
record is a `t` line, the tips of our logs.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Collection, Iterable, Iterator

from gitcoord.lean import NamedTuple
from gitcoord.store.objects import GitObject, Oid
from gitcoord.system import clocks
from gitcoord.system.files import LIMIT, open_ours, read_ours, replace_ours

KEEP_SECONDS = 24 * 3600
"""Seconds for which a segment is kept after its end."""
KEEP_BYTES = LIMIT // 2
"""Largest size of the archive, however much was written in a day."""
_INFLATED = 4 * LIMIT
_KINDS = (b"commit", b"tree", b"blob")


class Segment(NamedTuple):
    """One file of the journal, up to `end`: its serial number, its beginning by two clocks, and its compressed records."""

    serial: int
    at: int
    up: int
    end: int
    data: bytes = b""


def read(path: str) -> tuple[list[Segment], bool]:
    """The segments, and whether the file is whole. Raises OSError."""
    file = io.BytesIO(read_ours(path))
    found, whole = [], True
    while line := file.readline():
        numbers = _head(line)
        if numbers is None:
            whole = False
            continue
        serial, at, up, end, size = numbers
        found.append(Segment(serial, at, up, end, file.read(size)))
        whole &= len(found[-1].data) == size and file.read(1) == b"\n"
    return found, whole


def _head(line: bytes) -> list[int] | None:
    words = line.split()
    if len(words) != 6 or words[0] != b"z" or not all(word.isdigit() and len(word) < 16 for word in words[1:]):
        return None
    return [int(word) for word in words[1:]]


def objects(segments: Iterable[Segment], since: tuple[int, int] | None = None) -> Iterator[tuple[int, int, GitObject]]:
    """The objects archived after `since` (a serial number and an offset), oldest first, each with its own place; of a
    damaged archive the part before the damage."""
    for segment in segments:
        if since is None or (segment.serial, segment.end) > since:
            for offset, item in _records(_inflated(segment.data)):
                if since is None or (segment.serial, offset) > since:
                    yield segment.serial, offset, item


def tips_line(segments: Iterable[Segment]) -> bytes | None:
    """The last `t` line."""
    for segment in [*segments][::-1]:
        at = (text := _inflated(segment.data)).rfind(b"\nt ")
        if at >= 0 and text.endswith(b"\n"):
            return text[at + 1 : -1].partition(b"\n")[0]
    return None


def _inflated(data: bytes) -> bytes:
    stream, found = zlib.decompressobj(), bytearray()
    try:
        for start in range(0, len(data), 1 << 14):
            found += stream.decompress(data[start : start + (1 << 14)], max(1, _INFLATED - len(found)))
            if stream.unconsumed_tail:
                break
    except zlib.error:
        pass
    return bytes(found)


def _records(text: bytes) -> Iterator[tuple[int, GitObject]]:
    at = 0
    while text.startswith(b"o ", at) and (end := text.find(b"\n", at)) > 0:
        words = text[at:end].split(b" ")
        if len(words) != 5 or words[1] not in _KINDS or not (words[3].isdigit() and words[4].isdigit()):
            return
        start, size = end + 1, int(words[4])
        at = start + size + 1
        if at > len(text):
            return
        kind, oid = words[1].decode(), words[2].decode("ascii", "replace")
        yield int(words[3]), GitObject(kind, Oid(oid), text[start : start + size])  # type: ignore[arg-type]


def segment(head: Segment, items: Iterable[tuple[int, GitObject]], tips: bytes) -> Segment:
    """Make a segment of objects, each with the offset where its line ended, and of the last `t` line."""
    stream, found = zlib.compressobj(6), bytearray()
    for offset, item in items:
        line = b"o %s %s %d %d\n" % (item.kind.encode(), item.oid.encode(), offset, len(item.data))
        found += stream.compress(line + item.data + b"\n")
    found += stream.compress(b"\n" + tips + b"\n") + stream.flush()
    return head._replace(data=bytes(found))


def add(path: str, new: Segment, now: float) -> None:
    """Add a segment, and drop segments that are older than a day or over the limit. Safe from a power loss. Raises
    OSError."""
    try:
        before, whole = read(path)
    except FileNotFoundError:
        before, whole = [], True
    everything = [*before, new]
    kept = [
        old for old, after in zip(before, everything[1:], strict=True) if clocks.age(after.at, after.up, now) <= KEEP_SECONDS
    ]
    while kept and sum(len(old.data) for old in kept) + len(new.data) > KEEP_BYTES:
        kept.pop(0)
    if not whole or kept != before:
        replace_ours(path, b"".join(map(_packed, [*kept, new])), durable=True)
        return
    fd = open_ours(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        view = memoryview(_packed(new))
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _packed(item: Segment) -> bytes:
    return b"z %d %d %d %d %d\n%s\n" % (item.serial, item.at, item.up, item.end, len(item.data), item.data)


def without(segments: Iterable[Segment], gone: Collection[Oid]) -> bytes:
    """The bytes of the file without the objects `gone`."""
    found = []
    for old in segments:
        items = [(offset, item) for offset, item in _records(_inflated(old.data)) if item.oid not in gone]
        found.append(segment(old, items, tips_line([old]) or b"t "))
    return b"".join(map(_packed, found))
