"""The output of a job: a log that keeps its beginning and its end, and the last lines as plain text."""

from __future__ import annotations

import os
import sys

from gitcoord.lean import re, suppress
from gitcoord.system.files import open_ours, rename_ours

LIMIT = 1024 * 1024
"""Bytes a log may have before its middle is removed."""
HEAD = 512 * 1024
TAIL = 128 * 1024
"""Bytes of the beginning and of the end that are then kept."""

TOLD_LINES = 20
TOLD_BYTES = 2000
"""Bytes of the end that go into a message."""

_ESCAPE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"


class BoundedLog:
    """A file that a program's output is written to. A log that cannot be written never stops the program."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._size = self._dropped = self._mark = 0
        self._fd = -1
        with suppress(OSError):
            self._fd = open_ours(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, private=True)

    def write(self, data: bytes) -> None:
        """Append; above the limit, shorten the file."""
        if self._fd < 0:
            return
        try:
            _write_all(self._fd, data)
            self._size += len(data)
            if self._size > LIMIT:
                self._shorten()
        except OSError:
            self.close()

    def _shorten(self) -> None:
        """Replace the file by its beginning, a line about the part left out, and its end."""
        if sys.platform == "win32":
            raise NotImplementedError  # jobs do not start on Windows
        head, tail = os.pread(self._fd, HEAD, 0), os.pread(self._fd, TAIL, self._size - TAIL)
        self._dropped += self._size - HEAD - TAIL - self._mark
        mark = f"\n[... {self._dropped} bytes left out ...]\n".encode()
        fresh = os.path.join(os.path.dirname(self.path), f".{os.path.basename(self.path)}")
        fd = open_ours(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, private=True)
        try:
            _write_all(fd, head + mark + tail)
            rename_ours(fresh, self.path)
        except OSError:
            os.close(fd)
            raise
        os.close(self._fd)
        self._fd, self._mark, self._size = fd, len(mark), HEAD + len(mark) + TAIL

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._bytes = b""

    def write(self, data: bytes) -> None:
        self._bytes = (self._bytes + data)[-4 * TOLD_BYTES :]

    @property
    def text(self) -> str:
        return last_lines(self._bytes)


def last_lines(data: bytes) -> str:
    """The last lines of some output, few and short enough for a message."""
    lines = [line for line in plain(data).split("\n") if line.strip()][-TOLD_LINES:]
    return "\n".join(lines)[-TOLD_BYTES:].strip("\n")


def plain(data: bytes) -> str:
    """Output as text without power over a terminal: no escape sequences, no controls; of a redrawn line, the last
    state."""
    text = re.sub(_ESCAPE, "", data.decode("utf-8", "replace")).replace("\r\n", "\n")
    redrawn = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "".join(c for c in "\n".join(redrawn) if c in "\n\t" or c.isprintable())


def read_tail(path: str) -> str:
    """The last lines of a log; empty without a log."""
    try:
        with open(open_ours(path, os.O_RDONLY), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4 * TOLD_BYTES))
            return last_lines(file.read())
    except OSError:
        return ""
