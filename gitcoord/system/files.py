"""Read and write files: any file by its name, and ours below `$GIT_COMMON_DIR/coord`, which only this module opens.

`pathlib` costs every command 4 ms, so modules that every command imports use plain paths. The functions named `…_ours`
take the path of a file below `coord/`. Below `coord/` they follow no symbolic link, and read and write only regular
files with one name: a user who can put a link into that folder must not choose which of the caller's files is
overwritten. `store.discovery` has checked before that git accepts the repository. In a shared repository
(core.sharedRepository) new files get the permissions of their folder. No file is made if its folder does not exist.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

from gitcoord.errors import Unreadable
from gitcoord.lean import suppress

LIMIT = 64 * 1024 * 1024
"""Largest number of bytes that is read of one of our files."""
STRANGE = "it is not a regular file of gitcoord's"
_ROOT = "/coord/"
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_UTIME_BY_FD = os.utime in os.supports_fd
_BY_FOLDER = {os.open, os.unlink, os.rename, os.mkdir} <= os.supports_dir_fd


def read_bytes(path: str) -> bytes:
    """The whole content of any file. Raises OSError."""
    with open(path, "rb") as file:
        return file.read()


def read_if_there(path: str) -> bytes | None:
    """The whole content of a file of ours; None if it does not exist. Raises Unreadable if it exists but cannot be read."""
    try:
        return read_ours(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> Unreadable:
    """The error for a file of ours that may exist but cannot be read."""
    if error.strerror == STRANGE:
        return Unreadable(f"{path} is not used: {STRANGE}", removal(path))
    return Unreadable(f"cannot read {path}: {error.strerror or error}", "make it readable for this user")


def removal(path: str) -> str:
    """The command that removes what is in the place of a file of ours."""
    from shlex import quote

    found = os.path.isdir(path) and not os.path.islink(path)
    return f"rm {'-r ' if found else ''}{quote(path)}"


def signature(path: str) -> tuple[int, ...]:
    """A value that changes whenever the file is replaced by another; empty for a missing file."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def open_ours(path: str, flags: int, private: bool = False) -> int:
    """A descriptor of one of our files. With O_CREAT it is made if its folder exists; `private`: readable by its owner
    alone, unless the repository is shared. Raises OSError, also if it is not a regular file with one name."""
    at, name = _enter(path)
    try:
        fd = _open_or_make(at, name, flags & ~os.O_TRUNC, private)
    except OSError as error:
        raise _named(error, path) from None
    finally:
        _leave(at)
    try:
        _check(fd, path, writes=flags & (os.O_WRONLY | os.O_RDWR) != 0)
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _enter(path: str) -> tuple[int | None, str]:
    """The folder of a file of ours, open, and the file's name in it. Raises OSError if a part of the path is a link."""
    if not _BY_FOLDER:  # Windows
        return None, path
    top, root, below = path.rpartition(_ROOT)
    first, *folders = [top + _ROOT[:-1], *below.split("/")] if root else os.path.split(path)
    name = folders.pop()
    at = -1
    try:
        at = os.open(first or ".", _FOLDER if root else _FOLDER & ~getattr(os, "O_NOFOLLOW", 0))
        for folder in folders:
            above, at = at, os.open(folder, _FOLDER, dir_fd=at)
            os.close(above)
    except OSError as error:
        if at >= 0:
            os.close(at)
        raise _named(error, path) from None
    return at, name


def _leave(at: int | None) -> None:
    if at is not None:
        os.close(at)


def _named(error: OSError, path: str) -> OSError:
    """The same error with the whole path; for a link, with words that say so."""
    strange = error.errno in (errno.ELOOP, errno.ENOTDIR)
    return OSError(error.errno, STRANGE if strange else error.strerror, path)


def _open_or_make(at: int | None, name: str, flags: int, private: bool) -> int:
    """Open a file in the open folder, with the permissions of its folder if it is new and the repository is shared."""
    while True:
        try:
            return os.open(name, (flags & ~(os.O_CREAT | os.O_EXCL)) | _FILE, dir_fd=at)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        with suppress(FileExistsError):  # another process made it meanwhile
            return _make(at, name, flags, private)


def _make(at: int | None, name: str, flags: int, private: bool) -> int:
    shared = _shared_mode(at) & 0o666
    fd = os.open(name, flags | os.O_CREAT | os.O_EXCL | _FILE, 0o600 if private else 0o666, dir_fd=at)
    if shared and sys.platform != "win32":
        with suppress(OSError):
            os.fchmod(fd, shared)
    return fd


def _shared_mode(at: int | None) -> int:
    """The permissions of a folder with set-group-id, by which git marks a repository that several users share; else 0."""
    mode = 0 if at is None else os.fstat(at).st_mode
    return stat.S_IMODE(mode) if mode & stat.S_ISGID else 0


def _check(fd: int, path: str, writes: bool) -> None:
    """Raise OSError unless it is a regular file, and, for a writer, one without a second name (a hard link)."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or (writes and found.st_nlink > 1):
        raise OSError(errno.ELOOP, STRANGE, path)


def read_ours(path: str, limit: int = LIMIT) -> bytes:
    """The content of one of our files, at most `limit` bytes. Raises OSError."""
    with open(open_ours(path, os.O_RDONLY), "rb") as file:
        return file.read(limit)


def write_ours(path: str, data: bytes = b"", private: bool = False) -> None:
    """Write one of our files in place. A reader may see a part of it; `replace_ours` prevents that. Raises OSError."""
    _fill(open_ours(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, private), data)


def append_ours(path: str, data: bytes = b"") -> None:
    """Append to one of our files, in one piece. Raises OSError."""
    _fill(open_ours(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), data)


def _fill(fd: int, data: bytes) -> None:
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def replace_ours(path: str, data: bytes, durable: bool = False) -> None:
    """Replace one of our files at once: readers see the old or the new one, never a part. `durable`: its bytes are on
    the disk before it replaces the old one. Raises OSError."""
    folder, name = os.path.split(path)
    fresh = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        remove_ours(fresh)  # a killed process left it
        write_ours(fresh, data)
        if durable:
            _sync(fresh)
        rename_ours(fresh, path)
    except OSError:
        with suppress(OSError):
            remove_ours(fresh)
        raise


def _sync(path: str) -> None:
    fd = open_ours(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename_ours(path: str, to: str) -> None:
    """Rename one of our files within its folder, and replace the file of that name. Raises OSError."""
    at, name = _enter(path)
    try:
        os.replace(name, os.path.basename(to) if at is not None else to, src_dir_fd=at, dst_dir_fd=at)
    except OSError as error:
        raise _named(error, path) from None
    finally:
        _leave(at)


def remove_ours(path: str) -> bool:
    """Remove one of our files; returns whether it existed. Raises OSError."""
    try:
        at, name = _enter(path)
    except FileNotFoundError:
        return False
    try:
        os.unlink(name, dir_fd=at)
        return True
    except FileNotFoundError:
        return False
    finally:
        _leave(at)


def touch_ours(path: str, at: float | None = None) -> None:
    """Make one of our files if it is missing, and set its time (Unix seconds; now by default). Raises OSError."""
    try:
        _set_time(path, at)
    except PermissionError:  # another user of the repository owns it; only the owner may set its time
        replace_ours(path, read_ours(path))
        _set_time(path, at)


def _set_time(path: str, at: float | None) -> None:
    fd = open_ours(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.utime(fd if _UTIME_BY_FD else path, None if at is None else (at, at))
    finally:
        os.close(fd)


def names_in(folder: str) -> list[str]:
    """The names in one of our folders, sorted; none where it is missing or a link."""
    try:
        at, _ = _enter(os.path.join(folder, ""))
    except OSError:
        return []
    try:
        return sorted(os.listdir(folder if at is None else at))
    except OSError:
        return []
    finally:
        _leave(at)


def contents_of(folder: str, ending: str) -> dict[str, bytes]:
    """The contents, by name, of the files of one of our folders whose names end in `ending`. The folder is opened once for
    all of them; a file that cannot be read, or is not one of ours, is left out."""
    try:
        at, _ = _enter(os.path.join(folder, ""))
    except OSError:
        return {}
    found = {}
    try:
        for name in os.listdir(folder if at is None else at):
            if name.endswith(ending):
                with suppress(OSError):
                    found[name] = _content(at, name if at is not None else os.path.join(folder, name))
    finally:
        _leave(at)
    return found


def _content(at: int | None, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | _FILE, dir_fd=at)
    try:
        _check(fd, name, writes=False)
        return os.read(fd, min(os.fstat(fd).st_size, LIMIT))
    finally:
        os.close(fd)


def times_in(folder: str) -> dict[str, float]:
    """The time of the last change of each file of one of our folders, by name (Unix seconds)."""
    try:
        at, _ = _enter(os.path.join(folder, ""))
    except OSError:
        return {}
    found: dict[str, float] = {}
    try:
        with suppress(OSError), os.scandir(folder if at is None else at) as entries:
            for entry in entries:
                with suppress(OSError):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_mtime
    finally:
        _leave(at)
    return found


def make_directory(path: str) -> None:
    """Make a folder of ours below `coord/`, if it is missing; never those above it. Raises OSError."""
    at, name = _enter(path)
    try:
        os.mkdir(name, dir_fd=at)
        if mode := _shared_mode(at):
            os.chmod(name, mode, dir_fd=at)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode):
            raise OSError(errno.ENOTDIR, STRANGE, path) from None
    finally:
        _leave(at)


def make_top(coord_dir: str, shared: int = 0) -> None:
    """Make `coord/` itself, if it is missing. `shared` is the value of core.sharedRepository: permission bits that are
    added to those of a file, or, if negative, replace them. An existing folder gets them, too. Raises OSError if something
    else has that name."""
    with suppress(FileExistsError):
        os.mkdir(coord_dir)
    found = os.lstat(coord_dir)
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, STRANGE, coord_dir)
    if shared and _sharing(found.st_mode, shared) != stat.S_IMODE(found.st_mode):
        _share(coord_dir, shared)


def _sharing(mode: int, shared: int) -> int:
    """The permissions of a file or folder in a shared repository, computed as git's `adjust_shared_perm` does."""
    asked = abs(shared) | (abs(shared) & 0o444) >> 2 if stat.S_ISDIR(mode) else abs(shared)
    together = asked if shared < 0 else stat.S_IMODE(mode) & 0o777 | asked
    return together | stat.S_ISGID if stat.S_ISDIR(mode) else together


def _share(coord_dir: str, shared: int) -> None:
    """Set the permissions, and write them to `coord/umask` for the scripts of our hooks. Files of another user stay as they
    are."""
    for where, _, names in os.walk(coord_dir):
        for path in (where, *(os.path.join(where, name) for name in names)):
            mode = os.lstat(path).st_mode
            with suppress(OSError):
                if not stat.S_ISLNK(mode):
                    os.chmod(path, _sharing(mode, shared))
    mask = 0o777 & ~_sharing(os.stat(coord_dir).st_mode, shared)
    with suppress(OSError):
        replace_ours(os.path.join(coord_dir, "umask"), b"%04o\n" % mask)


def is_strange(path: str) -> bool:
    """Whether something with this name is not a regular file of ours. Opens nothing: closing a file that SQLite also has
    open would end SQLite's locks on it."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_nlink > 1
