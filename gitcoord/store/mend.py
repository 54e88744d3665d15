"""Put back what something else took from us: our own refs and recent objects, from the journal.

Called under the write lock by every writer; with nothing amiss it compares a few strings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gitcoord.errors import CoordError, NotACommit, NotDescendant, ObjectMissing, RefMoved
from gitcoord.store import NAMESPACE, Store, Tips
from gitcoord.store.journal import Journal
from gitcoord.store.objects import GitObject, Oid

CHECK_EVERY = 2.0
"""Seconds between two looks at whether our recent objects are still there (a foreign prune takes them)."""
RECENT = 4096


def mend(store: Store, journal: Journal, clone: str, tips: Tips, fd: int) -> list[str]:
    """Restore our refs to where the journal saw them last and drop unreadable ones; says what was done, a line each.

    A ref that is ahead of the journal (its writer died before the note) is left as it is.
    """
    done = drop_broken(store, tips, fd)
    for ref, noted in journal.tips().items():
        if ref.split("/")[3] == clone and tips.refs.get(ref) != noted:
            done += _restore_ref(store, journal, ref, tips.refs.get(ref), noted, fd)
    return done


def drop_broken(store: Store, tips: Tips, fd: int) -> list[str]:
    """An empty or garbled ref file (a power loss) stops the user's own gc and fetch; git can delete it."""
    done = []
    for ref in tips.broken:
        result = store.repo.git("update-ref", "--no-deref", "-d", ref, keep_fd=fd)
        left = store.repo.common_dir / ref
        if result.code and left.is_file():
            left.unlink()
        done.append(f"removed the unreadable ref {ref}")
    return done


def _restore_ref(store: Store, journal: Journal, ref: str, now: Oid | None, noted: Oid, fd: int) -> list[str]:
    if now is not None and _descends(store, now, noted):
        return []
    restore_objects(store, journal)
    try:
        for _ in store.chain(noted, None):
            pass
    except (ObjectMissing, NotACommit):
        return []  # older than the journal: what git still has stays, and the log goes on from there
    with suppress(RefMoved):
        store.move(ref, noted, now, fd)
        return [f"restored {ref}"]
    return []


def _descends(store: Store, new: Oid, old: Oid) -> bool:
    try:
        for _ in store.chain(new, old):
            pass
    except (NotDescendant, ObjectMissing, NotACommit):
        return False
    return True


def check_recent(store: Store, journal: Journal, marker: Path) -> list[str]:
    """Every two seconds at most: are the objects written last still there? A `git gc --prune=now` beside a writer
    may delete one between its creation and the move of the ref."""
    with suppress(OSError):
        if 0 <= time.time() - os.stat(marker).st_mtime < CHECK_EVERY:
            return []
    with suppress(OSError):
        marker.touch()
    return restore_objects(store, journal, journal.recent_ids(RECENT))


def restore_objects(store: Store, journal: Journal, ids: Sequence[Oid] | None = None) -> list[str]:
    """Write again what is missing of `ids`, or of everything in the journal."""
    kept: dict[Oid, GitObject] = {}
    if ids is None:
        kept = {item.oid: item for item in journal.objects()}
        ids = list(kept)
    gone = store.missing(ids)
    if not gone:
        return []
    kept = kept or {item.oid: item for item in journal.objects()}
    store.write([kept[oid] for oid in gone if oid in kept])
    return [f"restored {len(gone)} objects"]


def drop_unreadable(store: Store, clone: str, refs: Sequence[str], tips: Tips, fd: int) -> list[str]:
    """Delete refs of other clones that point into nothing: the next fetch brings them back whole."""
    done = []
    for ref in refs:
        if ref.startswith(NAMESPACE) and ref in tips.refs and ref.split("/")[3] != clone:
            with suppress(CoordError):
                store.move(ref, None, tips.refs[ref], fd)
                done.append(f"removed {ref}, which points at a missing object")
    return done
