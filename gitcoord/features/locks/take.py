"""Take locks, wait for them, and give them back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from gitcoord.errors import Refused, UsageError
from gitcoord.features.locks import waiters
from gitcoord.features.locks.fold import MAX_PATTERNS, MAX_TTL, REASON, TTL
from gitcoord.features.locks.patterns import literal, overlap, typed_pattern, word_of
from gitcoord.features.locks.read import Lock, LockHeld, LockTable, all_locks, held, lock_of, merged, standing
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log import trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.names import mailbox, name_in
from gitcoord.sessions import touched
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.presence import register
from gitcoord.store.objects import Oid
from gitcoord.text import shell_word

# events


class Wish(NamedTuple):
    """A lock that a session wants. `ttl` in seconds."""

    patterns: tuple[str, ...]
    shared: bool = False
    reason: str = ""
    ttl: int = TTL
    local: bool = False
    """Whether it stays in this clone, because it names a file that git ignores."""


# read


def _in_the_way(at: LockTable, here: str, wish: Wish, wait: Lock | None = None) -> list[Lock]:
    """The locks that exclude `wish`: others' locks, and others who have waited longer."""
    earlier = [w for w in at.waits if wait is None or (w.lc, w.id) < (wait.lc, wait.id)]
    return [lock for lock in (*at.valid, *earlier) if lock.holder != here and lock.hinders(wish.patterns, wish.shared)]


# take


def lock(clone: Clone, me: Identity, wish: Wish, wait: float | None = 0, pids: Callable[[], Iterable[int]] = tuple) -> Lock:
    """Lock in this clone, waiting for at most `wait` seconds (None: for ever). Locking the same again renews the lock.

    The end of one of the processes `pids` may free the lock. Raises LockHeld if another session has it, UsageError for an
    invalid wish.
    """
    check(wish)
    with clone.locked():
        register(clone, me)
        event = _taken(clone.append(lambda db: take(db, clone, me, wish, queued=wait != 0)))
        if event.type == "lock":
            keep_marker(clone)
            return lock_of(clone, event.id)
        waiters.enter(clone, event.id)
    return waiters.wait(
        clone, event.id, wait, lambda: _attempt(clone, me, wish, event.id), lambda: _give_up(clone, me, event.id), pids
    )


def check(wish: Wish) -> None:
    if not 0 < len(wish.patterns) <= MAX_PATTERNS:
        raise UsageError(f"a lock takes 1 to {MAX_PATTERNS} patterns", "git coord lock 'src/*.py'")
    if not 0 < wish.ttl <= MAX_TTL:
        raise UsageError("a lock lasts at most a year", "give --ttl 2h, or 30d")
    if not REASON.fits(wish.reason):
        raise UsageError(f"the reason is not {REASON.says}", "give it in one line")


def take(
    db: sqlite3.Connection,
    clone: Clone,
    me: Identity,
    wish: Wish,
    queued: bool = False,
    wait: Lock | None = None,
    lease: str = "",
) -> list[Draft]:
    """Take the lock if it is free, otherwise a place in the queue if `queued`. Raises LockHeld."""
    here, now = mailbox(me.name, clone.settled_id()), time.time()
    at = standing(db, clone, now)
    hindering = _in_the_way(at, here, wish, wait)
    names = ", ".join(wish.patterns[:5]) + (", …" if len(wish.patterns) > 5 else "")
    data: dict[str, Any] = {"patterns": list(wish.patterns), "ttl": wish.ttl}
    data |= {"shared": True} if wish.shared else {}
    data |= {"reason": wish.reason} if wish.reason else {}
    data |= {"lease": lease} if lease else {}
    if hindering and queued:
        _check_circle(at, here, hindering)
        what = f"{me.name} waits to lock {names}"
        return [Draft("lock.wait", what, {**data, "ttl": MAX_TTL}, author=me.name, local=wish.local)]
    if hindering:
        raise held(hindering, clone, now, wish.patterns)
    over_here = [old for old in at.over if not old.waits and trust.is_own(clone, old.clone)]
    dead = [old for old in over_here if old.holder != here and old.hinders(wish.patterns, wish.shared)]
    own = [old for old in (*at.valid, *over_here) if old.holder == here and set(old.patterns) <= set(wish.patterns)]
    over = [*(old for old in (*dead, *own) if not old.waits), *([wait] if wait else [])]
    data |= {"supersedes": [old.id for old in over]} if over else {}
    because = f": {wish.reason}" if wish.reason else ""
    taken = Draft("lock", f"{me.name} locked {names}{because}", data, author=me.name, local=wish.local)
    unseen = _ends(me.name, [old for old in over if not old.local], []) if wish.local else []
    return [*unseen, taken, *(_overtaken(me, old, now) for old in dead)]


def _taken(written: Sequence[Event]) -> Event:
    """The lock, or the place in the queue, among the events of `take`."""
    return next(event for event in written if event.type != "unlock")


def _overtaken(me: Identity, old: Lock, now: float) -> Draft:
    why = "had expired" if old.expires <= now else "you held while you were gone"
    text = f"{me.name} took over your lock on {', '.join(old.patterns)}, which {why}"
    return _notice(me.name, old, text)


def _notice(name: str, lock: Lock, text: str) -> Draft:
    """A message to the holder of a lock; it names the patterns, so it stays in this clone if the lock does."""
    data = {"to": [lock.holder], "notice": "lock", "about": lock.id}
    return Draft("message", text, data, author=name, local=lock.local)


def _check_circle(at: LockTable, here: str, hindering: Sequence[Lock]) -> None:
    """Refuse to wait if both sessions would wait for each other for ever. Raises LockHeld."""
    todo, seen = list(hindering), {here}
    while todo:
        holder = todo.pop().holder
        if holder in seen:
            continue
        seen.add(holder)
        for wait in (w for w in at.waits if w.holder == holder):
            wanted = Wish(wait.patterns, wait.shared)
            for lock in _in_the_way(at, holder, wanted, wait):
                if lock.holder == here:
                    name = name_in(holder)
                    what = f"{name} waits for {', '.join(lock.patterns)}, which you hold: each would wait for the other"
                    raise LockHeld(what, f"git coord unlock {shell_word(lock.patterns[0])}", hindering)
                todo.append(lock)


def _attempt(clone: Clone, me: Identity, wish: Wish, wait: Oid) -> Lock | None:
    """Try once while waiting, first without the write lock."""
    here = clone.box(me.name)

    def hindered(db: sqlite3.Connection) -> bool:
        return bool(_in_the_way(standing(db, clone), here, wish, _waiting(db, wait)))

    def decide(db: sqlite3.Connection) -> list[Draft]:
        return [] if hindered(db) else take(db, clone, me, wish, wait=_waiting(db, wait))

    if clone.read(hindered):
        return None
    with clone.locked():
        events = clone.append(decide)
        if not events:
            return None
        keep_marker(clone)
        return lock_of(clone, _taken(events).id)


def _waiting(db: sqlite3.Connection, wait: Oid) -> Lock:
    found = next((lock for lock in all_locks(db) if lock.id == wait), None)
    if found is None:
        raise Refused("another session ended your wait", "git coord locks")
    return found


def _give_up(clone: Clone, me: Identity, wait: Oid) -> LockHeld | None:
    """Leave the queue; returns the locks that excluded the wish."""

    def decide(db: sqlite3.Connection) -> list[Draft]:
        mine = next((lock for lock in all_locks(db) if lock.id == wait), None)
        if mine is None:
            return []
        return [Draft("unlock", f"{me.name} left the queue", {"locks": {wait: []}}, author=me.name, local=mine.local)]

    def ask(db: sqlite3.Connection) -> list[Lock]:
        mine = next((lock for lock in all_locks(db) if lock.id == wait), None)
        wish = Wish(mine.patterns, mine.shared) if mine else Wish(())
        return _in_the_way(standing(db, clone), clone.box(me.name), wish, mine)

    hindering = clone.read(ask)
    clone.append(decide)
    return held(hindering, clone, time.time()) if hindering else None


# end


def unlock(clone: Clone, me: Identity, patterns: Sequence[str], everything: bool = False, force: bool = False) -> list[Lock]:
    """End my locks, by pattern or all; with `force` also another session's, which is told. Returns the ended locks. Raises
    Refused for a pattern that is not locked, or that another session has locked."""
    if not patterns and not everything:
        raise UsageError("no pattern is named", "git coord unlock PATTERN, or --all for all of mine")
    ended: list[Lock] = []

    def decide(db: sqlite3.Connection) -> list[Draft]:
        here = mailbox(me.name, clone.settled_id())
        found = [lock for lock in all_locks(db) if not lock.waits]
        chosen = [lock for lock in found if everything and lock.holder == here]
        chosen += [lock for pattern in patterns for lock in [_named(found, here, pattern, force, clone)] if lock not in chosen]
        ended[:] = merged(chosen)
        return _ends(me.name, ended, [lock for lock in ended if lock.holder != here])

    with clone.locked():
        register(clone, me)
        clone.append(decide)
        keep_marker(clone)
    return ended


def _named(found: Sequence[Lock], here: str, pattern: str, force: bool, clone: Clone) -> Lock:
    of = [lock for lock in found if pattern in lock.patterns]
    lock = next((lock for lock in of if lock.holder == here), None) or next(iter(of), None)
    if lock is None:
        near = next((q for lock in found if lock.holder == here for q in lock.patterns if overlap(q, pattern)), None)
        raise Refused(f"{pattern} is not locked", f"git coord unlock {shell_word(near)}" if near else "git coord locks")
    if not trust.is_own(clone, lock.clone):
        hint = f"git coord send {shell_word(lock.holder)} {shell_word(f'please unlock {pattern}')}"
        raise LockHeld(f"{lock.holder} of another clone has locked {pattern}: only that clone can unlock it", hint, [lock])
    if lock.holder != here and not force:
        refusal = held([lock], clone, time.time())
        raise LockHeld(refusal.what, "git coord unlock --force ends it and tells the holder", [lock])
    return lock._replace(patterns=(pattern,))


def _ends(name: str, ended: Sequence[Lock], told: Sequence[Lock], why: str = "") -> list[Draft]:
    drafts = []
    for local in (False, True):
        if locks := {lock.id: list(lock.patterns) for lock in ended if lock.local == local}:
            what = ", ".join(p for patterns in locks.values() for p in patterns)
            drafts.append(Draft("unlock", f"{name} unlocked {what[:500]}", {"locks": locks}, author=name, local=local))
    return [*drafts, *(_notice(name, lock, why or f"{name} ended your lock on {', '.join(lock.patterns)}") for lock in told)]


def end(clone: Clone, lock: Oid, name: str, why: str = "") -> None:
    """End one lock of this clone, and tell its holder `why`, if given."""
    with clone.locked():
        found = [each for each in clone.read(all_locks) if each.id == lock]
        clone.append(lambda db: _ends(name, found, found if why else [], why))
        keep_marker(clone)


def farewell(db: sqlite3.Connection, clone: Clone, name: str) -> list[Draft]:
    """The drafts that end the locks of a leaving session."""
    box = clone.box(name)
    return _ends(name, [lock for lock in all_locks(db) if lock.holder == box], [])


def end_expired(clone: Clone, now: float | None = None) -> None:
    """End locks of this clone whose time is over, once, and tell their holders. Costs a look at one file when there are
    none."""
    now = time.time() if now is None else now
    if not waiters.is_due(clone, now):
        return

    def decide(db: sqlite3.Connection) -> list[Draft]:
        drafts: list[Draft] = []
        for lock in all_locks(db):
            if clone.is_ours(lock.clone) and not lock.waits and lock.expires <= now:
                text = f"Your lock on {', '.join(lock.patterns)} has expired"
                drafts += _ends(name_in(lock.holder), [lock], [lock], text)
        return drafts

    with clone.locked():
        clone.append(decide)
        keep_marker(clone)


def keep_marker(clone: Clone) -> None:
    """Keep `coord/guard` up to date. Call it under the write lock after locks were taken or ended."""
    locks = [lock for lock in clone.read(all_locks) if not lock.waits]
    waiters.keep_marker(clone, min((lock.expires for lock in locks), default=None))
    words: dict[str, list[str]] = {}
    for lock in locks:
        holder = name_in(lock.holder) if clone.is_ours(lock.clone) else ""
        words.setdefault(holder, []).extend(map(word_of, lock.patterns))
    touched.keep_locks(clone.repo.coord_dir, words)


def names_ignored(clone: Clone, patterns: Iterable[str]) -> set[str]:
    """Those of some patterns from the root that name a file that git ignores, itself or with its folder."""
    from gitcoord.sessions.ignored import ignored_names

    names = {pattern: literal(pattern) or pattern.replace("\\", "").lstrip("/") for pattern in patterns}
    ignored = ignored_names(clone, names.values())
    return {pattern for pattern, name in names.items() if name in ignored}


def typed(clone: Clone, cwd: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns from the root, from text typed in `cwd`. Raises UsageError."""
    return tuple(dict.fromkeys(typed_pattern(clone.repo, cwd, text) for text in patterns))


def list_locks(clone: Clone, now: float | None = None) -> list[Lock]:
    """The locks that hold, oldest first. Locks that expired since the last look are ended, and their holders are told."""
    end_expired(clone, now)
    return clone.read(lambda db: standing(db, clone, now)).valid
