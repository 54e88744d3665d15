"""Decide what a new epoch of a log leaves of the epochs that it replaces: the events that its root carries, which are known
already, stay as they are, and the others count no longer."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.trust.reach import NEVER_CARRIED, lowest_epochs
from gitcoord.store.ref_names import epoch_of, is_local, log_of, owner


def keep_carried(db: sqlite3.Connection, ref: str, root: Event, ids: Iterable[str]) -> set[str]:
    """Note that the root at `ref` carries those of `ids` that are known from the same log, in its own name; returns them. Their
    bytes are not read again: a clone that carries others under these ids harms only its own log."""
    lowest, epoch = lowest_epochs(db).get(log_of(ref), 0), epoch_of(ref)
    found = db.execute(
        "SELECT id FROM events WHERE id IN (SELECT value FROM json_each(?)) AND clone = ? AND lc < ? AND local = ?"
        f" AND place >= 0 AND type NOT IN {NEVER_CARRIED}",
        (json.dumps(list(ids)), root.clone, root.lc, is_local(ref)),
    ).fetchall()
    known = {oid for (oid,) in found}
    db.executemany(
        "UPDATE events SET epoch = ?1, place = 0 WHERE id = ?2 AND (epoch < ?3 OR place = 0 AND epoch < ?1)",
        [(epoch, oid, lowest) for oid in known],
    )
    if not is_local(ref):
        db.executemany("INSERT OR IGNORE INTO carried VALUES (?, ?, ?)", [(oid, root.clone, epoch) for oid in known])
        db.execute("INSERT OR IGNORE INTO newly_signed VALUES (?)", (root.clone,))
    return known


def dropped_events(db: sqlite3.Connection, ref: str, lowest: int) -> list[str]:
    """The events of the epochs below `lowest` of the log at `ref` that no later epoch carries."""
    of, local = owner(ref), is_local(ref)
    if not local:  # an epoch that was in doubt when it was read moved none
        db.execute(
            "UPDATE events SET place = min(place, 0), epoch = (SELECT max(c.epoch) FROM carried c WHERE c.id = events.id"
            " AND c.clone = ?1) WHERE clone = ?1 AND local = 0 AND epoch < ?2 AND id IN"
            " (SELECT c.id FROM carried c WHERE c.clone = ?1 AND c.epoch >= ?2)",
            (of, lowest),
        )
        db.execute("DELETE FROM carried WHERE clone = ? AND epoch < ?", (of, lowest))
    query = "SELECT id FROM events WHERE clone = ? AND local = ? AND epoch < ?"
    return [oid for (oid,) in db.execute(query, (of, local, lowest))]
