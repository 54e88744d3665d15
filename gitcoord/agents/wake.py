"""Waking an idle session, where its program lets a process of ours do that: sleeps until there is something to show.

One process a conversation: it outlives turns, and a conversation that is cleared. It shows nothing while a turn runs;
then the other hooks do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

from gitcoord import deaths, surfacing
from gitcoord import process as processes
from gitcoord.agents import Answer
from gitcoord.agents.binding import Desk
from gitcoord.agents.marks import marks_of
from gitcoord.agents.moments import look
from gitcoord.identity import Identity
from gitcoord.records import Record, Records
from gitcoord.watch import wait_until


def wake(desk: Desk, say: Callable[[Answer], None]) -> None:
    """Sleep until the session is idle and has mail, and show that; without a word if its program ends first."""
    variable = desk.harness.pid_variable
    pid = os.environ.get(variable, "") if variable else ""
    program = processes.describe(int(pid)) if pid.isdigit() else None
    if program is None or desk.surface == "off":
        return
    marks_of(desk.clone, "").open()
    with _only_one(desk.path("agents", f"@wake-{pid}")) as first:
        if first:
            attempt = partial(_attempt, desk, program, say)
            wait_until(desk.clone.repo, attempt, None, partial(_ends, desk, program), places=[desk.path("mail")])


def _ends(desk: Desk, program: processes.Process) -> list[int]:
    return [program.pid, *deaths.watched_pids(desk.clone)]


def _attempt(desk: Desk, program: processes.Process, say: Callable[[Answer], None]) -> str | None:
    """Why it is over: the session was woken, or there is nobody to wake."""
    if not processes.is_alive(program):
        return "gone"
    record = _record(desk, program)
    if record is None:
        return None
    me = Identity(record.name, "harness", record, record.harness, record.harness_id)
    deaths.notice(desk.clone, me=lambda: record.name)
    marks = marks_of(desk.clone, record.name)
    if not marks.is_idle() or not surfacing.waiting_mail(desk.clone, me):
        return None
    with desk.clone.locked():
        lines = look(desk, marks)
        news = surfacing.gather(desk.clone, me, lines)
        if news.whole or news.part:
            say(Answer(go_on=news.text))
            surfacing.claim(desk.clone, me, news)
        if news.left or not news.text:
            marks.again([line for line in lines if line not in news.notes])
        marks.owe(bool(surfacing.owed_acks(desk.clone, me)))
        marks.set_idle(not news.text)
        marks.done()
    return "woken" if news.text else None


def _record(desk: Desk, program: processes.Process) -> Record | None:
    """The session that this process of the program is now; under another id once it was cleared."""
    known = Records(desk.clone.repo.coord_dir).all()
    return next((record for record in known if record.process == program and record.left is None), None)


@contextmanager
def _only_one(path: str) -> Iterator[bool]:
    """Whether no other waits for this program; the file holds the pid, for the script to see that somebody does."""
    from gitcoord.store.lock import try_lock

    with try_lock(path) as first:
        if first:
            with suppress(OSError), open(path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        try:
            yield first
        finally:
            if first:
                with suppress(OSError):
                    os.unlink(path)
