"""Sessions: who works here, under which name, where, and whether they are still there (DESIGN 2.5, 3).

A session is a name with a mailbox. Its presence is one commit, replaced; joining and renaming are events, because a
name outlives its holder.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitcoord import process as processes
from gitcoord.clone import Clone
from gitcoord.errors import Refused, RepositoryError, UsageError
from gitcoord.event import Draft, Event, Malformed
from gitcoord.identity import Identity, look_around, person_name, who_am_i
from gitcoord.index.feature import Feature, want
from gitcoord.liveness import PRESENCE_TTL, Liveness, judge, judge_published
from gitcoord.names import is_name, mailbox, session_name, slug, split_mailbox
from gitcoord.records import Record, Records
from gitcoord.worktrees import TouchedFile, Worktree, list_worktrees, touched_files

PUBLISH_EVERY = 5 * 60
"""Seconds after which an active session's presence is committed again."""
RETIRE_AFTER = 24 * 3600

# events


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

# names


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


# presence


def register(clone: Clone, me: Identity, **facts: Any) -> Record:
    """Make sure that `me` exists: record, name and presence. `facts` are fields of the record to set."""
    with clone.locked():
        records = Records(clone.repo.coord_dir)
        known = records.get(me.name)
        fresh = known is None or known.left is not None
        record = known or Record(me.name, joined=time.time(), person=me.person)
        if me.rule not in ("--as", "GIT_COORD_SESSION") or not record.git_dir:
            facts = {**_place(clone, record), **facts}
        facts = {**_binding(me, record), "expected": False, "left": None, **facts}
        changed = replace(record, **facts)
        if fresh:
            clone.append(lambda db: [_joining(changed)])
        if fresh or changed != known:
            records.put(changed)
        records.touch(me.name)
        if fresh or _published(changed) != _published(record):
            publish(clone, changed)
        return changed


def _joining(record: Record) -> Draft:
    what = "is expected" if record.expected else "joined"
    return Draft("join", f"{record.name} {what}", {"session": record.name}, author=record.name)


def _place(clone: Clone, record: Record) -> dict[str, str]:
    repo = clone.repo
    if repo.worktree is None or record.person:
        return {}
    return {"git_dir": str(repo.git_dir), "worktree": str(repo.worktree)}


def _binding(me: Identity, record: Record) -> dict[str, Any]:
    """A shell at a terminal is bound to the worktree's session; a harness session keeps its id."""
    facts: dict[str, Any] = {}
    if me.harness_id:
        facts = {"harness": me.harness, "harness_id": me.harness_id}
    leader = processes.terminal_leader() if me.rule == "worktree" and not me.shared else None
    if leader and not me.person and not (record.process and processes.is_alive(record.process)):
        facts["process"] = processes.describe(leader)
    return facts


def _published(record: Record) -> tuple[object, ...]:
    return (record.role, record.focus, record.harness, record.expected, record.waiting, record.left is None, record.editing)


def publish(clone: Clone, record: Record, now: float | None = None) -> None:
    """Write the presence commit of a session of ours."""
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    data = presence_data(clone, record, records, now)
    where = f" on {data['branch']}" if data.get("branch") else ""
    clone.put_presence(record.name, f"{record.name} is {data['state']}{where}", data)
    records.put(replace(record, published=now))


def presence_data(clone: Clone, record: Record, records: Records, now: float) -> dict[str, Any]:
    """What of a session may leave the clone: no absolute path, no host, no process."""
    worktree = _worktree_of(list_worktrees(clone.repo), record)
    alone = len([r for r in records.all() if r.git_dir == record.git_dir and r.left is None]) == 1
    files = _files(clone, record, worktree, alone)
    alive = processes.is_alive(record.process) if record.process else None
    state = judge(record, records.beat(record.name) or now, alive, now).state
    data: dict[str, Any] = {"session": record.name, "state": state, "ttl": PRESENCE_TTL}
    data |= {key: value for key in ("harness", "role", "focus") if (value := getattr(record, key))}
    if worktree:
        data |= {"branch": worktree.branch, "head": worktree.head}
    if files:
        data["files"] = [[f.path, int(f.at)] for f in files[:50] if _is_text(f.path)]
    if record.person:
        data["person"] = True
    return data


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _worktree_of(worktrees: Sequence[Worktree], record: Record) -> Worktree | None:
    if not record.git_dir:
        return None
    return next((w for w in worktrees if w.git_dir == record.git_dir or w.path == record.worktree), None)


def _files(clone: Clone, record: Record, worktree: Worktree | None, alone: bool) -> list[TouchedFile]:
    """What a session has touched: its whole worktree's changes, or in a shared one what it said or was seen to edit."""
    told = [TouchedFile(path, at) for path, at in record.editing.items()]
    if worktree is None or record.person:
        return told
    lying = touched_files(clone.repo, worktree.path)
    if alone:
        names = {f.path for f in lying}
        return sorted([*lying, *(f for f in told if f.path not in names)], key=lambda f: (-f.at, f.path))
    changed = {f.path: f for f in lying}
    return sorted((changed.get(f.path, f) for f in told), key=lambda f: (-f.at, f.path))


def beat(clone: Clone, me: Identity) -> None:
    """A sign of life, given by every command run as a session; registers nothing."""
    if me.record is None or me.observer:
        return
    records = Records(clone.repo.coord_dir)
    records.touch(me.name)
    if me.record.expected or me.record.waiting or me.record.left is not None:
        try:
            register(clone, me, waiting=False)
        except RepositoryError:
            return  # a read-only repository: reads still work


# verbs


@dataclass(frozen=True, slots=True)
class Session:
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


def list_sessions(clone: Clone, everyone: bool = False, now: float | None = None) -> list[Session]:
    """The worktrees with their sessions, then persons, then other clones' sessions; gone ones only if `everyone`."""
    now = time.time() if now is None else now
    here = clone.id or ""
    rows, unread = clone.read(lambda db: (_presences(db), _unread(db)))
    records = Records(clone.repo.coord_dir)
    known = records.all()
    found: list[Session] = []
    placed: set[str] = set()
    for worktree in list_worktrees(clone.repo):
        inside = [r for r in known if r.git_dir and (r.git_dir == worktree.git_dir)]
        shown = [_own(clone, r, worktree, inside, records, unread, now) for r in inside]
        shown = [s for s in shown if everyone or s.state != "gone"]
        found += shown or [_empty(clone, worktree)]
        placed |= {r.name for r in inside}
    rest = [_own(clone, r, None, [r], records, unread, now) for r in known if r.name not in placed]
    foreign = [_foreign(row, unread, now) for row in rows if row[0] != here]
    return found + [s for s in rest + foreign if everyone or s.state != "gone"]


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
    from gitcoord.messages import unread_counts

    return unread_counts(db)


def _own(
    clone: Clone,
    record: Record,
    worktree: Worktree | None,
    inside: Sequence[Record],
    records: Records,
    unread: dict[str, int],
    now: float,
) -> Session:
    at = records.beat(record.name)
    life = liveness_of(record, at, now)
    alone = len([r for r in inside if r.left is None]) <= 1
    files = () if life.state == "gone" else tuple(_files(clone, record, worktree, alone))
    return Session(
        record.name, clone.id, worktree.path if worktree else None, worktree.branch if worktree else None,
        worktree.head if worktree else None, life.state, life.since, record.focus or _last_subject(clone, worktree),
        files, at or None, record.harness, record.role, unread.get(mailbox(record.name, clone.id or ""), 0), True,
        record.person,
    )  # fmt: skip


def liveness_of(record: Record, beat: float, now: float) -> Liveness:
    """The state of one of our sessions, looking at its process."""
    return judge(record, beat, processes.is_alive(record.process) if record.process else None, now)


def _last_subject(clone: Clone, worktree: Worktree | None) -> str:
    if worktree is None or worktree.head is None:
        return ""
    result = clone.repo.git("log", "-1", "--no-show-signature", "--format=%s", worktree.head)
    return result.out.decode("utf-8", "replace").strip()[:200]


def _empty(clone: Clone, worktree: Worktree) -> Session:
    files = tuple(touched_files(clone.repo, worktree.path))
    return Session(
        None, clone.id, worktree.path, worktree.branch, worktree.head, None, None, "", files, None, "", "", 0, True
    )


def _foreign(row: tuple[str, str, str, float], unread: dict[str, int], now: float) -> Session:
    at_clone, name, text, seen = row
    data: dict[str, Any] = json.loads(text)
    life = judge_published(data, seen, now)

    def fact(key: str) -> str:
        value = data.get(key)
        return value[:200] if isinstance(value, str) else ""

    files = data.get("files") if isinstance(data.get("files"), list) else []
    touched = tuple(
        TouchedFile(f[0], f[1])
        for f in files or []
        if isinstance(f, list) and len(f) == 2 and isinstance(f[0], str) and isinstance(f[1], int)
    )
    return Session(
        name, at_clone, None, fact("branch") or None, fact("head") or None, life.state, life.since, fact("focus"), touched,
        seen, fact("harness"), fact("role"), unread.get(mailbox(name, at_clone), 0), False, data.get("person") is True,
    )  # fmt: skip


def states(clone: Clone, boxes: Iterable[str], now: float | None = None) -> dict[str, tuple[str, float | None]]:
    """State and last beat of each mailbox named; `gone` where nothing of it is left but the name."""
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    rows = {mailbox(name, at): (data, seen) for at, name, data, seen in clone.read(_presences)}
    found: dict[str, tuple[str, float | None]] = {}
    for box in boxes:
        name, at = split_mailbox(box)
        record = records.get(name) if at == clone.id else None
        if record:
            beat_at = records.beat(name)
            found[box] = (liveness_of(record, beat_at, now).state, beat_at or None)
        elif box in rows:
            found[box] = (judge_published(json.loads(rows[box][0]), rows[box][1], now).state, rows[box][1])
        else:
            found[box] = ("gone", None)
    return found


def join(
    clone: Clone,
    me: Identity,
    name: str | None = None,
    role: str | None = None,
    focus: str | None = None,
    pid: int | None = None,
) -> Record:
    """Register the caller, or rename its session to `name`; an old name stays an alias, a free or gone one is taken over.

    Raises Refused when `name` is a live session's, UsageError for a name or pid that is none.
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
    with clone.locked():
        if name is not None and name != me.name:
            me = _take_name(clone, me, session_name(name))
        return register(clone, me, **facts)


def _refuse_role(role: str) -> str:
    raise UsageError(f"{ascii(role)} cannot name a role", "use lower-case letters, digits and '-'")


def _take_name(clone: Clone, me: Identity, name: str) -> Identity:
    records = Records(clone.repo.coord_dir)
    target = records.get(name)
    if target and not _may_take(target, records):
        state = liveness_of(target, records.beat(name), time.time()).state
        raise Refused(f"{name} is another session's name, which is {state}", "choose another name, or: git coord sessions")
    if name == person_name(clone.repo) and not me.person:
        raise UsageError(f"{name} is the name of this repository's user", "choose another name")
    mine = me.record
    if mine is None or mine.person or mine.left is not None or me.observer:
        return replace(me, name=name, record=target, person=False)
    old = me.name
    clone.append(lambda db: [Draft("rename", f"{old} is called {name} now", {"old": old, "new": name}, author=name)])
    renamed = records.rename(replace(mine, expected=False), name)
    clone.drop_presence(old)
    publish(clone, renamed)
    return replace(me, name=name, record=renamed)


def _may_take(target: Record, records: Records) -> bool:
    """A name is free when its holder is gone, or was only expected."""
    life = liveness_of(target, records.beat(target.name), time.time())
    return not target.person and (life.state in ("expected", "gone"))


def leave(clone: Clone, me: Identity) -> Record:
    """The caller's session ends; its mailbox and history stay. Raises Refused when there is none."""
    with clone.locked():
        records = Records(clone.repo.coord_dir)
        record = records.get(me.name)
        if record is None or record.left is not None:
            raise Refused(f"{me.name} is not registered", "git coord join")
        left = records.put(replace(record, left=time.time(), process=None, harness_id="", waiting=False, expected=False))
        clone.append(lambda db: [Draft("leave", f"{me.name} left", {"session": me.name}, author=me.name)])
        publish(clone, left)
        return left


def set_focus(clone: Clone, me: Identity, text: str) -> Record:
    """What the session works on, in one line."""
    return register(clone, me, focus=" ".join(text.split())[:200])


def editing(clone: Clone, me: Identity, paths: Sequence[str], cwd: Path) -> Record:
    """The session says which files it edits: in a shared worktree nobody else can tell. Raises UsageError."""
    root = clone.repo.worktree
    if root is None:
        raise UsageError("there is no worktree here", "cd into one")
    inside = [relative_to_worktree(root, cwd, path) for path in paths]
    known = me.record.editing if me.record else {}
    now = time.time()
    latest = sorted({**known, **dict.fromkeys(inside, now)}.items(), key=lambda item: -item[1])[:100]
    return register(clone, me, editing=dict(latest))


def relative_to_worktree(root: Path, cwd: Path, path: str) -> str:
    """`path`, as typed in `cwd`, relative to the worktree's root, with slashes. Raises UsageError outside of it."""
    full = os.path.normpath(os.path.join(os.path.realpath(cwd), path))
    inside = os.path.relpath(full, os.path.realpath(root))
    if inside == os.pardir or inside.startswith(os.pardir + os.sep) or os.path.isabs(inside):
        raise UsageError(f"{ascii(path)} is outside of this worktree", f"name a path below {root}")
    return inside.replace(os.sep, "/")


def expect(clone: Clone, worktree: Worktree, now: float | None = None) -> Record | None:
    """Register a placeholder for a worktree that has no session yet; None if it has one."""
    with clone.locked():
        around = look_around(clone, time.time() if now is None else now)
        if any(r.git_dir == worktree.git_dir and r.left is None for r in around.records):
            return None
        from gitcoord.identity import unused, worktree_name

        taken = {r.name for r in around.records} | {person_name(clone.repo)}
        name = unused(worktree_name(Path(worktree.path)), taken)
        record = Record(name, worktree.git_dir, worktree.path, expected=True, joined=around.now)
        clone.append(lambda db: [_joining(record)])
        publish(clone, Records(clone.repo.coord_dir).put(record))
        return record


def current(clone: Clone, as_name: str | None = None) -> Identity:
    """Who the caller is."""
    return who_am_i(look_around(clone, time.time()), as_name)
