"""Tell a session that is about to read or change a file which others have locked or changed it. The file's place decides.

A warning is given once to a session and once to each of its helpers; a refusal (`coord.guard` = block, and another's
lock or worktree) each time. When anything fails here, the tool runs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence

from gitcoord import lean_json as json
from gitcoord.agents import Answer
from gitcoord.agents.binding import HookCall
from gitcoord.agents.flags import marks_of
from gitcoord.errors import UsageError
from gitcoord.lean import NamedTuple, suppress
from gitcoord.log.trust import held_back
from gitcoord.overview.checks import Check, check
from gitcoord.sessions.identity import spoken_name
from gitcoord.system.files import read_ours, write_ours
from gitcoord.text import ago, inert, said, shell_word, span

MAX_TOLD = 2000
"""Warnings that are remembered for a session."""


class Caution(NamedTuple):
    """One warning about a path; `key` makes sure that it is said once, `blocks` whether it may refuse."""

    key: str
    text: str
    blocks: bool = False


def guard(hook: HookCall, say: Callable[[Answer], None]) -> None:
    """Warn about the paths of a call; refuse only if the user has set that."""
    mode = hook.clone.repo.setting("guard", "warn").lower()
    if mode == "off" or hook.me is None:
        return
    found = [finding for path in hook.call.paths for finding in _findings(hook, path)]
    hard = [finding for finding in found if finding.blocks]
    if mode == "block" and hard and hook.call.moment == "edit":
        say(Answer(deny="\n".join([*dict.fromkeys(f.text for f in hard), "Ask for it: git coord send NAME TEXT."])))
        return
    fresh = _untold(hook, found)
    if fresh and hook.call.moment not in hook.harness.deaf:
        say(Answer(context="\n".join(["From git coord:", *dict.fromkeys(f.text for f in fresh)])))
        _remember(hook, fresh)


def _findings(hook: HookCall, path: str) -> Iterator[Caution]:
    assert hook.me is not None
    try:
        (found,) = check(hook.clone, hook.me, [path], hook.call.cwd or os.getcwd())
    except UsageError:
        return  # outside this repository
    yield from _locks(hook, found)
    for box in found.occupied_by:
        name = spoken_name(hook.clone, box)
        text = f"{found.path} lies in the worktree of {name}, who works there: {found.worktree}"
        yield Caution(f"in {found.worktree} {box}", inert(text), True)
    now = time.time()
    for touch in found.touched_by:
        name = spoken_name(hook.clone, touch.session)
        yield Caution(
            f"touch {found.path} {touch.session}", inert(f"{name} changed {found.path} {ago(touch.at, now)}, uncommitted")
        )
    held = held_back(hook.clone, [note.id for note in found.notes[:3]])
    for note in (note for note in found.notes[:3] if note.id not in held):
        sender = spoken_name(hook.clone, note.sender)
        command = "" if len(note.text) <= 200 else f" (all of it: git coord notes --path {shell_word(found.path)})"
        text = inert(f"note about {', '.join(note.paths[:3])} from {sender}: ") + said(note.text, 200) + command
        yield Caution(f"note {note.id}", text)


def _locks(hook: HookCall, found: Check) -> Iterator[Caution]:
    assert hook.me is not None
    mine = f"{hook.me.name}@{hook.clone.id}"
    held = held_back(hook.clone, [lock.id for lock in found.locks])
    for lock in found.locks:
        if lock.holder != mine and lock.id not in held:
            name = spoken_name(hook.clone, lock.holder)
            because = f": {said(lock.reason, 200)}" if lock.reason else ""
            left = span(lock.expires - time.time())
            yield Caution(
                f"lock {lock.id} {found.path}", inert(f"{found.path} is locked by {name} for another {left}") + because, True
            )


def _untold(hook: HookCall, found: Sequence[Caution]) -> list[Caution]:
    told = _told(hook)
    return [finding for finding in found if _key(hook, finding) not in told]


def _key(hook: HookCall, finding: Caution) -> str:
    """The key of a finding for its reader, because the session does not see what a helper is told."""
    return f"{hook.call.subagent} {finding.key}" if hook.call.subagent else finding.key


def _told(hook: HookCall) -> list[str]:
    try:
        known = json.loads(read_ours(_file(hook)))
    except (OSError, ValueError):
        return []
    return known if isinstance(known, list) else []


def _remember(hook: HookCall, fresh: Sequence[Caution]) -> None:
    known = [*_told(hook), *(_key(hook, finding) for finding in fresh)][-MAX_TOLD:]
    with suppress(OSError):
        write_ours(_file(hook), json.dumps(known).encode())


def _file(hook: HookCall) -> str:
    assert hook.me is not None
    return marks_of(hook.clone, hook.me.name).path("@told")
