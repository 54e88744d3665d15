"""Find the names of files that git ignores: they leave the clone only if the user allows it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from gitcoord.errors import Refused
from gitcoord.log.clone import Clone
from gitcoord.log.secrets import ALLOW
from gitcoord.store.worktrees import ignored_in
from gitcoord.text import inert


def ignored_names(clone: Clone, paths: Iterable[str]) -> set[str]:
    """Those of `paths`, relative to the worktree's root, that must not be published: git ignores them, or cannot tell.

    Empty if the user has allowed it, or if there is no worktree.
    """
    asked = list(paths)
    if not asked or clone.repo.worktree is None or clone.allows_secrets:
        return set()
    found = ignored_in(clone.repo, clone.repo.worktree, clone.repo.git_dir, asked)
    return set(asked) if found is None else found


def ignored_files(clone: Clone, files: Iterable[str], cwd: str) -> set[str]:
    """Those of `files`, as typed in `cwd`, that must not be published; files outside of the worktree are not ignored."""
    root = os.path.realpath(clone.repo.worktree or cwd)
    inside = {file: os.path.relpath(_place(cwd, file), root).replace(os.sep, "/") for file in files}
    ignored = ignored_names(clone, (path for path in inside.values() if not path.startswith("../") and path != ".."))
    return {file for file, path in inside.items() if path in ignored}


def _place(cwd: str, file: str) -> str:
    """The place of a file. If the file is a link, the link's own place, because git ignores by the link's name."""
    folder, name = os.path.split(os.path.normpath(os.path.join(cwd, file)))
    return os.path.join(os.path.realpath(folder), name)


def refuse(ignored: Iterable[str], instead: str) -> None:
    """Refuse to publish names. Raises Refused; `instead` is its hint."""
    if first := min(ignored, default=None):
        what = f"git ignores {inert(first)}: its name would leave this clone; nothing was written"
        raise Refused(what, f"{instead}, or add {ALLOW}")
