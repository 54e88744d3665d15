"""The roster: every worktree with its sessions, then persons, then the sessions of other clones."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gitcoord import lean_json as json
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.names import mailbox, same_clone, split_mailbox
from gitcoord.sessions.identity import worktree_name
from gitcoord.sessions.liveness import Liveness, Silence, judge_published
from gitcoord.sessions.mailboxes import resolve_name
from gitcoord.sessions.membership import presences
from gitcoord.sessions.presence import files_of, liveness_of, silence
from gitcoord.sessions.records import Record, Records
from gitcoord.store.repository import Repository
from gitcoord.store.worktrees import TouchedFile, Worktree, list_worktrees, touched_files

HOOK_TIME = 10.0
"""Seconds within which our hook registers a placeholder for a new worktree."""


class Session(NamedTuple):
    """A session as `git coord sessions` shows it. Times are Unix seconds; `session` None for a worktree without one."""

    session: str | None
    clone: str | None
    worktree: str | None
    branch: str | None
    head: str | None
    state: str | None
    since: float | None
    focus: str
    files: tuple[TouchedFile, ...]
    beat: float | None
    harness: str
    role: str
    unread: int
    local: bool
    person: bool = False
    subject: str = ""
    """The subject of its branch's last commit, for a session that says nothing of what it works on."""


class _Board(NamedTuple):
    """The facts that all rows of one listing share."""

    here: str
    now: float
    records: Records
    lives: list[tuple[Record, Liveness]]
    """Every record of this clone, with the state of its session."""
    unread: dict[str, int]
    subjects: dict[str, str]
    titles: dict[str, str]
    """The title of the task that each mailbox holds."""
    quiet: Silence


def list_sessions(clone: Clone, everyone: bool = False, now: float | None = None, files: bool = True) -> list[Session]:
    """The worktrees with their sessions, then persons, then other clones' sessions; gone ones only if `everyone`.

    In a worktree that several sessions share, changed files of unknown origin are in a row without a session. Without
    `files` no worktree is looked at, because that takes a `git status` each.
    """
    rows, unread, titles = clone.read(lambda db: (presences(db), _unread(db), _titles(db)))
    worktrees = list_worktrees(clone.repo)
    records = Records(clone.repo.coord_dir)
    now = time.time() if now is None else now
    lives = [(r, liveness_of(r, r.beat, now)) for r in records.all()]
    board = _Board(clone.id, now, records, lives, unread, _subjects(clone, worktrees), titles, silence(clone))
    found = [s for worktree in worktrees for s in _in_worktree(clone, board, worktree, everyone, files)]
    git_dirs = {worktree.git_dir for worktree in worktrees}
    found += [_own(board, r, life, None, ()) for r, life in lives if r.git_dir not in git_dirs]
    found += [_foreign(row, board) for row in rows if not clone.is_ours(row[0])]
    return [s for s in found if everyone or s.state != "gone"]


def _in_worktree(clone: Clone, board: _Board, worktree: Worktree, everyone: bool, files: bool) -> list[Session]:
    lying = touched_files(clone.repo, worktree.path) if files else []
    inside = [(r, life) for r, life in board.lives if r.git_dir == worktree.git_dir]
    there = sum(1 for _, life in inside if life.state != "gone")
    shown = [(r, life) for r, life in inside if everyone or life.state != "gone"]
    rows = [_own(board, r, life, worktree, files_of(r, lying, there <= 1)) for r, life in shown]
    attributed = {f.path for row in rows for f in row.files}
    left = tuple(f for f in lying if f.path not in attributed)
    if rows and not (left and there > 1):
        return rows
    name = None if inside else expected_name(clone.repo, worktree, board)
    state = "expected" if name else None
    nobody = Session(
        name, clone.id, worktree.path, worktree.branch, worktree.head, state, None, "", left, None, "", "", 0, True
    )
    return [*rows, nobody]


def expected_name(repo: Repository, worktree: Worktree, board: _Board) -> str | None:
    """The name of the placeholder that our hook, which works in the background, is about to register for a new worktree."""
    if worktree.git_dir == repo.common_dir:
        return None
    try:
        age = board.now - os.stat(os.path.join(worktree.git_dir, "gitdir")).st_mtime
    except OSError:
        return None
    if not 0 <= age < HOOK_TIME:
        return None
    from gitcoord.store import hooks

    runs = any(hook.event == "post-checkout" and hook.runs for hook in hooks.status(repo))
    name = worktree_name(worktree.path)
    return name if runs and all(record.name != name for record, _ in board.lives) else None


def find_session(clone: Clone, text: str) -> Session:
    """One session by name. Raises UsageError for an unknown name."""
    name, at = split_mailbox(clone.read(lambda db: resolve_name(db, text, clone.id)))
    for session in list_sessions(clone, everyone=True):
        if session.session == name and same_clone(session.clone or "", at):
            return session
    box = mailbox(name, at)
    unread = clone.read(_unread).get(box, 0)
    return Session(name, at, None, None, None, "gone", None, "", (), None, "", "", unread, clone.is_ours(at))


def _unread(db: sqlite3.Connection) -> dict[str, int]:
    from gitcoord.features.messages.inbox import unread_counts

    return unread_counts(db)


def _titles(db: sqlite3.Connection) -> dict[str, str]:
    from gitcoord.features.tasks.read import held_titles

    return held_titles(db)


def _own(board: _Board, record: Record, life: Liveness, worktree: Worktree | None, files: Sequence[TouchedFile]) -> Session:
    path, branch, head = (worktree.path, worktree.branch, worktree.head) if worktree else (None, None, None)
    box = mailbox(record.name, board.here)
    focus = record.focus or board.titles.get(box) or ""
    unread = board.unread.get(box, 0)
    touched = () if life.state == "gone" else tuple(files)
    return Session(
        record.name, board.here, path, branch, head, life.state, life.since, focus, touched, record.beat or None,
        record.harness, record.role, unread, True, record.person, board.subjects.get(head or "", ""),
    )  # fmt: skip


def _subjects(clone: Clone, worktrees: Sequence[Worktree]) -> dict[str, str]:
    """The subject of each worktree's last commit, shown where a session has set no focus."""
    heads = sorted({worktree.head for worktree in worktrees if worktree.head})
    if not heads:
        return {}
    result = clone.repo.git("log", "--no-walk", "--no-show-signature", "--format=%H %s", *heads)
    lines = result.out.decode("utf-8", "replace").splitlines()
    return {head: subject[:200] for head, _, subject in (line.partition(" ") for line in lines)}


def _foreign(row: tuple[str, str, str, float], board: _Board) -> Session:
    at_clone, name, text, seen = row
    box = mailbox(name, at_clone)
    data: dict[str, Any] = json.loads(text)
    life = judge_published(data, seen, board.now - board.records.sleeps.since(seen), board.quiet)

    def fact(key: str) -> str:
        value = data.get(key)
        return value[:200] if isinstance(value, str) else ""

    files = data.get("files") if isinstance(data.get("files"), list) else []
    touched = tuple(
        TouchedFile(f[0], f[1])
        for f in files or []
        if isinstance(f, list) and len(f) == 2 and isinstance(f[0], str) and isinstance(f[1], int)
    )
    focus = fact("focus") or board.titles.get(box, "")
    return Session(
        name, at_clone, None, fact("branch") or None, fact("head") or None, life.state, life.since, focus, touched,
        seen, fact("harness"), fact("role"), board.unread.get(box, 0), False, data.get("person") is True,
    )  # fmt: skip
