"""Read the facts that the view shows from the API, as of one moment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.errors import CoordError

if TYPE_CHECKING:
    from gitcoord import Coord
    from gitcoord.features.jobs.read import Job
    from gitcoord.features.locks.read import Lock
    from gitcoord.features.messages.inbox import Inbox
    from gitcoord.features.messages.talk import Talk
    from gitcoord.features.overlaps.conflicts import Collision
    from gitcoord.features.tasks.board import Board, Lost
    from gitcoord.log.event import Event
    from gitcoord.overview.roster import Session
    from gitcoord.overview.status import Trouble

DAY = 24 * 3600
PAGES: Mapping[str, int] = {"talk": 100, "events": 200, "ended": 20, "sessions": 100, "tasks": 100}
"""Number of items of long lists that are read at first; scrolling asks for more. `tasks` counts for one column."""
FURTHEST = 20_000
"""Largest number of items that a list reads."""
AWAITING = 50
"""Largest number of listed messages that wait for the person."""


class Facts(NamedTuple):
    """One look at the repository. `user` is the person's name, `lost` are acts of the last day that turned out not to
    count; `held` are the locks and events that `coord.requireSigned` keeps back."""

    user: str
    clone: str
    project: str
    sessions: tuple[Session, ...]
    awaiting: Inbox
    talk: Talk
    board: Board
    jobs: tuple[Job, ...]
    locks: tuple[Lock, ...]
    events: tuple[Event, ...]
    more_events: bool
    lost: tuple[Lost, ...]
    trouble: Trouble
    held: frozenset[str] = frozenset()
    pages: Mapping[str, int] = PAGES


class Merges(NamedTuple):
    """Facts that take git a while: the changed files, by worktree or mailbox; the collisions; and why these are unknown."""

    files: Mapping[str, tuple[str, ...]]
    collisions: tuple[Collision, ...]
    unknown: str = ""


NO_MERGES = Merges({}, (), "looking…")


def gather(coord: Coord, now: float, pages: Mapping[str, int] = PAGES) -> Facts:
    """Read everything that is quick to read. Marks nothing."""
    sessions = tuple(coord.sessions.list(everyone=False, files=False))
    events = coord.events.log(limit=pages["events"] + 1)
    locks = tuple(coord.locks.held())
    return Facts(
        coord.identity.name,
        coord.clone_id,
        _project(coord, sessions),
        sessions,
        coord.messages.awaiting(limit=AWAITING),
        coord.messages.recent(limit=pages["talk"]),
        coord.tasks.board(ended=pages["ended"]),
        tuple(coord.jobs.list()),
        locks,
        tuple(events[: pages["events"]]),
        len(events) > pages["events"],
        tuple(coord.tasks.lost(since=int(now) - DAY)),
        coord.overview.trouble(),
        frozenset(coord.trust.held_back([*(event.id for event in events), *(lock.id for lock in locks)])),
        dict(pages),
    )


def _project(coord: Coord, sessions: tuple[Session, ...]) -> str:
    """The folder of the main worktree, which git lists first."""
    first = next((s.worktree for s in sessions if s.local and s.worktree), None)
    return os.path.basename(first or coord.worktree or coord.cwd)


def gather_merges(coord: Coord) -> Merges:
    """Read the facts that git has to be asked for."""
    files = {place_of(s): tuple(f.path for f in s.files) for s in coord.sessions.list() if s.files}
    try:
        return Merges(files, tuple(coord.overview.conflicts()))
    except CoordError as error:
        return Merges(files, (), error.what)


def place_of(session: Session) -> str:
    """The key of a row of the roster: the mailbox, or the worktree if it has no session."""
    return f"{session.session}@{session.clone}" if session.session else f"{session.worktree}"
