"""The index's file: open it, make it again when it is damaged, and use memory when it cannot be written."""

from __future__ import annotations

import os

from gitcoord.lean import Any, sqlite3, suppress
from gitcoord.log import trust
from gitcoord.log.index import database, intake
from gitcoord.log.index.database import primary_code, transaction
from gitcoord.log.index.feature import Registry
from gitcoord.log.index.tables import INDEXES, SCHEMA, TABLES
from gitcoord.system.files import is_strange, remove_ours

_FILES = ("", "-wal", "-shm", "-journal")


class IndexFile:
    """The SQLite file below `coord/`, and the tables in it."""

    def __init__(self, directory: str, registry: Registry[Any]) -> None:
        self.path = os.path.join(directory, "index.sqlite")
        self.registry = registry
        self.in_memory = False
        self._sound: bool | None = None
        """Whether this process found the file sound; None if it has not looked."""
        self._inode = 0
        self.db = self._open()

    def _open(self) -> sqlite3.Connection:
        """Open the file; if it cannot be written, a copy in memory for this process."""
        with suppress(OSError):
            if any(is_strange(self.path + suffix) for suffix in _FILES) or os.stat(self.path).st_size == 0:
                # A link, which SQLite would follow; or emptied while a process has it open, for whose end SQLite would wait.
                self._remove()
        try:
            return self._prepare(self._connected())
        except sqlite3.DatabaseError as error:
            if primary_code(error) in database.UNWRITABLE or not os.access(os.path.dirname(self.path), os.W_OK):
                return self._in_memory()
            if primary_code(error) in database.BUSY:
                raise database.busy(error) from error
        self._remove()
        try:
            return self._prepare(self._connected())
        except sqlite3.DatabaseError:  # a full disk, a limit on file sizes
            return self._in_memory()

    def _connected(self) -> sqlite3.Connection:
        db = database.connect(self.path)
        self._inode = database.inode(self.path)
        return db

    def _follow(self) -> None:
        """Switch to the file that is there now: another process may have deleted ours and begun anew."""
        if not self.in_memory and database.inode(self.path) != self._inode:
            self.db.close()
            self.db = self._open()

    def _prepare(self, db: sqlite3.Connection) -> sqlite3.Connection:
        if database.schema_of(db) != SCHEMA:
            with transaction(db):
                if database.schema_of(db) != SCHEMA:
                    self._create(db)
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        for kind, name in db.execute("SELECT type, name FROM sqlite_master WHERE type = 'table'").fetchall():
            db.execute(f'DROP {kind} "{name}"')
        tables = TABLES + trust.TABLES + intake.TABLES + "".join(f.tables for f in self.registry.features())
        for statement in [*tables.split(";"), *self._index_statements()]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA}")

    def _index_statements(self) -> list[str]:
        both = INDEXES + trust.INDEXES + "".join(f.indexes for f in self.registry.features())
        return [statement for statement in both.split(";") if statement.strip()]

    def _in_memory(self) -> sqlite3.Connection:
        self.in_memory = True
        db = sqlite3.connect(":memory:", isolation_level=None)
        try:
            source = sqlite3.connect(f"file:{database.quoted(self.path)}?mode=ro&immutable=1", uri=True)
            try:
                source.backup(db)
            finally:
                source.close()
            return self._prepare(db)
        except sqlite3.DatabaseError:
            db.close()
            return self._prepare(sqlite3.connect(":memory:", isolation_level=None))

    def discard(self) -> None:
        """Delete the index and begin an empty one, after a query found it damaged."""
        self.db.close()
        self._remove()
        self.db, self._sound = self._open(), None

    def scrub(self) -> None:
        """Take what was forgotten out of the write-ahead log, too; if another process still needs it, begin a new index."""
        busy = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            self.discard()

    def _remove(self) -> None:
        for suffix in _FILES:
            with suppress(OSError):
                remove_ours(self.path + suffix)

    def close(self) -> None:
        self.db.close()

    def is_sound(self) -> bool:
        """Whether SQLite finds the file sound, read by a new connection, which has no page in memory.

        It reads all of it: only to be asked after something failed. A damaged file may answer with values of another table,
        which no error of SQLite's announces.
        """
        if self.in_memory:
            return True
        try:
            db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            try:
                return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            return primary_code(error) in database.BUSY

    def recover(self, error: sqlite3.DatabaseError) -> None:
        """Recover from a failed query: continue in memory if the index cannot be written, begin anew if it is damaged."""
        code = primary_code(error)
        if code in database.BUSY:
            raise database.busy(error) from error
        if code in database.UNWRITABLE:
            self.db.close()
            self.db = self._in_memory()
        else:
            self.discard()
