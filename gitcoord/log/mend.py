"""Put back what something else took from us: our own refs and recent objects, from the journal.

Called under the write lock by every writer; with nothing amiss it compares a few strings.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from gitcoord.errors import CoordError, NotACommit, NotDescendant, ObjectMissing, RefMoved
from gitcoord.log.journal import Journal, Place
from gitcoord.store.contract import Store, Tips
from gitcoord.store.loose import remove_loose
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import belongs_to, is_log, is_ours
from gitcoord.text import shell_word


def mend(store: Store, journal: Journal, clone: str, known: Mapping[str, Oid], tips: Tips, fd: int) -> list[str]:
    """Restore the refs of `clone` to where the journal saw them last and drop unreadable ones; a line for each.

    `known` is where the index saw them last, for when the journal is gone. A ref that is ahead of both (its writer
    died before the note) is left as it is.
    """
    done = drop_broken(store, tips, fd)
    for ref, noted in {**known, **journal.tips()}.items():
        if belongs_to(ref, clone) and tips.refs.get(ref) != noted:
            done += _restore_ref(store, journal, ref, tips.refs.get(ref), noted, fd)
    return done + _drop_forged(store, journal, clone, tips, fd)


def forged(store: Store, journal: Journal, clone: str, noted: Mapping[str, Oid], tips: Tips) -> list[str]:
    """Our logs that hold what we never wrote: another's commits under our name, brought by a fetch of everything.

    What we wrote is in the journal before it is on a ref; `noted` is what the journal said of our refs, and without it
    nothing can be judged.
    """
    logs = [ref for ref in tips.refs if is_log(ref) and belongs_to(ref, clone) and tips.refs[ref] != noted.get(ref)]
    if logs and journal.is_of_another_boot():
        return []  # a power loss may have taken the end of the journal and left the ref: better one too many than one lost
    return [ref for ref in logs if noted and not _is_written(store, journal, tips.refs[ref], noted.get(ref))]


def _is_written(store: Store, journal: Journal, tip: Oid, noted: Oid | None) -> bool:
    """Whether all from `noted` to `tip` is in the journal; of a log that it does not know, the tip is enough."""
    if noted is None or not descends(store, tip, noted):
        return noted is not None or journal.has([tip])
    return journal.has([oid for oid, _ in store.chain(tip, noted)])


def _drop_forged(store: Store, journal: Journal, clone: str, tips: Tips, fd: int) -> list[str]:
    done, noted = [], journal.tips()
    for ref in forged(store, journal, clone, noted, tips):
        with suppress(RefMoved):
            store.move(ref, noted.get(ref), tips.refs[ref], fd)
            done.append(f"{ref} held what this clone never wrote, under its name; that was taken off")
    return done


def is_lost(store: Store, clone: str, noted: Mapping[str, Oid], tips: Tips) -> bool:
    """Whether a ref of ours is missing, or no longer contains where it stood; `noted` must be older than `tips`."""
    return any(
        belongs_to(ref, clone) and tips.refs.get(ref) != oid and not descends(store, tips.refs.get(ref), oid)
        for ref, oid in noted.items()
    )


def drop_broken(store: Store, tips: Tips, fd: int) -> list[str]:
    """An empty or garbled ref file (a power loss) stops the user's own gc and fetch; git can delete it."""
    done = []
    for ref in tips.broken:
        if not is_ours(ref):
            done.append(f"{ref} is unreadable and none of gitcoord's: git update-ref --no-deref -d {shell_word(ref)}")
            continue
        result = store.repo.git("update-ref", "--no-deref", "-d", ref, keep_fd=fd)
        left = os.path.join(store.repo.common_dir, ref)
        if result.code and os.path.isfile(left):
            os.unlink(left)
        done.append(f"removed the unreadable ref {ref}")
    return done


def _restore_ref(store: Store, journal: Journal, ref: str, now: Oid | None, noted: Oid, fd: int) -> list[str]:
    restore_objects(store, journal, [noted, now] if now else [noted])
    if descends(store, now, noted) or not descends(store, noted, None):
        return []  # ahead; or older than the journal: what git still has stays, and the log goes on from there
    with suppress(RefMoved):
        store.move(ref, noted, now, fd)
        return [f"restored {ref}"]
    return []


def descends(store: Store, new: Oid | None, old: Oid | None) -> bool:
    """Whether `new` is readable down to `old` (None: to its root)."""
    if new is None:
        return False
    try:
        for _ in store.chain(new, old):
            pass
    except (NotDescendant, ObjectMissing, NotACommit):
        return False
    return True


def is_whole(store: Store, tip: Oid) -> bool:
    """Whether a chain is readable from `tip` down to its root."""
    return descends(store, tip, None)


def restore_objects(store: Store, journal: Journal, tips: Iterable[Oid], since: Place | None = None) -> list[str]:
    """Write again what is missing of the objects below `tips` that the journal has (`since`: only those added after)."""
    needed = journal.needed(tips, since)
    gone = store.missing(list(needed))
    for oid in gone:
        remove_loose(store.repo, oid)  # an empty file, after a power loss: git takes it for the object and writes nothing
    empty = [item for item in needed.values() if item.kind == "tree" and not item.data]  # git claims to have it always
    store.write([*(needed[oid] for oid in gone), *(empty if gone else [])])
    return [f"restored {len(gone)} object{'s' if len(gone) > 1 else ''}"] if gone else []


def drop_unreadable(store: Store, clone: str, refs: Sequence[str], tips: Tips, fd: int) -> list[str]:
    """Delete refs that point into nothing: another clone's come back whole with the next fetch, a session's presence
    with its next beat. Our own logs are not touched here."""
    done = []
    for ref in refs:
        oid = tips.refs.get(ref)
        ours_to_keep = belongs_to(ref, clone) and "/sessions/" not in ref
        if oid is None or not is_ours(ref) or ours_to_keep or descends(store, oid, None):
            continue
        with suppress(CoordError):
            store.move(ref, None, oid, fd)
            done.append(f"removed {ref}, which points at a missing object")
    return done
