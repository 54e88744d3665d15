"""Wake up when coordination refs move, no matter which program moved them: gitcoord, `git fetch`, `git update-ref`.

The kernel reports changes (inotify; through watchdog FSEvents and kqueue); nothing polls. A wake-up only says "look
again": callers check their condition after `RefWatch` is entered and after every wake-up, so they miss no change.
"""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from gitcoord.lean import TypeVar, suppress
from gitcoord.store.repository import Repository
from gitcoord.system.files import make_directory
from gitcoord.system.lock import removed

T = TypeVar("T")
LOOK_ANYWAY = 10.0
"""Seconds after which a waiter looks again without being woken: for conditions that depend on the clock, or on a process
whose end this system cannot report."""


_OURS = frozenset(["packed-refs", "refs", "refs/coord", "worktrees", "coord"])
"""Names below the common directory whose creation, change or removal makes a look worth it."""


class RefWatch:
    """Watches where a repository keeps its refs: loose files, `packed-refs`, and the tables of reftable; its linked
    worktrees (a session is gone with its worktree); and `places`."""

    def __init__(self, repo: Repository, places: Sequence[str] = ()) -> None:
        self.changed = threading.Event()
        self._places = places
        self._coord_dir = repo.coord_dir
        self._was_there = os.path.isdir(repo.coord_dir)
        self._common_dir = repo.common_dir
        self._ours = os.path.join(self._common_dir, "refs", "coord")
        self._local = os.path.join(self._coord_dir, "local")
        self._worktrees = os.path.join(self._common_dir, "worktrees")
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> RefWatch:
        tables = os.path.join(self._common_dir, "reftable")
        with suppress(OSError):  # made by the first local event, which a waiter must not miss
            make_directory(self._local)
        refs = os.path.join(self._common_dir, "refs")
        wanted = [self._common_dir, refs, tables, self._worktrees, self._local, *self._places]
        folders = [path for path in wanted if os.path.isdir(path)]
        self._stop = self._by_inotify(folders) or self._by_watchdog(folders)
        return self

    def _by_inotify(self, folders: Sequence[str]) -> Callable[[], None] | None:
        if not sys.platform.startswith("linux"):
            return None
        from gitcoord.store import inotify

        try:
            watch = inotify.Inotify(folders, self._is_ours, self._see)
        except (OSError, AttributeError):
            return None  # a limit on watches, a libc without inotify
        watch.start()
        return watch.stop

    def _by_watchdog(self, folders: Sequence[str]) -> Callable[[], None]:
        from gitcoord.store.observer import observe

        return observe(folders, os.path.join(self._common_dir, "refs"), self._see)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _is_ours(self, folder: str) -> bool:
        return folder == self._ours or folder.startswith(self._ours + os.sep)

    def _see(self, path: str) -> None:
        """Called in a thread of the watcher."""
        if self._concerns_us(path):
            self.changed.set()

    def _concerns_us(self, path: str) -> bool:
        if path.endswith(".lock"):
            return False
        if os.path.dirname(path) in (*self._places, self._worktrees, self._local):
            return True
        below = path.removeprefix(self._common_dir).replace(os.sep, "/").strip("/")
        return below in _OURS or below.startswith(("refs/coord/", "reftable/"))

    def wait(self, seconds: float) -> bool:
        """Sleep until a ref of ours may have moved, at most so long; returns False when none did.

        Raises RepositoryError when gitcoord was purged from the repository meanwhile, so that nothing is made again.
        """
        self._check_there()
        woken = self.changed.wait(max(0.0, seconds))
        self.changed.clear()
        self._check_there()
        return woken

    def _check_there(self) -> None:
        if self._was_there and not os.path.isdir(self._coord_dir):
            raise removed(self._coord_dir)


def watch_folder(folder: str, changed: Callable[[str], None]) -> Callable[[], None]:
    """Call `changed`, from another thread, with the path of whatever changes in one folder; returns what ends that, which
    that thread must not call. Raises OSError where the folder is missing."""
    if sys.platform.startswith("linux"):
        from gitcoord.store import inotify

        with suppress(AttributeError, OSError):  # a libc without inotify, a limit on watches
            watch = inotify.Inotify([folder], lambda _: False, changed)
            watch.start()
            return watch.stop
    from gitcoord.store.observer import observe

    return observe([folder], "", changed)


class EndWatch(threading.Thread):
    """Set `changed` when one of `pids` ends, and when the reader of our output goes away (then `reader_left` too).

    Needs pidfd_open(2) for processes; elsewhere waiters look every LOOK_ANYWAY seconds.
    """

    def __init__(self, changed: threading.Event, pids: Iterable[int] = (), output: int | None = None) -> None:
        super().__init__(daemon=True)
        self.reader_left = False
        self._changed = changed
        self._poller = select.poll() if hasattr(select, "poll") else None
        self._stop_read, self._stop_write = os.pipe()
        self._pidfds = [fd for fd in map(_pidfd, pids) if fd is not None]
        self._output = output if output is not None and _is_pipe(output) else None

    def __enter__(self) -> EndWatch:
        if sys.platform != "win32" and self._poller is not None:
            for fd in (self._stop_read, *self._pidfds):
                self._poller.register(fd, select.POLLIN)
            if self._output is not None:
                self._poller.register(self._output, 0)  # only POLLERR: nobody reads any more
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._stop_write)
        if self.ident is not None:
            self.join()
        for fd in (self._stop_read, *self._pidfds):
            os.close(fd)

    def run(self) -> None:
        """The thread: sleeps in the kernel until something ends."""
        assert self._poller is not None
        while True:
            for fd, _ in self._poller.poll():
                if fd == self._stop_read:
                    return
                self._poller.unregister(fd)
                self.reader_left = self.reader_left or fd == self._output
                self._changed.set()


def _pidfd(pid: int) -> int | None:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _is_pipe(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def wait_until(
    repo: Repository,
    attempt: Callable[[], T | None],
    timeout: float | None,
    pids: Callable[[], Iterable[int]] = tuple,
    output: int | None = None,
    places: Sequence[str] = (),
    due: Callable[[], float | None] = lambda: None,
) -> T | None:
    """Call `attempt` now and whenever refs move, a process ends or files in `places` change, until it returns something;
    and once `due` seconds are over, which is asked after each attempt.

    `pids` is called again each time, and returns the processes to watch. Returns None once `timeout` (seconds; None: never)
    is over. Raises BrokenPipeError when the reader of `output` is gone.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    found = attempt()
    if found is not None or timeout == 0:
        return found
    with RefWatch(repo, places) as watch:
        while True:
            with EndWatch(watch.changed, pids(), output) as ends:
                found = attempt()
                left = LOOK_ANYWAY if deadline is None else deadline - time.monotonic()
                if found is not None or left <= 0:
                    return found
                soon = due()
                watch.wait(min(left, LOOK_ANYWAY if soon is None else soon, LOOK_ANYWAY))
                if ends.reader_left:
                    raise BrokenPipeError
