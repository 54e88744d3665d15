"""Make and remove worktrees together with their sessions: a removal takes nobody's place and nobody's work."""

from __future__ import annotations

import os
import time

from gitcoord.errors import Refused, RepositoryError, UsageError
from gitcoord.lean import NamedTuple
from gitcoord.log.clone import Clone
from gitcoord.sessions.presence import expect, sharers
from gitcoord.sessions.records import Records
from gitcoord.store.repository import Repository
from gitcoord.store.worktrees import Worktree, list_worktrees, touched_files, worktree_command
from gitcoord.text import shell_word


class Place(NamedTuple):
    """A worktree, its branch, and the session of it; `branch` is empty for a detached HEAD."""

    path: str
    branch: str
    session: str


def add(clone: Clone, cwd: str, path: str, branch: str | None = None, base: str | None = None) -> Place:
    """Make a worktree with a branch of its name (or `branch`, from `base`), and expect a session there. A branch that exists
    is checked out. Raises RepositoryError with git's words."""
    where = os.path.normpath(os.path.join(cwd, path))
    name = branch or os.path.basename(where)
    exists = clone.repo.git("rev-parse", "-q", "--verify", f"refs/heads/{name}").code == 0
    if exists and base is not None:
        raise UsageError(f"the branch {name} exists", "leave out the commit to begin from, or choose another branch: -b NAME")
    start = [where, name] if exists else ["-b", name, where, *([base] if base else [])]
    _git(clone.repo, cwd, "add", *start)
    found = next((w for w in list_worktrees(clone.repo) if os.path.realpath(w.path) == os.path.realpath(where)), None)
    if found is None:
        raise RepositoryError(f"git made no worktree in {where}", "git worktree list")
    record = expect(clone, found)
    here = [r.name for r in Records(clone.repo.coord_dir).all() if r.git_dir == found.git_dir and r.left is None and not r.gone]
    return Place(found.path, found.branch or "", record.name if record else (here or [""])[0])


def remove(clone: Clone, cwd: str, text: str, force: bool = False) -> Place:
    """Remove a worktree, by its path or its session's name. Raises Refused while a live session, uncommitted changes or
    commits that no other branch has are there, unless with `force`; the branch stays."""
    worktree, name = _named(clone, cwd, text)
    if worktree.git_dir == clone.repo.common_dir:
        raise UsageError(f"{worktree.path} is the main worktree", "git coord sessions")
    if not force and (why := _in_use(clone, worktree)):
        raise Refused(why, f"git coord worktree remove {shell_word(text)} --force")
    _git(clone.repo, cwd, "remove", *(["--force"] if force else []), worktree.path)
    return Place(worktree.path, worktree.branch or "", name)


def _named(clone: Clone, cwd: str, text: str) -> tuple[Worktree, str]:
    known = list_worktrees(clone.repo)
    records = [r for r in Records(clone.repo.coord_dir).all() if r.git_dir]
    path = os.path.realpath(os.path.join(cwd, text))
    by_name = next((r.git_dir for r in records if r.name == text), "")
    found = next((w for w in known if os.path.realpath(w.path) == path), None)
    found = found or next((w for w in known if w.git_dir == by_name), None)
    if found is None:
        raise UsageError(f"{text!a} is neither a worktree nor the session of one", "git coord sessions")
    return found, next((r.name for r in records if r.git_dir == found.git_dir), "")


def _in_use(clone: Clone, worktree: Worktree) -> str:
    """The sessions and the work that a removal would take; empty if none."""
    now = time.time()
    live = [r for r in sharers(Records(clone.repo.coord_dir).all(), worktree.git_dir, now) if not r.expected]
    if live:
        return f"{' and '.join(r.name for r in live)} {'live' if len(live) > 1 else 'lives'} in {worktree.path}"
    if changed := touched_files(clone.repo, worktree.path):
        names = ", ".join(file.path for file in changed[:3]) + (", …" if len(changed) > 3 else "")
        return f"{worktree.path} has uncommitted changes: {names}"
    if worktree.head and (count := _unmerged(clone.repo, worktree)):
        what = f"{count} commit{'s' * (count > 1)} of {worktree.branch or worktree.head[:10]}"
        return f"{what} {'are' if count > 1 else 'is'} in no other branch"
    return ""


def _unmerged(repo: Repository, worktree: Worktree) -> int:
    """The number of commits that neither another branch nor a remote's branch has."""
    mine = [f"--exclude={worktree.branch}"] if worktree.branch else []
    count = repo.git("rev-list", "--count", str(worktree.head), "--not", *mine, "--branches", "--remotes")
    return int(count.out) if not count.code else 0


def _git(repo: Repository, cwd: str, *args: str) -> None:
    """Run git-worktree(1) as the user would, with their hooks."""
    result = worktree_command(repo, cwd, *args)
    if result.code:
        said = result.error_text.strip().splitlines() or [f"git worktree {args[0]} ended with {result.code}"]
        raise RepositoryError(said[-1].removeprefix("fatal: "), "git worktree list")
