"""Read the epochs of logs: what their roots carry, and which epochs a later one has replaced."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from gitcoord.errors import NotACommit, ObjectMissing
from gitcoord.lean import Any
from gitcoord.log import trust
from gitcoord.log.event import Event, Malformed, decode
from gitcoord.log.index import intake
from gitcoord.log.index.folding import Commit, Folding
from gitcoord.names import same_clone
from gitcoord.store.contract import Store
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import epoch_of, is_log, log_of, owner

CHUNK = 1000
"""Commits of a log that are folded together, most of them by one statement."""


class Epochs(Folding):
    """The steps for a log that has begun a new epoch."""

    unreadable: list[str]
    """Refs whose chain has a hole, as this process found; the next writer repairs them."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.unreadable = []

    def _doubt(self, ref: str) -> None:
        """Doubt an unsigned epoch of a clone that is known to sign: it replaces earlier ones once that clone has signed
        it."""
        if epoch_of(ref) > 1 and self.referee:
            doubted = not self.referee.vouches(self.db, trust.speaker(ref), epoch_of(ref))
            self.db.execute("UPDATE epochs SET doubted = ? WHERE log = ?", (doubted, log_of(ref)))

    def _lowest(self) -> dict[str, int]:
        """The lowest epoch that counts, for the logs that have begun a new one."""
        return trust.lowest_epochs(self.db)

    def _may_go_on(self, ref: str, commits: Sequence[Commit], strange: int) -> bool:
        """Count what was read of another clone; returns whether more may be read."""
        clone = owner(ref)
        if same_clone(clone, self.mailroom.here()):
            return True
        return intake.count(self.db, clone, len(commits), strange, sum(len(raw) for _, raw in commits))

    def _begin_epoch(self, ref: str, oid: Oid, raw: bytes) -> None:
        """Read the root of an epoch, which says which epochs still count: those from `lowest` on. What it carries is read
        last."""
        for event, _ in self._decoded(ref, [(oid, raw)]):
            if not trust.is_root(event, ref) or self._objection(event):
                return
            lowest = event.data.get("lowest", epoch_of(ref))
            if lowest > epoch_of(ref):
                self._report(oid, ref, "epoch: lowest is not an epoch up to this one")
                return
            self.db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, 0)", (log_of(ref), lowest))
            self.db.execute("INSERT OR REPLACE INTO roots VALUES (?, ?)", (ref, oid))

    def _ingest_carried(self, store: Store) -> None:
        """Read what the roots of epochs carry, after all chains, and events in another clone's name last: if an event is
        also in the log of its own clone, that counts."""
        roots = self.db.execute("SELECT ref, id FROM roots ORDER BY ref").fetchall()
        for in_foreign_names in (False, True) if roots else ():
            for ref, oid in roots:
                try:
                    self._ingest_root(store, ref, oid, in_foreign_names)
                except ObjectMissing:
                    self.unreadable.append(ref)
                except (NotACommit, Malformed) as why:
                    self._report(oid, ref, str(why))
        for ref, _ in roots:
            if ref not in self.unreadable:
                self.db.execute("DELETE FROM roots WHERE ref = ?", (ref,))

    def _ingest_root(self, store: Store, ref: str, oid: Oid, in_foreign_names: bool) -> None:
        from gitcoord.log.epoch import carried, check_size

        raw = next(iter(store.read([oid]))).data
        root = decode(oid, raw)
        check_size(store, root, raw)
        if not in_foreign_names:
            self._report_anew(ref)
        commits_of = carried(store, raw, lambda ids: trust.keep_carried(self.db, ref, root, ids))
        for commits in chunks(commits_of) if "continues" in root.data or not in_foreign_names else ():
            before = self._reported
            for event, commit in self._decoded(ref, commits):
                if trust.is_others(root.clone, event) == in_foreign_names:
                    self._add_carried(ref, root, event, commit)
            if not (in_foreign_names or self._may_go_on(ref, commits, self._reported - before)):
                return

    def _add_carried(self, ref: str, root: Event, event: Event, commit: bytes) -> None:
        try:
            found = trust.as_carried(event, root)
        except Malformed as why:
            self._report(event.id, ref, str(why))
            return
        if found is not None:
            if found != event:
                trust.note_named(self.db, event)
            self._add(ref, [(found, commit)], None, -1 if found == event else -2)
            trust.note_carried(self.db, found, ref)

    def _report_anew(self, ref: str) -> None:
        """Forget the reports about the epochs that the one at `ref` replaced: what it carries of them is reported again."""
        lowest = self._lowest()
        old = [name for name in self.known_tips() if log_of(name) == log_of(ref) and is_below(name, lowest)]
        for name in old:
            self.db.execute(
                "UPDATE OR REPLACE strange SET ref = ? WHERE ref = ? AND id IN (SELECT id FROM events)", (ref, name)
            )
            self.db.execute("DELETE FROM strange WHERE ref = ?", (name,))

    def _drop_replaced(self, known: Iterable[str], now: Collection[str]) -> bool:
        """Forget the epochs that later ones have replaced, but for what these carry; returns False if a log is gone, or a
        later epoch cannot be read: then all is read again."""
        lowest = self._lowest()
        gone = [ref for ref in known if is_log(ref) and is_below(ref, lowest)]
        pending = {log_of(ref) for (ref,) in self.db.execute("SELECT ref FROM roots")}
        if any(is_log(ref) and ref not in now and ref not in gone for ref in known) or any(log_of(r) in pending for r in gone):
            return False
        if gone:
            for log, ref in {log_of(ref): ref for ref in gone}.items():
                self._forget(trust.dropped_events(self.db, ref, lowest[log]))
                intake.count_anew(self.db, owner(ref))
            self.db.executemany("DELETE FROM strange WHERE ref = ?", [(ref,) for ref in gone])
            self.db.executemany("DELETE FROM tips WHERE ref = ?", [(ref,) for ref in gone])
            self._reconsider()
        return True


def is_below(ref: str, lowest: Mapping[str, int]) -> bool:
    """Whether a later epoch of the same log replaced this one."""
    return bool(lowest) and is_log(ref) and epoch_of(ref) < lowest.get(log_of(ref), 0)


def chunks(commits: Iterator[Commit]) -> Iterator[list[Commit]]:
    """The commits, CHUNK at a time."""
    while chunk := list(islice(commits, CHUNK)):
        yield chunk
