"""Handle each moment of an agent's conversation. This module knows sessions and messages, and no program."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence

from gitcoord import lean_json as json
from gitcoord.agents import Answer
from gitcoord.agents.binding import HookCall, alive, is_elsewhere, with_session
from gitcoord.agents.flags import Marks, marks_of, stamp
from gitcoord.agents.show import me_of as _me
from gitcoord.agents.show import show as _show
from gitcoord.features import deaths
from gitcoord.features.messages import waiting
from gitcoord.features.messages.inbox import Message
from gitcoord.lean import suppress
from gitcoord.sessions import touched
from gitcoord.sessions.identity import spoken_name
from gitcoord.system.files import read_ours, remove_ours, write_ours
from gitcoord.text import ago

Say = Callable[[Answer], None]

BRIEF = {"compact": 1000, "resume": 1000}
"""Tokens of the brief by how a conversation begins; a model that lost its context needs more."""
SHORT_BRIEF = 500
HOLDS = 2
"""Number of times that a turn is kept going for one ack that is due."""
CHAIN = 5
"""Number of times in a row that a turn is kept going."""
HOW = "To talk to them: git coord send NAME TEXT. All commands: git coord help"


def run(desk: HookCall, say: Say) -> None:
    """Handle a call; `say` is called at most once, and writes to the program at once."""
    if os.environ.get("GIT_COORD") == "off" or not os.path.isdir(desk.clone.repo.coord_dir):
        return
    if desk.call.moment in ("look", "edit"):
        from gitcoord.agents.guard import guard

        guard(alive(desk), say)
    elif desk.call.moment == "wake":
        from gitcoord.agents.wake import wake

        wake(desk, say)
    else:
        (_HELPERS if desk.call.subagent else _MOMENTS).get(desk.call.moment, _nothing)(desk, say)


def _start(desk: HookCall, say: Say) -> None:
    """Register the session and give its brief; also after a compaction, when the model has lost it."""
    desk = with_session(desk)
    me = _me(desk)
    marks = marks_of(desk.clone, me.name)
    marks.open()
    if touched.open_folder(desk.clone.repo.coord_dir):
        _keep_all_touched(desk)
    marks.recall()
    _keep_settings(desk)
    _notice_deaths(desk)
    try:
        _say_where_i_am(desk, marks, BRIEF.get(desk.call.source, SHORT_BRIEF), say)
    finally:
        marks.set_idle(desk.call.source != "compact")  # from here on, news wakes it


def _keep_all_touched(desk: HookCall) -> None:
    """Fill the folder of touched files at the first hook in this clone, with changes of sessions without hooks."""
    from gitcoord.overview.roster import list_sessions

    for session in list_sessions(desk.clone):
        if session.local and session.session:
            touched.keep(desk.clone.repo.coord_dir, session.session, [file.path for file in session.files])


def _say_where_i_am(desk: HookCall, marks: Marks, budget: int, say: Say) -> None:
    if desk.surface == "off":
        say(Answer(context=_where_i_am(desk, budget, ())))
        return
    _show(desk, marks, lambda news, notes: say(Answer(context=_opening(desk, budget, news, notes))), always=True)


def _opening(desk: HookCall, budget: int, news: str, notes: Sequence[str]) -> str:
    """The brief, without parts that are shown beside it."""
    without = ("unread", "notes") if notes else ("unread",)
    return "\n\n".join(filter(None, (_where_i_am(desk, budget, without), news)))


def _where_i_am(desk: HookCall, budget: int, without: Sequence[str]) -> str:
    from gitcoord.overview.brief import brief

    return f"{brief(desk.clone, _me(desk), budget - 30, without=without).text}\n\n{HOW}"


def _turn(desk: HookCall, say: Say) -> None:
    """Between two steps of the model: show what is new."""
    desk = alive(desk)
    marks = marks_of(desk.clone, _me(desk).name)
    marks.open()
    marks.wait(False)
    if desk.call.moment == "prompt":
        marks.set_idle(False)
    _notice_deaths(desk)
    _look_at_remote(desk)
    if marks.recall():
        _say_where_i_am(desk, marks, BRIEF["compact"], say)
        return
    if desk.surface == "off" or (desk.surface == "turn" and desk.call.moment == "tools"):
        return
    _show(desk, marks, lambda news, _: say(Answer(context=news)))


def _look_at_remote(desk: HookCall) -> None:
    """Start a look at the remote in the background, if it is due; `coord/look` exists only with a remote."""
    if os.path.exists(desk.path("look")):
        from gitcoord.sync import background

        background.after_look(desk.clone)


def _edited(desk: HookCall, say: Say) -> None:
    """Note the changed paths that the script could not read from the document, and update presence and overlaps."""
    from gitcoord.sessions.housekeeping import in_background
    from gitcoord.store.worktrees import place_of

    desk = alive(desk)
    repo, base = desk.clone.repo, desk.call.cwd or os.getcwd()
    places = [place for path in desk.call.paths if (place := place_of(repo, base, path))]
    mine = [place.path for place in places if place.git_dir == repo.git_dir]
    if touched.add(repo.coord_dir, _me(desk).name, mine):
        in_background(desk.clone, "refresh", _me(desk).name)


def _waiting(desk: HookCall, say: Say) -> None:
    """Note that the session waits for its human. The next step of the model clears the flag, even while this hook still
    runs."""
    from gitcoord.sessions.presence import register

    desk = with_session(desk) if desk.me is None else desk
    me = _me(desk)
    marks = marks_of(desk.clone, me.name)
    marks.open()
    marks.wait(True)
    register(desk.clone, me, waiting=True)
    if not marks.waits():
        register(desk.clone, me, waiting=False)


def _forget(desk: HookCall, say: Say) -> None:
    """The next step of the model gets the brief again."""
    desk = alive(desk)
    marks = marks_of(desk.clone, _me(desk).name)
    marks.open()
    marks.forget()


def _stop(desk: HookCall, say: Say) -> None:
    """Let the turn end unless an urgent message was never shown, or an ack is due; each holds it a few times at most."""
    desk = alive(desk)
    me = _me(desk)
    marks = marks_of(desk.clone, me.name)
    marks.open()
    _notice_deaths(desk)
    marks.wait(False)
    holds = Holds(marks.path("@held"))
    began = time.time()
    owed = waiting.owed_acks(desk.clone, me)
    marks.owe(bool(owed))
    due = [message for message in owed if holds.times(message.id) < HOLDS]
    urgent = waiting.waiting_mail(desk.clone, me, urgent=True)
    stamp(desk.clone, began)
    if desk.surface == "off" or not (due or urgent) or holds.in_a_row(desk.call.held_before) >= CHAIN:
        marks.set_idle(True)
        return
    holds.add([message.id for message in due], desk.call.held_before)
    lines = _due_lines(desk, due)
    if urgent:
        _show(desk, marks, lambda news, _: say(Answer(go_on="\n\n".join(filter(None, (news, lines))))), always=True)
    else:
        say(Answer(go_on=lines))


def _due_lines(desk: HookCall, due: Sequence[Message]) -> str:
    """The messages that still need an ack, without their text, which was shown before."""
    now = time.time()
    lines = [
        f"{m.id[:10]} from {spoken_name(desk.clone, m.sender)}, {ago(m.at, now)}: git coord ack {m.id[:10]}" for m in due[:10]
    ]
    return "\n".join(["These messages ask for an ack (git coord thread ID shows one again):", *lines]) if lines else ""


def _end(desk: HookCall, say: Say) -> None:
    """The end: the session leaves, and its locks and tasks are free. A conversation that was merely cleared continues,
    and so does one that a live process has resumed."""
    if desk.call.source == "clear" or desk.me is None or is_elsewhere(desk):
        return
    from gitcoord.sessions.membership import leave

    leave(desk.clone, desk.me)
    marks_of(desk.clone, desk.me.name).set_idle(False)


_MOMENTS: dict[str, Callable[[HookCall, Say], None]] = {
    "start": _start,
    "prompt": _turn,
    "tools": _turn,
    "edited": _edited,
    "waiting": _waiting,
    "forget": _forget,
    "stop": _stop,
    "end": _end,
}


def _works_again(desk: HookCall, say: Say) -> None:
    """End the waiting when a helper continues, because it may do what the human was asked for."""
    marks_of(desk.clone, _me(alive(desk)).name).wait(False)


def _nothing(desk: HookCall, say: Say) -> None:
    """Say nothing, because text in a helper's conversation never reaches the session's own."""


_HELPERS: dict[str, Callable[[HookCall, Say], None]] = {"edited": _edited, "waiting": _waiting, "tools": _works_again}


def _keep_settings(desk: HookCall) -> None:
    """Write the settings that the script needs: `coord/surface`, only if it differs from the default."""
    from gitcoord.system.lock import write_whole

    path = desk.path("surface")
    if desk.surface == "tool":
        with suppress(OSError):
            remove_ours(path)
    else:
        write_whole(path, desk.surface + "\n")


def _notice_deaths(desk: HookCall) -> None:
    deaths.notice(desk.clone, me=lambda: _me(desk).name)


class Holds:
    """A file that counts how often a conversation was kept from ending: by message, and since its last turn began."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._known: dict[str, int] = json.loads(read_ours(path))
        except (OSError, ValueError):
            self._known = {}

    def times(self, message: str) -> int:
        return self._known.get(message, 0)

    def in_a_row(self, held_before: bool) -> int:
        """Number of times that the conversation was kept going since a turn last ended by itself."""
        return self._known.get("", 0) if held_before else 0

    def add(self, messages: Iterable[str], held_before: bool) -> None:
        """Count that these messages keep it going once more."""
        for message in messages:
            self._known[message] = self.times(message) + 1
        self._known[""] = self.in_a_row(held_before) + 1
        with suppress(OSError):
            write_ours(self._path, json.dumps(self._known).encode())
