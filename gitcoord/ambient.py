"""What happens by itself once `init` was run: the git hooks call this, in the background, after the user's command."""

from __future__ import annotations

import time

from gitcoord.clone import Clone
from gitcoord.presence import PUBLISH_EVERY, expect, presence_data
from gitcoord.records import Record, Records
from gitcoord.sessions import current
from gitcoord.worktrees import list_worktrees


def worktree_added(clone: Clone, now: float | None = None) -> Record | None:
    """Register a placeholder for the linked worktree we stand in; None if it has a session, or is the main one."""
    mine = str(clone.repo.git_dir)
    if mine == str(clone.repo.common_dir):
        return None
    found = [worktree for worktree in list_worktrees(clone.repo) if worktree.git_dir == mine]
    return expect(clone, found[0], now) if found else None


def expect_all(clone: Clone, now: float | None = None) -> list[Record]:
    """Register a placeholder for every linked worktree that has no session yet."""
    linked = [worktree for worktree in list_worktrees(clone.repo) if worktree.git_dir != str(clone.repo.common_dir)]
    return [record for worktree in linked if (record := expect(clone, worktree, now)) is not None]


def moved(clone: Clone) -> None:
    """Somebody committed, merged or changed branches in this worktree: a beat for the session that works here."""
    me = current(clone).record
    if me is not None and not me.expected and not me.person and me.left is None:
        Records(clone.repo.coord_dir).touch(me.name)


def refresh(clone: Clone, name: str | None = None, now: float | None = None) -> list[str]:
    """Write the presence of a session, or of all of this worktree's, where its facts changed or five minutes passed.

    Returns the names of those that were written.
    """
    now = time.time() if now is None else now
    records = Records(clone.repo.coord_dir)
    here = [r.name for r in records.all() if r.git_dir == str(clone.repo.git_dir) and r.left is None]
    return [n for n in ([name] if name else here) if _publish_if_due(clone, records, n, now)]


def _publish_if_due(clone: Clone, records: Records, name: str, now: float) -> bool:
    """Looking at the worktree takes git a while in a large one: it is done before the lock is taken."""
    record = records.get(name)
    if record is None:
        return False
    data = presence_data(clone, record, records, now)
    if data == _published(clone, name) and 0 <= now - record.published < PUBLISH_EVERY:
        return False
    with clone.locked():
        record = records.get(name)
        if record is None or record.left is not None:
            return False
        where = f" on {data['branch']}" if data.get("branch") else ""
        clone.put_presence(name, f"{name} is {data['state']}{where}", data)
        records.put(record._replace(published=now))
    return True


def _published(clone: Clone, name: str) -> object:
    import json

    query = "SELECT data FROM presence WHERE clone = ? AND name = ?"
    row = clone.read(lambda db: db.execute(query, (clone.id, name)).fetchone())
    return json.loads(row[0]) if row else None
