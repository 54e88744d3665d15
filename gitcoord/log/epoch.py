"""The root of a new epoch, which carries earlier events in its tree.

For each event the tree has its raw commit as a blob named by the commit's id, so that ids can be checked, and its
attachments as a tree called `ID.files`. A reader treats them as if they were in the chain.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from gitcoord.errors import NotACommit
from gitcoord.log.event import MAX_COMMIT, Event, Malformed
from gitcoord.store.absent import why_unread
from gitcoord.store.contract import Store
from gitcoord.store.objects import GitObject, Oid, make_object, named_in, tree_entries

Commit = tuple[Oid, bytes]
MAX_CARRIED = 512 * 1024**2
"""Bytes of events, inflated, that are read from the tree of one root."""


def carry(store: Store, commits: Sequence[Commit], object_format: str, without: Collection[str] = ()) -> list[GitObject]:
    """The objects that carry `commits`, the tree last; those in `without` are carried without their attachments."""
    blobs = {oid: make_object("blob", raw, object_format) for oid, raw in commits}
    entries = [(oid.encode(), b"100644", blob.oid) for oid, blob in blobs.items()]
    trees = {oid: named_in(GitObject("commit", oid, raw))[0] for oid, raw in commits if oid not in without}
    filled = _filled(store, set(trees.values()))
    entries += [(oid.encode() + b".files", b"40000", tree) for oid, tree in trees.items() if tree in filled]
    data = b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(oid)) for name, mode, oid in sorted(entries))
    return [*blobs.values(), make_object("tree", data, object_format)]


def _filled(store: Store, trees: set[Oid]) -> set[Oid]:
    """Those of `trees` that exist, with all their files."""
    there = sorted(trees - set(store.missing(sorted(trees))))
    files = {tree.oid: named_in(tree) for tree in store.read(there) if tree.kind == "tree" and tree.data}
    lost = set(store.missing(sorted({oid for named in files.values() for oid in named})))
    return {tree for tree, named in files.items() if lost.isdisjoint(named)}


def without_files(store: Store, root: bytes) -> set[str]:
    """The events that a root carries without attachments. Raises ObjectMissing, NotACommit."""
    tree_oid = named_in(GitObject("commit", Oid(""), root))[0]
    names = {name for name, _ in tree_entries(next(iter(store.read([tree_oid]))).data, len(tree_oid) // 2)}
    return {name for name in names if not name.endswith(".files") and f"{name}.files" not in names}


def check_size(store: Store, root: Event, raw: bytes) -> None:
    """Check, before reading it, that the tree of a root is not larger than its events need. Raises Malformed."""
    tree = named_in(GitObject("commit", root.id, raw))[0]
    digest = len(tree) // 2
    each = len(b"100644 \0" + b"40000 .files\0") + 2 * 3 * digest  # a commit and its attachments: name and id of each
    size, claimed = store.sizes([tree])[0] or 0, root.data.get("carried", 0)
    if size > min(claimed * each, MAX_CARRIED):
        raise Malformed(f"epoch: its tree of {size:,} bytes is larger than {claimed:,} events need")


def carried(store: Store, root: bytes, known: Callable[[Sequence[str]], Collection[str]] = lambda ids: ()) -> Iterator[Commit]:
    """The commits that the root of an epoch carries; a blob that does not match its name, or is too large for an event, is
    skipped unread, and so are all after MAX_CARRIED bytes. `known` gets their ids, and returns those that need not be read.
    Raises ObjectMissing, NotACommit."""
    object_format = store.repo.object_format
    names = _names(store, named_in(GitObject("commit", Oid(""), root))[0], known)
    for (name, _), blob in zip(names, store.read(oid for _, oid in names), strict=True):
        if make_object("commit", blob.data, object_format).oid == name:
            yield Oid(name), blob.data


def _names(store: Store, tree_oid: Oid, known: Callable[[Sequence[str]], Collection[str]]) -> list[tuple[str, Oid]]:
    """The events that a root's tree claims to carry, as far as they are new and worth reading: the name and the blob of
    each."""
    size = store.sizes([tree_oid])[0]
    if size is None:
        raise why_unread(store.repo, tree_oid)
    if size > MAX_CARRIED:
        return []
    tree = next(iter(store.read([tree_oid])))
    if tree.kind != "tree":
        raise NotACommit(tree.oid)
    all_of_them = {name: oid for name, oid in tree_entries(tree.data, len(tree.oid) // 2) if len(name) == len(oid)}
    there = known(list(all_of_them))
    entries = {oid: name for name, oid in all_of_them.items() if name not in there}
    left, names = MAX_CARRIED, []
    for (oid, name), size in zip(entries.items(), store.sizes(list(entries)), strict=True):
        if size is None:
            raise why_unread(store.repo, oid)
        if size <= MAX_COMMIT and size <= left:
            left -= size
            names.append((name, oid))
    return names
