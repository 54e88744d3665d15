"""Who am I: which session a command speaks for, and which rule said so (DESIGN 3).

Pure reading; `sessions.register` writes what a new name needs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from gitcoord import process as processes
from gitcoord.clone import Clone
from gitcoord.errors import UsageError
from gitcoord.liveness import Liveness, judge
from gitcoord.names import EVERYBODY, session_name, slug
from gitcoord.records import Record, Records
from gitcoord.store.repository import Repository

Rule = Literal["--as", "GIT_COORD_SESSION", "harness", "process", "worktree", "terminal"]

HARNESS_IDS = {
    "CODEX_THREAD_ID": "codex",
    "COPILOT_AGENT_SESSION_ID": "copilot",
    "GEMINI_SESSION_ID": "gemini",
    "CURSOR_CONVERSATION_ID": "cursor",
    "CLAUDE_CODE_SESSION_ID": "claude",
}
"""Variables by which agent programs name their session to their children, the most specific first."""

AGENT_MARKS = ("AI_AGENT", "CLAUDECODE", "CODEX_CI", "COPILOT_CLI", "CURSOR_AGENT", "GEMINI_CLI", "OPENCODE", "AGENT")
"""Variables that say that an agent program started this command, without saying which session."""


class Identity(NamedTuple):
    """The session a command speaks for. `record` is None while nothing was ever written under this name."""

    name: str
    rule: Rule
    record: Record | None = None
    harness: str = ""
    harness_id: str = ""
    person: bool = False
    shared: bool = False
    """Taken from the worktree or the terminal although another process may be bound to the session: only peek."""

    @property
    def observer(self) -> bool:
        """Chosen with --as: looks on, without marking anything read."""
        return self.rule == "--as"


class Surroundings(NamedTuple):
    """What the rules look at; gathered once, so that the rules themselves are easy to test."""

    repo: Repository
    records: Sequence[Record]
    ancestors: Sequence[int]
    terminal: int | None
    now: float
    beats: Mapping[str, float]

    @property
    def git_dir(self) -> str:
        return str(self.repo.git_dir) if self.repo.worktree else ""

    def liveness(self, record: Record) -> Liveness:
        alive = processes.is_alive(record.process) if record.process else None
        return judge(record, self.beats.get(record.name, 0.0), alive, self.now)


def look_around(clone: Clone, now: float) -> Surroundings:
    """Read the records and the process tree."""
    records = Records(clone.repo.coord_dir)
    known = records.all()
    beats = {record.name: records.beat(record.name) for record in known}
    above = processes.ancestors()
    return Surroundings(clone.repo, known, above, processes.terminal_leader(), now, beats)


def who_am_i(around: Surroundings, as_name: str | None = None) -> Identity:
    """The session the caller speaks for. Raises UsageError for a name that is none, or an agent posing as a person."""
    if as_name is not None:
        return _named(around, as_name, "--as")
    if around.repo.environ.get("GIT_COORD_SESSION"):
        return _named(around, around.repo.environ["GIT_COORD_SESSION"], "GIT_COORD_SESSION")
    return _by_harness(around) or _by_process(around) or _by_worktree(around) or _by_terminal(around)


def is_agent(environ: Mapping[str, str]) -> bool:
    """Whether an agent program started us."""
    return any(environ.get(name) for name in (*HARNESS_IDS, *AGENT_MARKS))


def _named(around: Surroundings, name: str, rule: Rule) -> Identity:
    record = _record(around.records, session_name(name))
    person = record.person if record else name == person_name(around.repo)
    if person and is_agent(around.repo.environ):
        raise UsageError(f"{name} is a person; an agent cannot speak for one", "leave out --as and GIT_COORD_SESSION")
    return Identity(name, rule, record, person=person)


def _by_harness(around: Surroundings) -> Identity | None:
    ids = {value: HARNESS_IDS[key] for key in HARNESS_IDS if (value := around.repo.environ.get(key))}
    if not ids:
        return None
    known = [record for record in around.records if record.harness_id in ids and record.left is None]
    if known:
        record = min(known, key=lambda r: _distance(r, around.ancestors))
        return Identity(record.name, "harness", record, record.harness, record.harness_id)
    harness_id, harness = next(iter(ids.items()))
    vacant = [r for r in _here(around) if _is_vacant(around, r)]
    if vacant:
        return Identity(vacant[0].name, "harness", vacant[0], harness, harness_id)
    return Identity(free_name(around), "harness", None, harness, harness_id)


def _is_vacant(around: Surroundings, record: Record) -> bool:
    """A placeholder, or a session that no process and no other harness session stands behind."""
    return record.expected or (record.process is None and not record.harness_id)


def _distance(record: Record, ancestors: Sequence[int]) -> int:
    """How far up the process tree the session's process is: of nested harnesses the nearest is meant."""
    pid = record.process.pid if record.process else -1
    return ancestors.index(pid) if pid in ancestors else len(ancestors)


def _by_process(around: Surroundings) -> Identity | None:
    bound = {r.process.pid: r for r in around.records if r.process is not None and r.left is None}
    for pid in around.ancestors:
        record = bound.get(pid)
        if record and record.process and processes.is_alive(record.process):
            return Identity(record.name, "process", record, record.harness, record.harness_id, record.person)
    return None


def _by_worktree(around: Surroundings) -> Identity | None:
    candidates = [r for r in _here(around) if not (r.process and processes.is_alive(r.process))]
    if not candidates:
        return None
    record = max(candidates, key=lambda r: (around.liveness(r).state != "gone", around.beats.get(r.name, 0.0), r.joined))
    unjudged = record.process is not None and processes.is_alive(record.process) is None
    return Identity(record.name, "worktree", record, record.harness, record.harness_id, shared=unjudged)


def _by_terminal(around: Surroundings) -> Identity:
    person = person_name(around.repo)
    if around.terminal is not None and not is_agent(around.repo.environ):
        return Identity(person, "terminal", _record(around.records, person), person=True)
    if around.repo.worktree is None:
        return Identity(person, "terminal", _record(around.records, person), person=not is_agent(around.repo.environ))
    return Identity(free_name(around), "worktree")


def _here(around: Surroundings) -> list[Record]:
    """The sessions of the worktree we stand in that did not leave, oldest first."""
    return [r for r in around.records if r.git_dir and r.git_dir == around.git_dir and r.left is None and not r.person]


def _record(records: Iterable[Record], name: str) -> Record | None:
    return next((record for record in records if record.name == name), None)


def person_name(repo: Repository) -> str:
    """The name of the repository's own user: the git name, else the login, as a session name."""
    login = repo.environ.get("USER") or repo.environ.get("USERNAME") or "user"
    return slug(repo.config.get("user.name", ""), "") or slug(login, "user")


def free_name(around: Surroundings) -> str:
    """A name for a new session here: the worktree's, with a number when that is taken."""
    taken = {record.name for record in around.records} | {person_name(around.repo), EVERYBODY}
    return unused(worktree_name(around.repo.worktree or around.repo.common_dir), taken)


def unused(name: str, taken: Iterable[str]) -> str:
    """`name`, or `name-2`, `name-3`, … when it is taken."""
    taken = set(taken)
    number, free = 2, name
    while free in taken:
        free = f"{name[:36]}-{number}"
        number += 1
    return free


def worktree_name(worktree: Path) -> str:
    """The session name that fits a worktree: that of its directory."""
    return slug(os.path.basename(worktree).removesuffix(".git"), "session")
