"""The index's SQLite connection: opening it, the meaning of its errors, and its transactions."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gitcoord.errors import RepositoryError
from gitcoord.lean import contextmanager, sqlite3, suppress
from gitcoord.system.files import open_ours

BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}
"""Errors of SQLite that pass. Any other means a damaged file; the index is then made again, which costs less than a
repair."""
UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM}
_OF_THE_STATEMENT = {
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}  # fmt: skip
"""Errors about a statement, and not about the file."""


def connect(path: str) -> sqlite3.Connection:
    """Open the file, or create it."""
    with suppress(OSError):
        if not os.path.lexists(path):
            os.close(open_ours(path, os.O_RDWR | os.O_CREAT))  # SQLite gives its other files the permissions of this one
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_size_limit = 4194304")  # else a rebuild leaves a large file behind
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
    """Run a transaction, which only one process can do at a time; rolled back on any error."""
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
    """Run a part of a transaction that is rolled back alone on an error."""
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
    """Whether an error is about the file, the disk or the memory, and not about the statement."""
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
