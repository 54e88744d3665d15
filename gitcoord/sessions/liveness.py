"""The state of a session. Pure: the clock and the facts about the process are passed in."""

from __future__ import annotations

from gitcoord.lean import Any, Literal, NamedTuple
from gitcoord.sessions.records import Record

State = Literal["expected", "active", "idle", "waiting", "unknown", "gone"]

IDLE_AFTER = 5 * 60
UNKNOWN_AFTER = 15 * 60
GONE_AFTER = 2 * 3600
PRESENCE_TTL = 15 * 60
"""Seconds for which a published presence speaks for its session, counted by its reader."""


SILENT_IS_GONE = 24 * 3600.0
"""Seconds of silence after which a session of another clone counts as gone (`coord.gone`)."""


class Liveness(NamedTuple):
    """A state, and since when (Unix seconds) where it is `unknown` or `gone`."""

    state: State
    since: float | None = None

    @property
    def alive(self) -> bool:
        """Whether the session is known to be there: active, idle or waiting."""
        return self.state in ("active", "idle", "waiting")


def judge(record: Record, beat: float, process_alive: bool | None, now: float) -> Liveness:
    """The state of a session of this clone. `process_alive` is None if it has no process that can be judged from here."""
    silent = max(0.0, now - beat - record.asleep)  # a clock that jumped back makes nobody look dead
    if record.left is not None:
        return Liveness("gone", record.left)
    if record.gone and not record.person:
        return Liveness("gone", record.gone)  # others were told; only joining again changes that
    if record.removed:
        return Liveness("gone", beat)
    if record.expected:
        return Liveness("expected")
    if record.process is not None and process_alive is False and not record.person:
        return Liveness("gone", beat)
    if process_alive is None or record.person:
        return _by_beats(record, beat, silent)
    return Liveness("waiting" if record.waiting else _quiet(silent))


def _by_beats(record: Record, beat: float, silent: float) -> Liveness:
    if silent >= GONE_AFTER and not record.person:
        return Liveness("gone", beat)
    if silent >= UNKNOWN_AFTER:
        return Liveness("unknown", beat)
    return Liveness("waiting" if record.waiting else _quiet(silent))


def _quiet(silent: float) -> State:
    return "idle" if silent >= IDLE_AFTER else "active"


class Silence(NamedTuple):
    """The rule for a silent session of another clone: it is gone after `after` seconds (`coord.gone`), if a sync reached
    the remote at or after that (`until`, Unix seconds). Without such a sync, it may have written something."""

    until: float = 0.0
    after: float = SILENT_IS_GONE


def judge_published(data: dict[str, Any], seen: float, now: float, silence: Silence) -> Liveness:
    """The state of another clone's session: its published state, while that is valid. After a long silence it is no longer
    addressed, listed or waited for, but it keeps its tasks and locks (`published_gone`)."""
    life = _published(data, seen, now)
    if life.state == "unknown" and min(now, silence.until) - seen >= silence.after and data.get("person") is not True:
        return Liveness("gone", seen)
    return life


def _published(data: dict[str, Any], seen: float, now: float) -> Liveness:
    state = data.get("state")
    ttl = data.get("ttl")
    if state == "gone":
        return Liveness("gone", seen)
    if state not in ("expected", "active", "idle", "waiting"):
        return Liveness("unknown", seen)
    lasts = min(ttl, 24 * 3600) if isinstance(ttl, int) and ttl > 0 else PRESENCE_TTL
    if now - seen > lasts and state != "expected":
        return Liveness("unknown", seen)
    return Liveness(state)
