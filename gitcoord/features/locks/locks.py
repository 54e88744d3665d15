"""Locks: advisory, on paths and patterns, bound to a session, with an end.

The write lock makes decisions in one clone follow each other, so a `lock` event is legal by construction: it ends what
it `supersedes` and stands until it is ended, its time is over, or its holder is gone. Between clones nothing was
promised: what both locked before they met, both hold, and both see it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gitcoord.errors import Refused, UsageError
from gitcoord.features.locks import waiters
from gitcoord.features.locks.patterns import overlap, typed_pattern, why_not
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import FLAG, ID, MANY, Kind, Schema, line, listed, mapped, number, text
from gitcoord.names import mailbox, split_mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import canonical
from gitcoord.sessions.membership import states_in
from gitcoord.sessions.presence import register
from gitcoord.store.objects import Oid
from gitcoord.text import shell_word

TTL = 2 * 3600
"""Seconds for which a lock holds when nobody says how long."""
MAX_TTL = 365 * 86400
MAX_PATTERNS = 100
MAX_REASON = 1000

# events


def _fold(db: sqlite3.Connection, event: Event) -> None:
    if event.type == "unlock":
        for oid, patterns in event.data["locks"].items():
            for pattern in patterns or [""]:
                _end(db, oid, pattern)
        return
    data = event.data
    until, shared, reason = event.at + data.get("ttl", TTL), data.get("shared", False), data.get("reason", "")
    row = (event.id, event.lc, event.clone, event.author, event.at, until, shared, reason, event.type == "lock.wait")
    db.execute("INSERT OR IGNORE INTO locks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    for place, pattern in enumerate(dict.fromkeys(data["patterns"])):
        ended = "SELECT 1 FROM lock_ends WHERE lock = ? AND pattern IN (?, '')"
        if db.execute(ended, (event.id, pattern)).fetchone() is None:
            db.execute("INSERT OR IGNORE INTO held VALUES (?, ?, ?)", (event.id, pattern, place))
    if lease := data.get("lease"):
        db.execute("INSERT OR IGNORE INTO lock_leases VALUES (?, ?)", (lease, event.id))
    for oid in data.get("supersedes", ()):
        _end(db, oid, "")


def _end(db: sqlite3.Connection, oid: str, pattern: str) -> None:
    """Remembered, too, for a lock that arrives later: no order of arrival matters."""
    db.execute("INSERT OR IGNORE INTO lock_ends VALUES (?, ?)", (oid, pattern))
    db.execute("DELETE FROM held WHERE lock = ? AND ? IN (pattern, '')", (oid, pattern))


PATTERN = Kind("a pattern", lambda value: type(value) is str and not why_not(value))
_LOCK = Schema(
    {
        "patterns": listed(PATTERN, MAX_PATTERNS, 1),
        "ttl": number(1, MAX_TTL),
        "shared": FLAG,
        "reason": line(MAX_REASON),
        "supersedes": listed(ID, MANY),
        "lease": line(64),
    },
    ("patterns",),
)
_UNLOCK = Schema({"locks": mapped(ID, listed(text(1000), MAX_PATTERNS), MANY)}, ("locks",))

FEATURE = Feature(
    "locks",
    {"lock": _LOCK, "lock.wait": _LOCK, "unlock": _UNLOCK},
    """
    CREATE TABLE locks (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, clone TEXT NOT NULL, author TEXT NOT NULL,
        at INTEGER NOT NULL, expires INTEGER NOT NULL, shared INTEGER NOT NULL, reason TEXT NOT NULL,
        waits INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE held (lock TEXT NOT NULL, pattern TEXT NOT NULL, place INTEGER NOT NULL,
        PRIMARY KEY (lock, pattern)) WITHOUT ROWID;
    CREATE TABLE lock_ends (lock TEXT NOT NULL, pattern TEXT NOT NULL, PRIMARY KEY (lock, pattern)) WITHOUT ROWID;
    CREATE TABLE lock_leases (nonce TEXT NOT NULL, lock TEXT NOT NULL, PRIMARY KEY (nonce, lock)) WITHOUT ROWID;
    """,
    _fold,
    living=("SELECT id FROM locks WHERE expires > :now",),
)


class Lock(NamedTuple):
    """A lock, or a place in the queue for one (`waits`). Times are Unix seconds, `holder` is a mailbox."""

    id: Oid
    holder: str
    patterns: tuple[str, ...]
    reason: str
    shared: bool
    at: int
    expires: int
    waits: bool
    lc: int
    clone: str

    def hinders(self, patterns: Iterable[str], shared: bool) -> bool:
        """Whether it excludes a lock on `patterns`."""
        return not (shared and self.shared) and any(overlap(p, q) for p in patterns for q in self.patterns)


class Held(Refused):
    """Somebody else has it. `locks` are those in the way."""

    def __init__(self, what: str, hint: str, locks: Sequence[Lock]) -> None:
        super().__init__(what, hint)
        self.locks = tuple(locks)


class Wish(NamedTuple):
    """A lock that somebody wants. `ttl` in seconds."""

    patterns: tuple[str, ...]
    shared: bool = False
    reason: str = ""
    ttl: int = TTL


class Standing(NamedTuple):
    """All locks at one moment: those that hold, those whose time or holder is over, and who waits, in order."""

    valid: list[Lock]
    over: list[Lock]
    waits: list[Lock]


# reading


def list_locks(clone: Clone, now: float | None = None) -> list[Lock]:
    """The locks that hold, oldest first. Those that expired since the last look are ended, and their holders told."""
    settle(clone, now)
    return clone.read(lambda db: standing(db, clone, now)).valid


def standing(db: sqlite3.Connection, clone: Clone, now: float | None = None) -> Standing:
    """Sort the locks that nobody ended."""
    now = time.time() if now is None else now
    found = [_by_our_clock(db, clone, lock) for lock in all_locks(db)]
    if not found:
        return Standing([], [], [])
    life = states_in(db, clone, {lock.holder for lock in found}, now)
    there = [lock for lock in found if lock.expires > now and life[lock.holder][0] != "gone"]
    waits = [lock for lock in there if lock.waits and lock.clone == clone.id and waiters.is_waiting(clone, lock.id)]
    valid = [lock for lock in there if not lock.waits]
    return Standing(valid, [lock for lock in found if lock not in valid and lock not in waits], waits)


def _by_our_clock(db: sqlite3.Connection, clone: Clone, lock: Lock) -> Lock:
    """Another clone's lock ends by its writer's clock. By how much that one differs, its presence shows: when it was
    written there and seen here; what it was on its way is on the safe side."""
    if lock.clone == clone.id:
        return lock
    (ahead,) = db.execute("SELECT min(seen - at) FROM presence WHERE clone = ?", (lock.clone,)).fetchone()
    return lock._replace(expires=lock.expires + int(ahead)) if ahead is not None else lock


def all_locks(db: sqlite3.Connection) -> list[Lock]:
    rows = db.execute(
        "SELECT l.id, h.pattern, l.author, l.clone, l.reason, l.shared, l.at, l.expires, l.waits, l.lc"
        " FROM held h JOIN locks l ON l.id = h.lock ORDER BY l.lc, l.id, h.place"
    ).fetchall()
    patterns: dict[Oid, list[str]] = {}
    for row in rows:
        patterns.setdefault(Oid(row[0]), []).append(row[1])
    first = {row[0]: row for row in reversed(rows)}
    return [
        Lock(oid, canonical(db, mailbox(r[2], r[3])), tuple(of), r[4], bool(r[5]), r[6], r[7], bool(r[8]), r[9], r[3])
        for oid, of in patterns.items()
        for r in [first[oid]]
    ]  # fmt: skip


def _in_the_way(at: Standing, here: str, wish: Wish, wait: Lock | None = None) -> list[Lock]:
    """What hinders `wish`: others' locks, and others who have waited longer."""
    earlier = [w for w in at.waits if wait is None or (w.lc, w.id) < (wait.lc, wait.id)]
    return [lock for lock in (*at.valid, *earlier) if lock.holder != here and lock.hinders(wish.patterns, wish.shared)]


# taking


def lock(clone: Clone, me: Identity, wish: Wish, wait: float | None = 0, everywhere: bool = False) -> Lock:
    """Lock, waiting for at most `wait` seconds (None: for ever), `everywhere` in all clones that share the remote.
    Locking what one holds renews it.

    Raises Held when somebody else has it, UsageError for a wish that cannot be, RemoteError.
    """
    _check(wish)
    if everywhere:
        from gitcoord.features.locks import leased

        return leased.lock(clone, me, wish, wait)
    with clone.locked():
        register(clone, me)
        event = clone.append(lambda db: take(db, clone, me, wish, queued=wait != 0))[0]
        if event.type == "lock":
            keep_marker(clone)
            return lock_of(clone, event.id)
        waiters.enter(clone, event.id)
    return waiters.wait(
        clone, event.id, wait, lambda: _attempt(clone, me, wish, event.id), lambda: _give_up(clone, me, event.id)
    )


def _check(wish: Wish) -> None:
    if not 0 < len(wish.patterns) <= MAX_PATTERNS:
        raise UsageError(f"a lock takes 1 to {MAX_PATTERNS} patterns", "git coord lock 'src/*.py'")
    if not 0 < wish.ttl <= MAX_TTL:
        raise UsageError("a lock lasts at most a year", "give --ttl 2h, or 30d")
    if not line(MAX_REASON).fits(wish.reason):
        raise UsageError(f"the reason is no line of at most {MAX_REASON} characters", "say it in a line")


def take(
    db: sqlite3.Connection,
    clone: Clone,
    me: Identity,
    wish: Wish,
    queued: bool = False,
    wait: Lock | None = None,
    lease: str = "",
) -> list[Draft]:
    """The lock, if nothing is in the way; else a place in the queue if `queued`. Raises Held."""
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
        return [Draft("lock.wait", f"{me.name} waits to lock {names}", {**data, "ttl": MAX_TTL}, author=me.name)]
    if hindering:
        raise held(hindering, clone, now, wish.patterns)
    dead = [old for old in at.over if not old.waits and old.holder != here and old.hinders(wish.patterns, wish.shared)]
    own = [old for old in (*at.valid, *at.over) if old.holder == here and set(old.patterns) <= set(wish.patterns)]
    over = [old.id for old in (*dead, *own) if not old.waits] + ([wait.id] if wait else [])
    data |= {"supersedes": over} if over else {}
    because = f": {wish.reason}" if wish.reason else ""
    taken = Draft("lock", f"{me.name} locked {names}{because}", data, author=me.name)
    return [taken, *(_overtaken(me, old, now) for old in dead)]


def _overtaken(me: Identity, old: Lock, now: float) -> Draft:
    why = "had expired" if old.expires <= now else "was yours while you were gone"
    text = f"{me.name} overtook your lock on {', '.join(old.patterns)}, which {why}"
    return Draft("message", text, {"to": [old.holder], "notice": "lock", "about": old.id}, author=me.name)


def _check_circle(at: Standing, here: str, hindering: Sequence[Lock]) -> None:
    """Two who wait for each other would wait for ever. Raises Held."""
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
                    name = split_mailbox(holder)[0]
                    what = f"{name} waits for {', '.join(lock.patterns)}, which you hold: you would wait for each other"
                    raise Held(what, f"git coord unlock {shell_word(lock.patterns[0])}", hindering)
                todo.append(lock)


def _attempt(clone: Clone, me: Identity, wish: Wish, wait: Oid) -> Lock | None:
    """One look by a waiter, at first without the write lock."""
    here = mailbox(me.name, clone.id or "")

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
        return lock_of(clone, events[0].id)


def _waiting(db: sqlite3.Connection, wait: Oid) -> Lock:
    found = next((lock for lock in all_locks(db) if lock.id == wait), None)
    if found is None:
        raise Refused("somebody took you out of the queue", "git coord locks")
    return found


def _give_up(clone: Clone, me: Identity, wait: Oid) -> Held | None:
    """Leave the queue; returns what was in the way."""

    def decide(db: sqlite3.Connection) -> list[Draft]:
        if all(lock.id != wait for lock in all_locks(db)):
            return []
        return [Draft("unlock", f"{me.name} waits no longer", {"locks": {wait: []}}, author=me.name)]

    def ask(db: sqlite3.Connection) -> list[Lock]:
        mine = next((lock for lock in all_locks(db) if lock.id == wait), None)
        wish = Wish(mine.patterns, mine.shared) if mine else Wish(())
        return _in_the_way(standing(db, clone), mailbox(me.name, clone.id or ""), wish, mine)

    hindering = clone.read(ask)
    clone.append(decide)
    return held(hindering, clone, time.time()) if hindering else None


def lock_of(clone: Clone, oid: Oid) -> Lock:
    return next(lock for lock in clone.read(all_locks) if lock.id == oid)


def held(hindering: Sequence[Lock], clone: Clone, now: float, wanted: Sequence[str] = ()) -> Held:
    """The refusal, which names the first holder: what, why, since when, until when."""
    first = hindering[0]
    name = split_mailbox(first.holder)[0] if first.clone == clone.id else first.holder
    verb = "is waited for by" if first.waits else "is locked by"
    until = "" if first.waits else f", for another {span(first.expires - now)}"
    patterns = [p for p in first.patterns if any(overlap(p, q) for q in wanted)] or first.patterns
    because = f": {first.reason}" if first.reason else ""
    more = f" (and {len(hindering) - 1} more)" if len(hindering) > 1 else ""
    what = f"{', '.join(patterns)} {verb} {name} (since {span(now - first.at)}{until}){because}{more}"
    return Held(what, f"git coord lock --wait …, or ask: git coord send {name} …", hindering)


def span(seconds: float) -> str:
    """A duration as people say it: `40 s`, `12 min`, `3 h`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{max(0, int(seconds))} s"


# ending


def unlock(clone: Clone, me: Identity, patterns: Sequence[str], everything: bool = False, force: bool = False) -> list[Lock]:
    """End locks of mine, by pattern or all; with `force` also another's, who is told. Returns what was ended.

    Raises Refused for what is not locked, and for what another holds.
    """
    if not patterns and not everything:
        raise UsageError("nothing is named", "git coord unlock PATTERN, or --all for all of mine")
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


def merged(chosen: Sequence[Lock]) -> list[Lock]:
    """One entry a lock, with all of its patterns that were named."""
    patterns: dict[Oid, list[str]] = {}
    for lock in chosen:
        patterns.setdefault(lock.id, []).extend(p for p in lock.patterns if p not in patterns.get(lock.id, ()))
    first = {lock.id: lock for lock in chosen}
    return [first[oid]._replace(patterns=tuple(of)) for oid, of in patterns.items()]


def _named(found: Sequence[Lock], here: str, pattern: str, force: bool, clone: Clone) -> Lock:
    of = [lock for lock in found if pattern in lock.patterns]
    lock = next((lock for lock in of if lock.holder == here), None) or next(iter(of), None)
    if lock is None:
        near = next((q for lock in found if lock.holder == here for q in lock.patterns if overlap(q, pattern)), None)
        raise Refused(f"{pattern} is not locked", f"git coord unlock {shell_word(near)}" if near else "git coord locks")
    if lock.holder != here and not force:
        refusal = held([lock], clone, time.time())
        raise Held(refusal.what, "git coord unlock --force ends it and tells the holder", [lock])
    return lock._replace(patterns=(pattern,))


def _ends(name: str, ended: Sequence[Lock], told: Sequence[Lock], why: str = "") -> list[Draft]:
    if not ended:
        return []
    what = ", ".join(p for lock in ended for p in lock.patterns)
    locks = {lock.id: list(lock.patterns) for lock in ended}
    drafts = [Draft("unlock", f"{name} unlocked {what[:500]}", {"locks": locks}, author=name)]
    for lock in told:
        text = why or f"{name} ended your lock on {', '.join(lock.patterns)}"
        drafts.append(Draft("message", text, {"to": [lock.holder], "notice": "lock", "about": lock.id}, author=name))
    return drafts


def farewell(db: sqlite3.Connection, box: str, name: str) -> list[Draft]:
    """What a session that leaves gives back."""
    return _ends(name, [lock for lock in all_locks(db) if lock.holder == box], [])


def settle(clone: Clone, now: float | None = None) -> None:
    """End locks of this clone whose time is over, once, and tell their holders. Costs a look at one file when none is."""
    now = time.time() if now is None else now
    if not waiters.is_due(clone, now):
        return

    def decide(db: sqlite3.Connection) -> list[Draft]:
        drafts: list[Draft] = []
        for lock in all_locks(db):
            if lock.clone == clone.id and not lock.waits and lock.expires <= now:
                text = f"Your lock on {', '.join(lock.patterns)} has expired"
                drafts += _ends(split_mailbox(lock.holder)[0], [lock], [lock], text)
        return drafts

    with clone.locked():
        clone.append(decide)
        keep_marker(clone)


def keep_marker(clone: Clone) -> None:
    """Keep `coord/guard` true; to be called under the write lock after locks came or went."""
    locks = [lock for lock in clone.read(all_locks) if not lock.waits]
    waiters.keep_marker(clone, min((lock.expires for lock in locks), default=None))


def typed(clone: Clone, cwd: str, patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns as typed in `cwd`, from the root. Raises UsageError."""
    return tuple(dict.fromkeys(typed_pattern(clone.repo, cwd, text) for text in patterns))
