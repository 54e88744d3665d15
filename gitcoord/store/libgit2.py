"""The store through libgit2: no process for each step, for long-lived programs and bulk reads.

libgit2 reads and writes objects and moves refs that exist, under our lock. It rewrites `packed-refs` from a stale copy,
so everything else about refs goes through git (`refs`).
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import pygit2
from pygit2.enums import ObjectType, RepositoryOpenFlag

from gitcoord.errors import NotACommit, NotDescendant, ObjectMissing, RefMoved, RepositoryError
from gitcoord.lean import Any, suppress
from gitcoord.store import refs
from gitcoord.store.absent import absent, why_unread
from gitcoord.store.contract import Tips
from gitcoord.store.loose import is_loose, loose_path
from gitcoord.store.objects import GitObject, Kind, Oid, drop_empty_file, is_intact, parent_of
from gitcoord.store.plumbing import MAX_COMMIT, PlumbingStore
from gitcoord.store.ref_files import NotPlain, RefFiles, replace_value
from gitcoord.store.ref_lock import RefLocked, patiently
from gitcoord.store.repository import Repository

_FLEETING = ("File exists", "No such file or directory")  # another's lock; or a gc removed the empty directory meanwhile
KEPT = 1 << 15
"""Commits that a walk keeps in memory; those beyond are read a second time."""

_TYPES = {"commit": ObjectType.COMMIT, "tree": ObjectType.TREE, "blob": ObjectType.BLOB}
_KINDS: dict[int, Kind] = {int(number): kind for kind, number in _TYPES.items()}  # type: ignore[misc]


def why_not(repo: Repository) -> str | None:
    """The reason why libgit2 cannot serve this repository, or None if it can."""
    if repo.object_format != "sha1":
        return f"its objects are {repo.object_format}"
    if os.path.isdir(os.path.join(repo.common_dir, "reftable")):
        return "its refs are in reftable"
    if repo.shared:  # measured: with --shared=group a new folder of objects got 0755, and the group could write none into it
        return "core.sharedRepository, which libgit2 does not know"
    try:
        opened = _open(repo)
        always = opened.config["core.logAllRefUpdates"] == "always" if "core.logAllRefUpdates" in opened.config else False
        opened.free()
    except (pygit2.GitError, OSError, KeyError, ValueError) as error:
        return " ".join(str(error).removeprefix(f"{repo.common_dir}: ").split()) or "libgit2 cannot open it"
    return "core.logAllRefUpdates=always would make it write reflogs" if always else None


def _open(repo: Repository) -> Any:
    return pygit2.Repository(repo.common_dir, RepositoryOpenFlag.BARE | RepositoryOpenFlag.NO_SEARCH)


class Libgit2Store:
    """See `Store`. Serves repositories for which `why_not` returns None."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self._git = _open(repo)
        self._plumbing = PlumbingStore(repo)
        self._files = RefFiles(repo.common_dir)
        self._refs = pygit2.RefdbFsBackend(self._git)
        self._who = pygit2.Signature("gitcoord", "gitcoord@coord.invalid")
        self._writes_files = not (repo.flag("fsync") or repo.shared or os.name == "nt")
        """Whether objects are written and refs moved here, with half of the system calls of libgit2."""
        if repo.flag("fsync"):
            pygit2.settings.enable_fsync_gitdir(True)

    def _objects(self) -> Any:
        """Open a database afresh (7 µs): one kept open still shows packs and objects that gc has removed."""
        return pygit2.Odb(os.path.join(self.repo.common_dir, "objects"))

    def tips(self) -> Tips:
        try:
            return Tips(self._files.read())
        except NotPlain:
            return refs.list_refs(self.repo)

    def chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
        """Read a few new events here; a whole log streams from git, which runs beside us and keeps nothing in memory."""
        return self._plumbing.chain(new, None) if old is None else self._steps(new, old)

    def _steps(self, new: Oid, old: Oid) -> Iterator[tuple[Oid, bytes]]:
        objects = self._objects()
        roots = self.repo.shallow_roots()
        ids = bytearray()
        kept: deque[bytes] = deque(maxlen=KEPT)
        at: Oid | None = new
        while at is not None and at != old:
            raw = self._read_commit(objects, at)
            ids += bytes.fromhex(at)
            kept.append(raw)
            at = None if at in roots else parent_of(raw)
        if at != old:
            raise NotDescendant(new, old)
        for start in range(len(ids) - 20, -1, -20):
            oid = Oid(ids[start : start + 20].hex())
            yield oid, kept.pop() if kept else self._read_commit(objects, oid)

    def read(self, oids: Iterable[Oid]) -> Iterator[GitObject]:
        objects = self._objects()
        for oid in oids:
            kind, data = self._read(objects, oid)
            yield GitObject(_KINDS[kind], oid, data)

    def missing(self, oids: Sequence[Oid]) -> list[Oid]:
        objects = self._objects()
        return absent(self.repo, [oid for oid in oids if not _is_readable(objects, oid)])

    def _read(self, objects: Any, oid: Oid) -> tuple[int, bytes]:
        if len(oid) != 40:  # libgit2 would take it for an abbreviation
            raise ObjectMissing(oid)
        try:
            kind, data = objects.read(oid)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise why_unread(self.repo, oid, str(error)) from error
        return int(kind), data

    def _read_commit(self, objects: Any, oid: Oid) -> bytes:
        """A commit; only the beginning of one that is too large for an event, so that hundreds of megabytes are never
        inflated here."""
        if (_size(objects, oid) or 0) > MAX_COMMIT:
            (item,) = self._plumbing.read([oid])
            if item.kind != "commit":
                raise NotACommit(oid)
            return item.data
        kind, data = self._read(objects, oid)
        if kind != int(ObjectType.COMMIT):
            raise NotACommit(oid)
        return data

    def sizes(self, oids: Sequence[Oid]) -> list[int | None]:
        objects = self._objects()
        return [_size(objects, oid) for oid in oids]

    def write(self, objects: Sequence[GitObject], ref: str = "") -> None:
        for item in objects:
            drop_empty_file(self.repo.common_dir, item.oid)
            if self._writes_files and is_intact(item) and _put_loose(self.repo, item):
                continue
            written = self._write_patiently(item)
            if written != item.oid:
                raise RepositoryError(f"an object got the id {written} instead of {item.oid}", "git coord doctor")

    def _write_patiently(self, item: GitObject) -> str:
        for attempt in range(100):
            try:
                return str(self._git.odb.write(_TYPES[item.kind], item.data))
            except (pygit2.GitError, OSError) as error:
                if attempt == 99 or not str(error).endswith(_FLEETING):
                    raise self._failure("cannot write an object", error) from error
        raise AssertionError

    def move(self, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None = None) -> None:
        if new is None or old is None:
            refs.move(self.repo, ref, new, old, keep_fd)
        else:
            swap = new, old
            patiently(lambda: self._swap(ref, *swap), f"{self.repo.common_dir}/{ref}.lock")
        refs.check_value(self.repo, ref, new)

    def _swap(self, ref: str, new: Oid, old: Oid) -> None:
        """Compare-and-swap by the backend's write, which compares under the ref's lock; `Reference.set_target` does no more
        and takes twice as long."""
        if not is_loose(self.repo, new) and self.missing([new]):
            raise ObjectMissing(new, ref)
        if self._writes_files and replace_value(self.repo, ref, new, old):
            return
        try:
            self._refs.write(pygit2.Reference(ref, pygit2.Oid(hex=new), None), True, self._who, "", pygit2.Oid(hex=old), None)
        except (pygit2.GitError, OSError) as error:
            raise self._lost(ref, error) from error

    def _lost(self, ref: str, error: Exception) -> Exception:
        said = str(error)
        gone = isinstance(error, KeyError)  # the ref, or only its directory, which pack-refs took away while it was empty
        held = "failed to lock file" in said or said.endswith(_FLEETING)
        if held or (gone and ref in self.tips().refs):
            return RefLocked(str(f"{self.repo.common_dir}/{ref}.lock"))
        if gone or "old reference value does not match" in said or "corrupted loose reference" in said:
            return RefMoved(ref)
        return self._failure(f"cannot move {ref}", error)

    def _failure(self, what: str, error: Exception) -> RepositoryError:
        said = " ".join(str(error).split())
        return refs.explained(self.repo, what, said, said)

    def close(self) -> None:
        self._git.free()


def _put_loose(repo: Repository, item: GitObject) -> bool:
    """Write an object into a file of its own, as git does, but with a rename in place of a link and an unlink: if another
    process wrote the object meanwhile, its file has the same content. Returns whether that was done."""
    data = f"{item.kind} {len(item.data)}\0".encode() + item.data
    path = loose_path(repo, item.oid)
    fresh = os.path.join(os.path.dirname(path), f"tmp_obj_{os.getpid():x}{item.oid[2:12]}")
    try:
        fd = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o444)
    except OSError:  # its directory is missing
        return False
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            packed = zlib.compress(data, 1)
            whole = file.write(packed) == len(packed)
        if whole:
            os.rename(fresh, path)
            return True
    except OSError:
        whole = False
    with suppress(OSError):
        os.unlink(fresh)
    return False


def _size(objects: Any, oid: Oid) -> int | None:
    try:
        return int(objects.read_header(oid)[1])
    except (KeyError, ValueError, pygit2.GitError):
        return None


def _is_readable(objects: Any, oid: Oid) -> bool:
    try:
        objects.read_header(oid)
    except (KeyError, ValueError, pygit2.GitError):
        return False
    return True
