"""Decide which session a command speaks for, and by which rule. This module only reads. Two simultaneous processes may find
the same free name, so a writer decides again under the write lock, in one step with the record (`presence.settle`)."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from gitcoord.errors import Refused, UsageError
from gitcoord.lean import Literal, NamedTuple, Protocol
from gitcoord.log.clone import Clone
from gitcoord.names import name_in, session_name, slug, split_mailbox
from gitcoord.sessions.liveness import Liveness, judge
from gitcoord.sessions.mailboxes import canonical
from gitcoord.sessions.records import Record, Records
from gitcoord.store.repository import Repository
from gitcoord.system import process as processes

Rule = Literal["--as", "GIT_COORD_SESSION", "harness", "process", "worktree", "terminal"]

HARNESS_IDS = {
    "CODEX_THREAD_ID": "codex",
    "COPILOT_AGENT_SESSION_ID": "copilot",
    "GEMINI_SESSION_ID": "gemini",
    "CURSOR_CONVERSATION_ID": "cursor",
    "OPENCODE_SESSION_ID": "opencode",
    "CLAUDE_CODE_SESSION_ID": "claude",
}
"""Variables in which agent programs pass their session's id to their children, the most specific first."""

AGENT_MARKS = ("AI_AGENT", "CLAUDECODE", "CODEX_CI", "COPILOT_CLI", "CURSOR_AGENT", "GEMINI_CLI", "OPENCODE", "AGENT")
"""Variables that show that an agent program started this command, but not which session."""


HARNESS_PIDS = {"claude": "CLAUDE_PID", "opencode": "OPENCODE_PID"}
"""Variables in which agent programs pass their own pid to their children."""

SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "env", "timeout", "nice", "git")
"""Programs between an agent program and a command that are not agent programs themselves."""

_HELPERS_PLACES = "/.claude/worktrees/agent-"
"""The path of a worktree that Claude Code made for a subagent, whose commands otherwise belong to its session."""


def is_helpers_place(worktree: str) -> bool:
    """Whether a path is that of a helper's worktree: the session itself stays where it was."""
    _, ours, number = worktree.replace(os.sep, "/").rpartition(_HELPERS_PLACES)
    return bool(ours) and len(number) >= 8 and not number.strip("0123456789abcdef")


class Identity(NamedTuple):
    """The session a command speaks for. `record` is None before anything was written under this name."""

    name: str
    rule: Rule
    record: Record | None = None
    harness: str = ""
    harness_id: str = ""
    person: bool = False
    shared: bool = False
    """Whether another process may be bound to the session, because it was found by worktree or terminal: then nothing is
    marked read."""
    stead: str = ""
    """The person who acts in the session's place. Their acts are not signs of its life."""

    @property
    def observer(self) -> bool:
        """Whether it was chosen with --as: then nothing is marked read."""
        return self.rule == "--as"


class Caller(Protocol):
    """The caller: the session that a call speaks for, its clone, and the directory of its paths."""

    @property
    def clone(self) -> Clone: ...

    @property
    def cwd(self) -> str: ...

    @property
    def identity(self) -> Identity: ...


class Surroundings(NamedTuple):
    """The facts that the rules use, gathered once, so that the rules are easy to test."""

    repo: Repository
    records: Sequence[Record]
    ancestors: Sequence[int]
    terminal: int | None
    now: float
    beats: Mapping[str, float]
    """By session."""

    @property
    def git_dir(self) -> str:
        return self.repo.git_dir if self.repo.worktree else ""

    def liveness(self, record: Record) -> Liveness:
        alive = processes.is_alive(record.process) if record.process else None
        return judge(record, self.beats.get(record.name, 0.0), alive, self.now)


def look_around(clone: Clone, now: float, seen: Sequence[Record] = ()) -> Surroundings:
    """Read the records, unless they were `seen` just now, and the process tree."""
    known = seen or Records(clone.repo.coord_dir).all()
    beats = {record.name: record.beat for record in known}
    return Surroundings(clone.repo, known, above_us(), processes.terminal_leader(), now, beats)


def above_us() -> list[int]:
    """The pids of our ancestors, nearest first; for a hook in the background, those of its starter."""
    parent = os.environ.get("GIT_COORD_PPID", "")
    return [int(parent), *processes.ancestors(int(parent))] if parent.isdigit() else processes.ancestors()


def program_above(
    environ: Mapping[str, str], above: Sequence[int], harness: str, variable: str = "", bound: int | None = None
) -> int | None:
    """The pid of the agent program that started us: the pid that it passes, otherwise the nearest ancestor with its name,
    otherwise the nearest that is not a shell. If the nearest is in `bound`, the pids of known agent programs, that one."""
    named = environ.get(variable or HARNESS_PIDS.get(harness, ""), "")
    if named.isdigit() and int(named) in above:
        return int(named)
    words = {pid: processes.command(pid).split() or [""] for pid in above}
    programs = [pid for pid in above if words[pid][0].lstrip("-") not in SHELLS]
    if programs and programs[0] == bound:
        return bound
    called_so = (pid for pid in programs if harness and any(harness in word for word in words[pid]))
    return next(called_so, next(iter(programs), None))


def who_am_i(around: Surroundings, as_name: str | None = None) -> Identity:
    """The session the caller speaks for. Raises UsageError for an unknown name, or for an agent that poses as a person."""
    if as_name is not None:
        return _named(around, as_name, "--as")
    named = around.repo.environ.get("GIT_COORD_SESSION")
    if named and not _is_anothers(around, named):
        return _named(around, named, "GIT_COORD_SESSION")
    bound = _by_harness(around) or _by_process(around)
    if bound and not (bound.rule == "process" and bound.record and _in_another_worktree(around, bound.record)):
        return bound
    return _by_worktree(around) or _by_terminal(around)


def current(clone: Clone, as_name: str | None = None, seen: Sequence[Record] = ()) -> Identity:
    """The caller's session; `seen` are all records, if they were read just now."""
    around = look_around(clone, time.time(), seen)
    me = who_am_i(around, as_name)
    if me.record is None and me.rule in ("--as", "GIT_COORD_SESSION") and not me.person and clone.id:
        return _as_it_is_called_now(clone, around, me)
    return me


def _as_it_is_called_now(clone: Clone, around: Surroundings, me: Identity) -> Identity:
    """The session that had the name of `me` before it was renamed, if it is here; otherwise `me`."""
    present = name_in(clone.read(lambda db: canonical(db, clone.box(me.name))))
    record = _record(around.records, present)
    if record is None or record.left is not None or record.gone:
        return me
    return me._replace(name=present, record=record, person=record.person)


def the_user(clone: Clone, looks_on: bool = False) -> Identity:
    """The repository's own user, no matter which session this worktree or terminal has; with `looks_on` it leaves no trace.
    Raises Refused for an agent, because an agent must not speak for a person."""
    around = look_around(clone, time.time())
    if is_agent(around.repo.environ) or _runs_under_an_agent(around):
        raise Refused("an agent cannot be the user of this repository", "git coord status")
    name = person_name(around.repo)
    return Identity(name, "--as" if looks_on else "terminal", _record(around.records, name), person=True)


def _runs_under_an_agent(around: Surroundings) -> bool:
    """Whether an ancestor of ours other than this terminal's shell is bound to a session, as an agent program is."""
    bound = _by_process(around)
    record = bound.record if bound else None
    if record is None or record.person or record.process is None:
        return False
    return bool(record.harness) or record.process.pid != around.terminal


def is_settled(me: Identity) -> bool:
    """Whether the decision is final: no other process can decide otherwise at the same moment."""
    if me.rule in ("--as", "GIT_COORD_SESSION", "terminal"):
        return True
    if me.record is None or me.record.expected or me.record.left is not None or me.record.gone:
        return False
    if me.rule == "worktree":
        return processes.terminal_leader() is None  # otherwise the terminal's shell is about to be bound to the session
    return me.record.harness_id == me.harness_id


def is_elsewhere(repo: Repository, me: Identity) -> bool:
    """Whether a terminal speaks for a session of another worktree, while its own worktree has none."""
    record = me.record
    if me.rule != "process" or me.harness or record is None or record.person or record.process is None:
        return False
    inside = bool(repo.worktree) and bool(record.git_dir) and record.git_dir != repo.git_dir
    return inside and record.process.pid == processes.terminal_leader()


def is_agent(environ: Mapping[str, str]) -> bool:
    """Whether an agent program started this command."""
    return any(environ.get(name) for name in (*HARNESS_IDS, *AGENT_MARKS))


def _named(around: Surroundings, name: str, rule: Rule) -> Identity:
    record = _record(around.records, session_name(name))
    person = record.person if record else name == person_name(around.repo)
    if person and is_agent(around.repo.environ):
        raise UsageError(f"{name} is a person; an agent cannot speak for a person", "leave out --as and GIT_COORD_SESSION")
    return Identity(name, rule, record, person=person)


def _by_harness(around: Surroundings) -> Identity | None:
    ids = {value: HARNESS_IDS[key] for key in HARNESS_IDS if (value := around.repo.environ.get(key))}
    if not ids:
        return None
    harness_id, harness = _innermost(around, ids) if len(ids) > 1 else next(iter(ids.items()))
    known = next((r for r in around.records if r.harness_id == harness_id and r.left is None), None)
    inner = _by_process(around)
    if inner and inner.record and inner.harness not in ("", *ids.values()) and _is_inside(around, inner.record, harness):
        return inner
    record = known or _cleared(around, harness) or _vacant(around)
    return Identity(record.name if record else free_name(around), "harness", record, harness, harness_id)


def _is_inside(around: Surroundings, record: Record, harness: str) -> bool:
    """Whether the process of `record` is a nearer ancestor than the program of `harness`, whose id it has only
    inherited."""
    program = program_above(around.repo.environ, around.ancestors, harness)
    if record.process is None or program is None or program == record.process.pid:
        return False
    return around.ancestors.index(record.process.pid) < around.ancestors.index(program)


def _is_anothers(around: Surroundings, name: str) -> bool:
    """Whether GIT_COORD_SESSION was inherited from an outer session, by an agent program with an id of its own."""
    record = _record(around.records, name)
    ids = {value: HARNESS_IDS[key] for key in HARNESS_IDS if (value := around.repo.environ.get(key))}
    if (
        record is None
        or not record.harness_id
        or not ids
        or record.process is None
        or record.process.pid not in around.ancestors
    ):
        return False
    harness_id, harness = _innermost(around, ids)
    program = program_above(around.repo.environ, around.ancestors, harness)
    return harness_id != record.harness_id and program != record.process.pid and bool(processes.is_alive(record.process))


def _innermost(around: Surroundings, ids: Mapping[str, str]) -> tuple[str, str]:
    """The nearest of nested agent programs, whose variables are all inherited."""
    bound = {r.harness_id: r.process.pid for r in around.records if r.process is not None}

    def distance(item: tuple[str, str]) -> int:
        harness_id, harness = item
        steps = enumerate(around.ancestors)
        return next((n for n, pid in steps if pid == bound.get(harness_id) or harness in processes.command(pid)), 99)

    return min(ids.items(), key=distance)


def _cleared(around: Surroundings, harness: str) -> Record | None:
    """The session whose process began a new conversation under a new id; a program started inside it has another
    session."""
    found = _by_process(around)
    record = found.record if found else None
    if record is None or record.process is None or record.harness != harness:
        return None
    bound = record.process.pid
    return record if bound == program_above(around.repo.environ, around.ancestors, harness, bound=bound) else None


def _vacant(around: Surroundings) -> Record | None:
    """A session of this worktree to take over: a placeholder, one without a process, or a dead one."""
    here = _here(around)
    free = [r for r in here if r.expected or (r.process is None and not r.harness_id)]
    dead = [r for r in here if around.liveness(r).state == "gone"]
    return next(iter(free + dead), None)


def _by_process(around: Surroundings) -> Identity | None:
    bound: dict[int, list[Record]] = {}
    for record in around.records:
        if record.process is not None and record.left is None and record.process.pid in around.ancestors:
            bound.setdefault(record.process.pid, []).append(record)
    for pid in around.ancestors:
        live = [r for r in bound.get(pid, ()) if r.process and processes.is_alive(r.process)]
        if live:
            record = max(live, key=lambda r: (r.git_dir == around.git_dir, around.beats.get(r.name, 0.0)))
            return Identity(record.name, "process", record, record.harness, record.harness_id, record.person)
    return None


def _in_another_worktree(around: Surroundings, record: Record) -> bool:
    """Whether a terminal that is bound to a session is in a worktree that has a session of its own."""
    at_terminal = record.process is not None and record.process.pid == around.terminal and not record.harness
    return at_terminal and record.git_dir != around.git_dir and bool(_unbound(around))


def _by_worktree(around: Surroundings) -> Identity | None:
    candidates = _unbound(around)
    if not candidates:
        return None
    record = max(candidates, key=lambda r: (around.liveness(r).state != "gone", around.beats.get(r.name, 0.0), r.joined))
    unjudged = record.process is not None and processes.is_alive(record.process) is None
    return Identity(record.name, "worktree", record, record.harness, record.harness_id, shared=unjudged)


def _unbound(around: Surroundings) -> list[Record]:
    """The sessions of this worktree that no live process is bound to."""
    return [r for r in _here(around) if not (r.process and processes.is_alive(r.process))]


def _by_terminal(around: Surroundings) -> Identity:
    person = person_name(around.repo)
    if around.terminal is not None and not is_agent(around.repo.environ):
        return Identity(person, "terminal", _record(around.records, person), person=True)
    if around.repo.worktree is None:
        return Identity(person, "terminal", _record(around.records, person), person=not is_agent(around.repo.environ))
    return Identity(free_name(around), "worktree")


def _here(around: Surroundings) -> list[Record]:
    """The sessions of the current worktree that have not left, oldest first."""
    return [r for r in around.records if r.git_dir and r.git_dir == around.git_dir and r.left is None and not r.person]


def _record(records: Iterable[Record], name: str) -> Record | None:
    return next((record for record in records if record.name == name), None)


def person_name(repo: Repository) -> str:
    """The name of the repository's own user: the git name, otherwise the login, as a session name."""
    login = repo.environ.get("USER") or repo.environ.get("USERNAME") or "user"
    return slug(repo.config.get("user.name", ""), "") or slug(login, "user")


def spoken_name(clone: Clone, box: str) -> str:
    """The name of a sender for a reader: the repository's own user is marked as such, another clone's session has its
    clone."""
    name, at = split_mailbox(box)
    if not clone.is_ours(at):
        return box
    return f"{name} (the user of this repository)" if is_user(clone, box) else name


def is_user(clone: Clone, box: str) -> bool:
    """Whether a mailbox is that of this repository's own user, under whose name no agent can write."""
    name, at = split_mailbox(box)
    return clone.is_ours(at) and name == person_name(clone.repo)


def free_name(around: Surroundings) -> str:
    """A name for a new session here: the worktree's name, with a number if it is taken. A session that left here freed its
    name."""
    kept = (r.name for r in around.records if r.left is None or r.git_dir != around.git_dir)
    taken = {*kept, person_name(around.repo)}
    return unused(worktree_name(around.repo.worktree or around.repo.common_dir), taken)


def unused(name: str, taken: Iterable[str]) -> str:
    """`name`, or `name-2`, `name-3`, … when it is taken."""
    taken = set(taken)
    number, free = 2, name
    while free in taken:
        free = f"{name[:36]}-{number}"
        number += 1
    return free


def worktree_name(worktree: str) -> str:
    """The session name of a worktree, made from its directory's name."""
    return slug(os.path.basename(worktree).removesuffix(".git"), "session")


def nameless(clone: Clone, besides: Collection[str]) -> str:
    """The session that a call without a name speaks for in this worktree, leaving out those in `besides`."""
    around = look_around(clone, time.time())
    inside = [r for r in around.records if r.git_dir == around.git_dir and r.left is None and not r.gone]
    return next((r.name for r in inside if r.name not in besides), free_name(around))
