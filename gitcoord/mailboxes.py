"""Mailboxes: the names that sessions go by, and what a user may call them.

A name outlives its holder: joining and renaming are events, and whoever takes a name over inherits its mail.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from gitcoord.errors import UsageError
from gitcoord.event import Event, Malformed
from gitcoord.index.feature import Feature, want
from gitcoord.names import is_name, mailbox, split_mailbox


def _fold(db: sqlite3.Connection, event: Event) -> None:
    """The last word on a name wins: held under it (join), or an alias of another (rename)."""
    if event.type == "rename":
        old, new = _name_in(event, "old"), _name_in(event, "new")
        _put_name(db, event, old, new)
        _put_name(db, event, new, None)
    elif event.type == "join":
        _put_name(db, event, _name_in(event, "session"), None)
    elif event.type == "presence":
        _name_in(event, "session")
    # leave: told in the log; the name stays


def _name_in(event: Event, key: str) -> str:
    name = want(event, key, str)
    if not is_name(name):
        raise Malformed(f"{event.type}: {key} is no session name")
    return name


def _put_name(db: sqlite3.Connection, event: Event, name: str, alias_of: str | None) -> None:
    db.execute(
        "INSERT INTO names VALUES (?, ?, ?, ?, ?) ON CONFLICT (clone, name) DO UPDATE"
        " SET alias_of = excluded.alias_of, lc = excluded.lc, id = excluded.id"
        " WHERE (excluded.lc, excluded.id) > (lc, id)",
        (event.clone, name, alias_of, event.lc, event.id),
    )


FEATURE = Feature(
    "sessions",
    frozenset({"join", "rename", "leave", "presence"}),
    """
    CREATE TABLE names (clone TEXT NOT NULL, name TEXT NOT NULL, alias_of TEXT, lc INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (clone, name)) WITHOUT ROWID;
    """,
    _fold,
)


def canonical(db: sqlite3.Connection, name: str, clone: str) -> str:
    """The name that `name` goes by now, following renames."""
    seen = {name}
    while True:
        row = db.execute("SELECT alias_of FROM names WHERE clone = ? AND name = ?", (clone, name)).fetchone()
        if row is None or row[0] is None or row[0] in seen:
            return name
        name = row[0]
        seen.add(name)


def known_mailboxes(db: sqlite3.Connection) -> set[str]:
    """Every mailbox there is: sessions present now and names that were ever held."""
    rows = db.execute("SELECT name, clone FROM names WHERE alias_of IS NULL UNION SELECT name, clone FROM presence")
    return {mailbox(name, clone) for name, clone in rows}


def resolve_name(db: sqlite3.Connection, text: str, here: str) -> str:
    """A session as a user names it, as a mailbox: this clone's, else the only other clone's that has it.

    Raises UsageError for an unknown or ambiguous name, with the nearest ones as a hint.
    """
    name, clone = split_mailbox(text)
    known = known_mailboxes(db)
    if clone:
        box = mailbox(canonical(db, name, clone), clone)
        if box in known:
            return box
        raise unknown_name(text, known, here)
    own = mailbox(canonical(db, name, here), here)
    if own in known:
        return own
    aliases = db.execute("SELECT clone FROM names WHERE name = ?", (name,)).fetchall()
    clones = {c for (c,) in aliases} | {split_mailbox(box)[1] for box in known if split_mailbox(box)[0] == name}
    others = sorted({mailbox(canonical(db, name, c), c) for c in clones} & known)
    if len(others) == 1:
        return others[0]
    if others:
        raise UsageError(f"{name} is ambiguous", "say which: " + ", ".join(others[:8]))
    raise unknown_name(text, known, here)


def unknown_name(text: str, known: Iterable[str], here: str) -> UsageError:
    """The error for a recipient that nobody knows, naming those that are spelled nearly so."""
    import difflib

    bare = {display(box, here) for box in known}
    near = difflib.get_close_matches(text.lower(), sorted(bare), n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "git coord sessions"
    return UsageError(f"no session is called {ascii(text)[1:-1]}", hint)


def display(box: str, here: str) -> str:
    """A mailbox as a reader of this clone writes it: bare when local."""
    name, clone = split_mailbox(box)
    return name if clone == here else box
