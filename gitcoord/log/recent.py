"""Check that recently written objects still exist, and count how many of them are loose.

A foreign `git gc --prune=now` beside a writer may delete an object between its creation and the move of the ref. The hole
that this leaves stops the user's own gc. Only loose objects can disappear this way; objects in a pack are safe. So every
two seconds at most (the time of `coord/checked`), a writer looks for the files of the objects that the journal has after
the last one known to be packed. That costs one `stat` each and no process. A writer packs them before they are many.
"""

from __future__ import annotations

from gitcoord.lean import NamedTuple, suppress
from gitcoord.log.journal import Journal, JournalPlace
from gitcoord.store.contract import Store
from gitcoord.store.loose import is_loose
from gitcoord.store.objects import Oid
from gitcoord.system.files import read_ours, write_ours


class Recent(NamedTuple):
    """The result of a look: lines about restored objects, and how many objects of ours are loose."""

    restored: tuple[str, ...] = ()
    loose: int = 0
    end: JournalPlace | None = None
    """The journal's end when we looked, under the write lock: everything before it is on a ref, or was abandoned."""


def place(checked: str) -> JournalPlace | None:
    """Everything before this place of the journal is in a pack, or was never needed."""
    try:
        serial, offset = read_ours(checked).split()
        return JournalPlace(int(serial), int(offset))
    except (OSError, ValueError):
        return None


def save(checked: str, end: JournalPlace | None) -> None:
    """Note that a process has just looked. If that fails, the next one looks again."""
    with suppress(OSError):
        write_ours(checked, f"{end.serial} {end.offset}\n".encode() if end else b"")


def look(store: Store, journal: Journal, checked: str) -> Recent:
    """Restore what is missing of the objects after the last packed one. To be called under the write lock."""
    known = place(checked)
    entries, end = journal.ids_after(known)
    loose = {oid for _, oid in entries if is_loose(store.repo, oid)}
    gone = store.missing([oid for _, oid in entries if oid not in loose])
    restored = _restore(store, journal, known) if gone else []
    loose.update(oid for oid in gone if is_loose(store.repo, oid))
    save(checked, _packed_up_to(known, entries, loose) if end else None)
    return Recent(tuple(restored), len(loose), end)


def _restore(store: Store, journal: Journal, since: JournalPlace | None) -> list[str]:
    from gitcoord.log.restore import restore_objects

    return restore_objects(store, journal, journal.tips().values(), since)


def _packed_up_to(known: JournalPlace | None, entries: list[tuple[JournalPlace, Oid]], loose: set[Oid]) -> JournalPlace | None:
    """The place before the first object that lies loose."""
    for at, oid in entries:
        if oid in loose:
            break
        known = at
    return known
