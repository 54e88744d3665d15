"""One clone as a participant: its repository, store, index and journal, and the one way to write (DESIGN 2.3)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TypeVar, cast

from gitcoord import clone_id
from gitcoord.errors import ObjectMissing, RefMoved, RepositoryError
from gitcoord.event import MAX_CLOCK, MAX_CLOCK_STEP, Draft, Envelope, Event, decode, encode, header_text
from gitcoord.index import Index
from gitcoord.index.feature import Feature
from gitcoord.store import NAMESPACE, Store, Tips, mend, open_store
from gitcoord.store.journal import Journal
from gitcoord.store.lock import file_lock, unwritable
from gitcoord.store.objects import GitObject, Oid, make_object, make_tree
from gitcoord.store.repository import Repository

T = TypeVar("T")
ATTEMPTS = 10


class Clone:
    """Opened once per process. Not for use from several threads at a time."""

    def __init__(self, repo: Repository, features: Callable[[], Sequence[Feature]], long_lived: bool = False) -> None:
        self.repo = repo
        self.store: Store = open_store(repo, long_lived)
        self.journal = Journal(repo.coord_dir, repo.flag("fsync"))
        self.mended: list[str] = []
        """What this process had to put right, a line each, for the user to read."""
        self._features = features
        self._fd: int | None = None

    @property
    def id(self) -> str | None:
        """This clone's id; None until the first write."""
        return clone_id.read_clone_id(self.repo)

    @cached_property
    def index(self) -> Index:
        ignored = frozenset(self.repo.setting("ignoreclone").split())
        return Index(self.repo.coord_dir, self._features, ignored)

    def close(self) -> None:
        """Let go of files and packs."""
        if "index" in self.__dict__:
            self.index.close()
        self.store.close()

    def path(self, *parts: str) -> Path:
        """A file of ours, below `$GIT_COMMON_DIR/coord`."""
        return self.repo.coord_dir.joinpath(*parts)

    # reading

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the index, brought up to date. What it finds broken is mended first, where we may write."""
        tips = self.store.tips()
        answer = self.index.query(self.store, tips, question)
        if tips.broken or self.index.unreadable or self._lost_own_ref(tips):
            with suppress(RepositoryError):
                self._mend_now()
                answer = self.index.query(self.store, self.store.tips(), question)
        return cast(T, answer)

    def _lost_own_ref(self, tips: Tips) -> bool:
        noted = self.journal.tips()
        return any(ref not in tips.refs for ref in noted) and any(ref.split("/")[3] == self.id for ref in noted)

    def _mend_now(self) -> None:
        with self.locked() as fd:
            unreadable = list(self.index.unreadable)
            self.mended += mend.restore_objects(self.store, self.journal)
            self._mended_tips(fd)
            tips = self.store.tips()
            self.mended += mend.drop_unreadable(self.store, self.id or "", unreadable, tips, fd)

    # writing

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the write lock; nested calls share it."""
        if self._fd is not None:
            yield self._fd
            return
        self._make_directory()
        with file_lock(self.path("lock")) as fd:
            self._fd = fd
            try:
                yield fd
            finally:
                self._fd = None

    def _make_directory(self) -> None:
        try:
            self.repo.coord_dir.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(self.repo.common_dir, error) from error
        if "index" in self.__dict__ and self.index.in_memory and not self.index.path.exists():
            self.index.close()
            del self.__dict__["index"]

    def append(self, decide: Callable[[sqlite3.Connection], Sequence[Draft]], local: bool = False) -> list[Event]:
        """Decide on the newest state and write what `decide` returns, as one move of our log; none: write nothing.

        `decide` may run more than once: when the ref or the index turn out to have moved, it is asked again.
        Whatever it raises leaves everything as it was.
        """
        with self.locked() as fd:
            for _ in range(ATTEMPTS):
                tips = self._mended_tips(fd)
                with suppress(RefMoved, ObjectMissing, _TryAgain):
                    return self._append_once(decide, local, tips, fd)
        raise RepositoryError("the log keeps moving under our lock", "git coord doctor")

    def _append_once(
        self, decide: Callable[[sqlite3.Connection], Sequence[Draft]], local: bool, tips: Tips, fd: int
    ) -> list[Event]:
        moved: list[tuple[Oid, bytes]] = []
        try:
            with self.index.writing() as db:
                if not self.index.is_current(tips):
                    tips = self.store.tips()
                    self.index.ingest_tips(self.store, tips)
                drafts = decide(db)
                if not drafts:
                    return []
                ref = self._log_ref(tips, local)
                commits, objects = self._compose(db, drafts, tips.refs.get(ref))
                self._write(ref, commits, objects, tips, fd)
                moved = commits
                self.index.append(ref, commits)
        except sqlite3.DatabaseError as error:
            if not moved:
                self.index.recover(error)
                raise _TryAgain from error
            # the event is on the ref, which is what counts; the index will read it there
        return [decode(oid, raw) for oid, raw in moved]

    def _mended_tips(self, fd: int) -> Tips:
        clone = clone_id.settle_clone_id(self.repo)
        self.mended += mend.check_recent(self.store, self.journal, self.path("checked"))
        tips = self.store.tips()
        done = mend.mend(self.store, self.journal, clone, tips, fd)
        if done:
            self.mended += done
            tips = self.store.tips()
        return tips

    def _log_ref(self, tips: Tips, local: bool) -> str:
        prefix = f"{NAMESPACE}{'local' if local else 'log'}/{clone_id.settle_clone_id(self.repo)}/"
        epochs = [ref for ref in tips.refs if ref.startswith(prefix)]
        return max(epochs, default=prefix + "0001")

    def _compose(
        self, db: sqlite3.Connection, drafts: Sequence[Draft], parent: Oid | None
    ) -> tuple[list[tuple[Oid, bytes]], list[GitObject]]:
        """The commits of `drafts`, chained onto `parent`, and every object they need."""
        lc = self._clock(db, parent)
        commits: list[tuple[Oid, bytes]] = []
        objects: list[GitObject] = []
        for number, draft in enumerate(drafts):
            tree = self._tree(draft.attachments)
            raw = encode(draft, self.envelope(lc + number), tree[-1].oid, parent)
            commit = make_object("commit", raw, self.repo.object_format)
            objects += tree if draft.attachments or (number == 0 and parent is None) else []
            objects.append(commit)
            commits.append((commit.oid, raw))
            parent = commit.oid
        return commits, objects

    def _clock(self, db: sqlite3.Connection, parent: Oid | None) -> int:
        """One more than the largest clock seen, as far as one step from our own last event may go."""
        seen: int = db.execute("SELECT max(lc) FROM events").fetchone()[0] or 0
        row = db.execute("SELECT lc FROM events WHERE id = ?", (parent,)).fetchone()
        lc = min(seen + 1, row[0] + MAX_CLOCK_STEP) if row else seen + 1
        if lc >= MAX_CLOCK:
            raise RepositoryError("another clone's clock ran to the end of its range", "git config coord.ignoreClone CLONE")
        return lc

    def _tree(self, attachments: Mapping[str, bytes]) -> list[GitObject]:
        blobs = {name: make_object("blob", data, self.repo.object_format) for name, data in attachments.items()}
        tree = make_tree({name: blob.oid for name, blob in blobs.items()}, self.repo.object_format)
        return [*blobs.values(), tree]

    def envelope(self, lc: int) -> Envelope:
        """Who and where and when, for a commit of ours."""
        clone = clone_id.settle_clone_id(self.repo)
        name, email = _identity(self.repo)
        committer = f"{name} <{email}>" if name and email else f"gitcoord <{clone}@coord.invalid>"
        return Envelope(lc, clone, email or f"{clone}@coord.invalid", committer, max(0, int(time.time())))

    def _write(self, ref: str, commits: Sequence[tuple[Oid, bytes]], objects: Sequence[GitObject], tips: Tips, fd: int) -> None:
        self.journal.rotate(time.time())
        self.journal.add(objects)
        self.store.write(objects)
        self.store.move(ref, commits[-1][0], tips.refs.get(ref), fd)
        with suppress(RepositoryError):  # the event is acknowledged; the note only speeds up a recovery
            self.journal.note(self._own_tips(tips) | {ref: commits[-1][0]})

    def _own_tips(self, tips: Tips) -> dict[str, Oid]:
        clone = clone_id.settle_clone_id(self.repo)
        return {
            ref: oid
            for ref, oid in tips.refs.items()
            if ref.startswith((f"{NAMESPACE}log/{clone}/", f"{NAMESPACE}local/{clone}/"))
        }

    # presence

    def put_presence(self, name: str, text: str, data: Mapping[str, object]) -> Oid:
        """Replace the presence commit of one of our sessions."""
        with self.locked() as fd:
            tips = self._mended_tips(fd)
            lc = self.read(lambda db: db.execute("SELECT max(lc) FROM events").fetchone()[0]) or 0
            envelope = self.envelope(lc + 1)
            tree = self._tree({})[-1]
            raw = encode(Draft("presence", text, data, author=name), envelope, tree.oid, None)
            commit = make_object("commit", raw, self.repo.object_format)
            ref = f"{NAMESPACE}sessions/{envelope.clone}/{name}"
            old = tips.refs.get(ref)
            self.store.write([commit] if self._own_tips(tips) or old else [tree, commit])
            self.store.move(ref, commit.oid, old, fd)
            if old:
                self._supersede(old)
            return commit.oid

    def drop_presence(self, name: str) -> None:
        """Delete the presence ref of one of our sessions, if there is one."""
        with self.locked() as fd:
            tips = self._mended_tips(fd)
            ref = f"{NAMESPACE}sessions/{self.id}/{name}"
            if ref in tips.refs:
                self.store.move(ref, None, tips.refs[ref], fd)
                self._supersede(tips.refs[ref])

    def _supersede(self, oid: Oid) -> None:
        """Remember a presence commit that no ref names any more, for the sweep."""
        with suppress(OSError), self.path("superseded").open("a") as file:
            file.write(f"{int(time.time())} {oid}\n")


class _TryAgain(Exception):
    """The index was damaged and has been replaced; decide anew."""


def _identity(repo: Repository) -> tuple[str, str]:
    """The git user's name and email, as far as git would know them, made safe for a commit header."""
    environ, config = repo.environ, repo.config
    name = environ.get("GIT_COMMITTER_NAME") or config.get("committer.name") or config.get("user.name", "")
    email = environ.get("GIT_COMMITTER_EMAIL") or config.get("committer.email") or config.get("user.email", "")
    return header_text(name), header_text(email).replace(" ", "")
