"""The reading half of a clone: its id, its index, the write lock, and the repair of damage that it finds.

Read `Opened.read` first. Data that could not be read is an error and never an empty answer. Damage to our own logs is
repaired under the lock before anything is answered or written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from gitcoord.errors import CoordError, RefMoved, RepositoryError, Unwritable
from gitcoord.lean import TYPE_CHECKING, Any, TypeVar, cast, contextmanager, sqlite3, suppress
from gitcoord.log import clone_id, trust
from gitcoord.log.apart.store import PartedStore
from gitcoord.log.ground import Ground, own_logs
from gitcoord.log.index import Index, OwnLogAmiss
from gitcoord.log.index.feature import Registry
from gitcoord.log.journal import Journal
from gitcoord.log.pen import Pen
from gitcoord.names import clone_in, mailbox
from gitcoord.store import open_store
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import is_coordination
from gitcoord.store.repository import Repository
from gitcoord.system.files import make_top, signature
from gitcoord.system.lock import file_lock, is_held, removed, unwritable

if TYPE_CHECKING:
    from gitcoord.log.recent import Recent

T = TypeVar("T")
ATTEMPTS = 10
CHECK_EVERY = 2.0
"""Seconds between two looks at whether our recent objects are still there."""


class Opened:
    """A clone that can be read and repaired. `Clone` adds writing."""

    def __init__(self, repo: Repository, registry: Registry[Any], long_lived: bool = False) -> None:
        self.repo = repo
        self.store = PartedStore(open_store(repo, long_lived), lambda: self.id)
        self.journal = Journal(repo.coord_dir, repo.flag("fsync"))
        self.mended: list[str] = []
        """The repairs of this process, a line each, for the user to read."""
        self.long_lived = long_lived
        self.clock: Callable[[], float] = time.time
        self.registry = registry
        self.when_free: dict[str, Callable[[], None]] = {}
        """Work that takes too long for the write lock, by its subject: done once the lock is free."""
        self._id = ""
        self._pen: Pen | None = None
        self._id_file: tuple[int, ...] = ()
        self._booted = False
        self._fd: int | None = None
        self._tips: Tips | None = None
        """The refs as last listed and repaired while we hold the lock: only a foreign git moves them then."""
        self._has_directory = os.path.isdir(repo.coord_dir)
        """Whether `coord/` existed at the start: if `purge` removes it while we run, we do not make it again."""
        self._checked = self.path("checked")
        self._recent: Recent | None = None

    # the identity of this clone

    @property
    def id(self) -> str:
        """This clone's id; empty until the first write. Raises Unreadable."""
        if not self._id:
            self._id = clone_id.read_clone_id(self.repo) or ""
        return self._id

    def box(self, name: str) -> str:
        """The mailbox of a session of this clone."""
        return mailbox(name, self.id)

    def has(self, box: str) -> bool:
        """Whether a mailbox belongs to a session of this clone."""
        return bool(self.id) and clone_in(box) == self.id

    def is_ours(self, name: str) -> bool:
        """Whether `name` is this clone's id."""
        return name == self.id

    def settled_id(self) -> str:
        """This clone's id, made if missing. Call it under the write lock."""
        return self.pen.clone

    @property
    def pen(self) -> Pen:
        """The pen that makes our commits. Call it under the write lock. Raises RepositoryError."""
        if self._pen is None:
            self._pen = self._pen_of(clone_id.settle_clone_id(self.repo))
            self._id, self._id_file = self._pen.clone, signature(self.path("clone"))
        return self._pen

    def _pen_of(self, known: clone_id.KnownClone) -> Pen:
        return Pen(self.repo, known, lambda: self.clock(), lambda event: self.index.check_draft(event))

    def _reconsider_id(self) -> None:
        """Read the id again: another process may have given this clone a new one (`new_clone_id`)."""
        found = signature(self.path("clone"))
        if found != self._id_file:
            self._id, self._pen, self._id_file = "", None, found

    def rename(self, known: clone_id.KnownClone) -> None:
        """Use another id in this process, before it is written; to be called under the write lock."""
        self._id, self._pen, self._tips = known.id, self._pen_of(known), None

    @cached_property
    def index(self) -> Index:
        ignored = frozenset(self.repo.setting("ignoreclone").split())
        return Index(self.repo.coord_dir, self.registry, ignored, lambda: self.id, trust.Referee(self))

    def close(self) -> None:
        """Close files and packs."""
        if "index" in self.__dict__:
            self.index.close()
        self.store.close()

    def path(self, *parts: str) -> str:
        """A file of ours, below `$GIT_COMMON_DIR/coord`."""
        return os.path.join(self.repo.coord_dir, *parts)

    # reading

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Bring the index up to date and ask it. Damage is repaired first, if we may write. Raises Unreadable if refs or
        objects could not be read, because then "nothing found" would be wrong."""
        if self._fd is not None and self.holds_lock:
            return self._read_locked(self._fd, question)
        self._reconsider_id()
        with suppress(OwnLogAmiss):
            noted = self.journal.tips()  # before the refs are listed, so that no writer comes in between
            tips = self.store.tips()
            if self._is_well(noted, tips):
                answer = self.index.query(self.store, tips, question)
                if not (self.index.unreadable or self.index.rewound):
                    self._say_vanished()
                    return cast(T, answer)
        return self._read_mended(question)

    def _is_well(self, noted: Mapping[str, Oid], tips: Tips) -> bool:
        """Whether refs and journal agree, by a quick look."""
        if any(map(is_coordination, tips.broken)) or self._is_after_boot():
            return False
        own = own_logs(tips.refs, self.id) if noted else {}
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
        except Unwritable:  # a read-only repository is read as it is
            self.index.forgets = True
            answer = cast(T, self.index.query(self.store, self.store.tips(), question))
        self._say_vanished()
        return answer

    def _read_locked(self, fd: int, question: Callable[[sqlite3.Connection], T]) -> T:
        """Repair twice at most: a repair can reveal a second damage, never a third."""
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

            gone, self.index.vanished = self.index.vanished, {}
            repair.say_vanished(self.repo.coord_dir, gone, self.store.tips(), self.id, self.clock())

    # repair

    def ground(self, fd: int) -> Ground:
        """The parts that a repair needs. Call it under the write lock, whose descriptor `fd` is."""
        return Ground(self.store, self.journal, self.index, self.pen, fd)

    def mend(self, action: Callable[[Ground, Tips], Sequence[str]]) -> list[str]:
        """Run a repair under the write lock; returns its lines, which the user sees, too."""
        with self.locked() as fd:
            tips = self.settled_tips(fd)
            done = list(action(self.ground(fd), tips))
            self._mended(done)
            return done

    def settle_lost(self, why: str = "") -> bool:
        """Repair refs of our format that point nowhere, after something failed; returns whether there were any. Never
        fails. If git said (`why`) that it could not read an object, our objects are restored from the journal, too."""
        from gitcoord.log import boot

        try:
            if boot.is_about_objects(why):
                return bool(self.mend(boot.restore_and_settle))
            found = any(boot.lost_refs(self.store, self.store.tips()))
            if found:
                self.mend(boot.settle_refs)
            return found
        except CoordError:
            return False

    def _mended(self, done: Sequence[str]) -> None:
        """Remember the repairs, for the user. The next listing of the refs notes the tips of our logs."""
        self.mended += [line for line in done if line not in self.mended]
        self._tips = None

    def _note(self, tips: Tips) -> None:
        own = own_logs(tips.refs, self.settled_id())
        if own != self.journal.tips():
            self.journal.note(own)

    def settled_tips(self, fd: int) -> Tips:
        """The refs as they are now, with ours repaired. Call it under the write lock."""
        self._tips = None
        return self._mended_tips(fd)

    def _mended_tips(self, fd: int) -> Tips:
        """The refs, listed once under the lock, with ours repaired. The repair never waits for other programs."""
        if self._tips is None:
            if not 0 <= time.time() - self._looked() < CHECK_EVERY:
                self._look()
            self._tips = self._put_right(fd)
        return self._tips

    def _put_right(self, fd: int) -> Tips:
        """The refs, with ours repaired. The tips of our logs are noted only from a list in which nothing was wrong: when an
        empty ref file is removed, an older value in packed-refs appears, and a fetch may undo a repair. The last attempt is
        taken as it is."""
        from gitcoord.log import mend

        for left in range(ATTEMPTS)[::-1]:
            tips = self.store.tips()
            if broken := mend.drop_broken(self.store, tips, fd):
                tips = self.store.tips()
            try:
                done = mend.mend(self.ground(fd), tips)
            except RefMoved:
                continue
            if self.store.left and not done:
                done += mend.take_in_local(self.ground(fd))
                tips = self.store.tips()
            if self._is_after_boot():
                done += self._after_boot(fd)
            self.mended += [line for line in [*broken, *done] if line not in self.mended]
            if done and left:
                continue
            self._note(tips)
            return tips
        raise RepositoryError("refs below refs/coord keep moving under our lock", "git coord doctor")

    def _is_after_boot(self) -> bool:
        """Whether this is the first command since the machine was started; looked at once a process."""
        if self._booted or not os.path.isdir(self.repo.coord_dir):
            return False
        from gitcoord.log import boots

        self._booted = not boots.is_new(self.path("boots"))
        return not self._booted

    def _after_boot(self, fd: int) -> list[str]:
        from gitcoord.log import boot, boots

        self._booted = True
        done = boot.look(self.ground(fd), self.store.tips())
        boots.note(self.path("boots"))
        return done

    def _mend_log(self, ref: str, fd: int) -> None:
        """Repair a log of ours that is not as the index has seen it."""
        from gitcoord.log import mend

        self._tips = None
        tips = self._mended_tips(fd)
        was = mend.own_seen(self.ground(fd)).get(ref) or tips.refs.get(ref)
        if was is not None:
            with suppress(RefMoved):  # the caller lists the refs again
                self._mended(mend.restore_log(self.ground(fd), ref, tips.refs.get(ref), was))

    def _mend_others(self, fd: int) -> None:
        """Repair others' logs and presence that have a hole, or were rolled back by force."""
        from gitcoord.log import mend, repair

        unreadable, rewound = list(self.index.unreadable), dict(self.index.rewound)
        ground, done = self.ground(fd), []
        for ref, old in rewound.items():
            repair.put_back(ground, ref, old, self.clock())
        done += mend.drop_lost(ground, unreadable, self.store.tips())
        self._mended(done)

    # the lock

    @property
    def holds_lock(self) -> bool:
        """Whether we hold the write lock."""
        return self._fd is not None and is_held(self._fd)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the write lock; nested calls share it. When it is free again, the clone is tidied."""
        if self._fd is not None and self.holds_lock:
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

    def _looked(self) -> float:
        """The last look at our recent objects, by any process."""
        try:
            return os.stat(self._checked).st_mtime
        except OSError:
            return 0.0

    def _look(self) -> None:
        from gitcoord.log import recent

        self._recent = recent.look(self.store, self.journal, self._checked)
        self.mended += self._recent.restored

    def _tidy(self) -> None:
        """Called when the lock is free again; `Clone` overrides it."""
