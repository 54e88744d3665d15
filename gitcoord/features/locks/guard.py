"""The pre-commit guard: name staged paths that others have locked. `coord.guard` = off, warn (the default) or block.

It never blocks a commit because of a failure of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gitcoord.features.locks.patterns import matches
from gitcoord.features.locks.read import Lock, standing
from gitcoord.features.locks.take import end_expired
from gitcoord.lean import NamedTuple
from gitcoord.log.clone import Clone
from gitcoord.log.trust import held_back
from gitcoord.names import name_in
from gitcoord.sessions.identity import Identity
from gitcoord.system.spawn import run
from gitcoord.text import shell_word, span

MAX_LINES = 20


class CommitVerdict(NamedTuple):
    """The lines to print about a commit, and whether it is refused."""

    lines: tuple[str, ...]
    refused: bool = False


def pre_commit(clone: Clone, me: Identity) -> CommitVerdict:
    """Judge the commit that is being made; it is refused only if `coord.guard` is block and another session has locked a
    path."""
    mode = clone.repo.setting("guard", "warn").lower()
    if mode == "off":
        return CommitVerdict(())
    end_expired(clone)
    found = locked(clone, me, staged(clone))
    refused = bool(found) and mode == "block"
    lines = [f"{'error' if mode == 'block' else 'warning'}: {_line(clone, path, lock)}" for path, lock in found[:MAX_LINES]]
    if len(found) > MAX_LINES:
        lines.append(f"… and {len(found) - MAX_LINES} more")
    if refused:
        lines.append(f"hint: git coord send {shell_word(found[0][1].holder)} TEXT, or leave the file out of this commit")
    return CommitVerdict(tuple(lines), refused)


def staged(clone: Clone) -> list[str]:
    """The paths that the commit will change. When it concludes a merge, only those that differ from both sides."""
    repo = clone.repo
    env = dict(repo.env)
    if "GIT_INDEX_FILE" in repo.environ:  # a partial commit has an index of its own
        env["GIT_INDEX_FILE"] = os.path.abspath(repo.environ["GIT_INDEX_FILE"])
    sides = [[], ["MERGE_HEAD"]] if os.path.exists(os.path.join(repo.git_dir, "MERGE_HEAD")) else [[]]
    found: set[str] | None = None
    for side in sides:
        argv = ["git", "-C", str(repo.worktree), "diff", "--cached", "--name-only", "--no-renames", "-z", *side]
        paths = {path for path in os.fsdecode(run(argv, env).out).split("\0") if path}
        found = paths if found is None else found & paths
    return sorted(found or ())


def locked(clone: Clone, me: Identity, paths: Sequence[str]) -> list[tuple[str, Lock]]:
    """Each path that another session has locked, with the lock."""
    here = clone.box(me.name)
    others = [lock for lock in clone.read(lambda db: standing(db, clone)).valid if lock.holder != here]
    held = held_back(clone, [lock.id for lock in others])
    others = [lock for lock in others if lock.id not in held]
    found = []
    for path in paths:
        lock = next((lock for lock in others if any(matches(pattern, path) for pattern in lock.patterns)), None)
        if lock is not None:
            found.append((path, lock))
    return found


def _line(clone: Clone, path: str, lock: Lock) -> str:
    name = name_in(lock.holder) if clone.is_ours(lock.clone) else lock.holder
    because = f": {lock.reason}" if lock.reason else ""
    return f"{path} is locked by {name} for another {span(lock.expires - time.time())}{because}"
