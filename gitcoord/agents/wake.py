"""Wake an idle session: sleep until there is something to show, if the session's program lets a process of ours do
that.

There is one process for each conversation. It outlives turns, and a conversation that is cleared. It shows nothing
while a turn runs, because the other hooks do that.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from gitcoord.agents import Answer
from gitcoord.agents.binding import HookCall, program_of
from gitcoord.agents.brake import FAR, NEAR, USER, Brake
from gitcoord.agents.flags import Marks, marks_of
from gitcoord.agents.show import look
from gitcoord.features import deaths
from gitcoord.features.messages import waiting
from gitcoord.features.messages.inbox import Message
from gitcoord.lean import contextmanager, suppress
from gitcoord.log.clone import Clone
from gitcoord.overview import surfacing
from gitcoord.sessions.identity import Identity, person_name
from gitcoord.sessions.presence import register
from gitcoord.sessions.records import Record, Records, is_plain_id
from gitcoord.store.watch import wait_until
from gitcoord.system import process as processes
from gitcoord.system.files import make_directory, remove_ours, write_ours

NUDGE = "git coord: there is new mail for this session."
SILENCE = 75.0
"""Seconds without a hook after which a turn counts as over, if its program does not say whether it is. A model that works
nevertheless sees the news with its next step."""
NUDGED_SILENCE = 600.0
"""The same where a wake costs a turn of its own: a tool may run long."""
LAST = "git coord: mail has begun many turns of this session; what comes now waits until its user writes here."
"""Shown with the last wake that `coord.wakeLimit` allows."""


def wake(hook: HookCall, say: Callable[[Answer], None]) -> None:
    """Sleep until the session is idle and has mail, and show that; print nothing if its program ends first."""
    program = program_of(hook.harness)
    if program is None or "off" in (hook.surface, _wakes(hook)) or not is_plain_id(hook.call.session_id):
        return
    key = str(program.pid) if hook.harness.nudge is None else hook.call.session_id
    marks_of(hook.clone, "").open()
    make_directory(hook.path("agents"))  # the hook that binds the session runs at the same time
    if sys.platform != "win32":
        with suppress(OSError):
            os.setsid()
    with _only_one(hook.path("agents", f"@wake-{key}")) as first:
        if first:
            brakes = dict[str, Brake]()
            attempt = partial(_attempt, hook, program, say, brakes)
            ends, mail = partial(_ends, hook, program), [hook.path("mail")]
            wait_until(hook.clone.repo, attempt, None, ends, places=mail, due=partial(_due, brakes))


def _ends(hook: HookCall, program: processes.Process) -> list[int]:
    return [program.pid, *deaths.watched_pids(hook.clone)]


def _due(brakes: Mapping[str, Brake]) -> float | None:
    """Seconds until waiting news may wake the session."""
    return min((brake.due for brake in brakes.values() if brake.due is not None), default=None)


def _attempt(hook: HookCall, program: processes.Process, say: Callable[[Answer], None], brakes: dict[str, Brake]) -> str | None:
    """One attempt; returns why it ended: the session was woken, or its program is gone."""
    record = _record(hook, program)
    if not processes.is_alive(program) or (record is None and hook.harness.nudge):
        return "gone"
    if record is None:
        return None
    me = Identity(record.name, "harness", record, record.harness, record.harness_id)
    deaths.notice(hook.clone, me=lambda: record.name)
    marks = marks_of(hook.clone, record.name)
    brake = brakes.setdefault(record.name, Brake(marks, hook.clone.repo))
    mail = waiting.waking_mail(hook.clone, me, urgent=_wakes(hook) == "urgent") if _is_idle(hook, program, me) else []
    if brake.holds(mail, time.time(), _source(hook.clone, mail)):
        return None
    if hook.harness.nudge is None:
        return _show(hook, me, marks, say, brake)
    marks.set_idle(False)
    last = f" {LAST}" if brake.woke(time.time()) else ""
    hook.harness.nudge(hook.call, _path_of(program), NUDGE + last)
    return "woken"


def _is_idle(hook: HookCall, program: processes.Process, me: Identity) -> bool:
    """Whether no turn runs. No hook says that its user or an error ended it: then its program is asked, and in the end
    its silence counts."""
    marks, beat = marks_of(hook.clone, me.name), Records(hook.clone.repo.coord_dir).beat(me.name)
    if marks.is_idle():
        return True
    idle = hook.harness.is_idle(program.pid, beat) if hook.harness.is_idle else None
    if idle:
        marks.set_idle(True)
        if marks.waits():
            marks.wait(False)
            register(hook.clone, me, waiting=False)
    silence = NUDGED_SILENCE if hook.harness.nudge else SILENCE
    return bool(idle) or (idle is None and not marks.waits() and time.time() - beat > silence)


def _source(clone: Clone, mail: Sequence[Message]) -> str:
    """The nearest source of some mail."""
    if clone.box(person_name(clone.repo)) in [message.sender for message in mail]:
        return USER
    return NEAR if any(clone.has(message.sender) for message in mail) else FAR


def _wakes(hook: HookCall) -> str:
    """The kind of news that wakes an idle session: `all`, only `urgent` mail, or none (`off`)."""
    return hook.clone.repo.setting("wake", "all").lower()


def _show(hook: HookCall, me: Identity, marks: Marks, say: Callable[[Answer], None], brake: Brake) -> str | None:
    with hook.clone.locked():
        lines = look(hook, marks)
        now = time.time()
        news = surfacing.gather(hook.clone, me, lines, now=now, room=marks.room(now))
        if news.whole or news.part:
            last = f"\n\n{LAST}" if brake.woke(time.time()) else ""
            say(Answer(go_on=news.text + last))
            surfacing.mark_surfaced(hook.clone, me, news)
            marks.show(news.others, now)
        if news.left or not news.text:
            marks.again([line for line in lines if line not in news.notes])
        marks.owe(bool(waiting.owed_acks(hook.clone, me)))
        marks.set_idle(not news.text)
        marks.done()
    return "woken" if news.text else None


def _record(hook: HookCall, program: processes.Process) -> Record | None:
    """The session of this conversation, or the session of the program's process after a clear gave it another id."""
    known = [record for record in Records(hook.clone.repo.coord_dir).all() if record.left is None and not record.gone]
    if hook.harness.nudge:
        return next((record for record in known if record.harness_id == hook.call.session_id), None)
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
