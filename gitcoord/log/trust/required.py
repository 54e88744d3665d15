"""Find the events that `coord.requireSigned` keeps back: those of another clone that no good signature of it covers."""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord import lean_json as json
from gitcoord.lean import sqlite3
from gitcoord.log.trust import judge
from gitcoord.log.trust.alone import within
from gitcoord.log.trust.caller import Reader
from gitcoord.log.trust.judge import Judge
from gitcoord.store.signing import GOOD


def held_back(clone: Reader, ids: Iterable[str]) -> set[str]:
    """Those of some events that are kept back."""
    return {oid for oid, signature in judge.signatures(clone, ids).items() if signature.state != GOOD}


def trusted_values(clone: Reader) -> tuple[str, str, str]:
    """The values for TRUSTED: our id, and twice a JSON document of the place up to which each epoch of others is
    covered."""
    clones = clone.read(lambda db: db.execute("SELECT DISTINCT clone FROM checkpoints").fetchall())
    judge = Judge(clone)
    covered = json.dumps([
        (name, mark.epoch, mark.place)
        for (name,) in clones
        if name != clone.id
        for mark in judge.marks(name)
        if mark.signature.state == GOOD
    ])  # fmt: skip
    return clone.id, covered, covered


def covered(clone: Reader, db: sqlite3.Connection, of: str) -> list[str]:
    """The events of clone `of` that waited for a signature and have a good one now. Called inside a transaction."""
    found: list[str] = []
    for mark in Judge(within(clone, db)).marks(of):
        if mark.signature.state == GOOD:
            found += [oid for (oid,) in db.execute(_COVERED, (of, mark.epoch, mark.place))]
    return found


_COVERED = (
    "SELECT e.id FROM unsigned u JOIN events e ON e.id = u.id WHERE u.clone = ?1 AND ((e.local = 0 AND e.epoch = ?2"
    " AND e.place BETWEEN 1 AND ?3) OR EXISTS (SELECT 1 FROM carried c WHERE (c.id, c.clone, c.epoch) = (e.id, ?1, ?2)))"
)
