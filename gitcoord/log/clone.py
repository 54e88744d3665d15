"""One clone as a participant: its repository, store, index and journal, and the one way to write."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, TypeVar, cast

from gitcoord.errors import ObjectMissing, RefMoved, RepositoryError
from gitcoord.log import clone_id, trust
from gitcoord.log.clock import next_clock, seen_clock
from gitcoord.log.event import MAX_CLOCK, Draft, Envelope, Event, LaterDraft, compose, decode, header_text
from gitcoord.log.index import Index, Written
from gitcoord.log.index.feature import Registry
from gitcoord.log.journal import Journal
from gitcoord.store import open_store
from gitcoord.store.contract import Store, Tips
from gitcoord.store.objects import GitObject, Oid, make_object, make_tree
from gitcoord.store.ref_names import NAMESPACE, belongs_to, is_log, is_ours, newest_epoch
from gitcoord.store.repository import Repository
from gitcoord.system.files import make_top, signature
from gitcoord.system.lock import file_lock, is_held, removed, unwritable

if TYPE_CHECKING:
    from gitcoord.log.recent import Recent

T = TypeVar("T")
Decide = Callable[[sqlite3.Connection], Sequence[Draft | LaterDraft]]
Sign = Callable[[bytes], bytes]
ATTEMPTS = 10
_TYPED = ("message", "note", "task", "state", "lock")
"""The types of events that have words of a user in them."""
SWEEP_GRACE = 3600.0
"""Seconds for which a superseded presence commit stays: a gc, push or clone that saw it may still want to read it."""

CHECK_EVERY = 2.0
"""Seconds between two looks at whether our recent objects are still there."""
FEW_LOOSE = 64
"""Loose objects of ours that are never worth a pack."""
INLINE_OBJECTS = 16_000
"""The largest pack that a writer makes by merging; larger ones wait for a process in the background."""


class Clone:
    """Opened once per process. Not for use from several threads at a time."""

    def __init__(
        self,
        repo: Repository,
        registry: Registry[Clone],
        long_lived: bool = False,
        after_write: Callable[[Clone], None] = lambda clone: None,
    ) -> None:
        self.repo = repo
        self.store: Store = open_store(repo, long_lived)
        self.journal = Journal(repo.coord_dir, repo.flag("fsync"))
        self.mended: list[str] = []
        """What this process had to put right, a line each, for the user to read."""
        self.long_lived = long_lived
        self.clock: Callable[[], float] = time.time
        self.sweep_grace = SWEEP_GRACE
        self.registry = registry
        self._after_write = after_write
        self.when_free: dict[str, Callable[[], None]] = {}
        """What takes too long to be done under the write lock, by what it is about: done once the lock is free."""
        self._id: str | None = None
        self._id_file: tuple[int, ...] = ()
        self._fd: int | None = None
        self._tips: Tips | None = None
        """The refs as last listed, mended, while we hold the lock: only somebody else's git moves them then."""
        self._has_directory = os.path.isdir(repo.coord_dir)
        """What was removed while we ran (`purge`) is not made again by us."""
        self._checked = self.path("checked")
        self._lock_file = self.path("lock")
        self._recent: Recent | None = None
        self._superseded = False
        self.keeps_to_itself = False
        """Nothing that is written now starts a sync: one is under way."""
        self.allows_secrets = False
        """The user wants even what looks like a secret to be written where other clones see it."""
        self._wrote = False

    @property
    def id(self) -> str | None:
        """This clone's id; None until the first write."""
        if self._id is None:
            self._id = clone_id.read_clone_id(self.repo)
        return self._id

    def settled_id(self) -> str:
        """This clone's id, made if there is none; to be called under the write lock."""
        if self._id is None:
            self._id = clone_id.settle_clone_id(self.repo)
        return self._id

    def _reconsider_id(self) -> None:
        """Another process may have found out meanwhile that this clone needs a new id (`renewal`)."""
        found = signature(self.path("clone"))
        if found != self._id_file:
            self._id, self._id_file = None, found

    def rename(self, fresh: str) -> None:
        """Go on under another id, for this process at first; to be called under the write lock."""
        self._id = fresh
        self._tips = None

    @cached_property
    def index(self) -> Index:
        ignored = frozenset(self.repo.setting("ignoreclone").split())
        required = trust.is_required(self)
        worth = (lambda db, event: trust.presence_worth(self, db, event)) if required else None
        return Index(self.repo.coord_dir, self.registry, ignored, lambda: self.id, worth, partial(trust.vouches, self))

    def close(self) -> None:
        """Let go of files and packs."""
        if "index" in self.__dict__:
            self.index.close()
        self.store.close()

    def path(self, *parts: str) -> str:
        """A file of ours, below `$GIT_COMMON_DIR/coord`."""
        return os.path.join(self.repo.coord_dir, *parts)

    # reading

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the index, brought up to date. What it finds broken is mended first, where we may write."""
        if self._fd is not None and is_held(self._fd):
            return self._read_locked(self._fd, question)
        self._reconsider_id()
        noted = self.journal.tips()  # before the refs are listed: no writer can overtake us then
        tips = self.store.tips()
        answer = self.index.query(self.store, tips, question)
        if self.index.unreadable or self.index.rewound or any(map(is_ours, tips.broken)) or self._is_amiss(noted, tips):
            with suppress(RepositoryError), self.locked() as fd:
                self._mend_now()
                answer = self._read_locked(fd, question)
        if self.index.vanished:
            from gitcoord.log import repair

            repair.say_vanished(self)
        return cast(T, answer)

    def _read_locked(self, fd: int, question: Callable[[sqlite3.Connection], T]) -> T:
        """What was put right may show that more is to be: twice is enough for all that can stand on each other."""
        for _ in range(2):
            answer = self.index.query(self.store, self._mended_tips(fd), question)
            if not (self.index.unreadable or self.index.rewound):
                return cast(T, answer)
            self._mend_now()
        return cast(T, self.index.query(self.store, self._mended_tips(fd), question))

    def _is_amiss(self, noted: Mapping[str, Oid], tips: Tips) -> bool:
        """Whether our logs do not stand where the journal saw them, before `tips` were listed."""
        own = [ref for ref in tips.refs if noted and is_log(ref) and belongs_to(ref, self.id or "")]
        if all(tips.refs.get(ref) == oid for ref, oid in noted.items()) and all(ref in noted for ref in own):
            return False
        from gitcoord.log import repair

        return repair.is_amiss(self, noted, tips)

    def _mend_now(self) -> None:
        from gitcoord.log import mend

        with self.locked() as fd:
            unreadable, rewound = list(self.index.unreadable), dict(self.index.rewound)
            self._tips = None
            tips = self._mended_tips(fd)
            self.journal.note(self._own_logs(tips))  # what could not be restored now will not be tried with every read
            for ref, old in rewound.items():
                from gitcoord.log import repair

                repair.put_back(self, ref, old, fd)
                self._tips = None
            if not unreadable:
                return
            own = [tips.refs[ref] for ref in unreadable if ref in tips.refs and belongs_to(ref, self.settled_id())]
            self.mended += mend.restore_objects(self.store, self.journal, own)
            self.mended += mend.drop_unreadable(self.store, self.settled_id(), unreadable, tips, fd)
            for ref in unreadable:
                if is_log(ref) and ref in tips.refs and belongs_to(ref, self.settled_id()):
                    from gitcoord.log import rollover

                    rollover.over_hole(self, ref, tips, fd)
            self._tips = None

    def drop_refs(self, refs: Sequence[str], tips: Tips, fd: int) -> None:
        """Delete refs of ours that a new epoch took the place of; to be called under the write lock."""
        for ref in refs:
            self.store.move(ref, None, tips.refs[ref], fd)
        self._tips = None
        self.journal.note(self._own_logs(self.store.tips()))

    # writing

    @property
    def holds_lock(self) -> bool:
        """Whether we hold the write lock."""
        return self._fd is not None and is_held(self._fd)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the write lock; nested calls share it. When it is free again, what has piled up is tidied."""
        if self._fd is not None and self.holds_lock:
            yield self._fd
            return
        self._make_directory()
        with file_lock(self._lock_file) as fd:
            self._fd, self._tips = fd, None
            self._reconsider_id()
            try:
                yield fd
            finally:
                self._fd = self._tips = None
        while self.when_free:
            self.when_free.popitem()[1]()
        self._tidy()

    def _make_directory(self) -> None:
        try:
            if self._has_directory and not os.path.lexists(self.repo.coord_dir):
                raise removed(self.repo.coord_dir)
            make_top(self.repo.coord_dir, self.repo.shared)
            self._has_directory = True
        except OSError as error:
            raise unwritable(self.repo.common_dir, error) from error
        if "index" in self.__dict__ and self.index.in_memory and not os.path.exists(self.index.path):
            self.index.close()
            del self.__dict__["index"]

    def append(self, decide: Decide, local: bool = False, sign: Sign | None = None) -> list[Event]:
        """Decide on the newest state and write what `decide` returns, as one move of our log; none: write nothing.

        `decide` may run more than once: when the ref or the index turn out to have moved, it is asked again.
        `sign` turns the last of the raw commits into the one to be written. Whatever they raise leaves all as it was.
        """
        with self.locked() as fd:
            for attempt in range(ATTEMPTS):
                tips = self._mended_tips(fd)
                with suppress(RefMoved, ObjectMissing, _TryAgain):
                    return self._append_once(decide, local, sign, tips, fd)
                self._tips = None
                if self.index.rewound or (attempt == 0 and self.index.unreadable):
                    self._mend_now()
        raise RepositoryError("the log keeps moving under our lock", "git coord doctor")

    def _append_once(self, decide: Decide, local: bool, sign: Sign | None, tips: Tips, fd: int) -> list[Event]:
        moved = False
        try:
            with self.index.writing() as db:
                if not self.index.is_current(tips):
                    tips = self._tips = self.store.tips()
                    readable = not self.index.unreadable
                    self.index.ingest_tips(self.store, tips)
                    if self.index.rewound or (readable and self.index.unreadable):
                        raise _TryAgain  # which mends it first
                drafts = decide(db)
                if not drafts:
                    return []
                ref = self._log_ref(tips, local)
                written, objects = self._compose(db, drafts, tips.refs.get(ref), sign)
                if not local and not self.allows_secrets:
                    for event, _ in written:
                        _check_secrets(event, objects)
                self._write(ref, written[-1][0].id, objects, tips, fd)
                moved = True  # which is what counts; what the index misses, it will read there
                self._wrote = self._wrote or not local
                self.index.append(ref, written)
        except sqlite3.DatabaseError as error:
            if not moved:
                self.index.recover(error)
                raise _TryAgain from error
        return [event for event, _ in written]

    def _mended_tips(self, fd: int) -> Tips:
        """The refs, listed once while we hold the lock, with ours put right. What is not ours is never waited for."""
        if self._tips is None:
            from gitcoord.log import mend

            clone = self.settled_id()
            if not 0 <= time.time() - self._looked() < CHECK_EVERY:
                self._look()
            tips = self.store.tips()
            done = mend.mend(self.store, self.journal, clone, self._seen_logs(), tips, fd)
            self.mended += [line for line in done if line not in self.mended]
            self._tips = self.store.tips() if done else tips
        return self._tips

    def _seen_logs(self) -> dict[str, Oid]:
        """Where the index saw the logs last, for when the journal is gone: it may not know yet that an epoch was replaced."""
        if self.journal.tips():
            return {}
        try:
            return {ref: oid for ref, oid in self.index.known_tips().items() if is_log(ref)}
        except sqlite3.DatabaseError:
            return {}

    def _looked(self) -> float:
        """When somebody last looked whether our recent objects are still there."""
        try:
            return os.stat(self._checked).st_mtime
        except OSError:
            return 0.0

    def _look(self) -> None:
        from gitcoord.log import recent

        self._recent = recent.look(self.store, self.journal, self._checked)
        self.mended += self._recent.restored

    def _log_ref(self, tips: Tips, local: bool) -> str:
        return newest_epoch(tips.refs, f"{NAMESPACE}{'local' if local else 'log'}/{self.settled_id()}/")

    def _compose(
        self, db: sqlite3.Connection, drafts: Sequence[Draft | LaterDraft], parent: Oid | None, sign: Sign | None
    ) -> tuple[list[Written], list[GitObject]]:
        """The events of `drafts`, chained onto `parent`, and every object they need."""
        lc = next_clock(db, parent)
        ids: list[Oid] = []
        written: list[Written] = []
        objects: list[GitObject] = []
        for number, item in enumerate(drafts):
            draft = item if isinstance(item, Draft) else item(ids)
            tree = self.tree(draft.attachments)
            raw, event = compose(draft, self.envelope(lc + number), tree[-1].oid, parent)
            self.index.check_draft(event)
            if sign is not None and number == len(drafts) - 1:
                raw = sign(raw)
                event = decode(Oid(""), raw)
            commit = make_object("commit", raw, self.repo.object_format)
            if parent is None and draft.attachments:
                objects += self.tree({})  # later events take the empty tree for granted
            objects += tree if draft.attachments or parent is None else []
            objects.append(commit)
            written.append((event._replace(id=commit.oid), raw))
            ids.append(commit.oid)
            parent = commit.oid
        return written, objects

    def tree(self, attachments: Mapping[str, bytes]) -> list[GitObject]:
        """The objects of a tree of attachments, the tree last."""
        blobs = {name: make_object("blob", data, self.repo.object_format) for name, data in attachments.items()}
        tree = make_tree({name: blob.oid for name, blob in blobs.items()}, self.repo.object_format)
        return [*blobs.values(), tree]

    @cached_property
    def _committer(self) -> tuple[str, str]:
        return _identity(self.repo)

    def envelope(self, lc: int) -> Envelope:
        """Who and where and when, for a commit of ours."""
        clone = self.settled_id()
        name, email = self._committer
        committer = f"{name} <{email}>" if name and email else f"gitcoord <{clone}@coord.invalid>"
        return Envelope(lc, clone, email or f"{clone}@coord.invalid", committer, max(0, int(self.clock())))

    def _write(self, ref: str, tip: Oid, objects: Sequence[GitObject], tips: Tips, fd: int) -> None:
        self.journal.rotate(self.clock())
        self.journal.add(objects)
        self.store.write(objects)
        self.store.move(ref, tip, tips.refs.get(ref), fd)
        self._tips = Tips({**tips.refs, ref: tip}, tips.broken)
        with suppress(RepositoryError):  # the event is acknowledged; the note only speeds up a recovery
            self.journal.note(self._own_logs(self._tips))
        if any(item.oid.startswith("17") for item in objects):
            self._look()  # one object in 256: often enough to pack before git counts them

    def _own_logs(self, tips: Tips) -> dict[str, Oid]:
        clone = self.settled_id()
        return {ref: oid for ref, oid in tips.refs.items() if is_log(ref) and belongs_to(ref, clone)}

    # presence

    def put_presence(self, name: str, text: str, data: Mapping[str, object]) -> Oid:
        """Replace the presence commit of one of our sessions."""
        with self.locked() as fd:
            ref = f"{NAMESPACE}sessions/{self.settled_id()}/{name}"
            objects = self._alone(Draft("presence", text, data, author=name))
            self._replace(ref, objects[-1].oid, lambda tips: self._write_alone(objects, tips, ref), fd)
            return objects[-1].oid

    def write_alone(self, draft: Draft, above: int = 0) -> Oid:
        """Write a parentless commit that no ref names yet; it is ours to point a ref at, or to leave to git.

        Its clock is above `above`, which is that of the commit whose place it takes.
        """
        with self.locked():
            objects = self._alone(draft, above)
            self.store.write(objects)
            return objects[-1].oid

    def point(self, ref: str, new: Oid | None) -> None:
        """Let a ref that is replaced, not appended to, name a commit that is there, or nothing any more."""
        with self.locked() as fd:
            self._replace(ref, new, lambda tips: None, fd)

    def put_in_place(self, ref: str, new: Oid, old: Oid) -> bool:
        """As `point`, if the ref still names `old`; says whether it did."""
        with self.locked() as fd:
            if self._mended_tips(fd).refs.get(ref) != old:
                return False
            self._replace(ref, new, lambda tips: None, fd)
            return True

    def _alone(self, draft: Draft, above: int = 0) -> list[GitObject]:
        lc = min(max(self.read(seen_clock), above) + 1, MAX_CLOCK)
        tree = self.tree({})[-1]
        raw, event = compose(draft, self.envelope(lc), tree.oid, None)
        self.index.check_draft(event)
        return [tree, make_object("commit", raw, self.repo.object_format)]

    def _write_alone(self, objects: Sequence[GitObject], tips: Tips, ref: str) -> None:
        """The empty tree is there once anything of ours is."""
        self.store.write(objects[-1:] if self._own_logs(tips) or ref in tips.refs else objects)

    def drop_presence(self, name: str) -> None:
        """Delete the presence ref of one of our sessions, if there is one."""
        with self.locked():
            self.point(f"{NAMESPACE}sessions/{self.settled_id()}/{name}", None)

    def _replace(self, ref: str, new: Oid | None, write: Callable[[Tips], None], fd: int) -> None:
        for _ in range(ATTEMPTS):
            tips = self._mended_tips(fd)
            old = tips.refs.get(ref)
            if old == new:
                return
            with suppress(RefMoved, ObjectMissing):
                write(tips)
                self.store.move(ref, new, old, fd)
                self._tips = Tips({r: oid for r, oid in {**tips.refs, ref: new}.items() if oid}, tips.broken)
                if old:
                    self._superseded = True
                    from gitcoord.store import sweep

                    sweep.supersede(self.path("superseded"), old, self.clock())
                return
            self._tips = None
        raise RepositoryError(f"{ref} keeps moving under our lock", "git coord doctor")

    # tidying

    def _tidy(self) -> None:
        """After unlocking: have what was written sent, pack our loose objects before git counts them, sweep superseded
        presence. Never fails."""
        self.have_sent()
        if self._recent and self._recent.loose > FEW_LOOSE:
            from gitcoord.store import packing

            if packing.is_due(self.repo, self._recent.loose):
                self.pack()
        if self._superseded:
            from gitcoord.store import sweep

            if sweep.is_due(self.path("superseded"), self.clock(), self.sweep_grace):
                self._superseded = False
                with suppress(RepositoryError):
                    self.sweep()

    def have_sent(self) -> None:
        """What was written starts a sync in the background, unless one is under way."""
        if self._wrote and not self.keeps_to_itself:
            self._wrote = False
            if os.path.exists(self.path("remote")):
                self._after_write(self)

    def pack(self, limit: int | None = INLINE_OBJECTS) -> None:
        """Pack our loose objects, and merge our packs while that makes none of more than `limit` objects."""
        from gitcoord.log import mend, recent
        from gitcoord.store import packing

        before, self._recent = self._recent, None
        with suppress(RepositoryError):
            tips = self._own_logs(self.store.tips())
            if not packing.pack(self.repo, tips, limit):
                with self.locked():
                    mend.restore_objects(self.store, self.journal, tips.values())
            elif before:
                recent.save(self._checked, before.end)

    def sweep(self) -> int:
        """Remove presence commits superseded for longer than `sweep_grace` seconds; returns how many."""
        from gitcoord.store import sweep

        with self.locked():
            return sweep.sweep(self.repo, self.path("superseded"), self.clock(), self.sweep_grace)


def _check_secrets(event: Event, objects: Sequence[GitObject]) -> None:
    """What somebody typed is looked at before it can leave the clone. Raises LooksSecret."""
    if event.type.partition(".")[0] not in _TYPED or "notice" in event.data:
        return
    from gitcoord.log import secrets

    quotes = event.type.startswith("task.") and event.type != "task.edit"  # the title, in the line that comes first
    attached = [item.data for item in objects if item.kind == "blob"]
    secrets.check(event.text.partition("\n\n")[2] if quotes else event.text, event.data.values(), attached)


class _TryAgain(Exception):
    """The index was damaged and has been replaced, or a ref is to be mended first; decide anew."""


def _identity(repo: Repository) -> tuple[str, str]:
    """The git user's name and email, as far as git would know them, made safe for a commit header."""
    environ, config = repo.environ, repo.config
    name = environ.get("GIT_COMMITTER_NAME") or config.get("committer.name") or config.get("user.name", "")
    email = environ.get("GIT_COMMITTER_EMAIL") or config.get("committer.email") or config.get("user.email", "")
    return header_text(name), header_text(email).replace(" ", "")
