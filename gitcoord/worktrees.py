"""The repository's worktrees, and what lies changed in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gitcoord.store.repository import Repository

MAX_FILES = 200
"""Changed files that are looked at and published, per worktree."""


class Worktree(NamedTuple):
    """One entry of git-worktree(1). `branch` is short, None when HEAD is detached; `head` None on an unborn branch."""

    path: str
    branch: str | None
    head: str | None
    git_dir: str


def list_worktrees(repo: Repository) -> list[Worktree]:
    """All worktrees that exist, the main one first; none for a bare repository without linked ones."""
    result = repo.git("worktree", "list", "--porcelain", "-z")
    separator = "\0"
    if result.code:  # -z came with git 2.36
        result, separator = repo.git("worktree", "list", "--porcelain"), "\n"
    text = os.fsdecode(result.out)
    entries = [entry.split(separator) for entry in text.split(separator * 2) if entry]
    found = [_worktree(repo, entry) for entry in entries if "bare" not in entry]
    return [worktree for worktree in found if os.path.isdir(worktree.path)]


def _worktree(repo: Repository, lines: list[str]) -> Worktree:
    facts = dict(line.partition(" ")[::2] for line in lines)
    branch = facts.get("branch", "").removeprefix("refs/heads/") or None
    head = facts.get("HEAD") or None
    path = facts["worktree"]
    return Worktree(path, branch, None if head and not head.strip("0") else head, git_dir_of(repo, path))


def git_dir_of(repo: Repository, path: str) -> str:
    """The worktree's own git directory, read from its `.git`."""
    dot_git = Path(path, ".git")
    try:
        text = dot_git.read_text(errors="surrogateescape")
    except IsADirectoryError:
        return str(repo.common_dir)
    except OSError:
        return str(repo.common_dir) if path == str(repo.worktree) else ""
    where = text.removeprefix("gitdir: ").removesuffix("\n")
    return os.path.normpath(os.path.join(path, where))


class TouchedFile(NamedTuple):
    """A path with uncommitted changes, relative to the worktree's root, and when it was last written."""

    path: str
    at: float


def touched_files(repo: Repository, worktree: str) -> list[TouchedFile]:
    """What lies uncommitted in a worktree (untracked files too), the latest first."""
    result = repo.git_in(Path(worktree), "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
    if result.code:
        return []
    paths = [entry[3:] for entry in os.fsdecode(result.out).split("\0") if entry]
    return sorted(_timed(worktree, paths), key=lambda f: (-f.at, f.path))[:MAX_FILES]


def _timed(worktree: str, paths: Iterable[str]) -> Iterable[TouchedFile]:
    for path in paths:
        full = os.path.join(worktree, path)
        try:
            yield TouchedFile(path, os.lstat(full).st_mtime)
        except OSError:  # deleted: its directory changed then
            yield TouchedFile(path, _first_time(os.path.dirname(full)))


def _first_time(directory: str) -> float:
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return os.stat(directory).st_mtime
