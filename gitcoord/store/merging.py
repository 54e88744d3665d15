"""Merge the content of worktrees in memory: uncommitted and untracked work too, without touching anything of the
user's.

A worktree's index is copied, its differences are added to the copy, and all new objects go to a temporary directory
that has the repository's own as an alternate. git merges the snapshots there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from gitcoord.errors import RepositoryError
from gitcoord.lean import NamedTuple, suppress
from gitcoord.store.objects import Oid, make_tree
from gitcoord.store.refs import merge_base
from gitcoord.store.repository import Repository
from gitcoord.system.spawn import Result

LARGE = 64 * 1024 * 1024
"""Bytes beyond which an untracked file is left out of a snapshot: such a file is data, nobody merges it."""

_STATUS = ("-c", "core.fsmonitor=false", "status", "--porcelain=v2", "--branch", "-z")
_ADD = ("update-index", "-z", "--add", "--remove", "--replace", "--ignore-skip-worktree-entries", "--stdin")
_CHANGE = re.compile(rb":\d+ (\d+) [0-9a-f]+ ([0-9a-f]+) [A-Z]\0([^\0]+)\0")


class WorktreeDiff(NamedTuple):
    """The differences of a worktree from its HEAD. Equal fingerprints mean equal content."""

    worktree: Path
    git_dir: Path
    head: Oid | None
    clean: bool
    unstaged: tuple[bytes, ...]
    """Paths whose file differs from the index."""
    fingerprint: str


def look(repo: Repository, worktree: Path, git_dir: Path) -> WorktreeDiff | None:
    """The changes in a worktree, by one `git status`; None if git cannot tell."""
    result = repo.git_in(str(worktree), str(git_dir), *_STATUS, "--untracked-files=all", "--no-renames")
    if result.code:
        return None
    entries = [entry for entry in result.out.split(b"\0") if entry]
    heads = [e[13:].decode() for e in entries if e.startswith(b"# branch.oid ")]
    head = Oid(heads[0]) if heads and heads[0] != "(initial)" else None
    changed = [entry for entry in entries if not entry.startswith(b"# ")]
    unstaged = tuple(path for entry in changed if (path := _unstaged_path(worktree, entry)) is not None)
    digest = hashlib.sha256(repr((head, changed)).encode())
    for path in unstaged:
        digest.update(_signature(worktree, path))
    return WorktreeDiff(worktree, git_dir, head, not changed, unstaged, digest.hexdigest())


def _unstaged_path(worktree: Path, entry: bytes) -> bytes | None:
    """The path of a status line, if its file has to be added: untracked, unmerged, or changed since it was staged."""
    kind = entry[:1]
    if kind == b"?":
        return entry[2:] if _is_addable(worktree, entry[2:]) else None
    path = entry.split(b" ", 10 if kind == b"u" else 8)[-1]
    return path if (kind == b"u" or entry[3:4] != b".") and not _is_unreadable(worktree, path) else None


def _is_addable(worktree: Path, path: bytes) -> bool:
    if path.endswith(b"/"):  # a nested repository
        return False
    try:
        return os.lstat(_below(worktree, path)).st_size <= LARGE and not _is_unreadable(worktree, path)
    except OSError:
        return False


def _is_unreadable(worktree: Path, path: bytes) -> bool:
    full = _below(worktree, path)
    try:
        return stat.S_ISREG(os.lstat(full).st_mode) and not os.access(full, os.R_OK)
    except OSError:
        return False


def _below(worktree: Path, path: bytes) -> bytes:
    return os.path.join(os.fsencode(worktree), path)


def _signature(worktree: Path, path: bytes) -> bytes:
    try:
        found = os.lstat(_below(worktree, path))
    except OSError:
        return b"gone"
    return repr((found.st_mode, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns)).encode()


class Scratch:
    """A temporary object directory over the repository's own; gone, with all that was made in it, on exit."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self._made: dict[str, Oid] = {}

    def __enter__(self) -> Scratch:
        self._directory = Path(tempfile.mkdtemp(prefix="git-coord-"))
        (self._directory / "objects").mkdir()
        self._env = {
            "GIT_OBJECT_DIRECTORY": str(self._directory / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _listed(os.path.join(self.repo.common_dir, "objects")),
            "GIT_INDEX_FILE": str(self._directory / "index"),
        }
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self._directory, ignore_errors=True)

    def commit(self, diff: WorktreeDiff) -> Oid:
        """A commit of a worktree's files as they are, on top of its HEAD; HEAD itself if nothing has changed.

        The same content on the same HEAD always gives the same id. Raises RepositoryError.
        """
        if diff.clean and diff.head:
            return diff.head
        if diff.fingerprint not in self._made:
            self._made[diff.fingerprint] = self._commit(diff)
        return self._made[diff.fingerprint]

    def _commit(self, diff: WorktreeDiff) -> Oid:
        _copy(diff.git_dir / "index", self._directory / "index")
        try:
            self._git(diff, *_ADD, stdin=b"".join(path + b"\0" for path in diff.unstaged))
            tree = self._git(diff, "write-tree").out.decode().strip()
        finally:
            (self._directory / "index").unlink(missing_ok=True)
        parent = f"parent {diff.head}\n" if diff.head else ""
        who = "gitcoord <gitcoord@coord.invalid> 0 +0000"
        raw = f"tree {tree}\n{parent}author {who}\ncommitter {who}\n\nsnapshot\n".encode()
        made = self._git(diff, "hash-object", "-t", "commit", "-w", "--stdin", stdin=raw)
        return Oid(made.out.decode().strip())

    def merge(self, where: WorktreeDiff | None, pairs: Sequence[tuple[Oid, Oid]]) -> list[list[bytes]]:
        """Merge each pair of commits; for each, the paths that conflict. Attributes are read in the worktree `where`."""
        if not pairs:
            return []
        lines = "".join(f"{a} {b}\n" for a, b in pairs).encode()
        args = ("merge-tree", "--write-tree", "--stdin", "--name-only", "--no-messages", "--allow-unrelated-histories")
        fields = iter(self._git(where, *args, stdin=lines).out.split(b"\0"))
        return [_conflicting(fields) for _ in pairs]

    def base(self, a: Oid | None, b: Oid | None) -> Oid:
        """The best common ancestor of two commits; the empty tree without one."""
        found = merge_base(self.repo, a, b) if a and b else None
        return found or make_tree({}, self.repo.object_format).oid

    def changes(self, base: Oid, commit: Oid) -> dict[bytes, bytes]:
        """The paths that differ between two commits or trees, each with its mode and object in the second."""
        result = self.repo.git("diff-tree", "-r", "-z", "--raw", "--no-renames", base, commit, env=self._env)
        found = _CHANGE.findall(_checked("diff-tree", result).out)
        return {path: mode + b" " + oid for mode, oid, path in found}

    def renamed(self, diff: WorktreeDiff) -> set[bytes]:
        """The paths that were merely renamed since HEAD, under their old and new names."""
        if not diff.head or diff.clean:
            return set()
        args = ("diff-tree", "-r", "-z", "-M100%", "--diff-filter=R", "--name-status")
        result = _checked("diff-tree", self.repo.git(*args, diff.head, self.commit(diff), env=self._env))
        return {word for word in result.out.split(b"\0") if word and word != b"R100"}

    def _git(self, where: WorktreeDiff | None, *args: str, stdin: bytes = b"") -> Result:
        settings = ("-c", "core.compression=0", "-c", "core.fsmonitor=false", "-c", "core.safecrlf=false")
        if where is None:
            return _checked(args[0], self.repo.git(*settings, *args, stdin=stdin, env=self._env))
        git_dir = str(where.git_dir)
        return _checked(args[0], self.repo.git_in(str(where.worktree), git_dir, *settings, *args, stdin=stdin, env=self._env))


def _checked(verb: str, result: Result) -> Result:
    if result.code == 0:
        return result
    if verb == "merge-tree" and result.code == 129:
        raise RepositoryError("merging in memory needs git 2.39 or newer", "install a newer git")
    said = (result.error_text.splitlines() or [f"exit {result.code}"])[-1].removeprefix("fatal: ")
    raise RepositoryError(f"git {verb}: {said}", "git status")


def _conflicting(fields: Iterator[bytes]) -> list[bytes]:
    """Parse one merge's part of the output: status, tree, the paths that conflict, and an empty field."""
    next(fields), next(fields)
    return list(iter(lambda: next(fields), b""))


def _copy(index: Path, to: Path) -> None:
    """Copy an index with its time: from that, git recognizes entries that changed right after they were staged."""
    with suppress(FileNotFoundError):  # nothing was ever staged
        shutil.copy2(index, to)


def _listed(directory: str) -> str:
    """A directory as GIT_ALTERNATE_OBJECT_DIRECTORIES spells it: quoted if it could be read as two."""
    if ":" not in directory and not directory.startswith('"'):
        return directory
    escaped = directory.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
