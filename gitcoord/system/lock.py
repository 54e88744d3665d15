"""The write lock: an OS file lock that the kernel frees when its holder, and every child given it, is gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from gitcoord.errors import RepositoryError
from gitcoord.system.files import STRANGE, open_ours, replace_ours

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def file_lock(path: str) -> Iterator[int]:
    """Hold the lock on `path`, waiting for it; yields its descriptor, to be handed to git children that move refs.

    The kernel queues the waiters, so the lock is fair; nothing polls. Raises RepositoryError where the file cannot
    be opened for writing.
    """
    try:
        fd = _locked(path)
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _locked(path: str) -> int:
    """The lock's file, locked; again where it was removed (by `purge`) or replaced while we waited. Raises OSError."""
    while True:
        fd = open_ours(path, os.O_RDWR | os.O_CREAT)
        try:
            _acquire(fd)
            if os.fstat(fd).st_nlink or os.name == "nt":
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _acquire(fd: int) -> None:
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        return
    import msvcrt  # locks one byte; gives up after ten seconds, so ask again

    while True:
        try:
            msvcrt.locking(fd, msvcrt.LK_LOCK, 1)
            return
        except OSError:
            continue


@contextmanager
def try_lock(path: str) -> Iterator[bool]:
    """Hold the lock on `path` if it is free; yields whether it was."""
    try:
        fd = open_ours(path, os.O_RDWR | os.O_CREAT)
    except OSError:
        yield False
        return
    try:
        yield _acquire_free(fd)
    finally:
        os.close(fd)


def _acquire_free(fd: int) -> bool:
    try:
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    except OSError:
        return False
    return True


def unwritable(where: str, error: OSError) -> RepositoryError:
    """The one wording for a place we may not write to."""
    if error.strerror == STRANGE:
        path = str(error.filename or where)
        from shlex import quote

        return RepositoryError(f"{path} is not used: {STRANGE}", f"rm {quote(path)}")
    if error.errno == errno.ENOENT and not os.path.lexists(where):
        return removed(where)
    hint = "make it writable for this user (a sandbox may need it added to its writable paths), or free disk space"
    if error.errno == errno.EROFS and os.environ.get("CODEX_THREAD_ID"):
        import re

        git_dir = re.sub(r"/coord(/.*)?$", "", where)
        hint = f'let Codex write there: writable_roots = ["{git_dir}"] in [sandbox_workspace_write] of ~/.codex/config.toml'
    return RepositoryError(f"cannot write to {where}: {error.strerror or error}", hint)


def removed(where: str) -> RepositoryError:
    """The one wording for what `purge` took away while a process of ours ran."""
    return RepositoryError(f"gitcoord was removed from this repository: {where} is gone", "git coord init")


def write_whole(path: str, text: str) -> None:
    """Replace a small file of ours: readers see the old or the new one, never a part. Raises RepositoryError."""
    try:
        replace_ours(path, text.encode("utf-8"))
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error
