"""Find the session of an agent program's conversation, bound to the program's id for it and to its process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping

from gitcoord.agents import Call, Harness
from gitcoord.lean import NamedTuple, contextmanager
from gitcoord.log.clone import Clone
from gitcoord.opening import open_clone
from gitcoord.sessions.housekeeping import beat
from gitcoord.sessions.identity import HARNESS_IDS, Identity, above_us, current, program_above
from gitcoord.sessions.liveness import judge
from gitcoord.sessions.presence import register
from gitcoord.sessions.records import Record, Records
from gitcoord.system import process as processes


class HookCall(NamedTuple):
    """One call of a hook in its repository: the call, and its session, None before it is registered."""

    clone: Clone
    harness: Harness
    call: Call
    me: Identity | None

    @property
    def surface(self) -> str:
        """The moment at which mail and notes are shown to the model: `tool`, `turn` or `off`."""
        return self.clone.repo.setting("surface", "tool").lower()

    @property
    def me_name(self) -> str:
        """The name of its session; empty before it is registered."""
        return self.me.name if self.me else ""

    def path(self, *parts: str) -> str:
        """A file of this clone."""
        return self.clone.path(*parts)


@contextmanager
def open_for(harness: Harness, call: Call) -> Iterator[HookCall]:
    """The repository of the conversation, and its session there. Raises RepositoryError outside a repository."""
    clone = open_clone(call.cwd or ".", _environ(harness, call), long_lived=False)
    try:
        yield HookCall(clone, harness, call, _known(clone, harness, call))
    finally:
        clone.close()


def _environ(harness: Harness, call: Call) -> Mapping[str, str]:
    """Our environment with this conversation's id, and without the ids of programs that this one may run in."""
    kept = {key: value for key, value in os.environ.items() if key not in HARNESS_IDS}
    return {**kept, harness.session_variable: call.session_id} if call.session_id else kept


def _known(clone: Clone, harness: Harness, call: Call) -> Identity | None:
    """The session with this id, found without reading all others."""
    records = Records(clone.repo.coord_dir)
    record = records.get(records.name_of(call.session_id))
    if record is None or record.harness_id != call.session_id or record.left is not None or record.gone:
        return None
    return Identity(record.name, "harness", record, harness.name, call.session_id)


def with_session(hook: HookCall) -> HookCall:
    """The call with its session, registered if need be and bound to the id and the process of the program."""
    with hook.clone.locked():
        me = hook.me or _found(hook)
        record = register(hook.clone, me, waiting=False, process=_agent_process(hook.harness))
        records = Records(hook.clone.repo.coord_dir)
        if hook.call.session_id and records.name_of(hook.call.session_id) != record.name:
            records.put(record)
    me = me._replace(name=record.name, record=record)
    return hook._replace(me=me)


def alive(hook: HookCall) -> HookCall:
    """The call with its session, after a sign of life."""
    if hook.me is None:
        return with_session(hook)
    return hook._replace(me=beat(hook.clone, hook.me))


def _found(hook: HookCall) -> Identity:
    """The session that the rules find; a resumed conversation gets back the name that it had."""
    me = current(hook.clone)
    records = Records(hook.clone.repo.coord_dir)
    before = records.get(records.name_of(hook.call.session_id))
    if before is not None and before.name != me.name and me.rule != "GIT_COORD_SESSION" and _is_free(records, before):
        me = Identity(before.name, "harness", before)
    return me._replace(harness=hook.harness.name, harness_id=hook.call.session_id)


def _is_free(records: Records, record: Record) -> bool:
    alive = processes.is_alive(record.process) if record.process else None
    return not record.person and judge(record, records.beat(record.name), alive, time.time()).state == "gone"


def is_elsewhere(hook: HookCall) -> bool:
    """Whether the session is bound to another live process than the caller."""
    bound = hook.me.record.process if hook.me and hook.me.record else None
    ours = program_of(hook.harness)
    return bound is not None and ours is not None and bound != ours and bool(processes.is_alive(bound))


def _agent_process(harness: Harness) -> processes.Process | None:
    """The process of this conversation; None if the process runs several conversations."""
    if (loop := os.environ.get("GIT_COORD_WORK", "")).isdigit():  # it outlives the program, and ends the session
        return processes.describe(int(loop))
    found = program_of(harness)
    if found is None or (harness.serves_many and harness.serves_many in processes.command(found.pid)):
        return None
    return found


def program_of(harness: Harness) -> processes.Process | None:
    """The program's own process, if it can be determined."""
    pid = program_above(os.environ, above_us(), "", harness.pid_variable)
    return processes.describe(pid) if pid is not None and pid > 1 else None
