"""Notes: an append-only feed for everybody in the repository, present and future, optionally about paths."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event, check_text
from gitcoord.log.index.feature import Concern, Feature
from gitcoord.log.index.mailroom import EVERYBODY
from gitcoord.log.schemas import PATH, Schema, listed
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import boxes_of
from gitcoord.sessions.membership import relative_to_worktree
from gitcoord.sessions.presence import register
from gitcoord.store.objects import Oid


def _fold(db: sqlite3.Connection, event: Event) -> None:
    paths = event.data.get("paths", [])
    db.execute("INSERT OR IGNORE INTO notes VALUES (?, ?, ?)", (event.id, event.lc, json.dumps(paths) if paths else "[]"))
    for path in paths:
        db.execute("INSERT OR IGNORE INTO note_paths VALUES (?, ?, ?)", (path, event.lc, event.id))


def _concerns(db: sqlite3.Connection, event: Event, here: str) -> Concern:
    return Concern([EVERYBODY], event.id)


FEATURE = Feature(
    "notes",
    {"note": Schema({"paths": listed(PATH, 1000)})},
    "CREATE TABLE notes (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, paths TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE note_paths (path TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (path, lc, id))"
    " WITHOUT ROWID;",
    _fold,
    "CREATE INDEX notes_order ON notes (lc, id);",
    concerns=_concerns,
    forget=(
        "DELETE FROM notes WHERE id IN (SELECT id FROM forgotten)",
        "DELETE FROM note_paths WHERE id IN (SELECT id FROM forgotten)",
    ),
)


class Note(NamedTuple):
    """A note; `at` in Unix seconds, `paths` relative to the repository's root."""

    id: Oid
    sender: str
    text: str
    paths: tuple[str, ...]
    at: int


def add_note(clone: Clone, me: Identity, text: str, paths: Sequence[str] = (), cwd: str | None = None) -> Oid:
    """Write a note. Raises UsageError for empty text and for paths outside of the worktree."""
    if not text.strip():
        raise UsageError("the text is empty", "give it as words, with -m TEXT or with -F FILE")
    check_text(text)
    about = _relative(clone, paths, cwd)
    if about:
        from gitcoord.sessions import ignored

        ignored.refuse(ignored.ignored_names(clone, about), "leave out --path")
    with clone.locked():
        register(clone, me)
        data = {"paths": about} if about else {}
        return clone.append(lambda db: [Draft("note", text, data, author=me.name)])[0].id


def _relative(clone: Clone, paths: Sequence[str], cwd: str | None) -> list[str]:
    root = clone.repo.worktree
    if root is None:
        return list(paths)
    return [relative_to_worktree(root, cwd or root, path) for path in paths]


class Which(NamedTuple):
    """A choice of notes: not older than `since` (Unix seconds), by one session."""

    since: int | None = None
    session: str | None = None


def list_notes(
    clone: Clone, path: str | None = None, cwd: str | None = None, limit: int = 20, which: Which | None = None
) -> list[Note]:
    """The newest notes, newest first; with `path`, those about it, about a folder above or a file below it. Raises
    UsageError for an unknown session."""
    about = _relative(clone, [path], cwd)[0] if path is not None else None

    def ask(db: sqlite3.Connection) -> list[Note]:
        chosen, values = _about(about) if about is not None else ("SELECT id, lc FROM notes", ())
        if which is None or which == Which():
            return _notes(db, chosen, values, limit)
        by = json.dumps(boxes_of(db, which.session, clone.id or "")) if which.session else None
        chosen = (
            f"SELECT c.id AS id, c.lc AS lc FROM ({chosen}) c JOIN events e ON e.id = c.id WHERE e.at >= ? AND"
            " (? IS NULL OR e.author || '@' || e.clone IN (SELECT value FROM json_each(?)))"
        )
        return _notes(db, chosen, (*values, which.since or 0, by, by), limit)

    return clone.read(ask)


def notes_about(db: sqlite3.Connection, path: str, limit: int = 20) -> list[Note]:
    """The newest notes about a path from the root, about a folder above it, or about what is below it."""
    return _notes(db, *_about(path), limit)


def _about(path: str) -> tuple[str, tuple[str, ...]]:
    """The query for the ids of notes about a path, and its values."""
    if path == ".":
        return "SELECT DISTINCT id, lc FROM note_paths", ()
    parts = path.split("/")
    above = [".", *("/".join(parts[:n]) for n in range(1, len(parts) + 1))]
    where = "SELECT DISTINCT id, lc FROM note_paths WHERE path IN (SELECT value FROM json_each(?)) OR (path > ? AND path < ?)"
    return where, (json.dumps(above), path + "/", path + "0")  # '0' comes after '/'


def get_notes(db: sqlite3.Connection, ids: Sequence[str]) -> list[Note]:
    """The notes with these ids, newest first; other ids are ignored."""
    return _notes(db, "SELECT id, lc FROM notes WHERE id IN (SELECT value FROM json_each(?))", (json.dumps(ids),), 1000)


def _notes(db: sqlite3.Connection, chosen: str, values: Sequence[object], limit: int) -> list[Note]:
    rows = db.execute(
        f"SELECT n.id, e.author, e.clone, e.text, n.paths, e.at FROM ({chosen} ORDER BY lc DESC, id DESC LIMIT ?) c"
        " JOIN notes n ON n.id = c.id JOIN events e ON e.id = n.id ORDER BY n.lc DESC, n.id DESC",
        (*values, limit),
    )
    return [
        Note(oid, mailbox(author, clone_id), text, tuple(json.loads(paths)), at)
        for oid, author, clone_id, text, paths, at in rows
    ]


def has_notes_about_paths(db: sqlite3.Connection) -> bool:
    """Whether any note is about a path."""
    return db.execute("SELECT 1 FROM note_paths LIMIT 1").fetchone() is not None
