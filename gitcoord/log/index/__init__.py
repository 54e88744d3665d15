"""The index: the content of the refs, folded into SQLite. Disposable: every row can be made again from the refs.

It is keyed by the tips it has read, so a read with nothing new costs one listing of refs and one query. All of its
state is a pure function of the commits below those tips, except `presence.seen`, which is an observation of this clone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from gitcoord.errors import CoordError, NotACommit, NotDescendant, ObjectMissing
from gitcoord.lean import Any, contextmanager, sqlite3
from gitcoord.log import trust
from gitcoord.log.event import MAX_COMMIT
from gitcoord.log.index import intake, presence
from gitcoord.log.index.database import transaction
from gitcoord.log.index.epochs import Epochs, chunks, is_below
from gitcoord.log.index.feature import Registry
from gitcoord.log.index.folding import Written as Written
from gitcoord.log.index.tables import INDEXES as INDEXES
from gitcoord.log.index.tables import SCHEMA as SCHEMA
from gitcoord.log.index.tables import TABLES as TABLES
from gitcoord.store.contract import Store, Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import belongs_to, epoch_of, is_log, is_of, is_ours, is_presence, log_of
from gitcoord.system.streams import Progress

ATTEMPTS = 3


class OwnLogAmiss(Exception):
    """A log of ours is gone, has a hole, or no longer contains what was read of it. The index keeps what it has seen of the
    log as evidence for the repair."""

    def __init__(self, ref: str) -> None:
        super().__init__(ref)
        self.ref = ref


_REBUILD_CACHE, _CACHE = -65536, -2000  # KiB; SQLite takes negative numbers as KiB
BATCH = 20_000
"""Commits after which the transaction is committed, so that a killed process loses little and a waiting one gets a turn."""
_CARRIES = b'"type":"epoch"'
_REBUILDING, _STANDING = "rebuilding", "signatures"


class Index(Epochs):
    """The index of one clone. Shared by processes; every connection checks the refs before it answers."""

    def __init__(
        self,
        directory: str,
        registry: Registry[Any],
        ignored: frozenset[str],
        here: Callable[[], str | None] = lambda: None,
        referee: trust.Referee | None = None,
    ) -> None:
        super().__init__(directory, registry, here, referee)
        self.ignored = ignored
        self.rewound: dict[str, Oid] = {}
        """Logs that no longer contain the commit at which this index saw them last, and that commit; the next writer
        restores them."""
        self.vanished: dict[str, Oid] = {}
        """Logs whose refs are gone since this index read them."""
        self.forgets = False
        """Whether a damaged log of ours is read as it is, because it cannot be repaired."""
        self._since = 0
        self._compared: tuple[Any, ...] = ()
        """The connection, the list of refs that was found current last, and the state of the index and the allowed keys
        then."""

    def query(self, store: Store, tips: Tips, question: Callable[[sqlite3.Connection], object]) -> object:
        """Bring the index up to `tips` and ask; try again after every recovery, because it may be damaged once more
        meanwhile."""
        for _ in range(ATTEMPTS):
            self._follow()
            try:
                self.refresh(store, tips)
                return question(self.db)
            except sqlite3.DatabaseError as error:
                self.recover(error)
                tips = store.tips()
            except (CoordError, OwnLogAmiss):
                raise
            except Exception:
                if self.is_sound():
                    raise
                self.discard()
                tips = store.tips()
        self.refresh(store, tips)
        return question(self.db)

    def refresh(self, store: Store, tips: Tips) -> None:
        """Read what is new below `tips`; with nothing new, no object is opened."""
        if not self.is_current(tips):
            with self.writing():
                self.ingest_tips(store, store.tips())  # listed again: another process may have written meanwhile

    def is_current(self, tips: Tips) -> bool:
        """Whether all below `tips` has been read. Asked several times a command, so the same list is compared again only
        if the index has changed since."""
        version = self.db.execute("PRAGMA data_version").fetchone()
        compared = (self.db, tips, version, self.db.total_changes, self._standing())
        if compared == self._compared:
            return True
        out = self._left_out()
        current = self._known_tips(out) == self._relevant(tips, out) and self._judged_as() == self._standing()
        self._compared = compared if current else ()
        return current

    def _judged_as(self) -> str:
        """The keys and settings on which verdicts depended when events were read; empty if no signatures were required."""
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (_STANDING,)).fetchone()
        return str(row[0]) if row else ""

    def _judge_anew(self) -> bool:
        """Judge events that wait for a signature again, after the allowed keys changed. Returns whether everything has to
        be read again, because `coord.requireSigned` was set or unset."""
        before, now = self._judged_as(), self._standing()
        if before != now:
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_STANDING, now))
            self.db.execute("INSERT OR IGNORE INTO newly_signed SELECT DISTINCT clone FROM unsigned")
        return bool(before) != bool(now)

    def _known_tips(self, out: Collection[str]) -> dict[str, Oid]:
        known = self.known_tips()
        return {ref: oid for ref, oid in known.items() if not is_of(ref, out)} if out else known

    def _left_out(self) -> set[str]:
        """The clones of which nothing more is read."""
        return {row.clone for row in intake.left_out(self.db)}

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction around reading the refs, deciding and appending; rolled back on any error. A part of the reading
        may be committed before (`_breathe`)."""
        self.mailroom.forget()
        self._unsettled.clear()
        self._follow()
        with transaction(self.db):
            yield self.db
            self.mailroom.deliver()

    def ingest_tips(self, store: Store, tips: Tips) -> None:
        """Read the commits that are new, inside a transaction; or all again, if a log is gone or began anew."""
        while True:
            try:
                self._ingest(store, tips)
                break
            except _Overtaken:
                tips = store.tips()
        self._settle()

    def _ingest(self, store: Store, tips: Tips) -> None:
        anew = self._judge_anew()
        out = self._left_out()
        known, now = self._known_tips(out), self._relevant(tips, out)
        self.unreadable, self.rewound = [], {}
        for ref in known:
            if is_log(ref) and ref not in now and not _goes_on(ref, now):
                self._must_not_forget(ref)
        if known and not anew and all(ref in now or not is_log(ref) or _goes_on(ref, now) for ref in known):
            with self._rebuilding():
                self._ingest_difference(store, known, now)
                complete = not self._misplaced and self._drop_replaced(known, now)
            if complete:
                return
        self.vanished |= {ref: oid for ref, oid in known.items() if is_log(ref) and ref not in tips.refs}
        self._begin_rebuild(anew)
        with self._rebuilding():
            self._ingest_difference(store, {}, self._relevant(tips, ()))
        self._misplaced = False

    def _must_not_forget(self, ref: str) -> None:
        """Refuse to forget a log of ours. Raises OwnLogAmiss."""
        if not self.forgets and belongs_to(ref, self._here() or ""):
            raise OwnLogAmiss(ref)

    def _begin_rebuild(self, anew: bool) -> None:
        """Begin to read everything anew. Indexes that only reads need are made at the end: that takes a third of the
        time."""
        kept = {} if anew else presence.kept(self.db)
        self._create(self.db)
        presence.put_back(self.db, kept)
        self._judge_anew()
        for statement in self._index_statements():
            self.db.execute(f"DROP INDEX {statement.split()[2]}")
        self.db.execute("INSERT INTO meta VALUES (?, 1)", (_REBUILDING,))

    @contextmanager
    def _rebuilding(self) -> Iterator[None]:
        """Read within this context; at its end it does what a rebuild, begun here or by a killed process, left for
        later."""
        if self.db.execute("SELECT 1 FROM meta WHERE key = ?", (_REBUILDING,)).fetchone() is None:
            yield
            return
        self.db.execute(f"PRAGMA cache_size = {_REBUILD_CACHE}")
        with self.mailroom.for_everybody():
            yield
        for statement in self._index_statements():
            self.db.execute(statement)
        self.db.execute("DELETE FROM meta WHERE key = ?", (_REBUILDING,))
        self.db.execute(f"PRAGMA cache_size = {_CACHE}")

    def _breathe(self, ref: str, oid: Oid, count: int) -> None:
        """Commit the transaction after BATCH commits were read, so that a killed process loses little and a waiting one
        gets a turn.

        Raises _Overtaken when another process took its turn and continued this log.
        """
        self._since += count
        if self._since < BATCH:
            return
        self._since = 0
        self._settle()
        self.mailroom.deliver()
        self.db.execute("COMMIT")
        self.db.execute("BEGIN IMMEDIATE")
        if self.known_tips().get(ref) != oid:
            raise _Overtaken

    def _ingest_difference(self, store: Store, known: dict[str, Oid], now: dict[str, Oid]) -> None:
        """Read what is new of each log, the newest epoch first: its root says which older ones still count."""
        changed = [(ref, oid) for ref, oid in now.items() if known.get(ref) != oid]
        logs = [(ref, oid) for ref, oid in changed if is_log(ref)]
        lowest = self._lowest()
        own = self._here() or ""  # ours first: if it has a hole, the index must not forget what it has seen
        with Progress("Reading events") as progress:
            for ref, oid in sorted(logs, key=lambda item: (not belongs_to(item[0], own), -epoch_of(item[0]))):
                if not is_below(ref, lowest):
                    self._ingest_log(store, ref, oid, known.get(ref), progress)
                    self._doubt(ref)
                    lowest = self._lowest() if epoch_of(ref) > 1 else lowest
        self._ingest_carried(store)
        self._reconsider()
        self._ingest_presence(store, [(ref, oid) for ref, oid in changed if not is_log(ref)])
        for ref in known.keys() - now.keys():
            self.db.execute("DELETE FROM tips WHERE ref = ?", (ref,))
            if is_presence(ref) and ref not in presence.heard(self.db):
                presence.forget(self.db, ref, known[ref])

    def _ingest_log(self, store: Store, ref: str, new: Oid, old: Oid | None, progress: Progress) -> None:
        lc, place = self._end_of(ref)
        try:
            for number_of, commits in enumerate(chunks(store.chain(new, old))):
                before = self._reported
                if old is None and number_of == 0 and _CARRIES in commits[0][1]:
                    self._begin_epoch(ref, *commits[0])
                lc, place = self._add(ref, self._decoded(ref, commits), lc, place)
                progress.add(len(commits))
                self._set_tip(ref, commits[-1][0], lc, place)
                if not self._may_go_on(ref, commits, self._reported - before):
                    return
                self._breathe(ref, commits[-1][0], len(commits))
        except ObjectMissing:
            self._must_not_forget(ref)
            self.unreadable.append(ref)
            return
        except (NotDescendant, NotACommit) as why:
            if old is not None:
                self._must_not_forget(ref)
                self.rewound[ref] = old
                return
            self._report(new, ref, str(why))
        self._set_tip(ref, new, lc, place)

    def append(self, ref: str, written: Sequence[Written]) -> None:
        """Read, inside a transaction, events just written to `ref`, without reading their objects."""
        lc, place = self._add(ref, written, *self._end_of(ref))
        self._reconsider()
        self._set_tip(ref, written[-1][0].id, lc, place)
        self._settle()

    def _ingest_presence(self, store: Store, replaced: Sequence[tuple[str, Oid]]) -> None:
        lost = self._read_presence(store, replaced)
        self.unreadable += lost
        for ref, oid in replaced:
            if ref not in lost:
                self._set_tip(ref, oid, None, 0)

    def _read_presence(self, store: Store, replaced: Sequence[tuple[str, Oid]]) -> list[str]:
        """Read commits of presence; returns the refs of those that are lost."""
        if not replaced:
            return []
        oids = [oid for _, oid in replaced]
        sizes = dict(zip(oids, store.sizes(oids), strict=True))
        small = [oid for oid, size in sizes.items() if size is not None and size <= MAX_COMMIT]
        found = dict(zip(small, store.read(small), strict=True))
        now = time.time()
        for ref, oid in replaced:
            if sizes[oid] is not None:
                self.take_presence(presence.Presence(ref, oid, found.get(oid)), now)
        return [ref for ref, oid in replaced if sizes[oid] is None]

    def hear(self, store: Store, fetched: Mapping[str, Oid], gone: Collection[str]) -> list[str]:
        """Read presence of other clones that was fetched and has no ref here, and forget that of `gone` refs. Returns the
        refs of commits that did not arrive."""
        with self.writing() as db:
            lost = self._read_presence(store, list(fetched.items()))
            arrived = [(ref, oid) for ref, oid in fetched.items() if ref not in lost]
            db.executemany("INSERT OR REPLACE INTO heard VALUES (?, ?)", arrived)
            known = presence.heard(db) if gone else {}
            for ref in gone:
                presence.forget(db, ref, known.get(ref))
            return lost

    def _relevant(self, tips: Tips, out: Collection[str]) -> dict[str, Oid]:
        lowest = self._lowest()
        return {
            ref: oid
            for ref, oid in tips.refs.items()
            if is_ours(ref) and not (is_of(ref, self.ignored) or is_of(ref, out) or is_below(ref, lowest))
        }


class _Overtaken(Exception):
    """Raised to look again at what is left to read, because another process continued the same log in its turn."""


def _goes_on(ref: str, now: Iterable[str]) -> bool:
    """Whether the log has a later epoch now."""
    return any(is_log(other) and log_of(other) == log_of(ref) and epoch_of(other) > epoch_of(ref) for other in now)
