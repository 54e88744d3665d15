"""The verbs sessions, whoami, join, leave, focus, editing and worktree."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gitcoord import Coord
from gitcoord.cli.command import IntRange, argument, command, group, option
from gitcoord.cli.output import ago, inert, one_line, paint, say, say_json
from gitcoord.cli.params import common, opened
from gitcoord.errors import UsageError
from gitcoord.lean import TYPE_CHECKING
from gitcoord.names import mailbox
from gitcoord.overview.shapes import session_json, shown_name
from gitcoord.system.screen import cells, pad
from gitcoord.system.streams import columns_of
from gitcoord.text import shell_word

if TYPE_CHECKING:
    from gitcoord.overview.roster import Session

GAP = 2
COLOURS = {"active": "32", "idle": "36", "waiting": "35", "expected": "2", "unknown": "33", "gone": "31"}


@command(short_help="who works here")
@argument("name", required=False)
@option("--all", "everyone", is_flag=True, help="Gone sessions too.")
@option("--state", metavar="S", help="active, idle, …")
@option("-n", "--limit", type=IntRange(1, 100_000), metavar="N", help="At most N.")
@common
def sessions(name: str | None, everyone: bool, state: str | None, limit: int | None, as_name: str | None, as_json: bool) -> int:
    """The worktrees and who works in them. With NAME: that one, exit 0 only if it is alive.

    Example: git coord sessions --json
    """
    if state and state not in COLOURS:
        raise UsageError(f"{state!a} is not a state of a session", "one of " + ", ".join(COLOURS))
    with opened(as_name) as coord:
        found = [coord.sessions.get(name)] if name else coord.sessions.list(everyone=everyone or state == "gone")
        found = [s for s in found if not state or s.state == state][:limit]
        if as_json:
            documents = [session_json(coord, s) for s in found]
            say_json(documents[0] if name and documents else documents)
        else:
            _say_sessions(coord, found)
            if not found:
                say("No sessions.")
        return 1 if name and (not found or found[0].state not in ("active", "idle", "waiting")) else 0


def _say_sessions(coord: Coord, found: list[Session]) -> None:
    """Print one line for each worktree, like git-worktree(1), with its sessions below it."""
    width = columns_of(sys.stdout)
    places = _places(coord, found, width)
    last = None
    for session, place in zip(found, places, strict=True):
        is_same = session.worktree is not None and session.worktree == last
        last = session.worktree
        shared = session.session is None and is_same
        if not shared:
            start = f"{'' if is_same else place:<{len(place)}}  {_who(coord, session)}".rstrip()
            facts = ", ".join(_facts(session))
            if not facts or not width or cells(f"{start}, {facts}") <= width:
                say(f"{start}, {facts}" if facts else start)
            else:
                say(start, f"    {facts}")
        if session.files:
            names = ", ".join(f"{f.path} ({ago(f.at)})" for f in session.files[:4])
            more = f" and {len(session.files) - 4} more" if len(session.files) > 4 else ""
            say(f"    changed{' by someone here' if shared else ''}: {inert(names)}{more}")


def _places(coord: Coord, found: Sequence[Session], width: int) -> list[str]:
    """The worktree, commit and branch of each session, as columns that leave room for the session if they can: a terminal
    that is too narrow gets relative paths, and no commits."""
    who = max((cells(_who(coord, s)) for s in found), default=0) + GAP
    made = list[str]()
    for near, head in ((False, True), (True, True), (True, False)):
        rows = [_place(coord, s, near, head) for s in found]
        widths = [max((cells(row[n]) for row in rows), default=0) for n in range(2)]
        made = ["  ".join(pad(cell, size) for cell, size in zip(row, widths, strict=True) if size) for row in rows]
        if not width or max((cells(row) for row in made), default=0) + who <= width:
            break
    return made


def _place(coord: Coord, s: Session, near: bool, head: bool) -> tuple[str, str]:
    if s.worktree is None:
        return f"({'person' if s.person else 'no worktree here'})", ""
    path = min(s.worktree, os.path.relpath(s.worktree, coord.cwd), key=len) if near else s.worktree
    commit = f"{(s.head or '')[:8]:<8} " if head else ""
    return inert(path), inert(f"{commit}[{s.branch or 'detached'}]")


def _who(coord: Coord, s: Session) -> str:
    """The name of a session, its state, and since when it was seen or is silent."""
    if s.session is None:
        return "no session"
    name = shown_name(coord, mailbox(s.session, s.clone or ""))
    seen = s.since or s.beat
    last = "" if s.state in ("active", "waiting") else "last seen "
    return f"{name} {paint(str(s.state), COLOURS.get(str(s.state), '0'))}{f', {last}{ago(seen)}' if seen else ''}"


def _facts(s: Session) -> list[str]:
    facts = [inert(s.harness)] if s.harness else []
    facts += [inert(f"role {s.role}")] if s.role else []
    facts += [f"{s.unread} unread"] if s.unread else []
    facts += [f"“{one_line(s.focus, 60)}”"] if s.focus else []
    facts += [f"last commit “{one_line(s.subject, 60)}”"] if s.subject and not s.focus else []
    return facts


@command(short_help="which session I am, and why")
@common
def whoami(as_name: str | None, as_json: bool) -> None:
    """The session that this command speaks for, and the rule that says so.

    Example: git coord whoami
    """
    with opened(as_name) as coord:
        me = coord.identity
        worktree = coord.worktree
        if as_json:
            say_json({"session": me.name, "clone": coord.clone_id or None, "worktree": worktree, "rule": me.rule})
            return
        known = "" if me.record else " (not registered yet)"
        here = f" of the clone {coord.clone_id}" if coord.clone_id else ""
        say(f"{me.name}{here}{known}, by the rule: {RULES[me.rule]}")


RULES = {
    "--as": "named with --as",
    "GIT_COORD_SESSION": "named by GIT_COORD_SESSION",
    "harness": "the agent program's session id",
    "process": "the nearest process bound to a session",
    "worktree": "the session of this worktree",
    "terminal": "a person at a terminal",
}


@command(short_help="register or rename my session")
@argument("name", required=False)
@option("--role", metavar="R", help="Mail to @R reaches it.")
@option("--focus", metavar="T", help="What I work on.")
@option("--pid", type=int, metavar="P", help="The process of this session.")
@option("--from", "origin", metavar="CLONE", help="Adopt NAME from another clone.")
@common
def join(
    name: str | None,
    role: str | None,
    focus: str | None,
    pid: int | None,
    origin: str | None,
    as_name: str | None,
    as_json: bool,
) -> None:
    """Register this session, or rename it; the old name stays an alias.

    Example: git coord join worker-1 --role reviewer
    """
    with opened(as_name) as coord:
        record = coord.sessions.join(name, role=role, focus=focus, pid=pid, origin=origin)
        _say_me(coord, record.name, as_json, "joined as")


@command(short_help="end my session")
@common
def leave(as_name: str | None, as_json: bool) -> None:
    """End this session: it is gone for others; its mailbox stays.

    Example: git coord leave
    """
    with opened(as_name) as coord:
        _say_me(coord, coord.sessions.leave().name, as_json, "left:")


@command(short_help="say what I work on")
@argument("words", nargs=-1, required=True)
@common
def focus(words: tuple[str, ...], as_name: str | None, as_json: bool) -> None:
    """Say what this session works on, for others to see.

    Example: git coord focus the parser rewrite
    """
    with opened(as_name) as coord:
        _say_me(coord, coord.sessions.focus(" ".join(words)).name, as_json, "focus set for")


@command(short_help="say which files I edit")
@argument("paths", nargs=-1, required=True)
@common
def editing(paths: tuple[str, ...], as_name: str | None, as_json: bool) -> None:
    """Say which files this session edits: needed only where several share a worktree.

    Example: git coord editing src/parser.py
    """
    with opened(as_name) as coord:
        _say_me(coord, coord.sessions.editing(paths).name, as_json, "editing noted for")


def _say_me(coord: Coord, name: str, as_json: bool, what: str) -> None:
    if as_json:
        say_json(session_json(coord, coord.sessions.get(name)))
    else:
        say(f"{what} {name}")


@group(short_help="add or remove one safely")
def worktree() -> None:
    """Worktrees, each with a session.

    Example: git coord worktree add ../parser
    """


@worktree.command(short_help="make one, with a branch and an expected session")
@argument("path")
@argument("base", required=False, metavar="[COMMIT]")
@option("-b", "branch", metavar="BRANCH", help="Its branch (the name of PATH).")
@common
def add(path: str, base: str | None, branch: str | None, as_name: str | None, as_json: bool) -> None:
    """Make a worktree and its branch, and expect a session there.

    Example: git coord worktree add ../parser
    """
    with opened(as_name) as coord:
        made = coord.sessions.add_worktree(path, branch=branch, base=base)
        if as_json:
            say_json(made._asdict())
            return
        say(f"{made.path} on branch {made.branch}: {made.session} is expected there")
        say(f"  start an agent there: cd {shell_word(made.path)}")
        say(f"  write to it now: git coord send {made.session} TEXT")


@worktree.command(short_help="remove one where nothing is lost")
@argument("path", metavar="PATH|SESSION")
@option("--force", is_flag=True, help="With all that is in it.")
@common
def remove(path: str, force: bool, as_name: str | None, as_json: bool) -> None:
    """Remove a worktree, unless a live session, uncommitted changes or unmerged commits are there. Its branch stays.

    Example: git coord worktree remove ../parser
    """
    with opened(as_name) as coord:
        gone = coord.sessions.remove_worktree(path, force=force)
        if as_json:
            say_json(gone._asdict())
            return
        kept = f"; the branch {gone.branch} is kept" if gone.branch else ""
        say(f"removed {gone.path}{kept}")
