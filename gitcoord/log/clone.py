"""One clone as a participant: its repository, store, index and journal, and the one way to write.

Read `Clone.read` and `Clone.append` first. Nothing is written but under the write lock, on refs that were looked at and
put right under it (`mend`); and nothing that was acknowledged is ever taken off.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

from gitcoord.errors import ObjectMissing, RefMoved, RepositoryError, Unwritable
from gitcoord.log import clone_id
from gitcoord.log.clock import next_clock, seen_clock
from gitcoord.log.event import Draft, Event, LaterDraft
from gitcoord.log.ground import Ground, own_logs
from gitcoord.log.index import Index, OwnLogAmiss
from gitcoord.log.index.feature import Registry
from gitcoord.log.journal import Journal
from gitcoord.log.pen import Pen, Sign
from gitcoord.store import open_store
from gitcoord.store.contract import Store, Tips
from gitcoord.store.loose import is_loose
from gitcoord.store.objects import GitObject, Oid
from gitcoord.store.ref_names import NAMESPACE, is_ours, newest_epoch
from gitcoord.store.repository import Repository
from gitcoord.system.files import make_top, signature
from gitcoord.system.lock import file_lock, is_held, removed, unwritable

if TYPE_CHECKING:
    from gitcoord.log.recent import Recent

T = TypeVar("T")
Decide = Callable[[sqlite3.Connection], Sequence[Draft | LaterDraft]]
ATTEMPTS = 10
_TYPED = ("message", "note", "task", "state", "lock")
"""The types of events that have words of a user in them."""
SWEEP_GRACE = 3600.0
"""Seconds for which a superseded presence commit stays: a gc, push or clone that saw it may still want to read it."""
CHECK_EVERY = 2.0
"""Seconds between two looks at whether our recent objects are still there."""
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
        self._id: str | None = None
        self._pen: Pen | None = None
        self._id_file: tuple[int, ...] = ()
        self._booted = False
        self._fd: int | None = None
        self._tips: Tips | None = None
        """The refs as last listed, mended, while we hold the lock: only somebody else's git moves them then."""
        self._has_directory = os.path.isdir(repo.coord_dir)
        """What was removed while we ran (`purge`) is not made again by us."""
        self._checked = self.path("checked")
        self._recent: Recent | None = None
        self._superseded = False
        self.keeps_to_itself = False
        """Nothing that is written now starts a sync: one is under way."""
        self.allows_secrets = False
        """The user wants even what looks like a secret to be written where other clones see it."""
        self._wrote = False

    # who this is

    @property
    def id(self) -> str | None:
        """This clone's id; None until the first write. Raises Unreadable."""
        if self._id is None:
            self._id = clone_id.read_clone_id(self.repo)
        return self._id

    def settled_id(self) -> str:
        """This clone's id, made if there is none; to be called under the write lock."""
        return self.pen.clone

    @property
    def pen(self) -> Pen:
        """What makes our commits; to be asked for under the write lock. Raises RepositoryError."""
        if self._pen is None:
            self._pen = self._pen_of(clone_id.settle_clone_id(self.repo))
            self._id, self._id_file = self._pen.clone, signature(self.path("clone"))
        return self._pen

    def _pen_of(self, known: clone_id.Known) -> Pen:
        return Pen(self.repo, known, lambda: self.clock(), lambda event: self.index.check_draft(event))

    def _reconsider_id(self) -> None:
        """Another process may have found out meanwhile that this clone needs a new id (`new_clone_id`)."""
        found = signature(self.path("clone"))
        if found != self._id_file:
            self._id, self._pen, self._id_file = None, None, found

    def rename(self, known: clone_id.Known) -> None:
        """Go on under another id, for this process at first; to be called under the write lock."""
        self._id, self._pen, self._tips = known.id, self._pen_of(known), None

    @cached_property
    def index(self) -> Index:
        ignored = frozenset(self.repo.setting("ignoreclone").split())
        return Index(self.repo.coord_dir, self.registry, ignored, lambda: self.id)

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
        """Ask the index, brought up to date. What is found broken is mended first, where we may write.

        Raises Unreadable where refs or objects could not be read: that nothing was found would not be an answer.
        """
        if self._fd is not None and is_held(self._fd):
            return self._read_locked(self._fd, question)
        self._reconsider_id()
        with suppress(OwnLogAmiss):
            noted = self.journal.tips()  # before the refs are listed: no writer can overtake us then
            tips = self.store.tips()
            if self._is_well(noted, tips):
                answer = self.index.query(self.store, tips, question)
                if not (self.index.unreadable or self.index.rewound):
                    self._say_vanished()
                    return cast(T, answer)
        return self._read_mended(question)

    def _is_well(self, noted: Mapping[str, Oid], tips: Tips) -> bool:
        """Whether refs and journal agree, as far as a glance shows."""
        if any(map(is_ours, tips.broken)) or self._is_after_boot():
            return False
        own = own_logs(tips.refs, self.id or "") if noted else {}
        if all(tips.refs.get(ref) == oid for ref, oid in noted.items()) and own.keys() <= noted.keys():
            return True
        from gitcoord.log import mend

        known = clone_id.read_known(self.repo)
        if known is None:
            return True
        ground = Ground(self.store, self.journal, self.index, self._pen_of(known), -1)
        return not mend.is_amiss(ground, noted, tips)

    def _read_mended(self, question: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with self.locked() as fd:
                self._tips = None
                answer = self._read_locked(fd, question)
        except Unwritable:  # a read-only place is read as it is
            self.index.forgets = True
            answer = cast(T, self.index.query(self.store, self.store.tips(), question))
        self._say_vanished()
        return answer

    def _read_locked(self, fd: int, question: Callable[[sqlite3.Connection], T]) -> T:
        """What was put right may show that more is to be: a repair can reveal a second damage, never a third."""
        for last in (False, False, True):
            self.index.forgets = last
            try:
                answer = self.index.query(self.store, self._mended_tips(fd), question)
            except OwnLogAmiss as amiss:
                self._mend_log(amiss.ref, fd)
                continue
            if last or not (self.index.unreadable or self.index.rewound):
                break
            self._mend_others(fd)
        self.index.forgets = False
        return cast(T, answer)

    def _say_vanished(self) -> None:
        if self.index.vanished:
            from gitcoord.log import repair

            gone, self.index.vanished = self.index.vanished, []
            repair.say_vanished(self.repo.coord_dir, gone, self.store.tips(), self.id or "", self.clock())

    # mending

    def ground(self, fd: int) -> Ground:
        """What a repair stands on; to be asked for under the write lock, whose descriptor `fd` is."""
        return Ground(self.store, self.journal, self.index, self.pen, fd)

    def mend(self, action: Callable[[Ground, Tips], Sequence[str]]) -> list[str]:
        """Put something right under the write lock; returns what was, a line each, which the user reads as well."""
        with self.locked() as fd:
            done = list(action(self.ground(fd), self.store.tips()))
            self._mended(done)
            return done

    def _mended(self, done: Sequence[str]) -> None:
        """Remember what was put right, for the user, and where our logs stand now, for the next repair."""
        self.mended += [line for line in done if line not in self.mended]
        self._tips = None
        self._note(self.store.tips())

    def _note(self, tips: Tips) -> None:
        own = own_logs(tips.refs, self.settled_id())
        if own != self.journal.tips():
            self.journal.note(own)

    def _mended_tips(self, fd: int) -> Tips:
        """The refs, listed once while we hold the lock, with ours put right. What is not ours is never waited for."""
        if self._tips is None:
            from gitcoord.log import mend

            if not 0 <= time.time() - self._looked() < CHECK_EVERY:
                self._look()
            tips = self.store.tips()
            done = mend.drop_broken(self.store, tips, fd) + mend.mend(self.ground(fd), tips)
            if self._is_after_boot():
                done += self._after_boot(fd)
            self.mended += [line for line in done if line not in self.mended]
            self._tips = self.store.tips() if done else tips
            self._note(self._tips)
        return self._tips

    def _is_after_boot(self) -> bool:
        """Whether this is the first command since the machine was started; looked at once a process."""
        if self._booted or not os.path.isdir(self.repo.coord_dir):
            return False
        from gitcoord.log import boot

        self._booted = not boot.is_new(self.path("boots"))
        return not self._booted

    def _after_boot(self, fd: int) -> list[str]:
        from gitcoord.log import boot

        self._booted = True
        done = boot.look(self.ground(fd), self.store.tips())
        boot.note(self.path("boots"))
        return done

    def _mend_log(self, ref: str, fd: int) -> None:
        """A log of ours is not as the index has seen it."""
        from gitcoord.log import mend

        self._tips = None
        tips = self._mended_tips(fd)
        was = mend.own_seen(self.ground(fd)).get(ref) or tips.refs.get(ref)
        if was is not None:
            self._mended(mend.settle(self.ground(fd), ref, tips.refs.get(ref), was))

    def _mend_others(self, fd: int) -> None:
        """Others' logs and presence that have a hole, or were rewound by force."""
        from gitcoord.log import mend, repair

        unreadable, rewound = list(self.index.unreadable), dict(self.index.rewound)
        ground, done = self.ground(fd), []
        for ref, old in rewound.items():
            repair.put_back(ground, ref, old, self.clock())
        done += mend.drop_lost(ground, unreadable, self.store.tips())
        self._mended(done)

    # writing

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the write lock; nested calls share it. When it is free again, what has piled up is tidied."""
        if self._fd is not None and is_held(self._fd):
            yield self._fd
            return
        self._make_directory()
        with file_lock(self.path("lock")) as fd:
            self._fd, self._tips = fd, None
            self._reconsider_id()
            try:
                yield fd
            finally:
                self._fd = self._tips = None
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
                try:
                    return self._append_once(decide, local, sign, tips, fd)
                except (RefMoved, ObjectMissing, _TryAgain):
                    self._tips = None
                except OwnLogAmiss as amiss:
                    self._mend_log(amiss.ref, fd)
                if self.index.rewound or (attempt == 0 and self.index.unreadable):
                    self._mend_others(fd)
        raise RepositoryError("the log keeps moving under our lock", "git coord doctor")

    def _append_once(self, decide: Decide, local: bool, sign: Sign | None, tips: Tips, fd: int) -> list[Event]:
        moved = False
        try:
            with self.index.writing() as db:
                if not self.index.is_current(tips):
                    tips = self._newer_tips(tips)
                    readable = not self.index.unreadable
                    self.index.ingest_tips(self.store, tips)
                    if self.index.rewound or (readable and self.index.unreadable):
                        raise _TryAgain  # which mends it first
                drafts = decide(db)
                if not drafts:
                    return []
                ref = newest_epoch(tips.refs, f"{NAMESPACE}{'local' if local else 'log'}/{self.settled_id()}/")
                parent = tips.refs.get(ref)
                written, objects = self.pen.chain(ref, next_clock(db, parent), drafts, parent, sign)
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

    def _newer_tips(self, tips: Tips) -> Tips:
        """The refs, listed again, for others' may have moved. Where ours did (a fetch that prunes), all begins anew: what
        was decided on the refs as they were put right must not be written on a list that was not."""
        fresh = self.store.tips()
        clone = self.settled_id()
        if own_logs(fresh.refs, clone) != own_logs(tips.refs, clone):
            raise _TryAgain
        self._tips = fresh
        return fresh

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

    def _write(self, ref: str, tip: Oid, objects: Sequence[GitObject], tips: Tips, fd: int) -> None:
        self.journal.rotate(self.clock())
        self.journal.add(objects)
        self.store.write(objects)
        self.store.move(ref, tip, tips.refs.get(ref), fd)
        self._keep_alive(objects)
        self._tips = Tips({**tips.refs, ref: tip}, tips.broken)
        with suppress(RepositoryError):  # the event is acknowledged; the note only speeds up a recovery
            self.journal.note(own_logs(self._tips.refs, self.settled_id()))
        if any(item.oid.startswith("17") for item in objects):
            self._look()  # one object in 256: often enough to pack before git counts them

    def _keep_alive(self, objects: Sequence[GitObject]) -> None:
        """A foreign `git prune --expire=now` may have taken them before their ref was there; from now on it does not."""
        loose = (is_loose(self.repo, item.oid) for item in objects)
        doubtful = [item for item, there in zip(objects, loose, strict=True) if not there]
        gone = set(self.store.missing([item.oid for item in doubtful])) if doubtful else set()
        self.store.write([item for item in doubtful if item.oid in gone])

    # presence, and tables of leases

    def put_presence(self, name: str, text: str, data: Mapping[str, object]) -> Oid:
        """Replace the presence commit of one of our sessions."""
        with self.locked() as fd:
            ref = f"{NAMESPACE}sessions/{self.settled_id()}/{name}"
            objects = self._alone(Draft("presence", text, data, author=name))
            self._replace(ref, objects[-1].oid, fd, objects)
            return objects[-1].oid

    def write_alone(self, draft: Draft) -> Oid:
        """Write a parentless commit, to be pointed at (`point`) once a remote has it; a ref of its own keeps it till then."""
        with self.locked() as fd:
            objects = self._alone(draft)
            self._replace(self._keeper(), objects[-1].oid, fd, objects)
            return objects[-1].oid

    def _keeper(self) -> str:
        """The ref that keeps a commit which is on its way to a remote; the next one takes its place."""
        return f"{NAMESPACE}aside/{self.settled_id()}/on-its-way"

    def point(self, ref: str, new: Oid | None) -> None:
        """Let a ref that is replaced, not appended to, name a commit that is there, or nothing any more."""
        with self.locked() as fd:
            self._replace(ref, new, fd)
            if new is not None and self._mended_tips(fd).refs.get(self._keeper()) == new:
                self._replace(self._keeper(), None, fd)

    def _alone(self, draft: Draft) -> list[GitObject]:
        return self.pen.alone(draft, self.read(seen_clock) + 1)

    def drop_presence(self, name: str) -> None:
        """Delete the presence ref of one of our sessions, if there is one."""
        with self.locked():
            self.point(f"{NAMESPACE}sessions/{self.settled_id()}/{name}", None)

    def _replace(self, ref: str, new: Oid | None, fd: int, objects: Sequence[GitObject] = ()) -> None:
        """Move a ref to a commit, writing its `objects` first."""
        for _ in range(ATTEMPTS):
            tips = self._mended_tips(fd)
            old = tips.refs.get(ref)
            if old == new:
                return
            with suppress(RefMoved, ObjectMissing):
                known = ref in tips.refs or own_logs(tips.refs, self.settled_id())
                needed = objects[-1:] if known else objects  # the empty tree is there once anything of ours is
                self.store.write(needed)
                self.store.move(ref, new, old, fd)
                self._keep_alive(needed)
                self._tips = Tips({r: oid for r, oid in {**tips.refs, ref: new}.items() if oid}, tips.broken)
                if old and old not in self._tips.refs.values():
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
        if self._recent:
            from gitcoord.log import tidy

            if tidy.is_worth_a_pack(self.store, self._recent):
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
        from gitcoord.log import tidy

        before, self._recent = self._recent, None
        tidy.pack(self.store, self.journal, self.id or "", self.locked, before, self._checked, limit)

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
