"""Packs of ours: many objects written as one (`write_all`), and loose ones packed before `git gc --auto` starts.

Only our events that refs hold are packed: the user's objects, and superseded presence, stay as they are. Our packs are
ordinary ones (no `.keep`), so the user's gc takes them over. Until then they are merged so that each has at least twice
as many objects as all newer ones together, which keeps them few.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence

from gitcoord.errors import RepositoryError
from gitcoord.lean import NamedTuple, suppress
from gitcoord.store.contract import Store
from gitcoord.store.loose import count_seventeen, gc_is_running, remove_loose
from gitcoord.store.objects import GitObject, Oid, digest
from gitcoord.store.ref_names import is_local
from gitcoord.store.refs import failure
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_bytes, read_ours
from gitcoord.system.lock import try_lock, write_whole
from gitcoord.system.spawn import Result

LOOSE_OBJECTS = 1000
SEVENTEENS = 20
"""Number of files in objects/17 from which even few objects of ours are packed; git's own gc begins above 27."""

FEW = 64
"""Up to so many objects are written one by one, which is as fast."""
_OF_A_HOLE = ("bad object", "Could not read", "Failed to traverse", "unable to read", "is corrupt", "missing")
_TYPES = {"commit": 1, "tree": 2, "blob": 3}


class Packed(NamedTuple):
    """`coord/packs`: the tips up to which everything is packed, and our packs that no gc has taken over, oldest first."""

    tips: tuple[Oid, ...] = ()
    packs: tuple[tuple[str, int], ...] = ()


def is_due(repo: Repository, loose: int) -> bool:
    """Whether `loose` objects of ours are worth a pack."""
    return loose > LOOSE_OBJECTS or count_seventeen(repo) >= SEVENTEENS


def pack(repo: Repository, tips: Mapping[str, Oid], limit: int | None) -> str:
    """Pack the loose objects of `tips` (our logs), then remove those loose files, then merge our packs.

    Only one process does so at a time; others skip it. Returns what git said if it could not.
    """
    with try_lock(os.path.join(repo.coord_dir, "packing")) as alone:
        if not alone or not tips:
            return ""
        known = _load(repo)
        made = _pack_new(repo, list(tips.values()), known.tips)
        if made.code:
            return made.error_text or f"git ended with {made.code}"
        fresh = made.out.decode().strip()
        packs = [*known.packs, *([(fresh, _drop_loose(repo, fresh))] if fresh else [])]
        with suppress(RepositoryError):
            _save(repo, Packed(tuple(tips.values()), tuple(packs)))
            _save(repo, Packed(tuple(tips.values()), tuple(_merge(repo, packs, limit))))
        return ""


def is_about_a_hole(said: str) -> bool:
    """Whether git's words are about a lost object, and not about what may pass: a full disk, no memory."""
    return any(words in said for words in _OF_A_HOLE)


def _pack_new(repo: Repository, tips: Sequence[Oid], known: Sequence[Oid]) -> Result:
    for limits in (known, ()) if known else ((),):
        wanted = "".join([*(f"{oid}\n" for oid in tips), *(f"^{oid}\n" for oid in limits)])
        result = _pack_objects(repo, wanted, "--revs", "--unpacked", "--incremental")
        if result.code == 0:
            break
    return result


def _pack_objects(repo: Repository, stdin: str, *options: str) -> Result:
    """The name of the new pack, as git says it; empty if there was nothing to pack."""
    base = os.path.join(_directory(repo), "pack")
    args = ["-c", "pack.threads=1", "pack-objects", "-q", "--non-empty", "--delta-base-offset", *options, base]
    return repo.git(*args, stdin=stdin.encode())


def _directory(repo: Repository) -> str:
    return os.path.join(repo.common_dir, "objects", "pack")


def _file(repo: Repository, name: str, suffix: str) -> str:
    return os.path.join(_directory(repo), f"pack-{name}{suffix}")


def _drop_loose(repo: Repository, name: str) -> int:
    """Remove the loose files of objects that a new pack holds. Not `git prune-packed`: beside a gc that has just made the
    user's unreachable objects loose, before it deletes their pack, that would take their last copy."""
    oids = _contents(repo, name)
    if os.path.exists(_file(repo, name, ".pack")):
        for oid in oids:
            remove_loose(repo, oid)
    return len(oids)


def _contents(repo: Repository, name: str) -> list[Oid]:
    try:
        index = read_bytes(_file(repo, name, ".idx"))
    except OSError:
        return []
    result = repo.git("show-index", f"--object-format={repo.object_format}", stdin=index)
    return [Oid(line.split()[1]) for line in result.out.decode().splitlines()]


def _merge(repo: Repository, packs: list[tuple[str, int]], limit: int | None) -> list[tuple[str, int]]:
    """Merge the newest packs into one where they are out of proportion; returns the packs that are left."""
    packs = [pack for pack in packs if os.path.exists(_file(repo, pack[0], ".idx"))]  # a gc takes them over
    first = _first_to_merge([count for _, count in packs], limit)
    small = packs[first:]
    if len(small) < 2 or gc_is_running(repo) or os.path.exists(os.path.join(_directory(repo), "multi-pack-index")):
        return packs
    oids = dict.fromkeys(oid for name, _ in small for oid in _contents(repo, name))
    made = _pack_objects(repo, "".join(f"{oid}\n" for oid in oids))
    merged = made.out.decode().strip() if made.code == 0 else ""
    if not merged or gc_is_running(repo) or len(_contents(repo, merged)) != len(oids):
        return [*packs, (merged, len(oids))] if merged else packs
    for name, _ in small:
        if name != merged and not os.path.exists(_file(repo, name, ".keep")):
            _remove(repo, name)
    return [*packs[:first], (merged, len(oids))]


def _first_to_merge(counts: Sequence[int], limit: int | None) -> int:
    """The first pack, oldest first, of those to merge, so that each has twice as many objects as all newer ones."""
    first, total = len(counts) - 1, sum(counts[-1:])
    for number in range(len(counts) - 2, -1, -1):
        if counts[number] >= 2 * total or (limit is not None and total + counts[number] > limit):
            break
        first, total = number, total + counts[number]
    return max(first, 0)


def _remove(repo: Repository, name: str) -> None:
    """Remove the index first, as git does: a reader that no longer sees the pack looks for its objects elsewhere."""
    for suffix in (".idx", ".rev", ".mtimes", ".bitmap", ".pack"):
        with suppress(OSError):
            path = _file(repo, name, suffix)
            if os.name == "nt":
                os.chmod(path, 0o666)
            os.unlink(path)


def _load(repo: Repository) -> Packed:
    try:
        lines = read_ours(os.path.join(repo.coord_dir, "packs")).decode().splitlines()
        words = [line.split() for line in lines]
        return Packed(
            tuple(Oid(word[1]) for word in words if word[0] == "tip"),
            tuple((word[1], int(word[2])) for word in words if word[0] == "pack"),
        )
    except (OSError, ValueError, IndexError):
        return Packed()


def _save(repo: Repository, packed: Packed) -> None:
    lines = [f"tip {oid}" for oid in packed.tips] + [f"pack {name} {count}" for name, count in packed.packs]
    write_whole(os.path.join(repo.coord_dir, "packs"), "\n".join(lines) + "\n")


# many objects at once: one process and one file for all of them (gitformat-pack(5))


def write_all(store: Store, objects: Sequence[GitObject], ref: str = "") -> None:
    """As `Store.write`, for any number of objects."""
    if len(objects) <= FEW or is_local(ref):
        store.write(objects, ref)
        return
    unique = {item.oid: item for item in objects}
    data = b"PACK" + (2).to_bytes(4, "big") + len(unique).to_bytes(4, "big")
    data += b"".join(_entry(item) for item in unique.values())
    done = store.repo.git("index-pack", "--stdin", stdin=data + digest(data, store.repo.object_format))
    if done.code:
        raise failure(store.repo, "cannot write a pack", done)
    store.write([item for item in unique.values() if item.kind == "tree" and not item.data])  # git claims to have it anyway


def _entry(item: GitObject) -> bytes:
    """One entry of a pack: type and length (the first byte has four bits of it, each other seven), then the body."""
    size = len(item.data)
    head = bytearray([_TYPES[item.kind] << 4 | size & 15])
    size >>= 4
    while size:
        head[-1] |= 128
        head.append(size & 127)
        size >>= 7
    return bytes(head) + zlib.compress(item.data)
