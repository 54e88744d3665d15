"""Write objects of ours that git has lost again, byte for byte, from the journal or from the index."""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.lean import sqlite3
from gitcoord.log.event import Draft, Envelope, encode
from gitcoord.log.ground import Ground
from gitcoord.log.journal import Journal, JournalPlace
from gitcoord.log.query import COLUMNS
from gitcoord.store.absent import is_damaged
from gitcoord.store.contract import Store
from gitcoord.store.loose import remove_loose
from gitcoord.store.objects import GitObject, Oid, make_object
from gitcoord.store.ref_names import is_local


def restore_objects(store: Store, journal: Journal, tips: Iterable[Oid], since: JournalPlace | None = None) -> list[str]:
    """Write the lost objects below `tips` again from the journal (`since`: only those added after it)."""
    needed = journal.needed(tips, since)
    gone = store.missing(list(needed))
    gone += [oid for oid in needed if oid not in set(gone) and is_damaged(store.repo, oid)]
    for oid in gone:
        remove_loose(store.repo, oid)  # an empty or torn file: git takes it for the object and writes nothing
    empty = [item for item in needed.values() if item.kind == "tree" and not item.data]  # git claims to have it always
    store.write([*(needed[oid] for oid in gone), *(empty if gone else [])])
    return [f"restored {len(gone)} object{'s' if len(gone) > 1 else ''}"] if gone else []


def remake(ground: Ground, ref: str, wanted: Iterable[Oid]) -> dict[Oid, GitObject]:
    """Commits of our log `ref`, made again from the rows of the index. Each gets its old id, or is left out. Values that
    the index does not keep are guessed: the event before, no attachments, today's committer."""
    wanted = set(wanted)
    rows = _rows(ground, ref) if wanted else []
    found: dict[Oid, GitObject] = {}
    for before, row in zip([None, *rows], rows, strict=False):
        item = _made_again(ground, ref, row, before[0] if before else None) if row[0] in wanted else None
        if item is not None:
            found[item.oid] = item
    return found


def _rows(ground: Ground, ref: str) -> list[tuple[Oid, ...]]:
    query = f"SELECT {COLUMNS} FROM events WHERE clone = ? AND local = ? ORDER BY lc"
    try:
        return ground.index.db.execute(query, (ground.pen.clone, is_local(ref))).fetchall()
    except sqlite3.DatabaseError:
        return []


def _made_again(ground: Ground, ref: str, row: tuple[object, ...], parent: Oid | None) -> GitObject | None:
    """The commit of a row, tried with a mark and without one; its id proves which is right."""
    oid, kind, lc, clone, author, email, at, text, data, _ = row
    draft = Draft(str(kind), str(text), json.loads(str(data)), author=str(author))
    name, address = ground.pen.committer
    committer = f"{name} <{address}>" if name and address else f"gitcoord <{clone}@coord.invalid>"
    tree = ground.pen.tree({})[-1].oid
    for plain in (ground.pen.envelope(int(str(lc)), ref), ground.pen.envelope(int(str(lc)), "")):
        envelope = Envelope(plain.lc, str(clone), str(email), committer, int(str(at)), plain.key, plain.ref)
        try:
            raw = encode(draft, envelope, tree, parent)
        except UsageError:
            return None
        item = make_object("commit", raw, ground.pen.repo.object_format)
        if item.oid == oid:
            return item
    return None
