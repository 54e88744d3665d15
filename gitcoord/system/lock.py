"""The write lock: an OS file lock that the kernel frees when its holder, and every git child given it, has ended.

The kernel queues the waiters, so the lock is fair and nothing polls. No process waits for it silently, or longer than
its caller has time (`at_most`). A child that was forked without exec has no lock: `is_held` is False there.
"""

from __future__ import annotations

import _thread
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator

from gitcoord.errors import Busy, RepositoryError, Unwritable
from gitcoord.lean import contextmanager, suppress
from gitcoord.system.files import STRANGE, open_ours, removal, replace_ours

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SAY_AFTER = 5.0
"""Seconds after which a line says who holds the lock that we wait for."""
LEAST = 1.0
"""Seconds that a lock is always waited for: within them, many writers take their turns."""

_ours: set[int] = set()
"""The descriptors of lock files that this process has open."""
_waits: dict[int, tuple[str, float]] = {}
"""Waits without a limit, by descriptor: the path, and when to report it (monotonic seconds)."""
_watching = False
_guard = _thread.allocate_lock()
_caller = _thread._local()
"""`deadline` of each thread: when its time is over (monotonic seconds), or None."""


def _remark(line: str) -> None:
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


say: Callable[[str], None] = _remark
"""Called with the line that says who holds a lock; prints to stderr by default."""


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Limit the time that the code within may wait for locks, in all; after that they raise Busy. None changes nothing."""
    until = None if seconds is None else time.monotonic() + max(seconds, LEAST)
    with _until(min((d for d in (until, _deadline()) if d is not None), default=None)):
        yield


@contextmanager
def at_least(seconds: float) -> Iterator[None]:
    """Let the code within wait for locks so long, even if an outer `at_most` has less time left."""
    before = _deadline()
    with _until(None if before is None else max(before, time.monotonic() + seconds)):
        yield


@contextmanager
def _until(deadline: float | None) -> Iterator[None]:
    before = _deadline()
    _caller.deadline = deadline
    try:
        yield
    finally:
        _caller.deadline = before


def _deadline() -> float | None:
    return getattr(_caller, "deadline", None)


@contextmanager
def file_lock(path: str) -> Iterator[int]:
    """Hold the lock on `path`, waiting for it; yields its descriptor, which git children that move refs inherit.

    Raises RepositoryError where the file cannot be opened for writing or its file system cannot lock, Busy when the time
    of `at_most` is over.
    """
    fd = _held(path)
    try:
        _note_holder(fd)
        yield fd
    finally:
        _close(fd)


def _held(path: str) -> int:
    """Open and lock the lock's file; again, if it was removed (by `purge`) or replaced while we waited."""
    while True:
        fd = _open(path)
        try:
            if not _acquire_free(fd, path):
                _wait(fd, path)
            if os.fstat(fd).st_nlink or os.name == "nt":
                return fd
        except BaseException:
            _close(fd)
            raise
        _close(fd)


def is_held(fd: int) -> bool:
    """Whether this process still has the lock that `file_lock` gave it: the child of a fork does not."""
    return fd in _ours


def _open(path: str) -> int:
    try:
        fd = open_ours(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error
    _ours.add(fd)
    return fd


def _close(fd: int) -> None:
    if fd in _ours:  # else a fork closed it, or the thread that still queues on it will
        _ours.discard(fd)
        os.close(fd)


def _let_go_of_all() -> None:
    """Close inherited locks in the child of a fork, which would otherwise hold them as long as it lives."""
    global _watching, _guard
    _watching, _guard = False, _thread.allocate_lock()
    _waits.clear()
    while _ours:
        with suppress(OSError):
            os.close(_ours.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_of_all)


class _Turn:
    """A thread that queues for a lock. Meanwhile its caller can say who holds the lock, and can give up."""

    def __init__(self, fd: int) -> None:
        self.error: OSError | None = None
        self._fd = fd
        self._over = _thread.allocate_lock()
        self._over.acquire()
        self._decision = _thread.allocate_lock()
        self._came = self._left = False
        _thread.start_new_thread(self._queue, ())

    def _queue(self) -> None:
        try:
            _acquire(self._fd)
        except OSError as error:
            self.error = error
        with self._decision:
            self._came = True
            if self._left:
                os.close(self._fd)
        self._over.release()

    def comes(self, seconds: float) -> bool:
        """Wait for the turn, at most so many seconds; returns whether it came."""
        return self._over.acquire(timeout=max(0.0, seconds))

    def leave(self) -> bool:
        """Give up; the thread closes the descriptor when its turn comes. Returns False if it has just come."""
        with self._decision:
            if not self._came:
                self._left = True
                _ours.discard(self._fd)
            return self._left


def _wait(fd: int, path: str) -> None:
    """Queue for the lock: in this thread if there is no time limit, because a queueing thread costs more."""
    deadline = _deadline()
    try:
        if deadline is None:
            with _watched(fd, path):
                _acquire(fd)
        else:
            _take_turn(fd, path, deadline)
    except OSError as error:
        raise _unlockable(path, error) from error


@contextmanager
def _watched(fd: int, path: str) -> Iterator[None]:
    """Let a thread say who holds the lock if we wait too long."""
    global _watching
    _waits[fd] = (path, time.monotonic() + SAY_AFTER)
    with _guard:
        if not _watching:
            _watching = True
            _thread.start_new_thread(_watch, ())
    try:
        yield
    finally:
        _waits.pop(fd, None)


def _watch() -> None:
    """The body of that thread; it ends when no wait is left."""
    global _watching
    while True:
        time.sleep(SAY_AFTER / 5)
        for fd, (path, due) in list(_waits.items()):
            if time.monotonic() >= due and fd in _waits:
                _waits[fd] = (path, float("inf"))
                say(f"note: waiting for {path}, {_holder(path)[0]}")
        with _guard:
            if not _waits:
                _watching = False
                return


def _take_turn(fd: int, path: str, deadline: float) -> None:
    """Wait for a turn. Raises Busy at the deadline."""
    turn = _Turn(fd)
    try:
        if not turn.comes(min(SAY_AFTER, deadline - time.monotonic())):
            if deadline - time.monotonic() > LEAST:
                say(f"note: waiting for {path}, {_holder(path)[0]}")
            if not turn.comes(deadline - time.monotonic()) and turn.leave():
                who, hint = _holder(path)
                raise Busy(f"no time left to wait for {path}, {who}", hint)
    except KeyboardInterrupt:
        turn.leave()
        raise
    if turn.error is not None:
        raise turn.error


def _holder(path: str) -> tuple[str, str]:
    from gitcoord.system import holder

    return holder.described(path)


def _note_holder(fd: int) -> None:
    """Write our pid into the lock's file for waiters; the file's time says since when. A full disk costs only that
    information."""
    with suppress(OSError):
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, f"{os.getpid():<19}\n".encode())


def _acquire(fd: int) -> None:
    if sys.platform == "win32":
        while True:  # Windows' lock gives up after ten seconds: ask again
            with suppress(OSError):
                msvcrt.locking(fd, msvcrt.LK_LOCK, 1)
                return
    else:
        fcntl.flock(fd, fcntl.LOCK_EX)


@contextmanager
def try_lock(path: str) -> Iterator[bool]:
    """Hold the lock on `path` if it is free; yields whether it was."""
    try:
        fd = _open(path)
    except RepositoryError:
        yield False
        return
    try:
        yield _is_acquired(fd, path)
    finally:
        _close(fd)


def _is_acquired(fd: int, path: str) -> bool:
    try:
        free = _acquire_free(fd, path)
    except RepositoryError:
        return False
    if free:
        _note_holder(fd)
    return free


def _acquire_free(fd: int, path: str) -> bool:
    """Take the lock if it is free. Raises RepositoryError if the file system has no locks."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            return False
        raise _unlockable(path, error) from error
    return True


def _unlockable(path: str, error: OSError) -> RepositoryError:
    where = os.path.dirname(path)
    hint = "keep the repository on a file system that can lock (on NFS: mount it with locks, without nolock)"
    return RepositoryError(f"the file system of {where} cannot lock files: {error.strerror or error}", hint)


def unwritable(where: str, error: OSError) -> RepositoryError:
    """The error for a place that cannot be written."""
    if error.strerror == STRANGE:
        path = str(error.filename or where)
        return RepositoryError(f"{path} is not used: {STRANGE}", removal(path))
    if error.errno == errno.ENOENT and not os.path.lexists(where):
        return removed(where)
    hint = "make it writable for this user (a sandbox may need it added to its writable paths), or free disk space"
    if error.errno == errno.EROFS and os.environ.get("CODEX_THREAD_ID"):
        import re

        git_dir = re.sub(r"/coord(/.*)?$", "", where)
        hint = f'let Codex write there: writable_roots = ["{git_dir}"] in [sandbox_workspace_write] of ~/.codex/config.toml'
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP) or _leads_nowhere(error.filename):
        where, hint = error.filename2 or error.filename or where, "git coord doctor --fix (moves it aside)"
    return Unwritable(f"cannot write to {where}: {error.strerror or error}", hint)


def _leads_nowhere(path: object) -> bool:
    return isinstance(path, str) and os.path.islink(path) and not os.path.exists(path)


def removed(where: str) -> RepositoryError:
    """The error for a folder that `purge` removed while a process of ours ran."""
    return RepositoryError(f"gitcoord was removed from this repository: {where} is gone", "git coord init")


def write_whole(path: str, text: str, durable: bool = False) -> None:
    """Replace a small file of ours: readers see the old or the new one, never a part. Raises RepositoryError.

    `durable`: it survives a power loss once this returns, and so do the two directories above it.
    """
    try:
        replace_ours(path, text.encode("utf-8"), durable)
        if durable:
            sync_directory(os.path.dirname(path))
            sync_directory(os.path.dirname(os.path.dirname(path)))
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error


def sync_directory(path: str) -> None:
    """Sync a directory: a new file is safe from a power loss only when its directory is, too. Raises OSError."""
    if os.name == "nt":  # Windows cannot open directories
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
