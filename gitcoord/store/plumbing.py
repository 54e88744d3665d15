"""The store through git itself, one short process a step."""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING

from gitcoord.errors import NotACommit, NotDescendant, ObjectMissing, RefMoved, RepositoryError
from gitcoord.store import NAMESPACE, Tips
from gitcoord.store.lock import unwritable
from gitcoord.store.objects import GitObject, Kind, Oid, parent_of
from gitcoord.store.reflock import RefLocked, patiently
from gitcoord.store.repository import Repository
from gitcoord.store.spawn import Result

if TYPE_CHECKING:
    import subprocess

SHORT_WALK = 64
"""Commits read one by one through a single `cat-file`; beyond, `rev-list` feeds a second one in bulk."""

_BROKEN = re.compile(r"ignoring (?:broken ref|dangling symref|ref with broken name) (\S+)")


class PlumbingStore:
    """See `Store`. Serves every repository that git can open: reftable, SHA-256, partial, whatever comes next."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo

    def tips(self) -> Tips:
        result = self.repo.git("for-each-ref", "--format=%(objectname) %(refname)", NAMESPACE)
        if result.code:
            raise _failure(self.repo, "cannot list refs", result)
        lines = (line.split(" ", 1) for line in result.out.decode("utf-8", "replace").splitlines())
        broken = _BROKEN.findall(result.error_text) if result.err else []
        return Tips({ref: Oid(oid) for oid, ref in lines}, tuple(r for r in broken if r.startswith(NAMESPACE)))

    def chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
        found: deque[tuple[Oid, bytes]] = deque()
        with _Reader(self.repo) as reader:
            at: Oid | None = new
            while at is not None and at != old and len(found) < SHORT_WALK:
                try:
                    commit = reader.read(at, "commit")
                except ObjectMissing:
                    if at == new:
                        raise
                    break  # a hole, or a shallow boundary: rev-list knows
                found.appendleft((at, commit.data))
                at = parent_of(commit.data)
            if at == old:
                yield from found
                return
            if at is None:
                raise NotDescendant(new, old or "")
            if old is not None and not self._descends(new, old):
                raise NotDescendant(new, old)
            for oid in self._revisions(new, old):
                yield oid, reader.read(oid, "commit").data

    def _descends(self, new: Oid, old: Oid) -> bool:
        return self.repo.git("merge-base", "--is-ancestor", old, new).code == 0

    def _revisions(self, new: Oid, old: Oid | None) -> list[Oid]:
        limits = [f"^{old}"] if old else []
        result = self.repo.git("rev-list", "--reverse", "--first-parent", new, *limits)
        if result.code:
            raise ObjectMissing(_named_object(result) or new)
        return [Oid(line) for line in result.out.decode().split()]

    def read(self, oids: Iterable[Oid]) -> Iterator[GitObject]:
        with _Reader(self.repo) as reader:
            for oid in oids:
                yield reader.read(oid)

    def missing(self, oids: Sequence[Oid]) -> list[Oid]:
        if not oids:
            return []
        result = self.repo.git("cat-file", "--batch-check", stdin="".join(f"{oid}\n" for oid in oids).encode())
        lines = result.out.decode().splitlines()
        return [Oid(line.split(" ")[0]) for line in lines if line.endswith(" missing")]

    def write(self, objects: Sequence[GitObject]) -> None:
        for item in objects:
            result = self.repo.git("hash-object", "-w", "--stdin", "-t", item.kind, stdin=item.data)
            written = result.out.decode().strip()
            if result.code or written != item.oid:
                raise _failure(self.repo, f"cannot write an object ({written or 'no id'})", result)

    def move(self, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None = None) -> None:
        patiently(lambda: self._move_once(ref, new, old, keep_fd), self.repo.common_dir / f"{ref}.lock")
        now = self._value(ref)
        if now != new:
            raise RefMoved(ref)

    def _move_once(self, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None) -> None:
        before = old or self.repo.zero
        change = ("-d", ref, before) if new is None else (ref, new, before)
        result = self.repo.git("update-ref", "--no-deref", *change, keep_fd=keep_fd)
        if result.code == 0:
            return
        said = result.error_text
        if "nonexistent object" in said or "not a valid SHA1" in said or "not a valid object" in said:
            raise ObjectMissing(new or "", ref)
        if ".lock': File exists" in said or "cannot be locked" in said or "data is locked" in said:
            raise RefLocked(said)
        if any(phrase in said for phrase in ("but expected", "already exists", "unable to resolve reference", "is missing")):
            raise RefMoved(ref)
        raise _failure(self.repo, f"cannot move {ref}", result)

    def _value(self, ref: str) -> Oid | None:
        result = self.repo.git("rev-parse", "--verify", "--quiet", ref)
        return Oid(result.out.decode().strip()) if result.code == 0 else None

    def close(self) -> None:
        """Nothing is kept open."""


class _Reader:
    """One `git cat-file --batch`, asked for one object after the other."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo

    def __enter__(self) -> _Reader:
        import subprocess  # only where objects are read: a command that finds nothing new never gets here

        argv = ["git", f"--git-dir={self.repo.common_dir}", "cat-file", "--batch"]
        pipe = subprocess.PIPE
        self.child: subprocess.Popen[bytes] = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=self.repo.env
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe(self.child.stdin).close()
        self._pipe(self.child.stdout).close()
        self.child.wait()

    def read(self, oid: Oid, kind: Kind | None = None) -> GitObject:
        questions, answers = self._pipe(self.child.stdin), self._pipe(self.child.stdout)
        try:
            questions.write(b"%s\n" % oid.encode())
            questions.flush()
            header = answers.readline().split()
        except BrokenPipeError:
            raise ObjectMissing(oid) from None  # git gave up on a corrupt object
        if len(header) != 3:
            raise ObjectMissing(oid)
        data = answers.read(int(header[2]))
        answers.read(1)
        found: Kind = header[1].decode()  # type: ignore[assignment]
        if kind is not None and found != kind:
            raise NotACommit(oid)
        return GitObject(found, oid, data)

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        assert pipe is not None
        return pipe


def _named_object(result: Result) -> Oid | None:
    match = re.search(r"[0-9a-f]{64}|[0-9a-f]{40}", result.error_text)
    return Oid(match[0]) if match else None


def _failure(repo: Repository, what: str, result: Result) -> RepositoryError:
    said = result.error_text
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        if os.strerror(code) in said:
            return unwritable(repo.common_dir, OSError(code, os.strerror(code)))
    if "insufficient permission" in said:
        return unwritable(repo.common_dir, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    last = said.splitlines()[-1] if said else f"git ended with {result.code}"
    return RepositoryError(f"{what}: {last.removeprefix('fatal: ').removeprefix('error: ')}", "git coord doctor")
