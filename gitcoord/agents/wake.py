"""Wake an idle session: sleep until there is something to show, if the session's program lets a process of ours do
that.

There is one process for each conversation. It outlives turns, and a conversation that is cleared. It shows nothing
while a turn runs, because the other hooks do that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial

from gitcoord.agents import Answer
from gitcoord.agents.binding import HookCall, program_of
from gitcoord.agents.flags import Marks, marks_of
from gitcoord.agents.show import look
from gitcoord.features import deaths
from gitcoord.features.messages import waiting
from gitcoord.lean import contextmanager, suppress
from gitcoord.overview import surfacing
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.records import Record, Records, is_plain_id
from gitcoord.store.watch import wait_until
from gitcoord.system import process as processes
from gitcoord.system.files import make_directory, remove_ours, write_ours


def wake(desk: HookCall, say: Callable[[Answer], None]) -> None:
    """Sleep until the session is idle and has mail, and show that; print nothing if its program ends first."""
    program = program_of(desk.harness)
    if program is None or desk.surface == "off" or not is_plain_id(desk.call.session_id):
        return
    key = str(program.pid) if desk.harness.nudge is None else desk.call.session_id
    marks_of(desk.clone, "").open()
    make_directory(desk.path("agents"))  # the hook that binds the session runs at the same time
    if sys.platform != "win32":
        with suppress(OSError):
            os.setsid()
    with _only_one(desk.path("agents", f"@wake-{key}")) as first:
        if first:
            attempt = partial(_attempt, desk, program, say)
            wait_until(desk.clone.repo, attempt, None, partial(_ends, desk, program), places=[desk.path("mail")])


def _ends(desk: HookCall, program: processes.Process) -> list[int]:
    return [program.pid, *deaths.watched_pids(desk.clone)]


def _attempt(desk: HookCall, program: processes.Process, say: Callable[[Answer], None]) -> str | None:
    """One attempt; returns why it ended: the session was woken, or its program is gone."""
    record = _record(desk, program)
    if not processes.is_alive(program) or (record is None and desk.harness.nudge):
        return "gone"
    if record is None:
        return None
    me = Identity(record.name, "harness", record, record.harness, record.harness_id)
    deaths.notice(desk.clone, me=lambda: record.name)
    marks = marks_of(desk.clone, record.name)
    if not marks.is_idle() or not waiting.waiting_mail(desk.clone, me):
        return None
    if desk.harness.nudge is None:
        return _show(desk, me, marks, say)
    marks.set_idle(False)
    desk.harness.nudge(desk.call, _path_of(program))
    return "woken"


def _show(desk: HookCall, me: Identity, marks: Marks, say: Callable[[Answer], None]) -> str | None:
    with desk.clone.locked():
        lines = look(desk, marks)
        news = surfacing.gather(desk.clone, me, lines)
        if news.whole or news.part:
            say(Answer(go_on=news.text))
            surfacing.mark_surfaced(desk.clone, me, news)
        if news.left or not news.text:
            marks.again([line for line in lines if line not in news.notes])
        marks.owe(bool(waiting.owed_acks(desk.clone, me)))
        marks.set_idle(not news.text)
        marks.done()
    return "woken" if news.text else None


def _record(desk: HookCall, program: processes.Process) -> Record | None:
    """The session of this conversation, or the session of the program's process after a clear gave it another id."""
    known = [record for record in Records(desk.clone.repo.coord_dir).all() if record.left is None and not record.gone]
    if desk.harness.nudge:
        return next((record for record in known if record.harness_id == desk.call.session_id), None)
    return next((record for record in known if record.process == program), None)


def _path_of(program: processes.Process) -> str:
    try:
        return os.readlink(f"/proc/{program.pid}/exe")
    except OSError:
        return ""


@contextmanager
def _only_one(path: str) -> Iterator[bool]:
    """Whether no other process waits for this program; the file has the pid, so that the script sees a waiter."""
    from gitcoord.system.lock import try_lock

    with try_lock(path) as first:
        if first:
            with suppress(OSError):
                write_ours(path, b"%d\n" % os.getpid())
        try:
            yield first
        finally:
            if first:
                with suppress(OSError):
                    remove_ours(path)
