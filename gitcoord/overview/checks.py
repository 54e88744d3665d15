"""Check whether a session may touch a path, by the path's place; starts no process and walks no worktree."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.features.locks import waiters
from gitcoord.features.locks.held import is_anything_held
from gitcoord.features.notes import Note, notes_about
from gitcoord.lean import TYPE_CHECKING, Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.liveness import judge_published
from gitcoord.sessions.membership import presences
from gitcoord.sessions.presence import facts_of, liveness_of, silence
from gitcoord.sessions.records import Record, Records
from gitcoord.store.worktrees import TreePath, place_of, same_path

if TYPE_CHECKING:
    from gitcoord.features.locks.read import Lock

THERE = ("active", "idle", "waiting", "unknown")
"""States in which a session counts as working in its worktree: an unknown session frees nothing."""


class Touch(NamedTuple):
    """A session that has recently changed the path; `at` in Unix seconds."""

    session: str
    at: float


class Check(NamedTuple):
    """The facts about one path. `locks` are all on it; `occupied_by` are others whose worktree it lies in."""

    path: str
    worktree: str
    locks: tuple[Lock, ...]
    occupied_by: tuple[str, ...]
    touched_by: tuple[Touch, ...]
    notes: tuple[Note, ...]
    blocked: bool
    """Whether another session has locked it, or works in its worktree."""


def check(clone: Clone, me: Identity, paths: Sequence[str], cwd: str, now: float | None = None) -> list[Check]:
    """Judge each path, typed in `cwd`. Raises UsageError for one outside of the repository's worktrees."""
    now = time.time() if now is None else now
    places = [place_of(clone.repo, cwd, path) for path in paths]
    for path, place in zip(paths, places, strict=True):
        if place is None:
            raise UsageError(f"{path!a} is outside of this repository", "name a path in one of its worktrees")
    if waiters.is_due(clone, now):
        from gitcoord.features.locks.take import end_expired

        end_expired(clone, now)
    records = Records(clone.repo.coord_dir)
    live = [r for r in records.all() if r.git_dir and liveness_of(r, r.beat, now).state in THERE]
    return clone.read(lambda db: [_judge(db, clone, me, place, live, now) for place in places if place])


def _judge(db: sqlite3.Connection, clone: Clone, me: Identity, place: TreePath, live: Sequence[Record], now: float) -> Check:
    here = clone.box(me.name)
    locks = _locks_on(db, clone, place, now)
    others = tuple(r for r in live if r.name != me.name)
    mine = {clone.repo.git_dir, *(r.git_dir for r in live if r.name == me.name)}
    inside = tuple(clone.box(r.name) for r in others if r.git_dir == place.git_dir and place.git_dir not in mine)
    touched = {**_touched_elsewhere(db, clone, place.path, now), **_touched_here(db, clone, others, place.path)}
    touches = sorted((Touch(box, at) for box, at in touched.items()), key=lambda touch: -touch.at)
    blocked = bool(inside) or any(lock.holder != here for lock in locks)
    return Check(place.path, place.worktree, locks, inside, tuple(touches), tuple(notes_about(db, place.path)), blocked)


def _locks_on(db: sqlite3.Connection, clone: Clone, place: TreePath, now: float) -> tuple[Lock, ...]:
    """The locks on the path. Usually nothing is locked, and then the matchers are not even loaded."""
    if not is_anything_held(db):
        return ()
    from gitcoord.features.locks.read import standing

    folder = os.path.isdir(os.path.join(place.worktree, place.path))
    return tuple(x for x in standing(db, clone, now).valid if any(_concerns(p, place.path, folder) for p in x.patterns))


def _concerns(pattern: str, path: str, folder: bool) -> bool:
    """Whether a lock concerns a path; for a folder, a lock on anything in it does."""
    from gitcoord.features.locks.patterns import matches, overlap, path_pattern

    return matches(pattern, path) or path == "." or (folder and overlap(pattern, path_pattern(path, folder=True)))


def _touched_here(db: sqlite3.Connection, clone: Clone, others: Sequence[Record], path: str) -> dict[str, float]:
    """Sessions of this clone that touched a file: by their presence, and by a file that is newer than that and than the
    last git command.

    git writes the index after it writes files, so a file newer than the index was not written by git.
    """
    found = {}
    for record in others:
        box = clone.box(record.name)
        at = max(_published(db, record.name, clone, path), record.editing.get(path, 0.0))
        if record.git_dir != clone.repo.git_dir:  # in a worktree that we share, a new file may be ours
            at = max(at, _edited(record, path))
        at = max(at, _written(record, path) if path in record.touched else 0.0)
        if at:
            found[box] = at
    return found


def _published(db: sqlite3.Connection, name: str, clone: Clone, path: str) -> float:
    return _in_files(clone, facts_of(db, clone.id, name), path)


def _in_files(clone: Clone, data: dict[str, Any], path: str) -> float:
    files = data.get("files")
    rows = files if isinstance(files, list) else []
    pairs = [(r[0], r[1]) for r in rows if isinstance(r, list) and len(r) == 2 and type(r[0]) is str and type(r[1]) is int]
    return next((float(at) for changed, at in pairs if same_path(clone.repo, changed, path)), 0.0)


def _written(record: Record, path: str) -> float:
    """The time when the file was last written; now if it is gone."""
    try:
        return os.lstat(os.path.join(record.worktree, path)).st_mtime
    except OSError:
        return time.time()


def _edited(record: Record, path: str) -> float:
    try:
        changed = os.lstat(os.path.join(record.worktree, path)).st_mtime
        return changed if changed > max(record.published, os.stat(os.path.join(record.git_dir, "index")).st_mtime) else 0.0
    except OSError:
        return 0.0


def _touched_elsewhere(db: sqlite3.Connection, clone: Clone, path: str, now: float) -> dict[str, float]:
    found = {}
    for at_clone, name, text, seen in presences(db):
        data = json.loads(text) if not clone.is_ours(at_clone) else {}
        at = _in_files(clone, data, path)
        if at and judge_published(data, seen, now, silence(clone)).state in THERE:
            found[mailbox(name, at_clone)] = at
    return found
