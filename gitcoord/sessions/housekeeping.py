"""Work that no command waits for: presence every five minutes, sessions gone for a day, the sweep, merging packs.

`refresh` does all of it. A long-lived process calls it itself; a one-shot command starts `git-coord hook refresh` in
the background and continues. The writer that notices the need also packs and sweeps (`Clone`), because both must work
without a background process.
"""

from __future__ import annotations

import os
import sys
import time

from gitcoord import lean_json as json
from gitcoord.errors import CoordError, RepositoryError
from gitcoord.lean import Any, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.log.index import presence
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity, current, is_settled
from gitcoord.sessions.liveness import judge
from gitcoord.sessions.presence import (
    PUBLISH_EVERY,
    expect,
    keep_touched,
    look,
    presence_changed,
    presence_data,
    publish,
    register,
    register_caller,
    sharers,
)
from gitcoord.sessions.records import Record, Records
from gitcoord.store.repository import LOCAL_ENV_VARS
from gitcoord.store.worktrees import list_worktrees
from gitcoord.system import background
from gitcoord.system.files import names_in, remove_ours, touch_ours
from gitcoord.system.process import is_alive

RETIRE_AFTER = 24 * 3600
"""Seconds after which a session that is gone is shown no longer."""

CONVERSATION_KEPT = 90 * 24 * 3600
"""Seconds for which the name of an agent's conversation is kept."""


def keep_up(clone: Clone, record: Record, now: float | None = None) -> None:
    """Refresh if the presence is due, without making a one-shot command wait. Called with each beat."""
    now = time.time() if now is None else now
    if not _claim(clone, now):
        return
    if clone.long_lived:
        with suppress(CoordError):
            refresh(clone, record.name, now)
    else:
        in_background(clone, "refresh", record.name)


def in_background(clone: Clone, *action: str) -> None:
    """Start `git-coord hook ACTION` for this clone in the background."""
    argv = [sys.executable, *background.ISOLATED, "-m", "gitcoord", "hook", *action]
    kept = {name: value for name, value in clone.repo.environ.items() if name not in LOCAL_ENV_VARS}
    environ = {**kept, "GIT_DIR": clone.repo.git_dir, "GIT_COORD": action[0]}
    background.start(argv, environ, collect=clone.long_lived)


def _claim(clone: Clone, now: float) -> bool:
    """Whether no process began a refresh for this clone within the last seconds; False in a directory that we cannot
    write to."""
    marker = clone.path("refreshed")
    try:
        if 0 <= now - os.stat(marker).st_mtime < 10:
            return False
    except FileNotFoundError:
        pass
    except OSError:
        return False
    try:
        touch_ours(marker, now)
    except OSError:
        return False
    return True


def refresh(clone: Clone, name: str | None = None, now: float | None = None) -> None:
    """Publish the presence of session `name` if it is due, then tidy up. Raises CoordError."""
    now = time.time() if now is None else now
    record = Records(clone.repo.coord_dir).get(name) if name else None
    if record and record.left is None and _is_due(clone, record, now):
        publish(clone, record, now)
    retire(clone, now)
    _forget_conversations(clone, now)
    from gitcoord.log import old_epochs, retention
    from gitcoord.store import graphs

    clone.settle_lost()
    clone.mended += graphs.mend(clone.repo)
    old_epochs.drop_replaced(clone)
    with suppress(OSError):
        retention.gc_by_itself(clone, now)
    clone.sweep()
    clone.pack(limit=None)


def _forget_conversations(clone: Clone, now: float) -> None:
    """Forget ids of agents' conversations that began long ago; a conversation that is resumed later gets another name."""
    folder = clone.path("agents")
    with suppress(OSError):
        for path in (os.path.join(folder, name) for name in names_in(folder)):
            if os.lstat(path).st_mtime < now - CONVERSATION_KEPT:
                remove_ours(path)


def _is_due(clone: Clone, record: Record, now: float) -> bool:
    lost = record.name not in clone.read(lambda db: presence.own(db, clone.id))  # a fetch with pruning deleted the ref
    return lost or not 0 <= now - record.published < PUBLISH_EVERY


def retire(clone: Clone, now: float | None = None) -> list[str]:
    """Move the last presence of our sessions gone for a day into the log and show them no longer; returns their names."""
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    retired = []
    for name in clone.read(lambda db: presence.own(db, clone.id)) if clone.id else ():
        record = records.get(name)
        if record is None or _gone_since(records, record, now) < now - RETIRE_AFTER:
            _retire_one(clone, records, record or Record(name, left=now), now)
            retired.append(name)
    return retired


def _gone_since(records: Records, record: Record, now: float) -> float:
    """The time at which the session was gone; now if it is not gone."""
    alive = is_alive(record.process) if record.process else None
    life = judge(record, records.beat(record.name), alive, now)
    return life.since if life.state == "gone" and life.since is not None else now


def _retire_one(clone: Clone, records: Records, record: Record, now: float) -> None:
    seen = look(clone, record)
    with clone.locked():
        data = presence_data(clone, record, records, now, seen)
        clone.append(lambda db: [Draft("presence", f"{record.name} is gone", data, author=record.name)])
        clone.drop_presence(record.name)
        if records.get(record.name):
            records.put(record._replace(published=0.0))


def beat(clone: Clone, me: Identity) -> Identity:
    """Give a sign of life for the session that runs a command, without registering a new one. Returns its identity."""
    if me.record is None or me.observer:
        return me
    with suppress(RepositoryError):  # a read-only repository: reads still work
        if me.record.expected or (me.rule == "harness" and not is_settled(me)):
            return register_caller(clone, me)
        Records(clone.repo.coord_dir).touch(me.name)
        if me.record.waiting or me.record.left is not None or me.record.gone:
            return me._replace(record=register(clone, me, waiting=False))
    if not 0 <= time.time() - me.record.published < PUBLISH_EVERY:
        keep_up(clone, me.record)
    return me


def publish_changes(clone: Clone, name: str | None = None, now: float | None = None, mover: str | None = None) -> list[str]:
    """Write the presence of a session, or of all of this worktree's, if its facts changed or five minutes passed.

    Sessions are told of overlaps with others' work. If several sessions share the worktree and HEAD moved, all but `mover`
    are told. Returns the names of the sessions whose presence was written.
    """
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    here = [r.name for r in records.all() if r.git_dir == clone.repo.git_dir and r.left is None]
    return [n for n in ([name] if name else here) if _publish_if_due(clone, records, n, now, mover)]


def _publish_if_due(clone: Clone, records: Records, name: str, now: float, mover: str | None) -> bool:
    """Publish after looking at the worktree, which is done before the lock is taken because git may take a while."""
    record = records.get(name)
    if record is None:
        return False
    data = presence_data(clone, record, records, now, look(clone, record))
    before = _published(clone, name)
    if data == before and 0 <= now - record.published < PUBLISH_EVERY:
        return False
    with clone.locked():
        record = records.get(name)
        if record is None or record.left is not None:
            return False
        clone.put_presence(name, data)
        records.put(record._replace(published=now))
        keep_touched(clone, name, data)
        if mover != name and len(sharers(records.all(), record.git_dir, now)) > 1:
            clone.append(lambda db: _head_moved(clone, name, before, data, mover))
    if before.get("files") != data.get("files") or before.get("head") != data.get("head"):
        presence_changed(clone, name, now)
    return True


def _head_moved(clone: Clone, name: str, before: dict[str, Any], now: dict[str, Any], mover: str | None) -> list[Draft]:
    """Tell a session that another one moved HEAD of its worktree."""
    if not before.get("head") or (before.get("branch"), before["head"]) == (now.get("branch"), now.get("head")):
        return []
    was, at = [f"{facts.get('branch') or 'detached'} {(facts.get('head') or '')[:10]}" for facts in (before, now)]
    text = f"{mover or 'Somebody'} moved HEAD of this worktree, which you share, from {was} to {at}"
    data = {"to": [mailbox(name, clone.settled_id())], "notice": "overlap", "about": now.get("head") or ""}
    return [Draft("message", text, data, author=mover or name)]


def _published(clone: Clone, name: str) -> dict[str, Any]:

    query = "SELECT data FROM presence WHERE clone = ? AND name = ?"
    row = clone.read(lambda db: db.execute(query, (clone.id, name)).fetchone())
    return dict(json.loads(row[0])) if row else {}


def worktree_added(clone: Clone, now: float | None = None) -> Record | None:
    """Register a placeholder for the linked worktree of the current directory; None if it has a session, or is the main
    one."""
    mine = clone.repo.git_dir
    if mine == clone.repo.common_dir:
        return None
    found = [worktree for worktree in list_worktrees(clone.repo) if worktree.git_dir == mine]
    return expect(clone, found[0], now) if found else None


def expect_all(clone: Clone, now: float | None = None) -> list[Record]:
    """Register a placeholder for every linked worktree that has no session yet."""
    linked = [worktree for worktree in list_worktrees(clone.repo) if worktree.git_dir != clone.repo.common_dir]
    return [record for worktree in linked if (record := expect(clone, worktree, now)) is not None]


def moved(clone: Clone) -> str | None:
    """Give a beat for the session of this worktree after a commit, a merge or a change of branch.

    Returns its name, if it is certain that this session made the change.
    """
    who = current(clone)
    me = who.record
    if me is not None and not me.expected and not me.person and me.left is None:
        Records(clone.repo.coord_dir).touch(me.name)
    return who.name if who.rule not in ("worktree", "terminal") else None
