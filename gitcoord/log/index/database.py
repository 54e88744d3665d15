"""The index's SQLite connection: opening it, the meaning of its errors, and its transactions."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gitcoord.errors import RepositoryError
from gitcoord.lean import contextmanager, sqlite3, suppress
from gitcoord.system.files import open_ours

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}
"""Complaints of SQLite that pass; any other means a damaged file, and an index is made again more cheaply than
repaired."""
UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM}
_OF_THE_STATEMENT = {
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}  # fmt: skip
"""Complaints about what a statement asked for, and not about the file."""


def connect(path: str) -> sqlite3.Connection:
    """Open the file, or begin it."""
    with suppress(OSError):
        if not os.path.lexists(path):
            os.close(open_ours(path, os.O_RDWR | os.O_CREAT))  # SQLite gives its other files the permissions of this one
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_size_limit = 4194304")  # what a rebuild leaves behind
    return db


def inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def schema_of(db: sqlite3.Connection) -> int:
    """The version of the tables; 0 without tables."""
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; only one process at a time."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


@contextmanager
def part(db: sqlite3.Connection) -> Iterator[None]:
    """A part of a transaction that is taken back alone."""
    db.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK TO part")
            db.execute("RELEASE part")
        raise
    db.execute("RELEASE part")


def is_about_the_file(error: Exception) -> bool:
    """Whether an error says something of the file, the disk or the memory, and nothing of what was asked for."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, sqlite3.Error) or isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
        return False
    code = primary_code(error)
    return code not in _OF_THE_STATEMENT | {0} or str(error).startswith("no such ")


def primary_code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def busy(error: sqlite3.DatabaseError) -> RepositoryError:
    return RepositoryError(f"the index cannot be used: {error}", "run the command again, or remove coord/index.sqlite")


def quoted(path: str) -> str:
    """A path within a URI."""
    from urllib.parse import quote

    return quote(os.fsencode(path))
