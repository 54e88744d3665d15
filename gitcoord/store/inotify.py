"""Watch files through Linux's inotify. On other systems, and where inotify is refused, `store.watch` uses watchdog.

watchdog 7.1 warns on stderr when folders disappear and return quickly, and soon its thread ends with a KeyError; after that
the waiter is deaf (within half a minute beside `git pack-refs` in a loop). Its import also costs a waiter 37 ms.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import threading
from collections.abc import Callable, Iterable

from gitcoord.lean import suppress

assert sys.platform != "win32"  # `store.watch` asks for it on Linux alone

_CHANGES = 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x100 | 0x200  # MODIFY ATTRIB CLOSE_WRITE MOVED_FROM MOVED_TO CREATE DELETE
_OVERFLOW, _GONE, _FOLDER, _NEW = 0x4000, 0x8000, 0x40000000, 0x100 | 0x80
_ONLY_FOLDERS = 0x01000000
_HEAD = struct.Struct("iIII")


class Inotify(threading.Thread):
    """Calls `changed` with the path of everything that changes in some folders, until it is closed. Raises OSError.

    A new folder for which `follow` returns true is watched as soon as it exists, and so are the folders in it.
    """

    def __init__(self, folders: Iterable[str], follow: Callable[[str], bool], changed: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        import ctypes

        self._libc = ctypes.CDLL(None, use_errno=True)
        self._error = ctypes.get_errno
        self._follow, self._changed = follow, changed
        self._paths: dict[int, str] = {}
        self._fd = self._checked(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._stop_read, self._stop_write = os.pipe()
        try:
            for folder in folders:
                self._add(folder)
        except OSError:
            self._close()
            raise

    def _checked(self, answer: int) -> int:
        if answer < 0:
            raise OSError(self._error(), os.strerror(self._error()))
        return answer

    def _add(self, folder: str) -> None:
        """Watch a folder, then the folders in it: in this order, one that is made meanwhile is not missed."""
        try:
            found = self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _CHANGES | _ONLY_FOLDERS)
            self._paths[self._checked(found)] = folder
            inside = [entry.path for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        except (FileNotFoundError, NotADirectoryError):
            return  # it went again
        for path in inside:
            if self._follow(path):
                self._add(path)

    def run(self) -> None:
        """The thread: sleeps in the kernel until something changes."""
        poller = select.poll()
        for fd in (self._fd, self._stop_read):
            poller.register(fd, select.POLLIN)
        while all(fd != self._stop_read for fd, _ in poller.poll()):
            with suppress(BlockingIOError):
                self._take(os.read(self._fd, 1 << 16))
        self._close()

    def _take(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            number, mask, _, length = _HEAD.unpack_from(data, at)
            name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
            at += _HEAD.size + length
            self._tell(number, mask, os.fsdecode(name))

    def _tell(self, number: int, mask: int, name: str) -> None:
        if mask & _OVERFLOW:
            for folder in list(self._paths.values()):
                self._add(folder)
                self._changed(folder)
            return
        folder = self._paths.pop(number, "") if mask & _GONE else self._paths.get(number, "")
        if not folder:
            return
        path = os.path.join(folder, name) if name else folder
        if mask & _FOLDER and mask & _NEW and self._follow(path):
            with suppress(OSError):  # no more watches are granted: the folder above still tells of it
                self._add(path)
        self._changed(path)

    def stop(self) -> None:
        """End the thread and wait for its end."""
        os.write(self._stop_write, b"x")
        self.join()

    def _close(self) -> None:
        for fd in (self._fd, self._stop_read, self._stop_write):
            os.close(fd)
