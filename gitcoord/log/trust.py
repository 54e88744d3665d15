"""Who vouches for what: signed checkpoints, what they are worth here, and the keys that each clone has signed with.

A checkpoint is an event whose commit is signed; as a commit names its parent, it covers the whole chain below it, and
what the root of its epoch carries. Nothing of this is asked for where nobody signs.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from gitcoord.errors import RepositoryError, UsageError
from gitcoord.log import incidents
from gitcoord.log.clock import ahead_of_time
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import Schema
from gitcoord.store import signing
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE, epoch_of
from gitcoord.store.signing import BAD, GOOD, UNKNOWN, Signature
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole

UNSIGNED = Signature("unsigned")
LOOK_BACK = 8
"""Checkpoints of one log that are looked at, newest first, for one that is worth something."""
RECHECK_GOOD, RECHECK_OTHER = 24 * 3600, 300
"""Seconds after which a judgement is made anew: keys are revoked, and arrive, without our being told."""
TRIES = 3


def _fold(db: sqlite3.Connection, event: Event) -> None:
    db.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?)", (event.id, event.clone, event.lc))


FEATURE = Feature(
    "trust",
    {"checkpoint": Schema({})},
    "CREATE TABLE checkpoints (id TEXT PRIMARY KEY, clone TEXT NOT NULL, lc INTEGER NOT NULL) WITHOUT ROWID;",
    _fold,
    "CREATE INDEX checkpoints_clone ON checkpoints (clone, lc);",
)


# signing


class _NotSigned(Exception):
    """The commit that is to be signed, outside of the lock: a passphrase may be asked for meanwhile."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.raw = raw


def checkpoint(clone: Clone, prompt: bool = True) -> Event | None:
    """Sign what our log holds since the last checkpoint; None if that is nothing, or if this user does not sign.

    Without `prompt` nothing asks for a passphrase. Raises RepositoryError when signing fails; nothing was written then.
    """
    if not signing.wants_signatures(clone.repo):
        return None
    signed: dict[bytes, bytes] = {}
    for attempt in range(TRIES + 1):
        try:
            written = clone.append(
                lambda db: _due(db, clone),
                sign=lambda raw, last=attempt == TRIES: _sign_once(clone, signed, raw, prompt, last),  # type: ignore[misc]
            )
            return written[0] if written else None
        except _NotSigned as wanted:
            signed[_undated(wanted.raw)] = signing.sign(clone.repo, wanted.raw, prompt)
    raise AssertionError  # the last attempt signs under the lock


def is_due(clone: Clone) -> bool:
    """Whether `checkpoint` has anything to sign."""
    return signing.wants_signatures(clone.repo) and bool(clone.read(lambda db: _due(db, clone)))


def _sign_once(clone: Clone, signed: dict[bytes, bytes], raw: bytes, prompt: bool, last: bool) -> bytes:
    found = signed.get(_undated(raw))
    if found is None and not last:
        raise _NotSigned(raw)
    return found or signing.sign(clone.repo, raw, prompt)


def _undated(raw: bytes) -> bytes:
    """A commit but for its author's line, whose time goes on while it is being signed."""
    return re.sub(rb"\nauthor [^\n]*", b"", raw, count=1)


def _due(db: sqlite3.Connection, clone: Clone) -> list[Draft]:
    (last,) = db.execute("SELECT max(lc) FROM checkpoints WHERE clone = ?", (clone.id,)).fetchone()
    (count,) = db.execute(
        "SELECT count(*) FROM events WHERE lc > ? AND clone = ? AND local = 0 AND type != 'checkpoint'", (last or 0, clone.id)
    ).fetchone()
    text = f"Signs the {count} event{'s' if count > 1 else ''} since the last checkpoint, and all before"
    return [Draft("checkpoint", text, author=clone.settled_id())] if count else []


# judging


class Mark(NamedTuple):
    """A checkpoint that was judged: it covers what is below `lc` in this epoch of its log."""

    epoch: int
    lc: int
    signature: Signature
    id: Oid


class Warning(NamedTuple):
    """Something about `clone` that the user should look at, and the command that settles it."""

    clone: str
    what: str
    command: str


def signatures(clone: Clone, ids: Iterable[str]) -> dict[str, Signature]:
    """What the events `ids` of other clones are worth; empty where nobody signs and no signature is asked for."""
    rows = clone.read(lambda db: _places(db, clone, list(ids)) if _is_asked_for(db, clone) else [])
    judge = _Judge(clone)
    return {oid: covering(judge.marks(where), epoch, lc) for oid, where, epoch, lc in rows}


def _is_asked_for(db: sqlite3.Connection, clone: Clone) -> bool:
    """Where somebody signs, or did: a log whose signatures are gone must not pass for one that never had any."""
    if clone.repo.flag("requiresigned") or os.path.exists(clone.path("signatures")):
        return True
    return db.execute("SELECT 1 FROM checkpoints WHERE clone != ? LIMIT 1", (clone.id or "",)).fetchone() is not None


def _places(db: sqlite3.Connection, clone: Clone, ids: Sequence[str]) -> list[tuple[str, str, int, int]]:
    return db.execute(
        "SELECT id, clone, epoch, lc FROM events WHERE clone != ? AND id IN (SELECT value FROM json_each(?))",
        (clone.id or "", json.dumps(ids)),
    ).fetchall()


def covering(marks: Sequence[Mark], epoch: int, lc: int) -> Signature:
    """The best of the checkpoints above an event."""
    above = [mark.signature for mark in marks if mark.epoch == epoch and mark.lc >= lc]
    return min(above, key=lambda found: (GOOD, UNKNOWN, BAD).index(found.state), default=UNSIGNED)


def verified_up_to(clone: Clone) -> str:
    """JSON: for each other clone and epoch the clock up to which events are verified; for questions to the index."""
    clones = clone.read(lambda db: db.execute("SELECT DISTINCT clone FROM checkpoints").fetchall())
    judge = _Judge(clone)
    found = [
        (name, mark.epoch, mark.lc)
        for (name,) in clones
        if name != clone.id
        for mark in judge.marks(name)
        if mark.signature.state == GOOD
    ]
    return json.dumps(found)


def held_back(clone: Clone, ids: Iterable[str]) -> set[str]:
    """Those events of other clones that `coord.requireSigned` keeps from being put in front of anybody unasked."""
    if not clone.repo.flag("requiresigned"):
        return set()
    return {oid for oid, signature in signatures(clone, ids).items() if signature.state != GOOD}


class _Judge:
    """Judges checkpoints, once each: what was found is kept in `coord/signatures`, with the key of each clone."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self._known: dict[str, Any] | None = None
        self._rules: str | None = None

    def marks(self, of: str) -> list[Mark]:
        """The newest checkpoints of a clone, newest first, down to one by the key that it is known for."""
        pin = self.pin(of)
        found: list[Mark] = []
        for oid, epoch, lc, at in self.clone.read(lambda db: _newest(db, of, pin.get("id", ""))):
            signature = self._judged(oid, at)
            if signature is not None:
                found.append(Mark(epoch, lc, signature, oid))
                if signature.state == GOOD and signature.key == pin.get("key", signature.key):
                    break
        self._pin(of, found)
        return found

    def pin(self, of: str) -> dict[str, Any]:
        """The key that a clone is known for, and a checkpoint made with it."""
        found = self._load()["clones"].get(of, {})
        return found if isinstance(found, dict) else {}

    def pinned(self) -> set[str]:
        """The clones that are known for a key."""
        return set(self._load()["clones"])

    def unpin(self, of: str) -> bool:
        """Forget the key of a clone, so that the next one is taken for its own."""
        gone = self._load()["clones"].pop(of, None) is not None
        self._save()
        return gone

    def _pin(self, of: str, marks: Sequence[Mark]) -> None:
        """The first key seen is the one that a clone is known for; a later one has to be accepted."""
        pin = self.pin(of)
        valid = [m for m in marks if m.signature.key and m.signature.state != BAD]
        best = next((m for m in valid if m.signature.key == pin.get("key", m.signature.key)), None)
        if best is not None and best.id != pin.get("id") and best.lc >= pin.get("lc", 0):
            fresh = {"key": best.signature.key, "by": best.signature.by, "id": best.id, "lc": best.lc}
            self._load()["clones"][of] = fresh
            self._save()

    def _judged(self, oid: Oid, at: int) -> Signature | None:
        now, rules = self.clone.clock(), self._fingerprint()
        kept = self._load()["checked"].get(oid)
        if kept and kept[1] == rules and 0 <= now - kept[2] < (RECHECK_GOOD if kept[0][0] == GOOD else RECHECK_OTHER):
            return Signature(*kept[0])
        raw = next(iter(self.clone.store.read([oid]))).data
        signature = signing.verify(self.clone.repo, oid, raw, at)
        if signature is not None:
            self._load()["checked"][oid] = [list(signature), rules, now]
            self._save()
        return signature

    def _fingerprint(self) -> str:
        if self._rules is None:
            self._rules = signing.fingerprint(self.clone.repo)
        return self._rules

    def _load(self) -> dict[str, Any]:
        if self._known is None:
            try:
                known = json.loads(read_ours(self.clone.path("signatures")))
                self._known = {"clones": dict(known["clones"]), "checked": dict(known["checked"])}
            except (OSError, ValueError, TypeError, KeyError):
                self._known = {"clones": {}, "checked": {}}
        return self._known

    def _save(self) -> None:
        known = self._load()
        known["checked"] = dict(sorted(known["checked"].items(), key=lambda item: -float(item[1][2]))[:200])
        with suppress(RepositoryError):  # a place that cannot be written costs time only
            write_whole(self.clone.path("signatures"), json.dumps(known) + "\n")


def _newest(db: sqlite3.Connection, of: str, pinned: str) -> list[tuple[Oid, int, int, int]]:
    return db.execute(
        "SELECT c.id, e.epoch, c.lc, e.at FROM checkpoints c JOIN events e ON e.id = c.id WHERE c.clone = ?1 AND (c.id = ?3"
        " OR c.id IN (SELECT id FROM checkpoints WHERE clone = ?1 ORDER BY lc DESC LIMIT ?2)) ORDER BY c.lc DESC",
        (of, LOOK_BACK, pinned),
    ).fetchall()


# what the user should look at


class Signer(NamedTuple):
    """How one other clone stands: what its newest checkpoint is worth, the key it is known for, and what is wrong."""

    clone: str
    signature: Signature
    known_key: str
    warnings: tuple[str, ...]


def signers(clone: Clone) -> list[Signer]:
    """Every other clone that has events, signed or not."""
    judge = _Judge(clone)
    names = clone.read(lambda db: db.execute("SELECT DISTINCT clone FROM events WHERE local = 0").fetchall())
    alarmed = {alarm.clone: alarm.what for alarm in incidents.read(clone.repo.coord_dir)}
    clones = sorted({name for (name,) in names if name != clone.id} | set(alarmed))
    return [_signer(clone, judge, name, alarmed.get(name)) for name in clones]


def _signer(clone: Clone, judge: _Judge, of: str, alarm: str | None) -> Signer:
    marks = judge.marks(of)
    said = [alarm] if alarm else []
    said += _about(clone, judge, of, marks)
    return Signer(of, marks[0].signature if marks else UNSIGNED, judge.pin(of).get("key", ""), tuple(said))


def warnings(clone: Clone) -> list[Warning]:
    """What has to be said unasked: another's log tampered with, a key that changed, a signer that stopped signing."""
    found = [_settled(alarm.clone, alarm.what) for alarm in incidents.read(clone.repo.coord_dir)]
    judge = _Judge(clone)
    asked = clone.read(lambda db: db.execute("SELECT DISTINCT clone FROM checkpoints").fetchall())
    for of in sorted({name for (name,) in asked if name != clone.id} | judge.pinned()):
        found += [_settled(of, what) for what in _about(clone, judge, of, judge.marks(of))]
    for of, count in clone.read(ahead_of_time):
        what = f"its clock is ahead of anything that could have happened, in {count} event{'s' if count > 1 else ''}"
        found.append(Warning(of, what, f"git config --add coord.ignoreClone {of}"))
    return found


def _settled(clone: str, what: str) -> Warning:
    return Warning(clone, what, f"git coord trust --accept {clone}")


def _about(clone: Clone, judge: _Judge, of: str, marks: Sequence[Mark]) -> list[str]:
    pin = judge.pin(of)
    if not pin:
        return ["its checkpoint has a bad signature"] if any(m.signature.state == BAD for m in marks[:1]) else []
    newest = marks[0] if marks else None
    if newest is not None and newest.signature.state == BAD:
        return ["its newest checkpoint has a bad signature"]
    if newest is not None and newest.signature.key != pin["key"]:
        by = f" ({newest.signature.by})" if newest.signature.by else ""
        return [f"it signs with {newest.signature.key or 'a key that is not there'}{by} now; it was {pin['key']} before"]
    count = clone.read(lambda db: _unsigned_tail(db, of, newest))
    what = "1 event" if count == 1 else f"{count} events"
    return [f"it signed with {pin['key']} before; {what} since then are not signed"] if count else []


def _unsigned_tail(db: sqlite3.Connection, of: str, newest: Mark | None) -> int:
    """How many events of a clone came after its newest checkpoint: above it, or in a later epoch."""
    refs = [
        ref for (ref,) in db.execute("SELECT ref FROM tips WHERE ref >= ?1 AND ref < ?1 || 'a'", (f"{NAMESPACE}log/{of}/",))
    ]
    epoch = max(map(epoch_of, refs), default=0)
    lc = newest.lc if newest and newest.epoch == epoch else 0
    condition = "lc > ? AND clone = ? AND epoch = ? AND local = 0 AND type != 'checkpoint'"
    (count,) = db.execute(f"SELECT count(*) FROM events WHERE {condition}", (lc, of, epoch)).fetchone()
    return int(count)


def accept(clone: Clone, name: str) -> Signer:
    """Take a clone as it signs now, and forget what was noted of it. Raises UsageError for one that is not known."""
    judge = _Judge(clone)
    known = {signer.clone for signer in signers(clone)}
    if name not in known:
        raise UsageError(f"no other clone is called {ascii(name)[1:-1]}", "git coord trust")
    judge.unpin(name)
    incidents.clear(clone.repo.coord_dir, name)
    return _signer(clone, _Judge(clone), name, None)
