"""What happens by itself once `init` was run: the git hooks call this, in the background, after the user's command."""

from __future__ import annotations

import time
from typing import Any

from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import mailbox
from gitcoord.sessions.identity import current
from gitcoord.sessions.presence import PUBLISH_EVERY, expect, keep_touched, presence_changed, presence_data, sharers
from gitcoord.sessions.records import Record, Records
from gitcoord.store.worktrees import list_worktrees


def worktree_added(clone: Clone, now: float | None = None) -> Record | None:
    """Register a placeholder for the linked worktree we stand in; None if it has a session, or is the main one."""
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
    """Somebody committed, merged or changed branches in this worktree: a beat for the session that works here.

    Returns who it was, where that is certain: not merely because it is the worktree's.
    """
    who = current(clone)
    me = who.record
    if me is not None and not me.expected and not me.person and me.left is None:
        Records(clone.repo.coord_dir).touch(me.name)
    return who.name if who.rule not in ("worktree", "terminal") else None


def refresh(clone: Clone, name: str | None = None, now: float | None = None, mover: str | None = None) -> list[str]:
    """Write the presence of a session, or of all of this worktree's, where its facts changed or five minutes passed.

    What overlaps with others' work is told. Where several share the worktree and HEAD moved, the others than `mover` are
    told of that. Returns the names of those that were written.
    """
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    here = [r.name for r in records.all() if r.git_dir == clone.repo.git_dir and r.left is None]
    return [n for n in ([name] if name else here) if _publish_if_due(clone, records, n, now, mover)]


def _publish_if_due(clone: Clone, records: Records, name: str, now: float, mover: str | None) -> bool:
    """Looking at the worktree takes git a while in a large one: it is done before the lock is taken."""
    record = records.get(name)
    if record is None:
        return False
    data = presence_data(clone, record, records, now)
    before = _published(clone, name)
    if data == before and 0 <= now - record.published < PUBLISH_EVERY:
        return False
    with clone.locked():
        record = records.get(name)
        if record is None or record.left is not None:
            return False
        where = f" on {data['branch']}" if data.get("branch") else ""
        clone.put_presence(name, f"{name} is {data['state']}{where}", data)
        records.put(record._replace(published=now))
        keep_touched(clone, name, data)
        if mover != name and len(sharers(records.all(), record.git_dir, records, now)) > 1:
            clone.append(lambda db: _head_moved(clone, name, before, data, mover))
    if before.get("files") != data.get("files") or before.get("head") != data.get("head"):
        presence_changed(clone, name, now)
    return True


def _head_moved(clone: Clone, name: str, before: dict[str, Any], now: dict[str, Any], mover: str | None) -> list[Draft]:
    """Told to a session whose HEAD moved under its feet."""
    if not before.get("head") or (before.get("branch"), before["head"]) == (now.get("branch"), now.get("head")):
        return []
    was, at = [f"{facts.get('branch') or 'detached'} {(facts.get('head') or '')[:10]}" for facts in (before, now)]
    text = f"{mover or 'Somebody'} moved HEAD of this worktree, which you share: it was {was}, it is {at}"
    data = {"to": [mailbox(name, clone.settled_id())], "notice": "overlap", "about": now.get("head") or ""}
    return [Draft("message", text, data, author=mover or name)]


def _published(clone: Clone, name: str) -> dict[str, Any]:
    import json

    query = "SELECT data FROM presence WHERE clone = ? AND name = ?"
    row = clone.read(lambda db: db.execute(query, (clone.id, name)).fetchone())
    return dict(json.loads(row[0])) if row else {}
