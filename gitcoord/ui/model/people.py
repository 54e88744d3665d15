"""Sessions: the worktrees with who is in them, the people, and the sessions of other clones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.names import same_clone
from gitcoord.text import inert
from gitcoord.ui.facts import Facts, Merges, place_of
from gitcoord.ui.model.offers import Choice, of_session
from gitcoord.ui.model.words import SHORT, line, name

if TYPE_CHECKING:
    from gitcoord.overview.roster import Session

HERE, PEOPLE = "worktrees", "people"
ORDER = {"waiting": 0, "active": 1, "idle": 2, "unknown": 3, "expected": 4}


class SessionRow(NamedTuple):
    """A session, or a worktree without one (`name` is empty). `group` is its place: here, a person, another clone.

    `at` is since when the state lasts or, of one that is alive, the last sign of life.
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


def sessions(facts: Facts, merges: Merges) -> tuple[SessionRow, ...]:
    """Those of this clone first, worktree by worktree; then people; then one group for each other clone."""
    held = _held(facts)
    rows = [_row(s, facts, merges.files, held) for s in facts.sessions]
    return tuple(sorted(rows, key=lambda row: (_rank(row.group), row.group)))


def _rank(group: str) -> int:
    return {HERE: 0, PEOPLE: 1}.get(group, 2)


def _held(facts: Facts) -> dict[str, str]:
    """The task that each session holds, the one it claimed last."""
    tasks = (row for row in facts.board.tasks if row.status == "claimed" and row.id not in facts.board.held)
    return {row.holder: f"{row.id[:SHORT]} {line(row.title, 120)}" for row in sorted(tasks, key=lambda row: row.changed)}


def _row(s: Session, facts: Facts, files: Mapping[str, tuple[str, ...]], held: Mapping[str, str]) -> SessionRow:
    box = f"{s.session}@{s.clone}"
    group = HERE if s.local and s.worktree else PEOPLE if s.local and s.person else s.clone or ""
    published = tuple(f.path for f in s.files)
    return SessionRow(
        place_of(s),
        HERE if same_clone(group, facts.clone) else inert(group),
        name(box, facts.clone) if s.session else "",
        s.state or "",
        s.since or s.beat,
        inert(os.path.basename(s.worktree)) if s.worktree else "",
        line(s.branch or "", 100),
        line(s.focus, 200),
        held.get(box, ""),
        tuple(inert(path) for path in files.get(place_of(s), published)),
        s.unread,
        line(s.role, 40),
        line(s.harness, 40),
        s.local and s.session == facts.user,
        of_session(name(box, facts.clone) if s.session and not (s.local and s.session == facts.user) else ""),
    )
