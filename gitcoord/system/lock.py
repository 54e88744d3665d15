"""The write lock: an OS file lock that the kernel frees when its holder, and every child given it, is gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from gitcoord.errors import Unwritable

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
        fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error
    try:
        _acquire(fd)
        yield fd
    finally:
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
        fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
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


def unwritable(where: str, error: OSError) -> Unwritable:
    """The one wording for a place we may not write to."""
    hint = "make it writable for this user (a sandbox may need it added to its writable paths), or free disk space"
    if error.errno == errno.EROFS and os.environ.get("CODEX_THREAD_ID"):
        import re

        git_dir = re.sub(r"/coord(/.*)?$", "", where)
        hint = f'let Codex write there: writable_roots = ["{git_dir}"] in [sandbox_workspace_write] of ~/.codex/config.toml'
    return Unwritable(f"cannot write to {where}: {error.strerror or error}", hint)


def write_whole(path: str, text: str, durable: bool = False) -> None:
    """Replace a small file of ours: readers see the old or the new one, never a part. Raises Unwritable.

    `durable`: it survives a power loss once this returns, and so do the two directories above it.
    """
    fresh = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(fresh, path)
        if durable:
            sync_directory(os.path.dirname(path))
            sync_directory(os.path.dirname(os.path.dirname(path)))
    except OSError as error:
        with suppress(OSError):
            os.unlink(fresh)
        raise unwritable(os.path.dirname(path), error) from error


def sync_directory(path: str) -> None:
    """A new file is safe from a power loss only when its directory is, too. Raises OSError."""
    if os.name == "nt":  # which opens no directory
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
