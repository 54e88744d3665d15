"""Presence: the part of a session's record that others see, as a commit, and when it is written."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Sequence
from functools import partial

from gitcoord import lean_json as json
from gitcoord.errors import CoordError
from gitcoord.lean import TYPE_CHECKING, Any, NamedTuple, sqlite3, suppress
from gitcoord.log import incidents, trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.names import split_mailbox
from gitcoord.sessions import touched
from gitcoord.sessions.identity import (
    Identity,
    is_elsewhere,
    is_helpers_place,
    is_settled,
    look_around,
    person_name,
    unused,
    who_am_i,
    worktree_name,
)
from gitcoord.sessions.liveness import PRESENCE_TTL, SILENT_IS_GONE, Liveness, Silence, judge
from gitcoord.sessions.mailboxes import MAX_FILES, MAX_FOCUS, adopter
from gitcoord.sessions.records import Record, Records
from gitcoord.system import process as processes
from gitcoord.text import one_line

if TYPE_CHECKING:
    from gitcoord.store.worktrees import TouchedFile, Worktree

PUBLISH_EVERY = 5 * 60
"""Seconds between two presence commits of an active session whose facts do not change."""


def register_caller(clone: Clone, me: Identity) -> Identity:
    """Register `me` as the session that writes: decided and registered in one step under the write lock. Raises
    RepositoryError.

    Two simultaneous processes may have found the same free name; the second one gets another here.
    """
    if is_settled(me):
        return me
    with clone.locked():
        me = who_am_i(look_around(clone, time.time()))
        return me._replace(record=register(clone, me))


def register(clone: Clone, me: Identity, **facts: Any) -> Record:
    """Make sure that `me` exists: record, name and presence. `facts` are fields of the record to set."""
    with clone.locked():
        records = Records(clone.repo.coord_dir)
        known = records.get(me.name)
        fresh = known is None or known.left is not None or bool(known.gone)
        record = known or Record(me.name, joined=time.time(), person=me.person)
        named = me.rule == "GIT_COORD_SESSION" and record.git_dir
        if not (me.observer or named or is_elsewhere(clone.repo, me)):
            facts = {**_place(clone, record), **facts}
        facts = {**_binding(me, record), "expected": False, "left": None, "gone": 0.0, **facts}
        changed = record._replace(**facts)
        if fresh or _is_adopted(clone, me.name):
            clone.append(lambda db: [_joining(changed)])
        if fresh or changed != known:
            records.put(changed)
        records.touch(me.name)
        if fresh or not record.published or _published(changed) != _published(record):
            publish(clone, changed)
    if changed.waiting and not record.waiting:
        _ring(clone, changed)
    return changed


def _ring(clone: Clone, record: Record) -> None:
    """Run `coord.notify` for a session that has begun to wait for its human."""
    if command := clone.repo.setting("notify"):
        from gitcoord.system.notify import notify

        facts = {"kind": "waiting", "session": record.name, "focus": record.focus, "worktree": record.worktree}
        notify(command, clone.repo.environ, f"{record.name} waits for you", facts)


def _is_adopted(clone: Clone, name: str) -> bool:
    return bool(clone.read(lambda db: adopter(db, clone.settled_id(), name)))


def take_back(clone: Clone, events: Iterable[Event]) -> None:
    """Let sessions that are alive here, but were adopted by one of `events`, join again; note which clone did that."""
    records = Records(clone.repo.coord_dir)
    for event in events:
        of = str(event.data.get("from"))  # an event of a newer version may have anything here
        record = records.get(str(event.data.get("session"))) if trust.is_own(clone, of) else None
        if record is None or liveness_of(record, records.beat(record.name), clone.clock()).state == "gone":
            continue
        with clone.locked():
            if _is_adopted(clone, record.name):
                clone.append(lambda db, back=record: [_joining(back)])  # type: ignore[misc]
                what = f"it adopted {record.name} of this clone, which is alive here and has taken back its name"
                incidents.note(clone.repo.coord_dir, event.clone, what, clone.clock())


def _joining(record: Record) -> Draft:
    what = "is expected" if record.expected else "joined"
    return Draft("join", f"{record.name} {what}", {"session": record.name}, author=record.name)


def _place(clone: Clone, record: Record) -> dict[str, Any]:
    repo = clone.repo
    if repo.worktree is None or record.person or (record.git_dir and is_helpers_place(repo.worktree)):
        return {}
    return {"git_dir": repo.git_dir, "worktree": repo.worktree, "removed": False}


def _binding(me: Identity, record: Record) -> dict[str, Any]:
    """The process to bind to a session: at a terminal the shell; a session of an agent program keeps the program's id."""
    facts: dict[str, Any] = {"process": None} if record.gone else {}  # a new holder: the old process is not its own
    if me.harness_id:
        facts |= {"harness": me.harness, "harness_id": me.harness_id}
    leader = processes.terminal_leader() if me.rule in ("worktree", "terminal") and not me.shared else None
    if leader and not me.person and not (record.process and processes.is_alive(record.process)):
        facts["process"] = processes.describe(leader)
    return facts


def _published(record: Record) -> tuple[object, ...]:
    return (record.role, record.focus, record.harness, record.expected, record.waiting, record.left is None, record.editing)


class WorktreeState(NamedTuple):
    """A look at the worktree of a session: its changed files, and which paths git ignores there."""

    lying: Sequence[TouchedFile] = ()
    ignored: Collection[str] = ()


def look(clone: Clone, record: Record) -> WorktreeState:
    """Look at the worktree of a session. This takes git seconds in a large one, so never do it under the write lock."""
    from gitcoord.store.worktrees import ignored_paths, list_worktrees, touched_files

    worktree = _worktree_of(list_worktrees(clone.repo), record)
    if worktree is None or record.person:
        return WorktreeState((), record.editing)
    lying = touched_files(clone.repo, worktree.path)
    told = [path for path in record.editing if path not in {f.path for f in lying}]
    return WorktreeState(lying, ignored_paths(clone.repo, worktree, told) if told else ())


def _last_seen(clone: Clone, record: Record) -> WorktreeState:
    """The published result of the last look; paths reported since count as ignored until the next look."""
    from gitcoord.store.worktrees import TouchedFile

    files = clone.read(lambda db: facts_of(db, clone.settled_id(), record.name)).get("files", ())
    known = [TouchedFile(path, at) for path, at in files]
    return WorktreeState(known, [path for path in record.editing if path not in {f.path for f in known}])


def publish(clone: Clone, record: Record, now: float | None = None) -> None:
    """Write the presence commit of a session of ours. Under the write lock it gets the files of the last look; the next
    look is taken as soon as the lock is free, and its files are shown."""
    if clone.holds_lock:
        _put(clone, record, _last_seen(clone, record), now)
        clone.when_free[record.name] = partial(_look_again, clone, record.name)
    else:
        _put(clone, record, look(clone, record), now)


def _look_again(clone: Clone, name: str) -> None:
    """Write the presence again if the changed files differ now. A failure is ignored, because the caller's work is done."""
    with suppress(CoordError):
        records, now = Records(clone.repo.coord_dir), time.time()
        if (record := records.get(name)) is None:
            return
        seen = look(clone, record)
        with clone.locked():
            record = records.get(name)
            shown = clone.read(lambda db: facts_of(db, clone.settled_id(), name))
            if record and shown and presence_data(clone, record, records, now, seen).get("files") != shown.get("files"):
                _put(clone, record, seen, now)


def _put(clone: Clone, record: Record, seen: WorktreeState, now: float | None) -> None:
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    data = presence_data(clone, record, records, now, seen)
    clone.put_presence(record.name, data)
    records.put(record._replace(published=now))
    keep_touched(clone, record.name, data)


def keep_touched(clone: Clone, name: str, data: dict[str, Any]) -> None:
    """Note the published files as the session's changes, for the hooks of others."""
    files = data.get("files", ()) if data["state"] != "gone" else ()
    touched.keep(clone.repo.coord_dir, name, [path for path, _ in files])


def presence_data(clone: Clone, record: Record, records: Records, now: float, seen: WorktreeState) -> dict[str, Any]:
    """The facts of a session that may leave the clone: never an absolute path, a host name or a process."""
    from gitcoord.store.worktrees import list_worktrees

    worktree = _worktree_of(list_worktrees(clone.repo), record)
    files = files_of(record, seen.lying, len(sharers(records.all(), record.git_dir, now)) <= 1)
    state = liveness_of(record, records.beat(record.name) or now, now).state
    data: dict[str, Any] = {"session": record.name, "state": state, "ttl": PRESENCE_TTL}
    data |= {key: value for key in ("harness", "role") if (value := getattr(record, key))}
    if focus := one_line(record.focus, MAX_FOCUS):
        data["focus"] = focus
    if worktree:
        data |= {"branch": worktree.branch, "head": worktree.head}
    if worktree and files:
        shown = [f for f in files if _is_text(f.path) and f.path not in seen.ignored]
        data["files"] = [[f.path, int(f.at)] for f in shown[:MAX_FILES]]
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


def files_of(record: Record, lying: Sequence[TouchedFile], alone: bool) -> list[TouchedFile]:
    """The files a session has touched: its whole worktree's changes; in a shared worktree those that it reported or was
    seen to edit."""
    from gitcoord.store.worktrees import TouchedFile

    told = {path: TouchedFile(path, at) for path, at in record.editing.items()}
    found = told | {f.path: f for f in lying if alone or f.path in told or f.path in record.touched}
    return sorted(found.values(), key=lambda f: (-f.at, f.path))


def liveness_of(record: Record, beat: float, now: float) -> Liveness:
    """The state of one of our sessions; looks at its process."""
    return judge(record, beat, processes.is_alive(record.process) if record.process else None, now)


def sharers(known: Sequence[Record], git_dir: str, now: float) -> list[Record]:
    """The sessions of a worktree that are not gone."""
    inside = [r for r in known if r.git_dir == git_dir]
    return [r for r in inside if liveness_of(r, r.beat, now).state != "gone"]


def presence_changed(clone: Clone, name: str, now: float | None = None) -> None:
    """Tell the features that session `name` of this clone changed files or moved its HEAD."""
    now = time.time() if now is None else now
    for hooks in clone.registry.hooks("presence_changed"):
        if hooks.presence_changed:
            hooks.presence_changed(clone, name, now)


def expect(clone: Clone, worktree: Worktree, now: float | None = None) -> Record | None:
    """Register a placeholder for a worktree that has no session yet; None if it has one."""
    with clone.locked():
        around = look_around(clone, time.time() if now is None else now)
        here = [r for r in around.records if r.git_dir == worktree.git_dir and r.left is None]
        if any(not r.gone for r in here):
            return None
        taken = {r.name for r in around.records if r not in here} | {person_name(clone.repo)}
        name = unused(worktree_name(worktree.path), taken)
        record = Record(name, worktree.git_dir, worktree.path, expected=True, joined=around.now)
        clone.append(lambda db: [_joining(record)])
        publish(clone, Records(clone.repo.coord_dir).put(record))
        return record


def silence(clone: Clone) -> Silence:
    """From when on a silent session of another clone counts as gone; the time of `coord/heard` is that of the last sync."""
    try:
        until = os.stat(clone.path("heard")).st_mtime
    except OSError:
        until = 0.0
    return Silence(until, clone.repo.seconds("gone", SILENT_IS_GONE))


def published_gone(db: sqlite3.Connection, clone: Clone, box: str) -> bool:
    """Whether another clone says that a session of its is gone: in its presence, or in the last one in its log. If
    signatures are required, an unsigned one frees nothing."""
    name, at = split_mailbox(box)
    row = db.execute("SELECT data FROM presence WHERE clone = ? AND name = ?", (at, name)).fetchone()
    if row is not None:
        return bool(json.loads(row[0]).get("state") == "gone")
    last = db.execute(
        "SELECT type, id FROM events WHERE clone = ? AND author = ? AND type IN ('join', 'leave', 'gone', 'presence')"
        " ORDER BY lc DESC, id DESC LIMIT 1",
        (at, name),
    ).fetchone()
    return last is not None and last[0] != "join" and trust.counts(clone, db, last[1])


def holder_mark(db: sqlite3.Connection, box: str) -> str:
    """A value that changes whenever the holder's clone publishes its presence."""
    name, at = split_mailbox(box)
    row = db.execute("SELECT id FROM presence WHERE clone = ? AND name = ?", (at, name)).fetchone()
    return row[0] if row else ""


def clock_ahead(db: sqlite3.Connection, clone: str) -> float:
    """The most by which our clock can be ahead of another clone's, in seconds: the time at which we first saw its presence,
    less the time written in it."""
    (ahead,) = db.execute("SELECT min(seen - at) FROM presence WHERE clone = ?", (clone,)).fetchone()
    return float(ahead or 0.0)


def facts_of(db: sqlite3.Connection, clone: str, name: str) -> dict[str, Any]:
    """The facts in the presence of a session; empty without one."""
    row = db.execute("SELECT data FROM presence WHERE clone = ? AND name = ?", (clone, name)).fetchone()
    return dict(json.loads(row[0])) if row else {}
