"""One clone as a participant: the one way to write to its log and to the refs that it replaces.

Read `Clone.append` first. A clone writes only under the write lock, on refs that it has checked and repaired under that
lock (`opened`). It never removes an acknowledged event.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from gitcoord.errors import CoordError, ObjectMissing, RefMoved, RepositoryError
from gitcoord.lean import TYPE_CHECKING, Any, TypeVar, sqlite3, suppress
from gitcoord.log.clock import next_clock, seen_clock
from gitcoord.log.event import MAX_CLOCK, Draft, Event, LaterDraft
from gitcoord.log.ground import own_logs
from gitcoord.log.index import OwnLogAmiss, presence
from gitcoord.log.index.feature import Registry
from gitcoord.log.opened import ATTEMPTS, Opened
from gitcoord.log.pen import Sign
from gitcoord.store.contract import Tips
from gitcoord.store.loose import is_loose
from gitcoord.store.objects import GitObject, Oid
from gitcoord.store.ref_names import NAMESPACE, belongs_to, is_local, is_old_presence, newest_epoch, owner, presence_ref
from gitcoord.store.repository import Repository

if TYPE_CHECKING:
    from gitcoord.log.journal import JournalPlace

T = TypeVar("T")
Decide = Callable[[sqlite3.Connection], Sequence[Draft | LaterDraft]]
_TYPED = ("message", "note", "task", "state", "lock")
"""The types of events that contain words of a user."""
SWEEP_GRACE = 3600.0
"""Seconds for which a superseded presence commit stays: a gc, push or clone that saw it may still want to read it."""
INLINE_OBJECTS = 16_000
"""The largest pack that a writer makes by merging; larger ones wait for a process in the background."""


class Clone(Opened):
    """Opened once per process. Not for use from several threads at a time."""

    def __init__(
        self,
        repo: Repository,
        registry: Registry[Clone],
        long_lived: bool = False,
        after_write: Callable[[Clone], None] = lambda clone: None,
    ) -> None:
        super().__init__(repo, registry, long_lived)
        self.sweep_grace = SWEEP_GRACE
        self._after_write = after_write
        self._superseded = False
        self.keeps_to_itself = False
        """Whether writing starts no sync, because one is running."""
        self.tell_user: Callable[[str], object] = lambda line: None
        """Called with a line for the user while the command runs."""
        self.allows_secrets = False
        """Whether the user allows text that looks like a secret in events that other clones see."""
        self._wrote = False

    # events

    def append(self, decide: Decide, local: bool = False, sign: Sign | None = None) -> list[Event]:
        """Decide on the newest state and write what `decide` returns, as one move of our log; without drafts write
        nothing. Drafts that are `local` are written after the others, as a second move.

        `decide` may run more than once: it is asked again when the ref or the index have moved. `sign` turns the last
        of the raw commits into the one to be written. If either raises, everything stays as it was.
        """
        aside: list[Draft | LaterDraft] = []

        def public(db: sqlite3.Connection) -> Sequence[Draft | LaterDraft]:
            drafts = decide(db)
            aside[:] = filter(_stays, drafts)
            return [draft for draft in drafts if not _stays(draft)] if aside else drafts

        with self.locked() as fd:
            written = self._append(decide if local else public, local, sign, fd)
            return written + self._append(lambda db: aside, True, None, fd) if aside else written

    def _append(self, decide: Decide, local: bool, sign: Sign | None, fd: int) -> list[Event]:
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
        raise RepositoryError("another program keeps moving the log", "git coord doctor")

    def _append_once(self, decide: Decide, local: bool, sign: Sign | None, tips: Tips, fd: int) -> list[Event]:
        moved = False
        try:
            with self.index.writing() as db:
                if not self.index.is_current(tips):
                    tips = self._newer_tips(tips)
                    readable = not self.index.unreadable
                    self.index.ingest_tips(self.store, tips)
                    if self.index.rewound or (readable and self.index.unreadable):
                        raise _TryAgain  # which repairs the ref first
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
                moved = True  # the event is written; the index reads later what it missed
                self._wrote = self._wrote or not local
                self.index.append(ref, written)
        except sqlite3.DatabaseError as error:
            if not moved:
                self.index.recover(error)
                raise _TryAgain from error
        except (CoordError, OwnLogAmiss, _TryAgain):
            raise
        except Exception as error:
            if moved or self.index.is_sound():
                raise
            self.index.discard()
            raise _TryAgain from error
        return [event for event, _ in written]

    def _newer_tips(self, tips: Tips) -> Tips:
        """List the refs again, because others' may have moved. If ours did (a fetch that prunes), all begins anew: a
        decision made on the repaired refs must not be written on refs that were not repaired."""
        fresh = self.store.tips()
        clone = self.settled_id()
        if own_logs(fresh.refs, clone) != own_logs(tips.refs, clone):
            raise _TryAgain
        self._tips = fresh
        return fresh

    def _write(self, ref: str, tip: Oid, objects: Sequence[GitObject], tips: Tips, fd: int) -> None:
        if is_local(ref):  # no gc of the user's reaches it
            self.store.write(objects, ref)
            self.store.move(ref, tip, tips.refs.get(ref), fd)
        else:
            self.journal.rotate(self.clock(), self._packed_up_to)
            self.journal.add(objects)
            self.store.write(objects)
            self.store.move(ref, tip, tips.refs.get(ref), fd)
            self._keep_alive(objects)
        self._tips = Tips({**tips.refs, ref: tip}, tips.broken)
        with suppress(RepositoryError):  # the event is acknowledged; the note only speeds up a recovery
            self.journal.note(own_logs(self._tips.refs, self.settled_id()))
        if any(item.oid.startswith("17") for item in objects):
            self._look()  # one object in 256: often enough to pack before git counts them

    def _packed_up_to(self) -> JournalPlace | None:
        from gitcoord.log import recent

        return recent.place(self._checked)

    def _keep_alive(self, objects: Sequence[GitObject]) -> None:
        """Restore objects that another's `git prune --expire=now` took before their ref existed; from now on the ref keeps
        them."""
        loose = (is_loose(self.repo, item.oid) for item in objects)
        doubtful = [item for item, there in zip(objects, loose, strict=True) if not there]
        gone = set(self.store.missing([item.oid for item in doubtful])) if doubtful else set()
        self.store.write([item for item in doubtful if item.oid in gone])

    # presence, and tables of leases

    def put_presence(self, name: str, data: Mapping[str, Any]) -> Oid | None:
        """Show the facts of one of our sessions, in the commit that has all of them."""
        now = max(0, int(self.clock()))
        return self._show(lambda sessions: {**sessions, name: presence.fact(data, now)})

    def drop_presence(self, *names: str) -> None:
        """Show some of our sessions no longer."""
        self._show(lambda sessions: {name: facts for name, facts in sessions.items() if name not in names})

    def _show(self, change: Callable[[presence.Sessions], presence.Sessions]) -> Oid | None:
        """Replace the commit with the facts of our sessions, and the refs of one session each that gitcoord 0.1 left."""
        with self.locked() as fd:
            me = self.settled_id()
            before = self.read(lambda db: presence.own(db, me))
            sessions = change(before)
            objects = self._alone(presence.draft(sessions, me)) if sessions else []
            self._replace(presence_ref(me), objects[-1].oid if objects else None, fd, objects)
            for ref in self._mended_tips(fd).refs:
                if is_old_presence(ref) and belongs_to(ref, me):
                    self._replace(ref, None, fd)
            return objects[-1].oid if objects else None

    def keep_for_now(self, objects: Sequence[GitObject]) -> None:
        """Store commits that no ref here will name; the sweep removes them after an hour."""
        from gitcoord.store import sweep

        with self.locked():
            self.store.write(objects)
            sweep.supersede_all(self.repo, self.path("superseded"), [item.oid for item in objects], self.clock())

    def write_alone(self, draft: Draft, above: int = 0) -> Oid:
        """Write a parentless commit, to which `point` moves a ref once a remote has it; a ref of its own keeps it till
        then. Its clock is above `above`, the clock of the commit that it replaces."""
        with self.locked() as fd:
            objects = self._alone(draft, above)
            self._replace(self._keeper(), objects[-1].oid, fd, objects)
            return objects[-1].oid

    def list_retired(self, logs: Mapping[str, Oid], before: Sequence[Oid]) -> Oid:
        """Write the commit that adds `logs` to the list of retired clones at the first of `before`, and continues the
        others, too; a ref of its own keeps it until `point`."""
        from gitcoord.log.apart.retired import TYPE, with_parents

        with self.locked() as fd:
            count = len({owner(ref) for ref in logs})
            text = f"{count} {'clone was' if count == 1 else 'clones were'} retired after a long silence"
            text = text if logs else "this list continues two"
            *needed, bare = self._alone(Draft(TYPE, text, {"logs": dict(logs)}, author=self.settled_id()[:40]))
            parents = dict.fromkeys([*before, *logs.values()])
            item = with_parents(bare, list(parents), self.repo.object_format)
            self._replace(self._keeper(), item.oid, fd, [*needed, item])
            return item.oid

    def _keeper(self) -> str:
        """The ref that keeps a commit on its way to a remote; the next such commit replaces it."""
        return f"{NAMESPACE}aside/{self.settled_id()}/on-its-way"

    def point(self, ref: str, new: Oid | None) -> None:
        """Point a ref (presence or leases, which are replaced) to an existing commit, or delete it."""
        with self.locked() as fd:
            self._replace(ref, new, fd)
            if new is not None and self._mended_tips(fd).refs.get(self._keeper()) == new:
                self._replace(self._keeper(), None, fd)

    def put_in_place(self, ref: str, new: Oid, old: Oid) -> bool:
        """As `point`, if the ref still names `old`; returns whether it did."""
        with self.locked() as fd:
            if self._mended_tips(fd).refs.get(ref) != old:
                return False
            self._replace(ref, new, fd)
            return True

    def _alone(self, draft: Draft, above: int = 0) -> list[GitObject]:
        return self.pen.alone(draft, min(max(self.read(seen_clock), above) + 1, MAX_CLOCK))

    def _replace(self, ref: str, new: Oid | None, fd: int, objects: Sequence[GitObject] = ()) -> None:
        """Move a ref to a commit, writing its `objects` first."""
        for _ in range(ATTEMPTS):
            tips = self._mended_tips(fd)
            old = tips.refs.get(ref)
            if old == new:
                return
            with suppress(RefMoved, ObjectMissing):
                known = ref in tips.refs or own_logs(tips.refs, self.settled_id())
                needed = objects[-1:] if known else objects  # the empty tree exists once anything of ours does
                self.store.write(needed)
                if old:
                    from gitcoord.store import sweep

                    sweep.keep(self.repo, self.path("superseded"), [old])
                self.store.move(ref, new, old, fd)
                self._keep_alive(needed)
                self._tips = Tips({r: oid for r, oid in {**tips.refs, ref: new}.items() if oid}, tips.broken)
                if old and old not in self._tips.refs.values():
                    self._superseded = True
                    sweep.supersede(self.repo, self.path("superseded"), old, self.clock())
                return
            self._tips = None
        raise RepositoryError(f"another program keeps moving {ref}", "git coord doctor")

    # tidying

    def _tidy(self) -> None:
        """After unlocking: start a sync of new events, pack our loose objects before git counts them, sweep superseded
        presence. Never fails."""
        self.have_sent()
        if self._recent:
            from gitcoord.log import tidy

            if tidy.is_worth_a_pack(self.store, self._recent):
                self.pack()
            self._recent = None  # asked again after the next look, not after every write
        if self._superseded:
            from gitcoord.store import sweep

            if sweep.is_due(self.path("superseded"), self.clock(), self.sweep_grace):
                self._superseded = False
                with suppress(RepositoryError):
                    self.sweep()

    def have_sent(self) -> None:
        """Start a sync of new events in the background, unless one is under way."""
        if self._wrote and not self.keeps_to_itself:
            self._wrote = False
            if os.path.exists(self.path("remote")):
                self._after_write(self)

    def pack(self, limit: int | None = INLINE_OBJECTS) -> None:
        """Pack our loose objects, and merge our packs as long as no pack gets more than `limit` objects."""
        from gitcoord.log import tidy

        def fill_holes() -> None:
            from gitcoord.log import boot

            self.mend(boot.fill_holes)

        before, self._recent = self._recent, None
        tidy.pack(self.store, self.id, fill_holes, before, self._checked, limit)

    def sweep(self) -> int:
        """Remove presence commits superseded for longer than `sweep_grace` seconds; returns how many."""
        from gitcoord.store import sweep

        with self.locked():
            return sweep.sweep(self.repo, self.path("superseded"), self.clock(), self.sweep_grace)


def _stays(draft: Draft | LaterDraft) -> bool:
    return isinstance(draft, Draft) and draft.local


def _check_secrets(event: Event, objects: Sequence[GitObject]) -> None:
    """Search typed text for secrets before it can leave the clone. Raises LooksSecret."""
    if event.type.partition(".")[0] not in _TYPED or "notice" in event.data:
        return
    from gitcoord.log import secrets

    quotes = event.type.startswith("task.") and event.type != "task.edit"  # the title is in the first line
    attached = [item.data for item in objects if item.kind == "blob"]
    secrets.check(event.text.partition("\n\n")[2] if quotes else event.text, event.data.values(), attached)


class _TryAgain(Exception):
    """The index was damaged and has been replaced, or a ref is to be mended first; decide anew."""
