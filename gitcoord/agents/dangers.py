"""Find the git commands that take, lose or move others' work in a place that sessions share, and say whose work it is.

All worktrees share one stash. Several sessions may share a worktree, and then the uncommitted changes of all of them are
in it. git asks nobody before it throws such changes away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from gitcoord.agents.shell import Simple
from gitcoord.lean import NamedTuple, re, suppress
from gitcoord.log.clone import Clone
from gitcoord.overview.checks import THERE
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.presence import facts_of, liveness_of
from gitcoord.sessions.records import Record, Records
from gitcoord.store.worktrees import TreePath, list_worktrees, place_of, touched_files
from gitcoord.text import inert

_WITH_VALUE = frozenset(["-C", "-c", "--git-dir", "--work-tree", "--namespace"])
MAX_PATHS = 3


class GitCall(NamedTuple):
    """A git command: the directory, the subcommand, and what follows it."""

    cwd: str
    verb: str
    args: tuple[str, ...]

    def has(self, *options: str) -> bool:
        return any(arg == option or arg.startswith(f"{option}=") for arg in self.args for option in options)

    def short(self, letter: str) -> bool:
        """Whether a cluster of short options has this one, as in `commit -am`."""
        return any(re.fullmatch(rf"-[A-Za-z]*{letter}[A-Za-z]*", arg) for arg in self.args)

    @property
    def operands(self) -> list[str]:
        return [arg for arg in self.args if not arg.startswith("-")]


def git_call(command: Simple) -> GitCall | None:
    """The git command in a simple command, if it is one."""
    words, cwd = list(command.words), command.cwd
    if not words or os.path.basename(words[0]) != "git":
        return None
    words.pop(0)
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in _WITH_VALUE and words:
            value = words.pop(0)
            cwd = os.path.join(cwd, value) if option in ("-C", "--work-tree") else cwd
    return GitCall(cwd, words[0], tuple(words[1:])) if words else None


def changed_by(call: GitCall) -> list[str]:
    """The paths, as absolute ones, that a git command changes because its words name them."""
    if call.verb not in ("rm", "mv", "checkout", "restore"):
        return []
    return [os.path.normpath(os.path.join(call.cwd, word)) for word in call.operands]


def _what(call: GitCall) -> str:
    """The harm that a command does to uncommitted changes in its worktree; empty if none."""
    verb, sub = call.verb, (call.operands or [""])[0]
    if verb == "stash" and sub in ("", "push", "save") and not call.has("show", "list"):
        return "takes away"
    if verb == "reset" and call.has("--hard", "--merge"):
        return "throws away"
    if verb in ("checkout", "switch") and (call.has("--force", "--discard-changes") or call.short("f")):
        return "throws away"
    if (verb == "checkout" and _names_paths(call)) or (
        verb == "restore" and (call.has("--worktree") or not call.has("--staged"))
    ):
        return "throws away"
    if verb == "clean" and (call.has("--force") or call.short("f")) and not (call.has("--dry-run") or call.short("n")):
        return "deletes"
    if (verb == "commit" and (call.has("--all") or call.short("a"))) or (verb == "add" and _adds_all(call)):
        return "commits"
    if verb in ("rebase", "switch") or (verb == "checkout" and call.operands):
        return "moves HEAD below"
    return ""


def _names_paths(call: GitCall) -> bool:
    return "--" in call.args or any(os.path.exists(os.path.join(call.cwd, arg)) for arg in call.operands)


def _adds_all(call: GitCall) -> bool:
    return call.has("--all", "--update") or call.short("A") or call.short("u") or "." in call.operands


def harms(clone: Clone, me: Identity, command: Simple) -> Iterator[tuple[str, str]]:
    """The harm that a command would do to others: a key to remember it by, and a line about it that says whose work it is."""
    call = git_call(command)
    if call is None:
        return
    if call.verb == "worktree" and call.operands[:1] == ["remove"]:
        yield from _removal(clone, me, call)
        return
    if call.verb == "stash" and call.operands[:1] in (["pop"], ["apply"], ["drop"], ["clear"], ["branch"]):
        yield from _stashed(clone, me, call)
        return
    what = _what(call)
    place = place_of(clone.repo, call.cwd, ".") if what else None
    if place is None or not place.worktree:
        return
    here = {path.path for path in touched_files(clone.repo, place.worktree)}
    for record in _others_in(clone, me, place):
        theirs = sorted(_work_of(clone, me, record, here, place))
        if theirs or what == "moves HEAD below":
            changes = f"uncommitted changes of {record.name} ({_listed(theirs)})" if theirs else record.name
            key = f"git {call.verb} {record.name} {' '.join(theirs[:20])}"
            where = "works in this worktree too" if place.git_dir == clone.repo.git_dir else f"works in {place.worktree}"
            yield key, inert(f"git {call.verb} {what} {changes}: {record.name} {where}{ask([record.name])}")


def ask(names: Sequence[str]) -> str:
    """The command to ask the first of them, as the end of a line."""
    return f" (ask: git coord send {names[0]} TEXT)" if names else ""


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(paths[:MAX_PATHS]) + (f" and {len(paths) - MAX_PATHS} more" if len(paths) > MAX_PATHS else "")


def _live(clone: Clone, me: Identity) -> list[Record]:
    from time import time

    now = time()
    known = Records(clone.repo.coord_dir).all()
    return [r for r in known if r.git_dir and r.name != me.name and liveness_of(r, r.beat, now).state in THERE]


def _others_in(clone: Clone, me: Identity, place: TreePath) -> list[Record]:
    return [record for record in _live(clone, me) if record.git_dir == place.git_dir]


def _work_of(clone: Clone, me: Identity, record: Record, dirty: set[str], place: TreePath) -> set[str]:
    """The uncommitted changes of a session: those it is known for; those that nobody is known for, if nobody else can be."""
    published = clone.read(lambda db: facts_of(db, clone.settled_id(), record.name)).get("files", ())
    known = {*record.touched, *record.editing, *(path for path, _ in published)}
    mine = set(me.record.touched) | set(me.record.editing) if me.record and place.git_dir == clone.repo.git_dir else set()
    return (dirty & known) or dirty - mine


def _removal(clone: Clone, me: Identity, call: GitCall) -> Iterator[tuple[str, str]]:
    """The session that lives in a worktree that is about to be removed, or its uncommitted changes."""
    for path in call.operands[1:]:
        place = place_of(clone.repo, call.cwd, path)
        if place is None or not place.worktree:
            continue
        names = [record.name for record in _others_in(clone, me, place)]
        dirty = sorted(file.path for file in touched_files(clone.repo, place.worktree)) if names or call.args else []
        whose = f"{' and '.join(names)} {'live' if len(names) > 1 else 'lives'} in {place.worktree}" if names else ""
        left = f"{place.worktree} has uncommitted changes ({_listed(dirty)})" if dirty and not names else ""
        if whose or left:
            more = f", with uncommitted changes ({_listed(dirty)})" if whose and dirty else ""
            yield f"git worktree remove {place.worktree}", inert(f"{whose or left}{more}{ask(names)}")


def _stashed(clone: Clone, me: Identity, call: GitCall) -> Iterator[tuple[str, str]]:
    """The entries of the shared stash that a command takes, and that another session made."""
    entries = stash_entries(clone)
    number = 0
    with suppress(ValueError, IndexError):
        number = int(re.sub(r"\D", "", call.operands[1] if call.operands[0] != "branch" else call.operands[2]) or 0)
    chosen = range(len(entries)) if call.operands[0] == "clear" else [number]
    branches = {w.branch: w.git_dir for w in list_worktrees(clone.repo) if w.branch}
    live = _live(clone, me)
    for n in (n for n in chosen if n < len(entries)):
        branch = entries[n].branch
        if branches.get(branch, clone.repo.git_dir) != clone.repo.git_dir:
            names = [record.name for record in live if record.git_dir == branches[branch]]
            of = f" of {' and '.join(names)}" if names else ""
            line = f"stash@{{{n}}} is{of} from the worktree of the branch {branch}; all worktrees share one stash{ask(names)}"
            yield f"stash {entries[n].oid}", inert(line)


class StashEntry(NamedTuple):
    """An entry of the stash, the latest first, and the branch that it was made on."""

    oid: str
    branch: str
    text: str


def stash_entries(clone: Clone) -> list[StashEntry]:
    """The entries of the stash, which all worktrees share."""
    out = clone.repo.git("log", "-g", "--format=%H%x00%gs", "refs/stash", "--").out.decode("utf-8", "replace")
    rows = [line.partition("\0") for line in out.splitlines()]
    return [StashEntry(oid, m[1] if (m := re.match(r"(?:WIP on|On) (.+?): ", text)) else "", text) for oid, _, text in rows]
