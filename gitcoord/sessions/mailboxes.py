"""Mailboxes: the names of sessions, and how a user's word for one is resolved.

A name outlives its holder: joining, renaming and adopting are events, and the next holder of a name inherits its mail.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord.errors import UsageError
from gitcoord.lean import sqlite3
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Concern, Feature
from gitcoord.log.schemas import (
    BRANCH,
    FLAG,
    ID,
    NAME,
    PATH,
    TIME,
    Schema,
    either,
    line,
    listed,
    mapped,
    number,
    one_of,
    pair,
    record,
)
from gitcoord.names import clone_in, lives_in, mailbox, name_in, same_clone, split_mailbox


def _fold(db: sqlite3.Connection, event: Event) -> None:
    """Fold events about names; the last one wins: a name is held (join), or an alias of another (rename, adopt)."""
    if event.type == "rename":
        old, new = event.data["old"], event.data["new"]
        put_name(db, event, event.clone, old, mailbox(new, event.clone))
        put_name(db, event, event.clone, new, None)
    elif event.type == "join":
        put_name(db, event, event.clone, event.data["session"], None)
    # leave, presence and presences do not change names


def put_name(db: sqlite3.Connection, event: Event, clone: str, name: str, alias_of: str | None) -> None:
    """Store the name that `event` holds or makes an alias, unless a later event is known."""
    db.execute(
        "INSERT INTO names VALUES (?, ?, ?, ?, ?) ON CONFLICT (clone, name) DO UPDATE"
        " SET alias_of = excluded.alias_of, lc = excluded.lc, id = excluded.id"
        " WHERE (excluded.lc, excluded.id) > (lc, id)",
        (clone, name, alias_of, event.lc, event.id),
    )


def _concerns(db: sqlite3.Connection, event: Event, here: str) -> Concern:
    """The sessions that an event concerns: the next holder of a name gets its mail."""
    return Concern([event.data["new"]] if event.type == "rename" and same_clone(event.clone, here) else [])


STATES = ("expected", "active", "idle", "waiting", "unknown", "gone")
MAX_FOCUS = 500
"""Characters of a focus that are published."""
MAX_FILES = 50
"""Changed files that are published."""
MAX_SESSIONS = 1000
"""Sessions of one clone that are published."""

_SESSION = Schema({"session": NAME}, ("session",))
_FACTS = {
    "state": one_of(*STATES),
    "ttl": number(1, 366 * 86400),
    "branch": either(BRANCH, None),
    "head": either(ID, None),
    "files": listed(pair(PATH, TIME), MAX_FILES),
    "focus": line(MAX_FOCUS),
    "role": NAME,
    "harness": NAME,
    "person": FLAG,
}
PRESENCE = Schema({"session": NAME, **_FACTS}, ("session", "state", "ttl"))
PRESENCES = Schema(
    {"sessions": mapped(NAME, record({"at": TIME, **_FACTS}, ("at", "state", "ttl")), MAX_SESSIONS)}, ("sessions",)
)

FEATURE = Feature(
    "mailboxes",
    {
        "join": _SESSION,
        "rename": Schema({"old": NAME, "new": NAME}, ("old", "new")),
        "leave": _SESSION,
        "presence": PRESENCE,
        "presences": PRESENCES,
    },
    """
    CREATE TABLE names (clone TEXT NOT NULL, name TEXT NOT NULL, alias_of TEXT, lc INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (clone, name)) WITHOUT ROWID;
    """,
    _fold,
    "CREATE INDEX names_alias_of ON names (alias_of) WHERE alias_of IS NOT NULL;",
    concerns=_concerns,
    living=(
        "SELECT id FROM names WHERE id != ''",
        "SELECT (SELECT id FROM events p WHERE p.type = 'presence' AND p.clone = e.clone AND p.author = e.author"
        " ORDER BY lc DESC LIMIT 1) FROM (SELECT DISTINCT clone, author FROM events WHERE type = 'presence') e",
    ),
    forget=(
        "INSERT OR IGNORE INTO again SELECT id FROM events WHERE type IN ('join', 'rename', 'adopt')"
        " AND EXISTS (SELECT 1 FROM names WHERE id IN (SELECT id FROM forgotten))",
        "INSERT OR IGNORE INTO again SELECT id FROM events WHERE type = 'message' AND json_type(data, '$.opens') = 'array'"
        " AND EXISTS (SELECT 1 FROM names WHERE id = '' OR id IN (SELECT id FROM forgotten))",
        "DELETE FROM names WHERE id IN (SELECT id FROM forgotten) OR id = '' AND EXISTS (SELECT 1 FROM forgotten f"
        " JOIN events e ON e.id = f.id WHERE e.type = 'message' AND json_type(e.data, '$.opens') = 'array')",
    ),
)


def canonical(db: sqlite3.Connection, box: str) -> str:
    """The mailbox that `box` leads to now, following renames and adoptions. For many mailboxes, use `Homes`."""
    return Homes(db).of(box)


class Homes:
    """The current mailboxes of names. Each name on the way is looked up once, even if many lead through it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[str, str] = {}

    def of(self, box: str) -> str:
        """The mailbox at the end of the path from `box`; of names that lead in a circle, the last before it closes."""
        path: dict[str, None] = {}
        at = box
        while at not in self._known and at not in path:
            path[at] = None
            query = "SELECT alias_of FROM names WHERE (name, clone) = (?, ?)"
            at = (self._db.execute(query, split_mailbox(at)).fetchone() or (None,))[0] or at
        home = self._known.get(at) or next(reversed(path))
        self._known.update(dict.fromkeys(path, home))
        return home


def address(db: sqlite3.Connection, box: str) -> str:
    """The address of mail for `box`: its present name in its own clone. A clone that adopted the name reads it there, and
    so does the owner, should it take its name back."""
    seen = {box}
    while True:
        query = "SELECT alias_of FROM names WHERE (name, clone) = (?, ?)"
        ahead = (db.execute(query, split_mailbox(box)).fetchone() or (None,))[0]
        if ahead is None or ahead in seen or not lives_in(ahead, clone_in(box)):
            return box
        seen.add(box := ahead)


def addressed(db: sqlite3.Connection, text: str, here: str) -> str:
    """The mailbox for mail that a user sends to `text`. Raises UsageError as `resolve_name` does."""
    home = resolve_name(db, text, here)
    name, clone = split_mailbox(text)
    own = mailbox(name, clone or here)
    if clone or canonical(db, own) == home:
        return address(db, own)
    rows = db.execute("SELECT clone FROM names WHERE name = ? AND alias_of IS NOT NULL ORDER BY lc, id", (name,))
    adopted = (box for (at,) in rows for box in [mailbox(name, at)] if canonical(db, box) == home)
    return address(db, next(adopted, home))


def leading_to(db: sqlite3.Connection, box: str) -> list[str]:
    """`box` and every former name whose mail it has inherited; if `box` itself is an alias, `box` alone."""
    if canonical(db, box) != box:
        return [box]
    rows = db.execute(
        "WITH RECURSIVE up(box) AS (VALUES (?) UNION SELECT n.name || '@' || n.clone FROM names n"
        " JOIN up ON n.alias_of = up.box) SELECT box FROM up",
        (box,),
    )
    return [box, *sorted(former for (former,) in rows if former != box)]


def known_mailboxes(db: sqlite3.Connection) -> set[str]:
    """Every known mailbox: sessions present now and names that were ever held."""
    rows = db.execute("SELECT name, clone FROM names WHERE alias_of IS NULL UNION SELECT name, clone FROM presence")
    homes = Homes(db)
    return {homes.of(mailbox(name, clone)) for name, clone in rows}


def resolve_name(db: sqlite3.Connection, text: str, here: str) -> str:
    """The mailbox of a session as a user names it: this clone's, otherwise that of the only other clone with such a name.

    Raises UsageError for an unknown or ambiguous name, with the nearest ones as a hint.
    """
    name, clone = split_mailbox(text)
    known = known_mailboxes(db)
    own = canonical(db, mailbox(name, clone or here))
    if own in known:
        return own
    if not clone:
        held = {box for (at,) in db.execute("SELECT clone FROM names WHERE name = ?", (name,)) for box in [mailbox(name, at)]}
        others = sorted({canonical(db, box) for box in held | {b for b in known if name_in(b) == name}} & known)
        if len(others) == 1:
            return others[0]
        if others:
            raise UsageError(f"{name} is ambiguous", "say which: " + ", ".join(others[:8]))
    raise _unknown(text, known, here)


def boxes_of(db: sqlite3.Connection, text: str, here: str) -> list[str]:
    """The mailboxes under which a session has ever written, its present one first. Raises UsageError."""
    return leading_to(db, resolve_name(db, text, here))


def _unknown(text: str, known: Iterable[str], here: str) -> UsageError:
    import difflib

    bare = {display(box, here) for box in known}
    near = difflib.get_close_matches(text.lower(), sorted(bare), n=3, cutoff=0.5)
    afar = any(not lives_in(box, here) for box in known)
    listed = "git coord sessions" + (", or git coord sync if it is new in another clone" if afar else "")
    hint = f"did you mean {', '.join(near)}?" if near else listed
    return UsageError(f"no session is called {ascii(text)[1:-1]}", hint)


def display(box: str, here: str) -> str:
    """A mailbox as this clone's readers see it: only the name if it is local."""
    return name_in(box) if lives_in(box, here) else box


def open_name(db: sqlite3.Connection, clone: str, name: str) -> None:
    """Open a mailbox for a session of `clone` that has not joined yet."""
    db.execute("INSERT OR IGNORE INTO names VALUES (?, ?, NULL, 0, '')", (clone, name))


YET_TO_COME = "SELECT 1 FROM names n WHERE n.clone = {clone} AND n.name = {name} AND n.id = ''"
"""SQL condition: a mailbox is still open for a session that never joined."""


def joined_at(db: sqlite3.Connection, clone: str, name: str) -> tuple[int, str] | None:
    """The place in the order (clock and event id) of the last event by which a session took its name."""
    row: tuple[int, str] | None = db.execute("SELECT lc, id FROM names WHERE clone = ? AND name = ?", (clone, name)).fetchone()
    return row


def adopter(db: sqlite3.Connection, clone: str, name: str) -> str:
    """The mailbox in another clone that adopted a name of `clone`, or "". A live session takes its name back by joining."""
    row = db.execute("SELECT alias_of FROM names WHERE clone = ? AND name = ?", (clone, name)).fetchone()
    return row[0] if row and row[0] and not lives_in(row[0], clone) else ""
