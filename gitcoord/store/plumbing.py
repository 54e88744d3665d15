"""The store through git itself, one short process for each step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from gitcoord.errors import CoordError, NotACommit, NotDescendant, ObjectMissing, Unreadable
from gitcoord.lean import IO, TYPE_CHECKING, contextmanager, re, suppress
from gitcoord.store import refs
from gitcoord.store.absent import absent, why_unread
from gitcoord.store.contract import Tips
from gitcoord.store.objects import GitObject, Kind, Oid, drop_empty_file, parent_of
from gitcoord.store.ref_files import NotPlain, RefFiles, are_plain
from gitcoord.store.repository import Repository

if TYPE_CHECKING:
    import subprocess

SHORT_WALK = 64
"""Commits that are read one by one through one `cat-file`; for a longer walk `rev-list` feeds another."""


MAX_COMMIT = 1 << 20
"""Bytes of a commit that are read, twice an event's limit; of a larger one only the head, to find its parent."""


class PlumbingStore:
    """See `Store`. Serves every repository that git can open: reftable, SHA-256, partial, and later formats."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo
        self._reader: _Reader | None = None
        self._files = RefFiles(repo.common_dir) if are_plain(repo) else None

    def tips(self) -> Tips:
        if self._files is not None:
            with suppress(NotPlain):
                return Tips(self._files.read())
        return refs.list_refs(self.repo)

    def chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
        found: deque[tuple[Oid, bytes]] = deque()
        roots = self.repo.shallow_roots()
        at: Oid | None = new
        with self._shared() as reader:
            while at is not None and at != old and len(found) < SHORT_WALK:
                commit = reader.read(at, "commit")
                found.appendleft((at, commit.data))
                at = None if at in roots else parent_of(commit.data)
        if at == old:
            yield from found
        elif at is None:
            raise NotDescendant(new, old or "")
        else:
            yield from self._long_chain(new, old)

    @contextmanager
    def _shared(self) -> Iterator[_Reader]:
        """A reader for many short walks, one after the other: thousands of logs would need a process each. It is open until
        the store is closed, or until a walk failed."""
        if self._reader is None:
            self._reader = _Reader(self.repo).__enter__()
        try:
            yield self._reader
        except BaseException:
            self.close()
            raise

    def _long_chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
        """`rev-list | cat-file`, so that a million commits pass through without being held here."""
        parent: Oid | None = None
        with _Reader(self.repo, ["--reverse", "--first-parent", new, *([f"^{old}"] if old else [])]) as reader:
            for number, commit in enumerate(reader.all()):
                if number == 0 and old is not None and parent_of(commit.data) != old:
                    raise NotDescendant(new, old)
                yield commit.oid, commit.data
                parent = commit.oid
        if parent != new:
            self._explain(new, old, reader)

    def _explain(self, new: Oid, old: Oid | None, reader: _Reader) -> None:
        """The error for a failed `rev-list`, which names the object that is missing or of the wrong kind."""
        complaint = reader.complaint
        named = re.search(r"[0-9a-f]{64}|[0-9a-f]{40}", complaint)
        at = Oid(named[0]) if named else new
        if old is not None and not complaint and not reader.failed:
            raise NotDescendant(new, old)
        if "not a commit" in complaint:
            raise NotACommit(at)
        why = why_unread(self.repo, at, complaint)
        if isinstance(why, ObjectMissing) and at == old:
            raise NotDescendant(new, at)
        raise why

    def read(self, oids: Iterable[Oid]) -> Iterator[GitObject]:
        with _Reader(self.repo) as reader:
            for oid in oids:
                yield reader.read(oid)

    def missing(self, oids: Sequence[Oid]) -> list[Oid]:
        return absent(self.repo, oids)

    def sizes(self, oids: Sequence[Oid]) -> list[int | None]:
        found: list[int | None] = []
        while len(found) < len(oids):
            asked = "".join(f"{oid}\n" for oid in oids[len(found) :])
            result = self.repo.git("cat-file", "--batch-check", stdin=asked.encode())
            lines = [line.split(" ") for line in result.out.decode().splitlines()]
            found += [int(line[2]) if len(line) == 3 else None for line in lines]
            if result.code == 0:
                break
            found.append(None)  # a partial clone: git stopped at an object of its promisor remote
        return found[: len(oids)]

    def write(self, objects: Sequence[GitObject], ref: str = "") -> None:
        for item in objects:
            drop_empty_file(self.repo.common_dir, item.oid)
            result = self.repo.git("hash-object", "-w", "--stdin", "-t", item.kind, stdin=item.data)
            written = result.out.decode().strip()
            if result.code or written != item.oid:
                raise refs.failure(self.repo, f"cannot write an object ({written or 'no id'})", result)

    def move(self, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None = None) -> None:
        refs.move(self.repo, ref, new, old, keep_fd)
        refs.check_value(self.repo, ref, new)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__()
            self._reader = None


class _Reader:
    """One `git cat-file --batch`, asked for one object after the other, or fed by `git rev-list`."""

    def __init__(self, repo: Repository, revisions: Sequence[str] = ()) -> None:
        self.repo = repo
        self.revisions = revisions
        self.complaint = ""
        """The error text of `rev-list`; known at the end."""
        self.failed = False
        """Whether either child was killed or ended with an error; known at the end."""

    def __enter__(self) -> _Reader:
        import subprocess  # imported only here: a command that finds nothing new reads no object

        pipe, git, env = subprocess.PIPE, ["git", f"--git-dir={self.repo.common_dir}"], self.repo.env
        self.lister: subprocess.Popen[bytes] | None = None
        if self.revisions:
            argv = [*git, "rev-list", *self.revisions]
            self.lister = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=env)
        options = ["--batch", "--buffer"] if self.revisions else ["--batch"]
        self.child: subprocess.Popen[bytes] = subprocess.Popen(
            [*git, "cat-file", *options],
            stdin=self.lister.stdout if self.lister else pipe,
            stdout=pipe,
            stderr=subprocess.DEVNULL,
            env=env,
        )
        if self.lister:
            _open(self.lister.stdout).close()  # only cat-file has it now, so rev-list notices when cat-file ends
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.stdin:
            with suppress(BrokenPipeError):  # it died with a question unread
                self.child.stdin.close()
        _open(self.child.stdout).close()
        if self.lister:
            self.complaint = _open(self.lister.stderr).read().decode("utf-8", "replace")
            _open(self.lister.stderr).close()
            self.failed = self.lister.wait() != 0
        self.failed = self.child.wait() != 0 or self.failed

    def read(self, oid: Oid, kind: Kind | None = None) -> GitObject:
        questions = _open(self.child.stdin)
        try:
            questions.write(b"%s\n" % oid.encode())
            questions.flush()
        except BrokenPipeError:
            raise why_unread(self.repo, oid) from None  # git stopped at a corrupt object
        found = self._next(oid)
        if found.oid != oid:  # an abbreviation, or a name
            raise ObjectMissing(oid)
        if kind is not None and found.kind != kind:
            raise NotACommit(oid)
        return found

    def all(self) -> Iterator[GitObject]:
        """The commits that `rev-list` names, to their end."""
        while _open(self.child.stdout).peek(1):  # type: ignore[attr-defined]
            yield self._next(Oid(""))

    def _unread(self, oid: Oid) -> CoordError:
        """The error for an object that did not come; without an id, `git rev-list` stopped before it named one."""
        return why_unread(self.repo, oid) if oid else Unreadable("git cat-file ended before its answer")

    def _next(self, oid: Oid) -> GitObject:
        answers = _open(self.child.stdout)
        header = answers.readline().split()
        if len(header) != 3:
            raise self._unread(oid or Oid(header[0].decode("ascii", "replace") if header else ""))
        size = int(header[2])
        wanted = min(size, MAX_COMMIT) if header[1] == b"commit" else size
        data = answers.read(wanted)
        if len(data) < wanted or not _skip(answers, size - len(data) + 1):
            raise self._unread(Oid(header[0].decode()))  # a part of a commit would look like a root
        kind: Kind = header[1].decode()  # type: ignore[assignment]
        return GitObject(kind, Oid(header[0].decode()), data)


def _skip(answers: IO[bytes], size: int) -> bool:
    """Skip so many bytes; returns whether they were there."""
    while size > 0 and (chunk := answers.read(min(size, 1 << 16))):
        size -= len(chunk)
    return size == 0


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
