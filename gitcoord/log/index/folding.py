"""Fold events: check each, store it once, let the trust room judge it, and let its feature fold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from gitcoord.lean import Any, sqlite3
from gitcoord.log import schemas, trust
from gitcoord.log.event import Event, Malformed, canonical_json, check_step, decode
from gitcoord.log.index import database, presence
from gitcoord.log.index.feature import Feature, Registry
from gitcoord.log.index.file import IndexFile
from gitcoord.log.index.mailroom import Mailroom
from gitcoord.log.schemas import Schema
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import epoch_of, is_local, is_old_presence, log_ref

_INSERT = (
    "INSERT OR IGNORE INTO events (id, v, type, lc, clone, author, email, at, text, data, local, epoch, place)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
MAX_REASON = 200
"""Characters that are kept of the reason why an event cannot be used."""
Written = tuple[Event, bytes]
"""An event and the raw commit that it was read from."""
Commit = tuple[Oid, bytes]


class Folding(IndexFile):
    """The steps for one event after another."""

    def __init__(
        self,
        directory: str,
        registry: Registry[Any],
        here: Callable[[], str | None],
        referee: trust.Referee | None,
    ) -> None:
        self._here = here
        self.mailroom = Mailroom(directory, here)
        self.referee = referee
        self._misplaced = False
        """Whether an event was read from another clone's log before its own clone's log came."""
        self._reported = 0
        self._unsettled: dict[str, Callable[[sqlite3.Connection], None]] = {}
        super().__init__(directory, registry)

    def known_tips(self) -> dict[str, Oid]:
        """The refs as they were when last read. Raises DatabaseError if a damaged file has something else there."""
        found = dict(self.db.execute("SELECT ref, oid FROM tips").fetchall())
        if not all(type(ref) is str and type(oid) is str for ref, oid in found.items()):
            raise sqlite3.DatabaseError("the index is damaged")
        return found

    def _end_of(self, ref: str) -> tuple[int | None, int]:
        """The clock of the last well-formed event read from a log, and its place in the chain."""
        row = self.db.execute("SELECT lc, place FROM tips WHERE ref = ?", (ref,)).fetchone()
        return (row[0], row[1]) if row else (None, 0)

    def _set_tip(self, ref: str, oid: Oid, lc: int | None, place: int) -> None:
        self.db.execute("INSERT OR REPLACE INTO tips VALUES (?, ?, ?, ?)", (ref, oid, lc, place))

    def _decoded(self, ref: str, commits: Iterable[Commit]) -> Iterator[Written]:
        for oid, raw in commits:
            try:
                yield decode(oid, raw), raw
            except Malformed as why:
                self._report(oid, ref, str(why))

    def check_draft(self, event: Event) -> None:
        """Check an event that is about to be written. Raises UsageError for a payload that its type does not allow."""
        schema = self._schema(event.type)
        if schema is not None:
            schemas.check_draft(schema, event)

    def _schema(self, kind: str) -> Schema | None:
        feature: Feature | None = self.registry.folding(kind)
        return feature.schemas[kind] if feature else trust.SCHEMAS.get(kind)

    def _objection(self, event: Event) -> str:
        """The reason why the payload of an event cannot be used; empty if it can, or if it is for a newer gitcoord."""
        schema = self._schema(event.type) if event.v == 1 else None
        return schemas.objection(schema, event) if schema else ""

    def _add(self, ref: str, items: Iterable[Written], parent_lc: int | None, place: int) -> tuple[int | None, int]:
        """Take in events of a chain, each once; returns clock and place of the last well-formed one.

        `place` is the place of the event before them. Carried events have place 0, or -1 in another clone's name.
        """
        clone, local, epoch = trust.speaker(ref), is_local(ref), epoch_of(ref)
        taken: list[Written] = []
        rows = []
        for event, raw in items:
            try:
                trust.check_speaker(event, clone)
                check_step(event, parent_lc)
            except Malformed as why:
                self._report(event.id, ref, str(why))
                continue
            parent_lc, place = event.lc, place + 1
            if why_not := self._objection(event):
                self._report(event.id, ref, why_not)
                continue
            taken.append((event, raw))
            rows.append((event.id, event.v, event.type, event.lc, event.clone, event.author, event.email, event.at,
                         event.text, canonical_json(event.data), local, epoch, place))  # fmt: skip
        if taken:
            self._take(ref, taken, rows)
        return parent_lc, place

    def _take(self, ref: str, events: Sequence[Written], rows: Sequence[tuple[object, ...]]) -> None:
        """Store and fold events. An event whose fold raises is set aside, as if it had not come; the others count."""
        watched = self.mailroom.is_open()
        try:
            with database.part(self.db):
                items = self._insert(events, rows)
                fresh = {event.id for event, _ in items}
                for verdict in trust.admitted(self.db, items, ref, self._required_but()):
                    if verdict.id in fresh:
                        self._fold(verdict, ref, watched)
                    else:
                        self._fold_late(verdict, watched)
        except Exception as why:
            if self._is_about_the_file(why):
                raise
            if len(events) > 1:
                for item, row in zip(events, rows, strict=True):
                    self._take(ref, [item], [row])
            else:
                (event, _) = events[0]
                self._report(event.id, ref, _set_aside(event, why))

    def _standing(self) -> str:
        """The keys and settings on which verdicts depend; empty if no signatures are required."""
        return self.referee.standing() if self.referee else ""

    def _required_but(self) -> str | None:
        """Our clone's id, the only one that need not sign; None if no clone has to."""
        return (self._here() or "") if self._standing() else None

    def _insert(self, events: Sequence[Written], rows: Sequence[tuple[object, ...]]) -> Sequence[Written]:
        """Store `events`; returns the new ones."""
        added = self.db.executemany(_INSERT, rows).rowcount if rows else 0
        if added == len(rows):
            return events
        fresh = {oid for (oid,) in self.db.execute("SELECT id FROM events ORDER BY seq DESC LIMIT ?", (added,))}
        for (event, _), row in zip(events, rows, strict=True):
            if event.id not in fresh:
                self._place_again(event, *row[-2:])  # type: ignore[arg-type]
        return [item for item in events if item[0].id in fresh]

    def _place_again(self, event: Event, epoch: int, place: int) -> None:
        """Update the place of a known event: a place in a chain counts more than being carried, and among the epochs that
        carry it the newest counts. If another clone carried it before its own clone's log came, all is read again."""
        (clone,) = self.db.execute("SELECT clone FROM events WHERE id = ?", (event.id,)).fetchone()
        self._misplaced |= trust.is_others(clone, event) and place >= 0
        self.db.execute(
            "UPDATE events SET epoch = ?1, place = max(place, ?2) WHERE id = ?3 AND clone = ?4 AND place <= 0"
            " AND (?2 > 0 OR epoch < ?1)",
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
            self._report(event.id, ref, f"unknown {event.type} v{event.v}", newer=True)
            return
        feature.fold(self.db, event)
        if feature.settle:
            self._unsettled[feature.name] = feature.settle
        if watched and feature.concerns:
            self.mailroom.note(*feature.concerns(self.db, event, self.mailroom.here() or ""))

    def _forget(self, ids: Sequence[str]) -> None:
        """Take events back, and fold those again that their effects overlay."""
        from gitcoord.log.index.forgetting import forget

        self.db.execute("PRAGMA secure_delete = ON")  # one of them may have been redacted
        features = self.registry.features()
        again = forget(self.db, ids, [trust.FORGET, *(feature.forget for feature in features)])
        for event in again:
            ref = log_ref(event.clone, 1)
            for verdict in trust.admitted(self.db, [(event, b"")], ref, self._required_but()):
                self._fold_late(verdict, False)
        if self._standing():
            self.db.executemany("INSERT OR IGNORE INTO newly_signed VALUES (?)", {(event.clone,) for event in again})
        self._unsettled.update({feature.name: feature.settle for feature in features if feature.settle})

    def _reconsider(self) -> None:
        """Fold events whose signature has come, and fold again events whose order is known only now."""
        watched = self.mailroom.is_open()
        for verdict in self.referee.newly_signed(self.db) if self.referee else ():
            self._fold_late(verdict, watched)
        for event in trust.reconsidered(self.db):
            self._fold_late(trust.Verdict(event.id, event), False)

    def _fold_late(self, verdict: trust.Verdict, watched: bool) -> None:
        """Fold an earlier event once what it waited for is known. If its fold raises, only this event is set aside."""
        clone, epoch = self.db.execute("SELECT clone, epoch FROM events WHERE id = ?", (verdict.id,)).fetchone()
        ref = log_ref(clone, epoch)
        try:
            with database.part(self.db):
                self._fold(verdict, ref, watched)
        except Exception as why:
            if self._is_about_the_file(why):
                raise
            self.db.execute("DELETE FROM events WHERE id = ?", (verdict.id,))
            self._report(verdict.id, ref, _set_aside(verdict.event, why))

    def _is_about_the_file(self, why: Exception) -> bool:
        """Whether a fold failed because of the file: SQLite said so, or the file is damaged (checked once per process)."""
        if database.is_about_the_file(why):
            return True
        if self._sound is None:
            self._sound = self.is_sound()
        return not self._sound

    def _report(self, oid: str, ref: str, reason: str, newer: bool = False) -> None:
        self._reported += not newer
        self.db.execute("INSERT OR IGNORE INTO strange VALUES (?, ?, ?, ?)", (oid, ref, reason[:MAX_REASON], newer))

    def _settle(self) -> None:
        """Run `settle` of the features: work that is done once for many events."""
        while self._unsettled:
            self._unsettled.popitem()[1](self.db)

    def take_presence(self, found: presence.Presence, seen: float) -> None:
        """Read a commit of presence; `seen` is when it was first seen."""
        try:
            commit, events = presence.read(found, self._objection)
        except Malformed as why:
            self._report(found.oid, found.ref, str(why))
            return
        if presence.is_replayed(self.db, found.ref, commit):
            return
        believed = self.referee is None or self.referee.believes(self.db, commit)
        for event in events:
            presence.take(self.db, event if believed else trust.cut(event), seen)
        if not is_old_presence(found.ref):
            presence.drop_others(self.db, found.ref, events, commit.lc)
        if believed:
            presence.note(self.db, found.ref, commit, seen)


def _set_aside(event: Event | None, why: Exception) -> str:
    return f"{event.type if event else 'unknown'}: set aside, its fold failed: {type(why).__name__}: {why}"
