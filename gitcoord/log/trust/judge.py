"""Judge signatures, and decide which key speaks for which clone.

A checkpoint is judged by git's own means (allowed signers, a keyring) and by its key. The first key with which a clone
signs speaks for that clone. No other key does, allowed or not, until the user accepts it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence

from gitcoord.errors import RepositoryError
from gitcoord.lean import Any, NamedTuple, sqlite3, suppress
from gitcoord.log.trust.caller import Reader
from gitcoord.store import signing
from gitcoord.store.objects import Oid
from gitcoord.store.signing import BAD, GOOD, UNKNOWN, Signature
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole

OTHER_KEY, OLD, NONE = "other-key", "old", "unsigned"
"""A good signature by another key than the clone's; a checkpoint of gitcoord 0.1; no checkpoint."""
UNSIGNED = Signature(NONE)
_BEST = (GOOD, OTHER_KEY, UNKNOWN, BAD)
LOOK_BACK = 8
"""Number of checkpoints of one log, newest first, among which a good one is looked for."""
RECHECK_GOOD, RECHECK_OTHER = 24 * 3600, 3600
"""Seconds after which a verdict is made anew: keys are revoked, and arrive, without notice."""
KEPT = 2000
"""Number of verdicts that are kept: a remote full of junk is judged once."""


class Mark(NamedTuple):
    """A judged checkpoint: it covers the events up to `place` in this epoch of its log."""

    epoch: int
    place: int
    lc: int
    signature: Signature
    id: Oid


class EventPlace(NamedTuple):
    """The place of an event: in the chain of an epoch, or 0 if its root carries the event."""

    id: Oid
    clone: str
    epoch: int
    place: int


class Binding(NamedTuple):
    """The key of a clone, its principal, and a checkpoint made with it."""

    key: str = ""
    by: str = ""
    id: str = ""
    lc: int = 0


NOBODY = Binding()


def signatures(clone: Reader, ids: Iterable[str]) -> dict[str, Signature]:
    """The signatures of the events `ids` of other clones; empty if no clone signs and no signature is required."""
    places = clone.read(lambda db: _places(db, clone, list(ids)) if _is_asked_for(db, clone) else [])
    judge = Judge(clone)
    found: dict[str, Signature] = {}
    for at in places:
        signature = covering(judge.marks(at.clone), at)
        found[at.id] = min(found.get(at.id, UNSIGNED), signature, key=_rank)
    return found


def _rank(signature: Signature) -> int:
    return _BEST.index(signature.state) if signature.state in _BEST else len(_BEST)


def _is_asked_for(db: sqlite3.Connection, clone: Reader) -> bool:
    """Whether any clone signs, or did: a log that lost its signatures must not look like one that never had any."""
    if clone.repo.flag("requiresigned") or os.path.exists(clone.path("signatures")):
        return True
    return db.execute("SELECT 1 FROM checkpoints WHERE clone != ? LIMIT 1", (clone.id,)).fetchone() is not None


def _places(db: sqlite3.Connection, clone: Reader, ids: Sequence[str]) -> list[EventPlace]:
    """Every place of each event, at least one: place 0 of epoch 0, which nothing covers."""
    query = (
        "SELECT id, clone, CASE WHEN local OR place <= 0 THEN 0 ELSE epoch END, place FROM events"
        " WHERE clone != ?1 AND id IN (SELECT value FROM json_each(?2))"
        " UNION ALL SELECT c.id, c.clone, c.epoch, 0 FROM carried c JOIN events e ON e.id = c.id AND e.clone = c.clone"
        " WHERE c.clone != ?1 AND c.id IN (SELECT value FROM json_each(?2))"
    )
    return [EventPlace(*row) for row in db.execute(query, (clone.id, json.dumps(ids)))]


def covering(marks: Sequence[Mark], at: EventPlace) -> Signature:
    """The best of the checkpoints from whose commits an event can be reached."""
    above = [mark.signature for mark in marks if mark.epoch == at.epoch and mark.place >= at.place]
    return min(above, key=_rank, default=UNSIGNED)


class Judge:
    """Judges each checkpoint once: the verdicts are kept in `coord/signatures`, with the key of each clone."""

    def __init__(self, clone: Reader) -> None:
        self.clone = clone
        self._known: dict[str, Any] | None = None
        self._rules: str | None = None
        self._marks: dict[str, list[Mark]] = {}

    def marks(self, of: str) -> list[Mark]:
        """The newest checkpoints of a clone, newest first, down to one by its known key."""
        if of not in self._marks:
            if self.binding(of) == NOBODY:
                self._bind(of, self._judged_rows(of, oldest_first=True))
            known = self.binding(of)
            found = []
            for mark in self._judged_rows(of, pinned=known.id):
                found.append(mark._replace(signature=_as_bound(mark.signature, known)))
                if found[-1].signature.state == GOOD:
                    break
            self._bind(of, [mark for mark in found if mark.signature.key == known.key])
            self._marks[of] = found
        return self._marks[of]

    def binding(self, of: str) -> Binding:
        """The key that a clone is known for."""
        found = self._load()["clones"].get(of, {})
        try:
            key, by, oid = (str(found.get(name, "")) for name in Binding._fields[:3])
            return Binding(key, by, oid, int(found.get("lc", 0)))
        except (AttributeError, TypeError, ValueError):
            return NOBODY

    def standing(self) -> str:
        """A value that changes with the keys that are allowed here, and with each clone that is accepted."""
        return f"{self._fingerprint()} {self._load()['accepted']}"

    def bound(self) -> set[str]:
        """The clones with a known key."""
        return set(self._load()["clones"])

    def rebind(self, of: str) -> None:
        """Accept the key that a clone signs with now: that of its newest valid checkpoint; and that nothing after its newest
        checkpoint is signed, or that this one is bad."""
        self._load()["clones"].pop(of, None)
        self._bind(of, self._judged_rows(of))
        self._marks.pop(of, None)
        self._load()["settled"][of] = self._newest(of)
        self._load()["accepted"] += 1
        self._save()

    def is_settled(self, of: str) -> bool:
        """Whether the user has accepted how a clone signs, and it has not signed since."""
        return bool(self._load()["settled"].get(of) == self._newest(of))

    def _newest(self, of: str) -> str:
        return next((mark.id for mark in self.marks(of)), "")

    def _judged_rows(self, of: str, oldest_first: bool = False, pinned: str = "") -> Iterable[Mark]:
        for oid, epoch, place, lc, at in self.clone.read(lambda db: _chosen(db, of, pinned, oldest_first)):
            signature = self._judged(oid, at)
            if signature is not None:
                yield Mark(epoch, place, lc, signature, oid)

    def _bind(self, of: str, marks: Iterable[Mark]) -> None:
        """Bind a clone to a key at first sight: the first of `marks` with a good signature, otherwise the first valid
        one."""
        known = self.binding(of)
        valid = [mark for mark in marks if mark.signature.key and mark.signature.state != BAD]
        best = next((mark for mark in valid if mark.signature.state == GOOD), None) or next(iter(valid), None)
        if best is None or best.id == known.id or best.lc < known.lc:
            return
        by = best.signature.by or known.by
        self._load()["clones"][of] = Binding(best.signature.key, by, best.id, best.lc)._asdict()
        self._save()

    def _judged(self, oid: Oid, at: int) -> Signature | None:
        now, rules = self.clone.clock(), self._fingerprint()
        kept = self._load()["checked"].get(oid)
        if kept and kept[1] == rules and 0 <= now - kept[2] < (RECHECK_OTHER if kept[0][0] == UNKNOWN else RECHECK_GOOD):
            return Signature(*kept[0])
        raw = next(iter(self.clone.store.read([oid]))).data
        signature = signing.verify(self.clone.repo, oid, raw, at)
        if signature is not None:
            self._load()["checked"][oid] = [list(signature), rules, now]
            self._save()
        return signature

    def verdict(self, oid: Oid, at: int, of: str) -> Signature:
        """The verdict on the signature of a presence or of leases, as those of clone `of`."""
        self.marks(of)
        known = self.binding(of)
        signature = self._judged(oid, at)
        if signature is None:
            return UNSIGNED
        return _as_bound(signature, known) if known.key else signature

    def _fingerprint(self) -> str:
        if self._rules is None:
            self._rules = signing.fingerprint(self.clone.repo)
        return self._rules

    def _load(self) -> dict[str, Any]:
        if self._known is None:
            try:
                known = json.loads(read_ours(self.clone.path("signatures")))
                parts = {name: dict(known.get(name, {})) for name in ("clones", "checked", "settled")}
                self._known = {**parts, "accepted": int(known.get("accepted", 0))}
            except (OSError, ValueError, TypeError, AttributeError):
                self._known = {"clones": {}, "checked": {}, "settled": {}, "accepted": 0}
        return self._known

    def _save(self) -> None:
        known = self._load()
        if len(known["checked"]) > KEPT:
            known["checked"] = dict(sorted(known["checked"].items(), key=lambda item: -float(item[1][2]))[:KEPT])
        with suppress(RepositoryError):  # if it cannot be written, it costs only time
            write_whole(self.clone.path("signatures"), json.dumps(known) + "\n")


def _as_bound(signature: Signature, known: Binding) -> Signature:
    """The verdict, with a good signature by another key than the clone's as `other-key`."""
    if signature.state == GOOD and signature.key != known.key:
        return signature._replace(state=OTHER_KEY)
    return signature


def _chosen(db: sqlite3.Connection, of: str, pinned: str, oldest_first: bool) -> list[tuple[Oid, int, int, int, int]]:
    """The checkpoints to be judged, newest (or oldest) first, and the one that the clone is known by."""
    order = "e.epoch, e.place" if oldest_first else "e.epoch DESC, e.place DESC"
    chosen = "FROM checkpoints c JOIN events e ON e.id = c.id WHERE c.clone = ?1 AND c.old = 0 AND e.local = 0"
    return db.execute(
        f"SELECT e.id, e.epoch, e.place, e.lc, e.at {chosen} AND (e.id = ?3 OR e.id IN"
        f" (SELECT e.id {chosen} ORDER BY {order} LIMIT ?2)) ORDER BY {order}",
        (of, LOOK_BACK, pinned),
    ).fetchall()
