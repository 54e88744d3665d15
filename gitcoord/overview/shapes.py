"""JSON documents of the API's results, for the command line and the MCP server."""

from __future__ import annotations

from gitcoord.lean import TYPE_CHECKING, Any
from gitcoord.names import lives_in, mailbox, name_in
from gitcoord.text import rfc3339, shell_word

if TYPE_CHECKING:
    from gitcoord.features.jobs.read import Job
    from gitcoord.features.locks.read import Lock
    from gitcoord.features.messages.debts import Debt
    from gitcoord.features.messages.inbox import Message
    from gitcoord.features.messages.ledger import SentMessage
    from gitcoord.features.messages.sending import Sent
    from gitcoord.features.messages.talk import Said
    from gitcoord.features.notes import Note
    from gitcoord.features.overlaps.conflicts import Collision
    from gitcoord.features.tasks.read import Task
    from gitcoord.log.event import Event
    from gitcoord.overview.checks import Check
    from gitcoord.overview.roster import Session
    from gitcoord.sessions.identity import Caller
    from gitcoord.store.signing import Signature


def shown_name(caller: Caller, box: str) -> str:
    """A mailbox as this clone's user sees it."""
    return name_in(box) if lives_in(box, caller.clone.id) else box


def receipt_json(caller: Caller, sent: Sent) -> dict[str, Any]:
    """The result of sending, as a document."""
    recipients = [{**r._asdict(), "session": shown_name(caller, r.session), "beat": rfc3339(r.beat)} for r in sent.recipients]
    kept = {"kept_local": f"it has what looks like {sent.kept}"} if sent.kept else {}
    return {"id": sent.id, "thread": sent.thread, "recipients": recipients, **kept}


def showing(oid: str, name: str) -> str:
    """The command that prints an attachment."""
    return f"git show {shell_word(f'{oid}:{name}')}"


def message_json(caller: Caller, message: Message) -> dict[str, Any]:
    """A message as a document."""
    from gitcoord.features.messages.inbox import sender_of

    return {
        "id": message.id,
        "from": sender_of(caller.clone, message),
        "to": [shown_name(caller, box) for box in message.to],
        "text": message.text,
        "sent": rfc3339(message.at),
        "thread": message.thread,
        "reply_to": message.reply_to,
        "urgent": message.urgent,
        "needs_ack": message.needs_ack,
        "read": message.state in ("read", "acked"),
        "attachments": [{"name": name, "show": showing(message.id, name)} for name in message.attachments],
        **verified_json(None),
    }


def signatures_of(caller: Caller, events: list[tuple[str, str]]) -> dict[str, Signature]:
    """The signatures of events (id and clone); nothing is loaded for this clone's own."""
    foreign = [oid for oid, clone in events if not caller.clone.is_ours(clone)]
    if not foreign:
        return {}
    from gitcoord.log import trust

    return trust.signatures(caller.clone, foreign)


def verified_json(signature: Signature | None) -> dict[str, Any]:
    """`verified`: the signer, false if unsigned, null if it does not matter; `signature` says why."""
    if signature is None:
        return {"verified": None, "signature": None}
    return {"verified": signature.by if signature.state == "verified" else False, "signature": signature.state}


def sent_json(caller: Caller, message: SentMessage) -> dict[str, Any]:
    """A message of mine as a document."""
    recipients = [{"session": shown_name(caller, d.session), "state": d.state, "at": rfc3339(d.at)} for d in message.recipients]
    return {
        "id": message.id,
        "text": message.text,
        "sent": rfc3339(message.at),
        "recipients": recipients,
        "waits_for_sync": message.waits_for_sync,
    }


def chat_json(caller: Caller, said: Said) -> dict[str, Any]:
    """A message with its state at each recipient, as a document."""
    states = [{"session": shown_name(caller, d.session), "state": d.state, "at": rfc3339(d.at)} for d in said.ledger]
    return {**message_json(caller, said.message), "recipients": states}


def debt_json(caller: Caller, debt: Debt) -> dict[str, Any]:
    """A receipt that a session owes another, as a document."""
    return {
        "id": debt.id,
        "debtor": shown_name(caller, debt.debtor),
        "creditor": shown_name(caller, debt.creditor),
        "owes": debt.owes,
        "sent": rfc3339(debt.at),
        "text": debt.text,
    }


def task_json(caller: Caller, task: Task) -> dict[str, Any]:
    """A task as a document."""

    def name(box: str | None) -> str | None:
        return shown_name(caller, box) if box else None

    return {
        "id": task.id,
        "title": task.title,
        "text": task.text,
        "status": task.status,
        "priority": task.priority,
        "assignee": name(task.assignee),
        "labels": list(task.labels),
        "needs": list(task.needs),
        "ready": task.ready,
        "holder": name(task.holder),
        "holder_state": task.holder_state,
        "tentative": task.tentative,
        "comments": [{"id": c.id, "from": name(c.sender), "text": c.text, "at": rfc3339(c.at)} for c in task.comments],
        "history": [
            {"id": s.id, "by": name(s.sender), "what": s.what, "text": s.text, "at": rfc3339(s.at), "void": s.void}
            for s in task.history
        ],
    }


def note_json(caller: Caller, n: Note) -> dict[str, Any]:
    """A note as a document."""
    return {"id": n.id, "from": shown_name(caller, n.sender), "text": n.text, "paths": list(n.paths), "at": rfc3339(n.at)}


def event_json(caller: Caller, event: Event) -> dict[str, Any]:
    """An event as a document; names of this clone are bare."""
    return {
        "id": event.id,
        "type": event.type,
        "from": shown_name(caller, event.sender),
        "at": rfc3339(event.at),
        "clone": event.clone,
        "lc": event.lc,
        "text": event.text,
        "data": dict(event.data),
    }


def lock_json(caller: Caller, lock: Lock) -> dict[str, Any]:
    """A lock as a document."""
    return {
        "id": lock.id,
        "patterns": list(lock.patterns),
        "session": shown_name(caller, lock.holder),
        "reason": lock.reason or None,
        "shared": lock.shared,
        "since": rfc3339(lock.at),
        "expires": rfc3339(lock.expires),
        "tentative": False,
        "local": lock.local,
    }


def check_json(caller: Caller, item: Check) -> dict[str, Any]:
    """The facts about a path as a document."""
    return {
        "path": item.path,
        "worktree": item.worktree or None,
        "locks": [lock_json(caller, lock) for lock in item.locks],
        "occupied_by": [shown_name(caller, box) for box in item.occupied_by],
        "touched_by": [{"session": shown_name(caller, t.session), "at": rfc3339(t.at)} for t in item.touched_by],
        "notes": [{"id": n.id, "from": shown_name(caller, n.sender), "text": n.text, "at": rfc3339(n.at)} for n in item.notes],
    }


def collision_json(caller: Caller, c: Collision) -> dict[str, str]:
    """A collision as a document."""
    a, b = (",".join(shown_name(caller, box) for box in side) for side in (c.a, c.b))
    return {"a": a, "b": b, "path": c.path, "kind": c.kind}


def session_json(caller: Caller, s: Session) -> dict[str, Any]:
    """A session as a document."""
    return {
        "session": shown_name(caller, mailbox(s.session, s.clone or "")) if s.session else None,
        "clone": s.clone,
        "worktree": s.worktree,
        "branch": s.branch,
        "head": s.head,
        "state": s.state,
        "since": rfc3339(s.since),
        "focus": s.focus or None,
        "last_commit": s.subject or None,
        "files": [{"path": f.path, "at": rfc3339(f.at)} for f in s.files],
        "beat": rfc3339(s.beat),
        "harness": s.harness or None,
        "role": s.role or None,
        "unread": s.unread,
        "local": s.local,
    }


def job_json(caller: Caller, job: Job) -> dict[str, Any]:
    """A job as a document."""
    from gitcoord.features.jobs.read import signal_name

    return {
        "id": job.id,
        "name": job.name,
        "command": list(job.command) or None,
        "cwd": job.cwd or None,
        "session": shown_name(caller, job.session),
        "runs": job.runs or None,
        "state": job.state,
        "supervised": job.supervised,
        "pid": job.pid,
        "exit": job.exit,
        "signal": None if job.signal is None else signal_name(job.signal),
        "started": rfc3339(job.started),
        "ended": rfc3339(job.ended),
        "stderr_tail": job.stderr_tail or None,
    }
