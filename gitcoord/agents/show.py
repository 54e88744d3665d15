"""Show news to a model, and mark it, so that only one of two simultaneous hooks shows it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from gitcoord.agents.binding import HookCall
from gitcoord.agents.flags import Marks, stamp
from gitcoord.agents.guard import remember_notes
from gitcoord.features.messages import waiting
from gitcoord.features.notes import has_notes_about_paths
from gitcoord.lean import suppress
from gitcoord.overview import surfacing
from gitcoord.sessions import touched
from gitcoord.sessions.identity import Identity
from gitcoord.system.files import touch_ours


def show(hook: HookCall, marks: Marks, say: Callable[[str, Sequence[str]], None], always: bool = False) -> bool:
    """Write the news and mark it, all under the lock.

    `say` gets the text and the ids of notes in it. Items that did not fit wait for the next time.
    """
    me = me_of(hook)
    with hook.clone.locked():
        lines = look(hook, marks)
        now = time.time()
        news = surfacing.gather(hook.clone, me, lines, now=now, room=marks.room(now))
        if news.text or always:
            say(news.text, news.notes)
        surfacing.mark_surfaced(hook.clone, me, news)
        marks.show(news.others, now)
        remember_notes(hook, news.notes)
        if news.left:
            marks.again([line for line in lines if line not in news.notes])
        marks.owe(bool(waiting.owed_acks(hook.clone, me)))
        marks.done()
    return bool(news.text)


def look(hook: HookCall, marks: Marks) -> list[str]:
    """Bring the index up to date with the refs; the ids of notes that were marked for this session."""
    began = time.time()
    marks.take()
    hook.clone.read(lambda db: touched.keep_foreign(db, hook.clone.repo.coord_dir, hook.clone.id))
    marks.take()  # marks that this process has just set
    hook.clone.read(lambda db: None)
    stamp(hook.clone, began)
    _keep_notes_flag(hook)
    return marks.taken()


def _keep_notes_flag(hook: HookCall) -> None:
    """Keep `coord/noted` while notes are about paths: then the hook asks before a path's first edit."""
    path = hook.path("noted")
    if not os.path.exists(path) and hook.clone.read(has_notes_about_paths):
        with suppress(OSError):
            touch_ours(path)


def me_of(hook: HookCall) -> Identity:
    if hook.me is None:
        raise LookupError("the session is not known yet")
    return hook.me
