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
from gitcoord.text import ago, said

Say = Callable[[Answer], None]

BRIEF = {"compact": 1000, "resume": 1000}
"""Tokens of the brief by how a conversation begins; a model that lost its context needs more."""
SHORT_BRIEF = 500
HOLDS = 2
"""Number of times that a turn is kept going for one ack that is due."""
CHAIN = 5
"""Number of times in a row that a turn is kept going."""
HOW = "To talk to them: git coord send NAME TEXT. All commands: git coord help"


def run(hook: HookCall, say: Say) -> None:
    """Handle a call; `say` is called at most once, and writes to the program at once."""
    if os.environ.get("GIT_COORD") == "off" or not os.path.isdir(hook.clone.repo.coord_dir):
        return
    if hook.call.moment in ("look", "edit", "shell"):
        from gitcoord.agents.guard import guard

        guard(alive(hook), say)
    elif hook.call.moment == "wake":
        from gitcoord.agents.wake import wake

        wake(hook, say)
    else:
        (_HELPERS if hook.call.subagent else _MOMENTS).get(hook.call.moment, _nothing)(hook, say)


def _start(hook: HookCall, say: Say) -> None:
    """Register the session and give its brief; also after a compaction, when the model has lost it."""
    hook = with_session(hook)
    me = _me(hook)
    marks = marks_of(hook.clone, me.name)
    marks.open()
    if touched.open_folder(hook.clone.repo.coord_dir):
        _keep_all_touched(hook)
    marks.recall()
    _keep_settings(hook)
    _notice_deaths(hook)
    try:
        _say_where_i_am(hook, marks, BRIEF.get(hook.call.source, SHORT_BRIEF), say)
    finally:
        marks.set_idle(hook.call.source != "compact")  # from here on, news wakes it


def _keep_all_touched(hook: HookCall) -> None:
    """Fill the folder of touched files at the first hook in this clone, with changes of sessions without hooks."""
    from gitcoord.overview.roster import list_sessions

    for session in list_sessions(hook.clone):
        if session.local and session.session:
            touched.keep(hook.clone.repo.coord_dir, session.session, [file.path for file in session.files])


def _say_where_i_am(hook: HookCall, marks: Marks, budget: int, say: Say) -> None:
    if hook.surface == "off":
        say(Answer(context=_where_i_am(hook, budget, ())))
        return
    _show(hook, marks, lambda news, notes: say(Answer(context=_opening(hook, budget, news, notes))), always=True)


def _opening(hook: HookCall, budget: int, news: str, notes: Sequence[str]) -> str:
    """The brief, without parts that are shown beside it."""
    without = ("unread", "notes") if notes else ("unread",)
    return "\n\n".join(filter(None, (_where_i_am(hook, budget, without), news)))


def _where_i_am(hook: HookCall, budget: int, without: Sequence[str]) -> str:
    from gitcoord.overview.brief import brief

    return f"{brief(hook.clone, _me(hook), budget - 30, without=without).text}\n\n{HOW}"


def _turn(hook: HookCall, say: Say) -> None:
    """Between two steps of the model: show what is new."""
    hook = alive(hook)
    marks = marks_of(hook.clone, _me(hook).name)
    marks.open()
    marks.wait(False)
    if hook.call.moment == "prompt":
        marks.set_idle(False)
    _notice_deaths(hook)
    _look_at_remote(hook)
    if marks.recall():
        _say_where_i_am(hook, marks, BRIEF["compact"], say)
        return
    if hook.surface == "off" or (hook.surface == "turn" and hook.call.moment == "tools"):
        return
    _show(hook, marks, lambda news, _: say(Answer(context=news)))


def _look_at_remote(hook: HookCall) -> None:
    """Start a look at the remote in the background, if it is due; `coord/look` exists only with a remote."""
    if os.path.exists(hook.path("look")):
        from gitcoord.sync import background

        background.after_look(hook.clone)


def _edited(hook: HookCall, say: Say) -> None:
    """Note the changed paths that the script could not read from the document, and update presence and overlaps."""
    from gitcoord.sessions.housekeeping import in_background
    from gitcoord.store.worktrees import place_of

    hook = alive(hook)
    repo, base = hook.clone.repo, hook.call.cwd or os.getcwd()
    places = [place for path in hook.call.paths if (place := place_of(repo, base, path))]
    mine = [place.path for place in places if place.git_dir == repo.git_dir]
    if touched.add(repo.coord_dir, _me(hook).name, mine):
        in_background(hook.clone, "refresh", _me(hook).name)


def _waiting(hook: HookCall, say: Say) -> None:
    """Note that the session waits for its human. The next step of the model clears the flag, even while this hook still
    runs."""
    from gitcoord.sessions.presence import register

    hook = with_session(hook) if hook.me is None else hook
    me = _me(hook)
    marks = marks_of(hook.clone, me.name)
    marks.open()
    marks.wait(True)
    register(hook.clone, me, waiting=True)
    if not marks.waits():
        register(hook.clone, me, waiting=False)


def _forget(hook: HookCall, say: Say) -> None:
    """The next step of the model gets the brief again."""
    hook = alive(hook)
    marks = marks_of(hook.clone, _me(hook).name)
    marks.open()
    marks.forget()


def _stop(hook: HookCall, say: Say) -> None:
    """Let the turn end unless an urgent message was never shown, or an ack is due; each holds it a few times at most."""
    hook = alive(hook)
    me = _me(hook)
    marks = marks_of(hook.clone, me.name)
    marks.open()
    _notice_deaths(hook)
    marks.wait(False)
    holds = Holds(marks.path("@held"))
    began = time.time()
    owed = waiting.owed_acks(hook.clone, me)
    marks.owe(bool(owed))
    due = [message for message in owed if holds.times(message.id) < HOLDS]
    urgent = waiting.waiting_mail(hook.clone, me, urgent=True)
    stamp(hook.clone, began)
    if hook.surface == "off" or not (due or urgent) or holds.in_a_row(hook.call.held_before) >= CHAIN:
        marks.set_idle(True)
        return
    holds.add([message.id for message in due], hook.call.held_before)
    lines = _due_lines(hook, due)
    if urgent:
        _show(hook, marks, lambda news, _: say(Answer(go_on="\n\n".join(filter(None, (news, lines))))), always=True)
    else:
        say(Answer(go_on=lines))


def _due_lines(hook: HookCall, due: Sequence[Message]) -> str:
    """The messages that still need an ack, without their text, which was shown before."""
    now = time.time()
    lines = [
        f"{m.id[:10]} from {spoken_name(hook.clone, m.sender)}, {ago(m.at, now)}: git coord ack {m.id[:10]}" for m in due[:10]
    ]
    return "\n".join(["These messages ask for an ack (git coord thread ID shows one again):", *lines]) if lines else ""


def _failed(hook: HookCall, say: Say) -> None:
    """An error ended the turn: the session is idle, and those who wait for it are told."""
    _interrupted(hook, say)
    why = f": {said(hook.call.source, 100)}" if hook.call.source else ""
    deaths.tell_stopped(hook.clone, _me(alive(hook)).name, f"an API error{why}")


def _interrupted(hook: HookCall, say: Say) -> None:
    """The turn is over without the hook of its end: mail may wake the session."""
    hook = alive(hook)
    marks = marks_of(hook.clone, _me(hook).name)
    marks.open()
    marks.wait(False)
    marks.set_idle(True)


def _command(hook: HookCall, say: Say) -> None:
    """Answer a slash command in the model's place, with the output of git-coord, which speaks for this session."""
    import subprocess
    import sys

    from gitcoord.agents import slash
    from gitcoord.system.background import ISOLATED

    hook = alive(hook)
    words = slash.words(hook.call.command, _me(hook).name)
    if not words:
        if about := slash.usage(hook.call.command):
            say(Answer(deny=about))
        return
    argv = [sys.executable, *ISOLATED, "-m", "gitcoord", *words]
    kept = {key: value for key, value in hook.clone.repo.environ.items() if not key.startswith("GIT_COORD_")}
    environ = {**kept, "GIT_COORD_SESSION": _me(hook).name}
    done = subprocess.run(
        argv, cwd=hook.call.cwd or None, env=environ, stdin=subprocess.DEVNULL, capture_output=True, timeout=8
    )
    say(Answer(deny=(done.stdout + done.stderr).decode("utf-8", "replace").strip() or "done"))


def _end(hook: HookCall, say: Say) -> None:
    """The end: the session leaves, and its locks and tasks are free. A conversation that was merely cleared continues,
    and so does one that a live process has resumed; a worker's is ended by the loop that started it (`git coord work`)."""
    if hook.call.source == "clear" or hook.me is None or is_elsewhere(hook) or os.environ.get("GIT_COORD_WORK"):
        return
    from gitcoord.sessions.membership import leave

    leave(hook.clone, hook.me)
    marks_of(hook.clone, hook.me.name).set_idle(False)


_MOMENTS: dict[str, Callable[[HookCall, Say], None]] = {
    "start": _start,
    "prompt": _turn,
    "tools": _turn,
    "edited": _edited,
    "waiting": _waiting,
    "forget": _forget,
    "stop": _stop,
    "failed": _failed,
    "interrupted": _interrupted,
    "command": _command,
    "end": _end,
}


def _works_again(hook: HookCall, say: Say) -> None:
    """End the waiting when a helper continues, because it may do what the human was asked for."""
    marks_of(hook.clone, _me(alive(hook)).name).wait(False)


def _nothing(hook: HookCall, say: Say) -> None:
    """Say nothing, because text in a helper's conversation never reaches the session's own."""


_HELPERS: dict[str, Callable[[HookCall, Say], None]] = {"edited": _edited, "waiting": _waiting, "tools": _works_again}


def _keep_settings(hook: HookCall) -> None:
    """Write the settings that the script needs: `coord/surface`, only if it differs from the default."""
    from gitcoord.system.lock import write_whole

    path = hook.path("surface")
    if hook.surface == "tool":
        with suppress(OSError):
            remove_ours(path)
    else:
        write_whole(path, hook.surface + "\n")


def _notice_deaths(hook: HookCall) -> None:
    deaths.notice(hook.clone, me=lambda: _me(hook).name)


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
