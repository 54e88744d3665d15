"""Sessions: who works here, under which name, where, on what, and whether they are still there."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gitcoord.errors import Refused, UsageError
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import mailbox, session_name, slug, split_mailbox
from gitcoord.sessions.identity import Identity, above_us, look_around, person_name, who_am_i
from gitcoord.sessions.liveness import judge_published
from gitcoord.sessions.mailboxes import resolve_name
from gitcoord.sessions.presence import adopter, files_of, liveness_of, publish, register, sharers
from gitcoord.sessions.records import Record, Records
from gitcoord.store.worktrees import TouchedFile, Worktree, list_worktrees, touched_files
from gitcoord.system import process as processes


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


class _Board(NamedTuple):
    """What the rows of one listing have in common."""

    here: str
    now: float
    records: Records
    known: list[Record]
    unread: dict[str, int]
    subjects: dict[str, str]
    titles: dict[str, str]
    """Of the task that each mailbox holds."""


def list_sessions(clone: Clone, everyone: bool = False, now: float | None = None, files: bool = True) -> list[Session]:
    """The worktrees with their sessions, then persons, then other clones' sessions; gone ones only if `everyone`.

    In a worktree that several share, what none of them is known to have changed stands in a row without a session.
    Without `files` no worktree is looked into, which takes a `git status` each.
    """
    rows, unread, titles = clone.read(lambda db: (_presences(db), _unread(db), _titles(db)))
    worktrees = list_worktrees(clone.repo)
    records = Records(clone.repo.coord_dir)
    now = time.time() if now is None else now
    board = _Board(clone.id or "", now, records, records.all(), unread, _subjects(clone, worktrees), titles)
    found = [s for worktree in worktrees for s in _in_worktree(clone, board, worktree, everyone, files)]
    git_dirs = {worktree.git_dir for worktree in worktrees}
    found += [_own(board, r, None, ()) for r in board.known if r.git_dir not in git_dirs]
    found += [_foreign(row, board) for row in rows if row[0] != board.here]
    return [s for s in found if everyone or s.state != "gone"]


def _in_worktree(clone: Clone, board: _Board, worktree: Worktree, everyone: bool, files: bool) -> list[Session]:
    lying = touched_files(clone.repo, worktree.path) if files else []
    inside = [r for r in board.known if r.git_dir == worktree.git_dir]
    there = sharers(inside, worktree.git_dir, board.records, board.now)
    rows = [_own(board, r, worktree, files_of(r, lying, len(there) <= 1)) for r in inside]
    rows = [row for row in rows if everyone or row.state != "gone"]
    attributed = {f.path for row in rows for f in row.files}
    left = tuple(f for f in lying if f.path not in attributed)
    nobody = Session(None, clone.id, worktree.path, worktree.branch, worktree.head, None, None, "", left, None, "", "", 0, True)
    return [*rows, nobody] if not rows or (left and len(there) > 1) else rows


def find_session(clone: Clone, text: str) -> Session:
    """One session by name. Raises UsageError when there is none."""
    name, at = split_mailbox(clone.read(lambda db: resolve_name(db, text, clone.id or "")))
    for session in list_sessions(clone, everyone=True):
        if session.session == name and session.clone == at:
            return session
    box = mailbox(name, at)
    unread = clone.read(_unread).get(box, 0)
    return Session(name, at, None, None, None, "gone", None, "", (), None, "", "", unread, at == clone.id)


def _presences(db: sqlite3.Connection) -> list[tuple[str, str, str, float]]:
    return db.execute("SELECT clone, name, data, seen FROM presence ORDER BY clone, name").fetchall()


def _unread(db: sqlite3.Connection) -> dict[str, int]:
    from gitcoord.features.messages.inbox import unread_counts

    return unread_counts(db)


def _titles(db: sqlite3.Connection) -> dict[str, str]:
    from gitcoord.features.tasks.read import held_titles

    return held_titles(db)


def _own(board: _Board, record: Record, worktree: Worktree | None, files: Sequence[TouchedFile]) -> Session:
    at = board.records.beat(record.name)
    life = liveness_of(record, at, board.now)
    path, branch, head = (worktree.path, worktree.branch, worktree.head) if worktree else (None, None, None)
    box = mailbox(record.name, board.here)
    focus = record.focus or board.titles.get(box) or board.subjects.get(head or "", "")
    unread = board.unread.get(box, 0)
    touched = () if life.state == "gone" else tuple(files)
    return Session(
        record.name, board.here, path, branch, head, life.state, life.since, focus, touched, at or None, record.harness,
        record.role, unread, True, record.person,
    )  # fmt: skip


def _subjects(clone: Clone, worktrees: Sequence[Worktree]) -> dict[str, str]:
    """The subject of each worktree's last commit, which stands in for a focus that nobody set."""
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
    life = judge_published(data, seen, board.now)

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


def states(clone: Clone, boxes: Iterable[str], now: float | None = None) -> dict[str, tuple[str, float | None]]:
    """State and last beat of each mailbox named; `gone` where nothing of it is left but the name."""
    return clone.read(lambda db: states_in(db, clone, boxes, now))


def states_in(
    db: sqlite3.Connection, clone: Clone, boxes: Iterable[str], now: float | None = None
) -> dict[str, tuple[str, float | None]]:
    """`states`, for those who hold the database already."""
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    found: dict[str, tuple[str, float | None]] = {}
    for box in boxes:
        name, at = split_mailbox(box)
        record = records.get(name) if at == clone.id else None
        row = db.execute("SELECT data, seen FROM presence WHERE clone = ? AND name = ?", (at, name)).fetchone()
        if record:
            beat_at = records.beat(name)
            found[box] = (liveness_of(record, beat_at, now).state, beat_at or None)
        elif row:
            found[box] = (judge_published(json.loads(row[0]), row[1], now).state, row[1])
        else:
            found[box] = ("gone" if at == clone.id or _said_goodbye(db, box) else "unknown", None)
    return found


def _said_goodbye(db: sqlite3.Connection, box: str) -> bool:
    """Without presence of another clone's session, its log says whether it went."""
    from gitcoord.sync.leases import published_gone

    return published_gone(db, box)


def join(
    clone: Clone,
    me: Identity,
    name: str | None = None,
    role: str | None = None,
    focus: str | None = None,
    pid: int | None = None,
    origin: str | None = None,
) -> Record:
    """Register the caller, or rename its session to `name`; an old name stays an alias, a free or gone one is taken over.

    With `origin`, the name is another clone's, and its mail comes here. Raises Refused when the name is a live
    session's, or bound to a process that we do not run under; UsageError for a name, a clone or a pid that is none.
    """
    facts: dict[str, Any] = {}
    if role is not None:
        facts["role"] = slug(role, "") or _refuse_role(role)
    if focus is not None:
        facts["focus"] = focus
    if pid is not None:
        facts["process"] = processes.describe(pid)
        if facts["process"] is None:
            raise UsageError(f"no process has the pid {pid}", "name a running process, or leave out --pid")
    if origin is not None and name is None:
        raise UsageError("--from needs the name to adopt", "git coord join NAME --from CLONE")
    with clone.locked():
        me = _decide(clone, me)
        if origin is not None and name is not None:
            _check_adoptable(clone, name, origin)
        if name is not None and name != me.name:
            me = _take_name(clone, me, session_name(name))
        if pid is not None:
            _check_unheld(clone, me, pid)
        record = register(clone, me, **facts)
        if origin is not None:
            what = {"session": me.name, "from": origin}
            clone.append(lambda db: [Draft("adopt", f"{me.name} of {origin} goes on here", what, author=me.name)])
        return record


def _decide(clone: Clone, me: Identity) -> Identity:
    """The caller as it is now, under the lock: since it looked, another may have taken the name that it found."""
    if me.rule in ("--as", "GIT_COORD_SESSION"):
        return me._replace(record=Records(clone.repo.coord_dir).get(me.name))
    return who_am_i(look_around(clone, time.time()))


def _check_unheld(clone: Clone, me: Identity, pid: int) -> None:
    """One process is a session: while it lives, only what runs under it hands the session on."""
    record = Records(clone.repo.coord_dir).get(me.name)
    holder = record.process if record else None
    if record is None or holder is None or record.left is not None or holder.pid in (pid, *above_us()):
        return
    if processes.is_alive(holder):
        raise Refused(f"{me.name} is bound to another process, {holder.pid}", "choose another name, or: git coord sessions")


def _check_adoptable(clone: Clone, name: str, origin: str) -> None:
    """Only what is known to be gone, or gave no sign for as long as its presence speaks for it."""
    box = mailbox(name, origin)
    if origin == clone.id or clone.read(lambda db: resolve_name(db, box, clone.id or "")) != box:
        raise UsageError(f"{box} is no session of another clone", "git coord sessions --all")
    state = states(clone, [box])[box][0]
    if state not in ("gone", "unknown"):
        raise Refused(f"{box} is {state}", "ask it to leave first, or choose another name")


def _refuse_role(role: str) -> str:
    raise UsageError(f"{role!a} cannot name a role", "use lower-case letters, digits and '-'")


def _take_name(clone: Clone, me: Identity, name: str) -> Identity:
    records = Records(clone.repo.coord_dir)
    target = records.get(name)
    if target and not _may_take(target, records):
        state = liveness_of(target, records.beat(name), time.time()).state
        raise Refused(f"{name} is another session's name, which is {state}", "choose another name, or: git coord sessions")
    if name == person_name(clone.repo) and not me.person:
        raise UsageError(f"{name} is the name of this repository's user", "choose another name")
    if (away := adopter(clone, name)) and (there := states(clone, [away])[away][0]) not in ("gone", "unknown"):
        raise Refused(f"{name} goes on as {away}, which is {there}", "choose another name")
    mine = me.record
    if mine is None or mine.person or mine.left is not None or me.observer:
        return me._replace(name=name, record=target, person=False)
    old = me.name
    clone.append(lambda db: [Draft("rename", f"{old} is called {name} now", {"old": old, "new": name}, author=name)])
    renamed = records.rename(mine._replace(expected=False), name)
    clone.drop_presence(old)
    publish(clone, renamed)
    return me._replace(name=name, record=renamed)


def _may_take(target: Record, records: Records) -> bool:
    """A name is free when its holder is gone, or was only expected."""
    life = liveness_of(target, records.beat(target.name), time.time())
    return not target.person and (life.state in ("expected", "gone"))


def leave(clone: Clone, me: Identity) -> Record:
    """The caller's session ends; its mailbox and history stay. Raises Refused when there is none."""
    from gitcoord.features.locks.locks import farewell, keep_marker

    with clone.locked():
        me = _decide(clone, me)
        records = Records(clone.repo.coord_dir)
        record = records.get(me.name)
        if record is None or record.left is not None:
            raise Refused(f"{me.name} is not registered", "git coord join")
        left = records.put(record._replace(left=time.time(), process=None, harness_id="", waiting=False, expected=False))
        gone = Draft("leave", f"{me.name} left", {"session": me.name}, author=me.name)
        clone.append(lambda db: [gone, *farewell(db, mailbox(me.name, clone.settled_id()), me.name)])
        keep_marker(clone)
        publish(clone, left)
        return left


def set_focus(clone: Clone, me: Identity, text: str) -> Record:
    """What the session works on, in one line."""
    return register(clone, me, focus=" ".join(text.split())[:200])


def editing(clone: Clone, me: Identity, paths: Sequence[str], cwd: str) -> Record:
    """The session says which files it edits: in a shared worktree nobody else can tell. Raises UsageError."""
    from gitcoord.features.overlaps.notices import notice

    root = clone.repo.worktree
    if root is None:
        raise UsageError("there is no worktree here", "cd into one")
    inside = [relative_to_worktree(root, cwd, path) for path in paths]
    known = me.record.editing if me.record else {}
    now = time.time()
    latest = sorted({**known, **dict.fromkeys(inside, now)}.items(), key=lambda item: -item[1])[:100]
    record = register(clone, me, editing=dict(latest))
    notice(clone, record.name, now)
    return record


def relative_to_worktree(root: str, cwd: str, path: str) -> str:
    """`path`, as typed in `cwd`, relative to the worktree's root, with slashes. Raises UsageError outside of it."""
    full = os.path.normpath(os.path.join(os.path.realpath(cwd), path))
    inside = os.path.relpath(full, os.path.realpath(root))
    if inside == os.pardir or inside.startswith(os.pardir + os.sep) or os.path.isabs(inside):
        raise UsageError(f"{path!a} is outside of this worktree", f"name a path below {root}")
    return inside.replace(os.sep, "/")
