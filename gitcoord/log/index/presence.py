"""Presence in the index: the facts of each session, from the commits that its clone replaces.

A commit has the sessions of a clone (`refs/coord/presence/CLONE`), or one session as gitcoord 0.1 writes it. A row changes
only when the facts or the time of its session do, so its id shows when that session was last heard of. Other clones'
commits have no ref here: the table `heard` says which were read from a remote. Our own commit is composed here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from gitcoord import lean_json as json
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log import trust
from gitcoord.log.event import Draft, Event, Malformed, canonical_json, decode
from gitcoord.store.objects import GitObject, Oid, parent_of
from gitcoord.store.ref_names import SESSIONS, is_old_presence, owner

ALL, ONE = "presences", "presence"
"""The types of a commit with all sessions of a clone, and with one session."""
ROOM = 256 * 1024
"""Bytes for all sessions: half of what a commit may have. Where they do not fit, fewer changed files are shown."""
FEWER_FILES = (20, 5, 0)
MOST = 1000
"""Sessions that are shown; of more, those whose facts are the newest."""
NAMED = 20
"""Sessions that the text of the commit names, for people."""

Sessions = Mapping[str, Mapping[str, Any]]
AHEAD = 24 * 3600.0
"""Seconds by which the clock of another clone may be ahead of ours."""


class Presence(NamedTuple):
    """A commit of presence as it was read: its ref, its id, and the object (None: too large)."""

    ref: str
    oid: Oid
    found: GitObject | None


def read(presence: Presence, objection: Callable[[Event], str]) -> tuple[Event, list[Event]]:
    """A commit of presence, and the presence of each of its sessions as an event of that session. Raises Malformed."""
    ref, oid, found = presence
    if found is None:
        raise Malformed("larger than 512 KiB")
    event = decode(oid, found.data if found.kind == "commit" else b"")
    if not trust.is_presence_of(event, ref) or event.v != 1 or parent_of(found.data):
        raise Malformed("no presence of this session" if is_old_presence(ref) else "no presence of this clone")
    if why := objection(event):
        raise Malformed(why)
    return event, [event] if event.type == ONE else list(_each(event))


def _each(event: Event) -> Iterator[Event]:
    for name, facts in event.data["sessions"].items():
        data = {key: value for key, value in facts.items() if key != "at"}
        yield event._replace(type=ONE, author=name, at=facts["at"], data={**data, "session": name})


def is_replayed(db: sqlite3.Connection, ref: str, commit: Event) -> bool:
    """Whether a commit is older than one that was read of its ref: then somebody restored an old one."""
    known = db.execute("SELECT lc, at, seen FROM shown WHERE ref = ?", (ref,)).fetchone()
    return known is not None and _is_older(commit, *known)


def _is_older(event: Event, lc: int, at: int, seen: float) -> bool:
    """Whether `event` is older by clock and by time than what was first seen at `seen`. A time that is far ahead of ours does
    not count: who forges it would keep what is genuine out."""
    return event.lc < lc and event.at <= min(at, seen + AHEAD)


def note(db: sqlite3.Connection, ref: str, commit: Event, seen: float) -> None:
    """Remember that a commit of this ref was read, so that no older one replaces it."""
    db.execute("INSERT OR REPLACE INTO shown VALUES (?, ?, ?, ?)", (ref, commit.lc, commit.at, seen))


def take(db: sqlite3.Connection, event: Event, seen: float) -> None:
    """Store the presence of a session, unless it is older than the known one."""
    query = "SELECT lc, at, seen, data, id FROM presence WHERE clone = ? AND name = ?"
    known = db.execute(query, (event.clone, event.author)).fetchone()
    facts = canonical_json(event.data)
    if known and (event.at, facts) == (known[1], known[3]):
        if not _has_own_ref(db, event.clone, event.author, known[4]):
            return
    elif known and not trust.is_cut(json.loads(known[3])) and _is_older(event, *known[:3]):
        return
    row = (event.clone, event.author, event.id, event.at, facts, seen, event.lc)
    db.execute("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def drop_others(db: sqlite3.Connection, ref: str, events: Sequence[Event], lc: int) -> None:
    """Forget the sessions of a clone that its commit at `ref` does not have any more; those known from a later commit, or
    from a ref of their own, stay."""
    here = {event.author for event in events}
    for name, oid in db.execute("SELECT name, id FROM presence WHERE clone = ? AND lc <= ?", (owner(ref), lc)).fetchall():
        if name not in here and not _has_own_ref(db, owner(ref), name, oid):
            db.execute("DELETE FROM presence WHERE clone = ? AND name = ?", (owner(ref), name))


def _has_own_ref(db: sqlite3.Connection, clone: str, name: str, oid: str) -> bool:
    query = "SELECT 1 FROM tips WHERE (ref, oid) = (?1, ?2) UNION ALL SELECT 1 FROM heard WHERE (ref, oid) = (?1, ?2)"
    return db.execute(query, (f"{SESSIONS}{clone}/{name}", oid)).fetchone() is not None


def forget(db: sqlite3.Connection, ref: str, oid: str | None) -> None:
    """Forget the sessions that were known from a ref that is gone, and that named `oid`."""
    db.execute("DELETE FROM heard WHERE ref = ?", (ref,))
    if is_old_presence(ref):
        clone, name = ref.split("/")[-2:]
        db.execute("DELETE FROM presence WHERE (clone, name, id) = (?, ?, ?)", (clone, name, oid))
        return
    drop_others(db, ref, (), 1 << 62)


# presence that has no ref here


def heard(db: sqlite3.Connection) -> dict[str, Oid]:
    """The refs of presence at remotes, and the commits that were read of them."""
    return dict(db.execute("SELECT ref, oid FROM heard").fetchall())


def kept(db: sqlite3.Connection) -> Mapping[str, list[Any]]:
    """The rows that come from no ref here, for a rebuild of the index."""
    own = "SELECT * FROM presence WHERE clone IN (SELECT substr(ref, 21) FROM heard)"
    old = "SELECT p.* FROM presence p JOIN heard h ON h.ref = 'refs/coord/sessions/' || p.clone || '/' || p.name"
    return {
        "heard": db.execute("SELECT * FROM heard").fetchall(),
        "presence": db.execute(f"{own} UNION {old}").fetchall(),
        "shown": db.execute("SELECT * FROM shown").fetchall(),
    }


def put_back(db: sqlite3.Connection, rows: Mapping[str, list[Any]]) -> None:
    """Store the rows of `kept` again."""
    for table, found in rows.items():
        for row in found:
            db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row)


# our own


def own(db: sqlite3.Connection, clone: str) -> dict[str, dict[str, Any]]:
    """The facts of our sessions as they are shown now, by name, each with its time."""
    rows = db.execute("SELECT name, data, at FROM presence WHERE clone = ?", (clone,))
    return {name: fact(json.loads(data), at) for name, data, at in rows}


def fact(data: Mapping[str, Any], at: int) -> dict[str, Any]:
    """The facts of a session as they stand in the commit: without its name."""
    return {**{key: value for key, value in data.items() if key != "session"}, "at": at}


def draft(sessions: Sessions, clone: str) -> Draft:
    """The commit with these sessions."""
    newest = sorted(sessions, key=lambda name: (-sessions[name]["at"], name))[:MOST]
    fitting = _fitting({name: sessions[name] for name in sorted(newest)})
    lines = [_shown_line(name, facts) for name, facts in fitting.items()]
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return Draft("presences", "\n".join([*lines[:NAMED], *more]), {"sessions": fitting}, author=clone)


def _shown_line(name: str, facts: Mapping[str, Any]) -> str:
    return f"{name} is {facts['state']}" + (f" on {facts['branch']}" if facts.get("branch") else "")


def _fitting(sessions: Sessions) -> Sessions:
    for most in FEWER_FILES:
        if len(canonical_json(sessions)) <= ROOM:
            break
        sessions = {name: _with_files(facts, most) for name, facts in sessions.items()}
    return sessions


def _with_files(facts: Mapping[str, Any], most: int) -> Mapping[str, Any]:
    return {**facts, "files": facts["files"][:most]} if facts.get("files") else facts
