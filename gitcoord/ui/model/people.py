"""Rows of sessions: the worktrees with their sessions, the people, and the sessions of other clones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.names import same_clone
from gitcoord.text import inert
from gitcoord.ui.facts import Facts, Merges, place_of
from gitcoord.ui.model.offers import Choice, of_session
from gitcoord.ui.model.words import SHORT, line, name

if TYPE_CHECKING:
    from gitcoord.overview.roster import Session

NAMED = 1000
"""Largest number of session names that a form offers."""
HERE, PEOPLE = "worktrees", "people"
ORDER = {"waiting": 0, "active": 1, "idle": 2, "unknown": 3, "expected": 4}


class SessionRow(NamedTuple):
    """A session, or a worktree without one (`name` is empty). `group` is its place: here, a person, another clone.

    Of the person, who looks at it, no state is said. `at` is the beginning of the state or, if it is alive, the last sign
    of life.
    """

    key: str
    group: str
    name: str
    state: str
    at: float | None
    worktree: str
    branch: str
    focus: str
    task: str
    files: tuple[str, ...]
    unread: int
    role: str
    harness: str
    is_user: bool
    choices: tuple[Choice, ...] = ()


class Roster(NamedTuple):
    """The sessions in their order, of which `rows` has the first page; `waiting` are those that wait for their human,
    wherever they stand; `states` counts all of them but the person."""

    rows: tuple[SessionRow, ...]
    waiting: tuple[SessionRow, ...]
    names: tuple[str, ...]
    states: tuple[tuple[str, int], ...]
    more: bool


def roster(facts: Facts, merges: Merges) -> Roster:
    """The roster: sessions of this clone first, worktree by worktree; then people; then one group for each other clone."""
    held, page = _held(facts), facts.pages["sessions"]
    ordered = sorted(facts.sessions, key=lambda s: _rank(_group(s)))
    rows = {s: _row(s, facts, merges.files, held) for s in ordered[:page]}
    waiting = [rows.get(s) or _row(s, facts, merges.files, held) for s in ordered if s.state == "waiting" and s.session]
    others = [s for s in ordered if s.session and not _is_user(s, facts)]
    states = Counter(s.state or "" for s in others)
    return Roster(
        tuple(rows.values()),
        tuple(waiting),
        tuple(name(f"{s.session}@{s.clone}", facts.clone) for s in others[:NAMED]),
        tuple(sorted(states.items(), key=lambda item: ORDER.get(item[0], 9))),
        len(ordered) > page,
    )


def _group(s: Session) -> str:
    return HERE if s.local and s.worktree else PEOPLE if s.local and s.person else s.clone or ""


def _rank(group: str) -> tuple[int, str]:
    return {HERE: 0, PEOPLE: 1}.get(group, 2), group


def _is_user(s: Session, facts: Facts) -> bool:
    return s.local and s.session == facts.user


def _held(facts: Facts) -> dict[str, str]:
    """The task that each session holds, the one it claimed last."""
    tasks = (row for row in facts.board.tasks if row.status == "claimed" and row.id not in facts.board.held)
    return {row.holder: f"{row.id[:SHORT]} {line(row.title, 120)}" for row in sorted(tasks, key=lambda row: row.changed)}


def _row(s: Session, facts: Facts, files: Mapping[str, tuple[str, ...]], held: Mapping[str, str]) -> SessionRow:
    box = f"{s.session}@{s.clone}"
    group = _group(s)
    published = tuple(f.path for f in s.files)
    return SessionRow(
        place_of(s),
        HERE if same_clone(group, facts.clone) else inert(group),
        name(box, facts.clone) if s.session else "",
        "" if _is_user(s, facts) else s.state or "",
        None if _is_user(s, facts) else s.since or s.beat,
        inert(os.path.basename(s.worktree)) if s.worktree else "",
        line(s.branch or "", 100),
        line(s.focus, 200),
        held.get(box, ""),
        tuple(inert(path) for path in files.get(place_of(s), published)),
        s.unread,
        line(s.role, 40),
        line(s.harness, 40),
        _is_user(s, facts),
        of_session(name(box, facts.clone) if s.session and not _is_user(s, facts) else ""),
    )
