"""Claim tasks: with a lease if clones share a remote, otherwise by the events of this clone alone."""

from __future__ import annotations

from gitcoord.errors import Refused
from gitcoord.features.tasks.notices import SHORT
from gitcoord.features.tasks.read import TaskFacts, best, find
from gitcoord.features.tasks.ready import held_tasks
from gitcoord.features.tasks.write import Drafts, about, claiming, write
from gitcoord.lean import Any, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.names import split_mailbox
from gitcoord.sessions.identity import Identity, is_agent, person_name
from gitcoord.sessions.mailboxes import resolve_name
from gitcoord.sessions.membership import states
from gitcoord.sessions.presence import register
from gitcoord.sessions.records import Records
from gitcoord.store.objects import Oid
from gitcoord.sync import remotes


def claim(clone: Clone, me: Identity, prefix: str, offline: bool = False) -> Oid:
    """Claim a task; does nothing if I hold it. Raises Refused if another session holds it, or it is not open."""
    if not offline and remotes.decides(clone.repo):
        from gitcoord.features.tasks import leased

        return leased.claim(clone, me, clone.read(lambda db: find(db, prefix)).id)
    return about(clone, me, prefix, lambda db: claiming(db, clone, me, find(db, prefix), _tentative(clone, offline)))


def claim_for(clone: Clone, me: Identity, prefix: str, name: str, offline: bool = False) -> Oid:
    """Claim a task for a session of this clone, which is told. Only the person may.

    Raises Refused for an agent, for a session that is gone or of another clone, and as `claim` does; UsageError for an
    unknown name.
    """
    row = clone.read(lambda db: find(db, prefix))
    assign = f"git coord task edit {row.id[:SHORT]} --assignee"
    if not me.person:
        user = f"git coord task claim {row.id[:SHORT]} --for {name} --as {person_name(clone.repo)}"
        hint = f"{assign} {name}" if is_agent(clone.repo.environ) else user
        raise Refused("only this repository's user claims tasks for others", hint)
    box = clone.read(lambda db: resolve_name(db, name, clone.id))
    session, at = split_mailbox(box)
    if not clone.is_ours(at):
        raise Refused(f"{box} is a session of another clone, and claims for itself", f"{assign} {box}")
    if session == me.name:
        return claim(clone, me, prefix, offline)
    record = Records(clone.repo.coord_dir).get(session)
    if record is None or states(clone, [box])[box][0] == "gone":
        raise Refused(f"{session} is gone, and what it holds is free for everybody", "git coord sessions")
    oid = claim(clone, Identity(session, "--as", record, person=record.person, stead=me.name), row.id, offline)
    register(clone, me)
    return oid


def _tentative(clone: Clone, offline: bool) -> dict[str, Any]:
    return {"tentative": True} if offline and remotes.is_connected(clone.repo) else {}


def take_next(clone: Clone, me: Identity, offline: bool = False) -> Oid | None:
    """Claim the best ready task; None if there is none."""
    held = held_tasks(clone)
    if clone.read(lambda db: best(db, clone, me, taken=held)) is None:
        return None
    if not offline and remotes.decides(clone.repo):
        from gitcoord.features.tasks import leased

        return leased.take_next(clone, me)
    taken: list[TaskFacts] = []

    def decide(db: sqlite3.Connection) -> Drafts:
        row = best(db, clone, me, taken=held)
        taken[:] = [row] if row else []
        return claiming(db, clone, me, row, _tentative(clone, offline)) if row else []

    write(clone, me, decide)
    return taken[0].id if taken else None
