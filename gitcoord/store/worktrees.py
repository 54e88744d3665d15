"""The repository's worktrees, and their changed files."""

from __future__ import annotations

import os
from collections.abc import Iterable

from gitcoord.lean import NamedTuple
from gitcoord.store.repository import LOCAL_ENV_VARS, Repository
from gitcoord.system.files import read_bytes
from gitcoord.system.spawn import Result, run

MAX_FILES = 200
"""Changed files per worktree that are looked at and published."""


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
    entries = [
        dict(line.partition(" ")[::2] for line in entry.split(separator)) for entry in text.split(separator * 2) if entry
    ]
    if entries:
        entries[0]["worktree"] = _main_path(repo, entries[0]["worktree"])
    found = [_worktree(repo, facts) for facts in entries if "bare" not in facts]
    return [worktree for worktree in found if os.path.isdir(worktree.path)]


def _main_path(repo: Repository, listed: str) -> str:
    """The path of the main worktree. If its git directory is elsewhere (a submodule, --separate-git-dir, core.worktree)
    git-worktree(1) names that directory instead; empty if it cannot be known from here."""
    if _named_git_dir(listed) == repo.common_dir:
        return listed
    configured = os.fsdecode(repo.git("config", "--type=path", "core.worktree").out).removesuffix("\n")
    if configured:
        return os.path.realpath(os.path.join(repo.common_dir, configured))
    return repo.worktree if repo.worktree and repo.git_dir == repo.common_dir else ""


def _worktree(repo: Repository, facts: dict[str, str]) -> Worktree:
    branch = facts.get("branch", "").removeprefix("refs/heads/") or None
    head = facts.get("HEAD") or None
    path = facts["worktree"]
    return Worktree(path, branch, None if head and not head.strip("0") else head, git_dir_of(repo, path))


def worktree_command(repo: Repository, cwd: str, *args: str) -> Result:
    """Run git-worktree(1) in `cwd` as the user would: their hooks run, too."""
    at = f"--git-dir={repo.git_dir}"
    kept = {name: value for name, value in repo.environ.items() if name not in LOCAL_ENV_VARS}
    return run(["git", "-C", cwd, at, "worktree", *args], kept)


def git_dir_of(repo: Repository, path: str) -> str:
    """The git directory of the worktree at `path`; the main worktree's if it has no `.git`."""
    return _named_git_dir(path) or repo.common_dir


def _named_git_dir(path: str) -> str:
    dot_git = os.path.join(path, ".git")
    try:
        text = os.fsdecode(read_bytes(dot_git))
    except IsADirectoryError:
        return os.path.realpath(dot_git)
    except OSError:
        return ""
    return os.path.realpath(os.path.join(path, text.removeprefix("gitdir: ").rstrip("\r\n")))


class TreePath(NamedTuple):
    """A path and the worktree it lies in: `path` is relative to that worktree's root, with slashes."""

    path: str
    worktree: str
    git_dir: str


def place_of(repo: Repository, base: str, text: str) -> TreePath | None:
    """The place in this repository of `text`, as typed in `base`; None outside of all its worktrees.

    It is found by walking up to the nearest `.git` of this repository, without a process. Symbolic links are not followed.
    """
    if repo.boolean("core.precomposeunicode") and not text.isascii():
        import unicodedata

        text = unicodedata.normalize("NFC", text)  # as git writes it; file systems differ
    full = os.path.normpath(os.path.join(os.path.realpath(base), text))
    full = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))
    at = full
    while True:
        git_dir = _our_git_dir(repo, at)
        if git_dir:
            return TreePath(os.path.relpath(full, at).replace(os.sep, "/"), at, git_dir)
        if os.path.dirname(at) == at:
            break
        at = os.path.dirname(at)
    root = os.path.realpath(repo.worktree or base)  # GIT_WORK_TREE has no .git, a bare repository no worktree
    inside = os.path.relpath(full, root)
    if inside.split(os.sep)[0] == os.pardir or os.path.isabs(inside) or (repo.worktree is None and os.path.isabs(text)):
        return None
    return TreePath(inside.replace(os.sep, "/"), root if repo.worktree else "", repo.git_dir)


def same_path(repo: Repository, a: str, b: str) -> bool:
    """Whether two paths from the root name the same file in this repository."""
    return a == b or (repo.boolean("core.ignorecase") and a.lower() == b.lower())


def _our_git_dir(repo: Repository, directory: str) -> str | None:
    """The git directory of a worktree of this repository whose root is `directory`; None if it is not one."""
    dot_git = os.path.join(directory, ".git")
    if not os.path.lexists(dot_git):
        return None
    common = os.path.realpath(repo.common_dir)
    git_dir = os.path.realpath(dot_git if os.path.isdir(dot_git) else git_dir_of(repo, directory))
    if git_dir == common:
        return repo.common_dir
    return git_dir if os.path.dirname(git_dir) == os.path.join(common, "worktrees") else None


class TouchedFile(NamedTuple):
    """A path with uncommitted changes, relative to the worktree's root, and when it was last written."""

    path: str
    at: float


def touched_files(repo: Repository, worktree: str) -> list[TouchedFile]:
    """The uncommitted files of a worktree (untracked ones too), the latest first."""
    asked = ("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames")
    result = repo.git_in(worktree, git_dir_of(repo, worktree), *asked)
    if result.code:
        return []
    entries = os.fsdecode(result.out).split("\0")
    paths = [
        entry[3:] for entry in entries if entry and not entry.endswith("/")
    ]  # nested repositories and worktrees are left out
    return sorted(_timed(worktree, paths), key=lambda f: (-f.at, f.path))[:MAX_FILES]


def ignored_paths(repo: Repository, worktree: Worktree, paths: Iterable[str]) -> set[str]:
    """Those of `paths`, relative to the worktree's root, that git ignores there; all if git cannot tell."""
    asked = list(paths)
    found = ignored_in(repo, worktree.path, worktree.git_dir, asked)
    return set(asked) if found is None else found


def ignored_in(repo: Repository, worktree: str, git_dir: str, paths: Iterable[str]) -> set[str] | None:
    """As `ignored_paths`, for a worktree given by its folder and its git directory; None where git cannot tell."""
    asked = os.fsencode("\0".join(path for path in paths if path not in ("", ".")))
    result = repo.git_in(worktree, git_dir, "check-ignore", "-z", "--stdin", stdin=asked)
    return set(os.fsdecode(result.out).split("\0")) - {""} if result.code in (0, 1) else None


def _timed(worktree: str, paths: Iterable[str]) -> Iterable[TouchedFile]:
    for path in paths:
        full = os.path.join(worktree, path)
        try:
            yield TouchedFile(path, os.lstat(full).st_mtime)
        except OSError:  # deleted: then its directory has changed
            yield TouchedFile(path, _first_time(os.path.dirname(full)))


def _first_time(directory: str) -> float:
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return os.stat(directory).st_mtime
