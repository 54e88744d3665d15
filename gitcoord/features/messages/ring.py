"""Telling people where they are: `coord.notify`, a command of the user's, run for what should not wait for a look.

That is urgent mail to a person, a failed job, and a session that waits for its human. The command is run by the shell
with a short line as its argument (and in GIT_COORD_NOTIFY) and the facts as one JSON document on its standard input.
Nobody waits for it: it may be slow, fail or be missing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.vouched import held_back
from gitcoord.names import split_mailbox
from gitcoord.sessions.mailboxes import display

if TYPE_CHECKING:
    from gitcoord.features.jobs.jobs import Job
    from gitcoord.sessions.records import Record

MAX_LINE = 200
_SCRIPT = 'exec 3<&0; (eval "$GIT_COORD_COMMAND \\"\\$1\\"" <&3 3<&-) &'
"""The shell ends at once, so that the command is nobody's child; words of others are never part of what is evaluated.
A shell takes standard input away from what runs in its background, hence the 3."""


def mail(clone: Clone, events: Iterable[Event]) -> None:
    """For events that are new in this clone: urgent mail to a person of it, but none that is held back. gitcoord's own
    notices are not mail."""
    if not clone.repo.setting("notify"):
        return
    found = [event for event in events if _is_for_a_person(clone, event)]
    held = held_back(clone, [event.id for event in found])
    for event in (event for event in found if event.id not in held):
        facts = {"kind": "message", "id": event.id, "from": event.sender, "text": event.text}
        _run(clone, f"{display(event.sender, clone.id or '')}: {event.text}", facts)


def _is_for_a_person(clone: Clone, event: Event) -> bool:
    if event.type != "message" or event.data.get("urgent") is not True or event.data.get("notice"):
        return False
    return any(_is_person(clone, box) for box in event.data.get("to", ()) if isinstance(box, str))


def failed_job(clone: Clone, job: Job) -> None:
    """For a job of this clone that failed."""
    if clone.repo.setting("notify"):
        from gitcoord.features.jobs.jobs import describe_state

        facts = {"kind": "job", "id": job.id, "name": job.name, "state": job.state, "exit": job.exit, "signal": job.signal}
        _run(clone, describe_state(job), facts | {"session": job.session, "stderr_tail": job.stderr_tail})


def waiting(clone: Clone, record: Record) -> None:
    """For a session of this clone that has begun to wait for its human."""
    if clone.repo.setting("notify"):
        facts = {"kind": "waiting", "session": record.name, "focus": record.focus, "worktree": record.worktree}
        _run(clone, f"{record.name} waits for you", facts)


def _is_person(clone: Clone, box: str) -> bool:
    from gitcoord.sessions.identity import person_name
    from gitcoord.sessions.records import Records

    name, at = split_mailbox(box)
    if at != clone.id:
        return False
    record = Records(clone.repo.coord_dir).get(name)
    return record.person if record else name == person_name(clone.repo)


def _run(clone: Clone, line: str, facts: Mapping[str, Any]) -> None:
    flat = " ".join("".join(c if c.isprintable() else " " for c in line).split())[:MAX_LINE]
    environ = {**clone.repo.environ, "GIT_COORD_COMMAND": clone.repo.setting("notify"), "GIT_COORD_NOTIFY": flat}
    with suppress(OSError, ValueError), tempfile.TemporaryFile() as document:
        document.write(json.dumps({**facts, "line": flat}).encode() + b"\n")
        document.seek(0)
        _spawn(["/bin/sh", "-c", _SCRIPT, "sh", flat], environ, document.fileno())


def _spawn(argv: list[str], environ: Mapping[str, str], stdin: int) -> None:
    """In a session of its own, with no terminal and nothing of ours open."""
    import subprocess

    program = subprocess.Popen(
        argv, env=environ, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    program.wait()
