"""The index: what the refs say, folded into SQLite. Disposable: every row can be made again from the refs.

It is keyed by the tips it has read, so a read with nothing new costs one listing of refs and one query. All state in
it is a pure function of the commits below those tips, but for `presence.seen`, an observation of ours.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from typing import Any

from gitcoord.errors import NotACommit, NotDescendant, ObjectMissing, RepositoryError
from gitcoord.log import trust
from gitcoord.log.event import Event, Malformed, canonical_json, check_step, decode, trailer_of
from gitcoord.log.index.feature import Registry
from gitcoord.log.index.mailroom import Mailroom
from gitcoord.store.contract import Store, Tips
from gitcoord.store.objects import Oid, parent_of
from gitcoord.store.ref_names import NAMESPACE, epoch_of, is_log, is_ours, log_of

SCHEMA = 20
"""To be raised with every change of a table or a fold; tests/log/test_index.py holds the fingerprint that reminds you."""

ATTEMPTS = 3

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE tips (ref TEXT PRIMARY KEY, oid TEXT NOT NULL, lc INTEGER, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, v INTEGER NOT NULL, type TEXT NOT NULL, lc INTEGER NOT NULL,
    clone TEXT NOT NULL, author TEXT NOT NULL, email TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL,
    data TEXT NOT NULL, local INTEGER NOT NULL, epoch INTEGER NOT NULL, place INTEGER NOT NULL);
CREATE TABLE epochs (log TEXT PRIMARY KEY, lowest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE strange (id TEXT PRIMARY KEY, ref TEXT NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE presence (
    clone TEXT NOT NULL, name TEXT NOT NULL, id TEXT NOT NULL, at INTEGER NOT NULL, text TEXT NOT NULL,
    data TEXT NOT NULL, seen REAL NOT NULL, lc INTEGER NOT NULL, PRIMARY KEY (clone, name)) WITHOUT ROWID;
"""
_INSERT = (
    "INSERT OR IGNORE INTO events (id, v, type, lc, clone, author, email, at, text, data, local, epoch, place)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
INDEXES = "CREATE INDEX events_order ON events (lc, id);"
_REBUILD_CACHE, _CACHE = -65536, -2000  # KiB, with SQLite's own sign for it
CHUNK = 1000
"""Commits of a log that are taken in together: most of them by one statement."""
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT}
"""What passes; any other complaint of SQLite means a damaged file, and an index is cheaper made anew than mended."""
_CARRIES = b'"type":"epoch"'
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_PERM}


class Index:
    """The index of one clone. Shared by processes; every connection checks the refs before it answers."""

    def __init__(
        self,
        directory: str,
        registry: Registry[Any],
        ignored: frozenset[str],
        here: Callable[[], str | None] = lambda: None,
        worth: Callable[[sqlite3.Connection, Event], Event] | None = None,
    ) -> None:
        self.path = os.path.join(directory, "index.sqlite")
        self.mailroom = Mailroom(directory, here)
        self.registry = registry
        self.ignored = ignored
        self.worth = worth
        """What a presence is cut down to, where signatures are required."""
        self.unreadable: list[str] = []
        """Refs met by this process whose chain has a hole; the next writer mends them."""
        self.rewound: dict[str, Oid] = {}
        """Logs that no longer contain where this index saw them last, and that place; the next writer puts them back."""
        self._roots: list[tuple[str, Event, bytes]] = []
        """Roots of epochs met in this transaction, whose events are still to be taken in."""
        self._misplaced = False
        """Another clone's log was read before the one that an event of it belongs to."""
        self.vanished: list[str] = []
        """Logs known before whose refs are gone."""
        self.in_memory = False
        self._inode = 0
        self.db = self._open()

    def _open(self) -> sqlite3.Connection:
        """The file; where it cannot be written, a copy of it in memory, good for this process."""
        with suppress(OSError):
            if os.stat(self.path).st_size == 0:
                self._remove()  # emptied under a process that still holds it open: SQLite would wait for that one to end
        try:
            return self._prepare(self._connected())
        except sqlite3.DatabaseError as error:
            if _primary_code(error) in _UNWRITABLE or not os.access(os.path.dirname(self.path), os.W_OK):
                return self._in_memory()
            if _primary_code(error) in _BUSY:
                raise _busy(error) from error
        self._remove()
        try:
            return self._prepare(self._connected())
        except sqlite3.DatabaseError:  # a full disk, a limit on file sizes
            return self._in_memory()

    def _connected(self) -> sqlite3.Connection:
        db = _connect(self.path)
        self._inode = _inode(self.path)
        return db

    def _follow(self) -> None:
        """Go on in the file that is there now: another process may have thrown ours away and begun anew."""
        if not self.in_memory and _inode(self.path) != self._inode:
            self.db.close()
            self.db = self._open()

    def _prepare(self, db: sqlite3.Connection) -> sqlite3.Connection:
        if _schema_of(db) != SCHEMA:
            with _transaction(db):
                if _schema_of(db) != SCHEMA:
                    self._create(db)
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        for kind, name in db.execute("SELECT type, name FROM sqlite_master WHERE type = 'table'").fetchall():
            db.execute(f'DROP {kind} "{name}"')
        tables = TABLES + trust.TABLES + "".join(f.tables for f in self.registry.features())
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
            with closing(sqlite3.connect(f"file:{_quoted(self.path)}?mode=ro&immutable=1", uri=True)) as source:
                source.backup(db)
            return self._prepare(db)
        except sqlite3.DatabaseError:
            db.close()
            return self._prepare(sqlite3.connect(":memory:", isolation_level=None))

    def discard(self) -> None:
        """Throw the index away and begin an empty one, after a query found it damaged."""
        self.db.close()
        self._remove()
        self.db = self._open()

    def _remove(self) -> None:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                os.unlink(f"{self.path}{suffix}")

    def close(self) -> None:
        self.db.close()

    def query(self, store: Store, tips: Tips, question: Callable[[sqlite3.Connection], object]) -> object:
        """Bring the index up to `tips` and ask; again after every recovery, for it may be damaged once more meanwhile."""
        for _ in range(ATTEMPTS):
            self._follow()
            try:
                self.refresh(store, tips)
                return question(self.db)
            except sqlite3.DatabaseError as error:
                self.recover(error)
                tips = store.tips()
        self.refresh(store, tips)
        return question(self.db)

    def recover(self, error: sqlite3.DatabaseError) -> None:
        """After a failed query: go on in memory if the index cannot be written, begin anew if it is damaged."""
        code = _primary_code(error)
        if code in _BUSY:
            raise _busy(error) from error
        if code in _UNWRITABLE:
            self.db.close()
            self.db = self._in_memory()
        else:
            self.discard()

    def refresh(self, store: Store, tips: Tips) -> None:
        """Read what is new below `tips`; with nothing new, no object is opened."""
        if not self.is_current(tips):
            with self.writing():
                self.ingest_tips(store, store.tips())  # listed again: another process may have been quicker

    def is_current(self, tips: Tips) -> bool:
        return self.known_tips() == self._relevant(tips) and self._judged_as() == (self.worth is not None)

    def _judged_as(self) -> bool:
        """Whether presence was taken in as it is where signatures are required."""
        return self.db.execute("SELECT 1 FROM meta WHERE key = 'signed presence'").fetchone() is not None

    def _judge_presence_anew(self) -> None:
        """After `coord.requireSigned` was changed: read presence again."""
        if self._judged_as() != (self.worth is not None):
            sql = "INSERT INTO meta VALUES ('signed presence', 1)" if self.worth else "DELETE FROM meta"
            self.db.execute(sql)
            self.db.execute("DELETE FROM tips WHERE ref LIKE 'refs/coord/sessions/%'")

    def known_tips(self) -> dict[str, Oid]:
        """The refs as they stood when they were last read."""
        return dict(self.db.execute("SELECT ref, oid FROM tips").fetchall())

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction around reading the refs, deciding and appending; rolled back on any error."""
        self.mailroom.forget()
        self._follow()
        with _transaction(self.db):
            yield self.db
            self.mailroom.deliver()

    def ingest_tips(self, store: Store, tips: Tips) -> None:
        """Inside a transaction: read the difference to what is known, or all again if a log went or began anew."""
        self._judge_presence_anew()
        known, now = self.known_tips(), self._relevant(tips)
        self.unreadable, self.rewound = [], {}
        if known and all(ref in now or not is_log(ref) for ref in known):
            self._ingest_difference(store, known, now)
            if not (self._misplaced or any(self._is_dropped(ref) for ref in known)):
                return
        self.vanished += [ref for ref in known if is_log(ref) and ref not in tips.refs]
        self._rebuild(store, tips)

    def _rebuild(self, store: Store, tips: Tips) -> None:
        """All from the beginning. What only reads need is indexed at the end: that takes a third of the time."""
        self._create(self.db)
        self._judge_presence_anew()
        for statement in self._index_statements():
            self.db.execute(f"DROP INDEX {statement.split()[2]}")
        self.db.execute(f"PRAGMA cache_size = {_REBUILD_CACHE}")
        with self.mailroom.for_everybody():
            self._ingest_difference(store, {}, self._relevant(tips))
        for statement in self._index_statements():
            self.db.execute(statement)
        self.db.execute(f"PRAGMA cache_size = {_CACHE}")
        self._misplaced = False

    def _ingest_difference(self, store: Store, known: dict[str, Oid], now: dict[str, Oid]) -> None:
        """The newest epoch of a log first: its root says which older ones still count."""
        changed = [(ref, oid) for ref, oid in now.items() if known.get(ref) != oid]
        logs = [(ref, oid) for ref, oid in changed if is_log(ref)]
        for ref, oid in sorted(logs, key=lambda item: -epoch_of(item[0])):
            if not self._is_dropped(ref):
                self._ingest_log(store, ref, oid, known.get(ref))
        self._ingest_carried(store)
        self._reconsider()
        self._ingest_presence(store, [(ref, oid) for ref, oid in changed if not is_log(ref)])
        for ref in known.keys() - now.keys():
            self.db.execute("DELETE FROM presence WHERE clone = ? AND name = ?", tuple(ref.split("/")[-2:]))
            self.db.execute("DELETE FROM tips WHERE ref = ?", (ref,))

    def _is_dropped(self, ref: str) -> bool:
        """Whether a later epoch of the same log took the place of this one."""
        return _is_below(ref, self._lowest())

    def _lowest(self) -> dict[str, int]:
        """The lowest epoch that counts, for the logs that have begun a new one."""
        return dict(self.db.execute("SELECT log, lowest FROM epochs").fetchall())

    def _ingest_log(self, store: Store, ref: str, new: Oid, old: Oid | None) -> None:
        lc, place = self._end_of(ref)
        self.db.execute("SAVEPOINT log")  # of a chain with a hole nothing is taken, so that what is known is below its tip
        try:
            for number, commits in enumerate(_chunks(store.chain(new, old))):
                if old is None and number == 0 and _CARRIES in commits[0][1]:
                    self._begin_epoch(ref, *commits[0])
                lc, place = self._add(ref, self._decoded(ref, commits), lc, place)
        except ObjectMissing:
            self.db.execute("ROLLBACK TO log")
            self.unreadable.append(ref)
            self._roots = [root for root in self._roots if root[0] != ref]
        except (NotDescendant, NotACommit) as why:
            if old is not None:
                self.rewound[ref] = old
            else:
                self._report(new, ref, str(why))
                self._set_tip(ref, new, lc, place)
        else:
            self._set_tip(ref, new, lc, place)
        self.db.execute("RELEASE log")

    def _begin_epoch(self, ref: str, oid: Oid, raw: bytes) -> None:
        """The root of an epoch says which epochs still count, those from `lowest` on; what it carries is read last."""
        for event, _ in self._decoded(ref, [(oid, raw)]):
            if event.type != trust.EPOCH or event.author != event.clone or event.clone != trust.speaker(ref):
                return
            lowest = event.data.get("lowest", epoch_of(ref))
            if type(lowest) is not int or not 0 < lowest <= epoch_of(ref):
                self._report(oid, ref, "epoch: lowest is no epoch up to this one")
                return
            self.db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?)", (log_of(ref), lowest))
            self._roots.append((ref, event, raw))

    def _ingest_carried(self, store: Store) -> None:
        """Take in what the roots of epochs carry, after all chains: what stands in a log is its own clone's word first."""
        from gitcoord.log.epoch import carried

        roots, self._roots = self._roots, []
        foreign = [(*root, True) for root in roots if "continues" in root[1].data]
        for ref, root, raw, is_foreign in [*((*root, False) for root in roots), *foreign]:
            try:
                for commits in _chunks(carried(store, raw)):
                    for event, commit in self._decoded(ref, commits):
                        if (event.clone != root.clone) == is_foreign:
                            self._add_carried(ref, root, event, commit)
            except ObjectMissing:
                self.unreadable.append(ref)
                self.db.execute("DELETE FROM tips WHERE ref = ?", (ref,))  # so that it is read again
            except NotACommit as why:
                self._report(root.id, ref, str(why))

    def _add_carried(self, ref: str, root: Event, event: Event, commit: bytes) -> None:
        try:
            found = trust.as_carried(event, root)
        except Malformed as why:
            self._report(event.id, ref, str(why))
            return
        if found is not None:
            self._add(ref, [(found, commit)], None, -1 if found == event else -2)
            trust.note_carried(self.db, found, ref)

    def append(self, ref: str, written: Sequence[Written]) -> None:
        """Inside a transaction: take in events just written to `ref`, without reading them back."""
        lc, place = self._add(ref, written, *self._end_of(ref))
        self._reconsider()
        self._set_tip(ref, written[-1][0].id, lc, place)

    def _end_of(self, ref: str) -> tuple[int | None, int]:
        """The clock of the last well-formed event taken in from a log, and its place in the chain."""
        row = self.db.execute("SELECT lc, place FROM tips WHERE ref = ?", (ref,)).fetchone()
        return (row[0], row[1]) if row else (None, 0)

    def _set_tip(self, ref: str, oid: Oid, lc: int | None, place: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO tips VALUES (?, ?, ?, ?)", (ref, oid, lc, place))

    def _decoded(self, ref: str, commits: Iterable[tuple[Oid, bytes]]) -> Iterator[Written]:
        for oid, raw in commits:
            try:
                yield decode(oid, raw), raw
            except Malformed as why:
                self._report(oid, ref, str(why))

    def _add(self, ref: str, items: Iterable[Written], parent_lc: int | None, place: int) -> tuple[int | None, int]:
        """Take in events of a chain, each once; returns clock and place of the last that is well-formed.

        `place` is that of the event before them. What a root carries has place 0, or -1 in another clone's name.
        """
        clone, local, epoch = trust.speaker(ref), ref.startswith(NAMESPACE + "local/"), epoch_of(ref)
        taken, rows = [], []
        for event, raw in items:
            try:
                if event.clone != clone:
                    raise Malformed(f"written under another clone's name: {event.clone[:60]}")
                check_step(event, parent_lc)
            except Malformed as why:
                self._report(event.id, ref, str(why))
                continue
            parent_lc, place = event.lc, place + 1
            taken.append((event, raw))
            rows.append((event.id, event.v, event.type, event.lc, event.clone, event.author, event.email, event.at,
                         event.text, trailer_of(raw), local, epoch, place))  # fmt: skip
        watched = self.mailroom.is_open()
        for event, raw in self._insert(taken, rows):
            for verdict in trust.admitted(self.db, event, raw, ref):
                self._fold(verdict, ref, watched)
        return parent_lc, place

    def _insert(self, events: Sequence[Written], rows: Sequence[tuple[object, ...]]) -> Sequence[Written]:
        """Store `events`; returns those that were not there yet."""
        added = self.db.executemany(_INSERT, rows).rowcount if rows else 0
        if added == len(rows):
            return events
        fresh = {oid for (oid,) in self.db.execute("SELECT id FROM events ORDER BY seq DESC LIMIT ?", (added,))}
        for event, row in zip(events, rows, strict=True):
            if event[0].id not in fresh:
                self._place_again(event[0], *row[-2:])  # type: ignore[arg-type]
        return [event for event in events if event[0].id in fresh]

    def _place_again(self, event: Event, epoch: int, place: int) -> None:
        """An event that is known already: its place in a chain counts more than being carried, and so does its own
        clone's log: where another clone carried it first, all is read again."""
        (clone,) = self.db.execute("SELECT clone FROM events WHERE id = ?", (event.id,)).fetchone()
        self._misplaced |= clone != event.clone and place >= 0
        self.db.execute(
            "UPDATE events SET epoch = ?, place = ? WHERE id = ? AND clone = ? AND place <= 0",
            (epoch, place, event.id, event.clone),
        )

    def _fold(self, verdict: trust.Verdict, ref: str, watched: bool) -> None:
        event = verdict.event
        if event is None:
            if verdict.refused:
                self._report(verdict.id, ref, verdict.refused)
            return
        feature = self.registry.folding(event.type)
        if event.v > 1 or feature is None:
            self._report(event.id, ref, f"unknown {event.type} v{event.v}")
            return
        try:
            feature.fold(self.db, event)
        except Malformed as why:
            self._report(event.id, ref, str(why))
            return
        if watched and feature.concerns:
            self.mailroom.note(*feature.concerns(self.db, event, self.mailroom.here() or ""))

    def _reconsider(self) -> None:
        """Fold again what depends on an order that is known only now."""
        for event in trust.reconsidered(self.db):
            self._fold(trust.Verdict(event.id, event), "", False)

    def _report(self, oid: str, ref: str, reason: str) -> None:
        self.db.execute("INSERT OR IGNORE INTO strange VALUES (?, ?, ?)", (oid, ref, reason))

    def _ingest_presence(self, store: Store, replaced: Sequence[tuple[str, Oid]]) -> None:
        for ref, oid in replaced:
            clone, name = ref.split("/")[-2:]
            try:
                found = next(iter(store.read([oid])))
                event = decode(oid, found.data if found.kind == "commit" else b"")
                if (event.clone, event.author) != (clone, name) or event.type != "presence" or parent_of(found.data):
                    raise Malformed("no presence of this session")
            except ObjectMissing:
                self.unreadable.append(ref)
                continue
            except Malformed as why:
                self._report(oid, ref, str(why))
            else:
                self.take_presence(event, time.time())
            self._set_tip(ref, oid, None, 0)

    def take_presence(self, event: Event, seen: float) -> None:
        """Take in a presence, unless it is older than the one that is known, by clock and by time: that was put back."""
        query = "SELECT lc, at FROM presence WHERE clone = ? AND name = ?"
        known = self.db.execute(query, (event.clone, event.author)).fetchone()
        if known and event.lc < known[0] and event.at < known[1]:
            return
        event = self.worth(self.db, event) if self.worth else event
        self.db.execute(
            "INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (event.clone, event.author, event.id, event.at, event.text, canonical_json(event.data), seen, event.lc),
        )

    def _relevant(self, tips: Tips) -> dict[str, Oid]:
        lowest = self._lowest()
        return {
            ref: oid
            for ref, oid in tips.refs.items()
            if is_ours(ref) and ref.split("/")[3] not in self.ignored and not _is_below(ref, lowest)
        }


Written = tuple[Event, bytes]
"""An event and the raw commit that it was read from."""


def _is_below(ref: str, lowest: dict[str, int]) -> bool:
    return bool(lowest) and is_log(ref) and epoch_of(ref) < lowest.get(log_of(ref), 0)


def _chunks(commits: Iterator[tuple[Oid, bytes]]) -> Iterator[list[tuple[Oid, bytes]]]:
    while chunk := list(islice(commits, CHUNK)):
        yield chunk


def _connect(path: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA journal_size_limit = 4194304")  # what a rebuild leaves behind
    return db


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _schema_of(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _primary_code(error: sqlite3.DatabaseError) -> int:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _busy(error: sqlite3.DatabaseError) -> RepositoryError:
    return RepositoryError(f"the index cannot be used: {error}", "run the command again, or remove coord/index.sqlite")


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.fsencode(path))
