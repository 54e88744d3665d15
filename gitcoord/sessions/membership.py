"""Join, rename, adopt and leave; and the sessions that are present."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence

from gitcoord import lean_json as json
from gitcoord.errors import Refused, UsageError
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log import trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import OURS, mailbox, session_name, slug, split_mailbox
from gitcoord.sessions.identity import Identity, above_us, free_name, is_elsewhere, look_around, person_name, unused, who_am_i
from gitcoord.sessions.liveness import Silence, judge_published
from gitcoord.sessions.mailboxes import adopter, resolve_name
from gitcoord.sessions.presence import (
    liveness_of,
    presence_changed,
    publish,
    published_gone,
    register,
    silence,
)
from gitcoord.sessions.records import Record, Records
from gitcoord.system import process as processes


class Present(NamedTuple):
    """A session that is not gone: its mailbox, its role, and whether nobody is there yet."""

    box: str
    role: str
    expected: bool = False


def present(clone: Clone, now: float | None = None) -> list[Present]:
    """The sessions of all clones that are not gone. Looks at no worktree, so it may be called under the write lock."""
    now = time.time() if now is None else now
    records, here = Records(clone.repo.coord_dir), clone.id
    own = [r for r in records.all() if liveness_of(r, r.beat, now).state != "gone"]
    found = [Present(mailbox(r.name, here), r.role, r.expected) for r in own]
    quiet = silence(clone)
    for at, name, text, seen in clone.read(presences):
        data = json.loads(text)
        if not clone.is_ours(at) and judge_published(data, seen, now - records.sleeps.since(seen), quiet).state != "gone":
            role = data.get("role")
            found.append(Present(mailbox(name, at), role if isinstance(role, str) else ""))
    return found


def presences(db: sqlite3.Connection) -> list[tuple[str, str, str, float]]:
    """Clone, name, facts (JSON) and time of arrival of every presence."""
    return db.execute("SELECT clone, name, data, seen FROM presence ORDER BY clone, name").fetchall()


def states(clone: Clone, boxes: Iterable[str], now: float | None = None) -> dict[str, tuple[str, float | None]]:
    """State and last beat of each mailbox named; `gone` if no presence is left."""
    return clone.read(lambda db: states_in(db, clone, boxes, now))


def states_in(
    db: sqlite3.Connection, clone: Clone, boxes: Iterable[str], now: float | None = None, patient: bool = False
) -> dict[str, tuple[str, float | None]]:
    """`states`, for callers that have the database open. `patient`: silence makes no session gone, because silence frees
    nothing."""
    now = time.time() if now is None else now
    quiet = Silence() if patient else silence(clone)
    records = Records(clone.repo.coord_dir)
    found: dict[str, tuple[str, float | None]] = {}
    for box in boxes:
        name, at = split_mailbox(box)
        record = records.get(name) if clone.is_ours(at) else None
        row = db.execute("SELECT data, seen FROM presence WHERE clone = ? AND name = ?", (at, name)).fetchone()
        if record:
            beat_at = records.beat(name)
            found[box] = (liveness_of(record, beat_at, now).state, beat_at or None)
        elif row:
            found[box] = (judge_published(json.loads(row[0]), row[1], now - records.sleeps.since(row[1]), quiet).state, row[1])
        else:
            found[box] = (_state_without_presence(db, clone, box, patient), None)
    return found


def _state_without_presence(db: sqlite3.Connection, clone: Clone, box: str, patient: bool) -> str:
    """The state of a session without a presence: the user of this repository is never gone, and another clone's log
    says whether its session is. The list of retired clones says it, too, but nobody signs it."""
    name, at = split_mailbox(box)
    if clone.is_ours(at):
        return "expected" if name == person_name(clone.repo) else "gone"
    if at in clone.store.retired and not (patient and trust.is_required(clone)):
        return "gone"
    return "gone" if published_gone(db, clone, box) else "unknown"


def join(
    clone: Clone,
    me: Identity,
    name: str | None = None,
    role: str | None = None,
    focus: str | None = None,
    pid: int | None = None,
    origin: str | None = None,
) -> Record:
    """Register the caller, or rename its session to `name`; the old name stays an alias; a name that is free, or whose
    session is gone, is taken over.

    With `origin`, the name is another clone's, and its mail comes here. Raises Refused when the name is a live
    session's, or bound to a process that is not an ancestor of ours; UsageError for an invalid name, clone or pid.
    """
    facts: dict[str, Any] = {}
    if role is not None:
        facts["role"] = ("" if role in OURS else slug(_no_secret(clone, role), "")) or _refuse_role(role)
    if focus is not None:
        facts["focus"] = _no_secret(clone, focus)
    if pid is not None:
        facts["process"] = processes.describe(pid)
        if facts["process"] is None:
            raise UsageError(f"no process has the pid {pid}", "name a running process, or leave out --pid")
    if origin is not None and name is None:
        raise UsageError("--from needs the name of the session to adopt", "git coord join NAME --from CLONE")
    with clone.locked():
        me = _decide(clone, me, joins=True)
        if origin is not None and name is not None:
            _check_adoptable(clone, name, origin)
        if name is not None and name != me.name:
            me = _take_name(clone, me, session_name(_no_secret(clone, name)), origin)
        if pid is not None:
            _check_unheld(clone, me, pid)
        record = register(clone, me, **facts)
        if origin is not None:
            what = {"session": me.name, "from": origin}
            clone.append(lambda db: [Draft("adopt", f"{me.name} of {origin} continues here", what, author=me.name)])
        return record


def _decide(clone: Clone, me: Identity, joins: bool = False) -> Identity:
    """Decide under the lock who the caller is, because another process may have taken the name that it found. A terminal
    with a session in another worktree that `joins` here gets one here."""
    if me.rule in ("--as", "GIT_COORD_SESSION"):
        return me._replace(record=Records(clone.repo.coord_dir).get(me.name))
    around = look_around(clone, time.time())
    found = who_am_i(around)
    return Identity(free_name(around), "worktree") if joins and is_elsewhere(clone.repo, found) else found


def _check_unheld(clone: Clone, me: Identity, pid: int) -> None:
    """Refuse a name whose process lives, unless that process is an ancestor of ours."""
    record = Records(clone.repo.coord_dir).get(me.name)
    holder = record.process if record else None
    if record is None or holder is None or record.left is not None or holder.pid in (pid, *above_us()):
        return
    if processes.is_alive(holder):
        raise Refused(f"{me.name} is bound to another process, {holder.pid}", "choose another name, or: git coord sessions")


def _check_adoptable(clone: Clone, name: str, origin: str) -> None:
    """Refuse a session that is not known to be gone and whose presence is still valid."""
    box = mailbox(name, origin)
    if clone.is_ours(origin) or clone.read(lambda db: resolve_name(db, box, clone.id)) != box:
        raise UsageError(f"{box} is not a session of another clone", "git coord sessions --all")
    state = states(clone, [box])[box][0]
    if state not in ("gone", "unknown"):
        raise Refused(f"{box} is {state}", "ask it to leave first, or choose another name")


def _refuse_role(role: str) -> str:
    raise UsageError(f"{role!a} is not a valid role name", "use lower-case letters, digits and '-'")


def _take_name(clone: Clone, me: Identity, name: str, origin: str | None) -> Identity:
    records = Records(clone.repo.coord_dir)
    target = records.get(name)
    if target and not _may_take(target, records):
        state = liveness_of(target, records.beat(name), time.time()).state
        hint = "choose another name, or: git coord sessions"
        if origin is not None:  # a name that is adopted is kept, so the one that is here moves
            free = unused(name, (record.name for record in records.all()))
            hint = f"GIT_COORD_SESSION={name} git coord join {free}, then: git coord join {name} --from {origin}"
        raise Refused(f"{name} is the name of another session, which is {state}", hint)
    if name == person_name(clone.repo) and not me.person:
        raise UsageError(f"{name} is the name of this repository's user", "choose another name")
    if (away := clone.read(lambda db: adopter(db, clone.settled_id(), name))) and (
        there := states(clone, [away])[away][0]
    ) not in ("gone", "unknown"):
        raise Refused(f"{name} continues as {away}, which is {there}", "choose another name")
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
    """Whether a name is free: its holder is gone, or only a placeholder."""
    life = liveness_of(target, records.beat(target.name), time.time())
    return not target.person and (life.state in ("expected", "gone"))


def leave(clone: Clone, me: Identity) -> Record:
    """End the caller's session; its mailbox and history stay. Raises Refused if it is not registered."""
    with clone.locked():
        me = _decide(clone, me)
        records = Records(clone.repo.coord_dir)
        record = records.get(me.name)
        if record is None or record.left is not None:
            raise Refused(f"{me.name} is not registered", "git coord join")
        left = records.put(record._replace(left=time.time(), process=None, harness_id="", waiting=False, expected=False))
        gone = Draft("leave", f"{me.name} left", {"session": me.name}, author=me.name)
        clone.append(lambda db: [gone, *_parting(db, clone, me.name)])
        for hooks in clone.registry.hooks("parted"):
            if hooks.parted:
                hooks.parted(clone)
        publish(clone, left)
        return left


def _parting(db: sqlite3.Connection, clone: Clone, name: str) -> list[Draft]:
    """The drafts that features write when a session leaves."""
    return [draft for hooks in clone.registry.hooks("parting") if hooks.parting for draft in hooks.parting(db, clone, name)]


def set_focus(clone: Clone, me: Identity, text: str) -> Record:
    """Set what the session works on, in one line."""
    return register(clone, me, focus=_no_secret(clone, " ".join(text.split())[:200]))


def _no_secret(clone: Clone, text: str) -> str:
    """Check typed words for secrets: they leave the clone with the presence, without an event. Raises LooksSecret."""
    if not clone.allows_secrets:
        from gitcoord.log import secrets

        secrets.check(text, (), ())
    return text


def editing(clone: Clone, me: Identity, paths: Sequence[str], cwd: str) -> Record:
    """Note which files the session edits, because in a shared worktree git cannot tell. Raises UsageError."""
    root = clone.repo.worktree
    if root is None:
        raise UsageError("there is no worktree here", "cd into one")
    inside = [relative_to_worktree(root, cwd, path) for path in paths]
    known = me.record.editing if me.record else {}
    now = time.time()
    latest = sorted({**known, **dict.fromkeys(inside, now)}.items(), key=lambda item: -item[1])[:100]
    record = register(clone, me, editing=dict(latest))
    presence_changed(clone, record.name, now)
    return record


def relative_to_worktree(root: str, cwd: str, path: str) -> str:
    """`path`, as typed in `cwd`, relative to the worktree's root, with slashes. Raises UsageError outside of it."""
    full = os.path.normpath(os.path.join(os.path.realpath(cwd), path))
    inside = os.path.relpath(full, os.path.realpath(root))
    if inside == os.pardir or inside.startswith(os.pardir + os.sep) or os.path.isabs(inside):
        raise UsageError(f"{path!a} is outside of this worktree", f"name a path below {root}")
    return inside.replace(os.sep, "/")
