"""Finding the repository: by its .git alone or by asking git, the answer is the same."""

# ruff: noqa: F811 - fixtures are arguments
from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import git, make_repo
from test_repositories import Pair, kind, own_path, pair, plain  # noqa: F401 - fixtures

from gitcoord import RepositoryError
from gitcoord.store import discovery
from gitcoord.store.discovery import find_repository


def same_place(path: Path, **environ: str) -> None:
    """Check that discovery without `git rev-parse` finds the same as with it."""
    env = {**os.environ, **environ}
    found, asked = find_repository(path, env), discovery._find_by_git(path, env)
    for name in ("git_dir", "common_dir", "worktree", "object_format", "config"):
        assert getattr(found, name) == getattr(asked, name), name


def test_a_repository_is_found_where_git_finds_it(pair: Pair, tmp_path: Path) -> None:
    for worktree in pair:
        (worktree / "below" / "it").mkdir(parents=True)
        for place in (worktree, worktree / "below" / "it"):
            same_place(place)
            same_place(place, GIT_CEILING_DIRECTORIES=str(tmp_path))
    same_place(Path(git(pair.beta, "rev-parse", "--absolute-git-dir").removesuffix("\n")))
    (tmp_path / "link").symlink_to(pair.beta / "below")
    same_place(tmp_path / "link")


def test_an_ordinary_worktree_is_found_by_one_git_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = plain(tmp_path)
    monkeypatch.setattr(discovery, "_find_by_git", None)
    for worktree in pair:
        assert find_repository(worktree).common_dir == os.path.realpath(pair.alpha / ".git")


def test_a_git_directory_that_is_none_is_passed_over_as_git_does(tmp_path: Path) -> None:
    outer = make_repo(tmp_path / "outer")
    (outer / "inner" / ".git").mkdir(parents=True)
    same_place(outer / "inner")
    git(outer, "config", "--file", str(outer / "inner" / ".git" / "config"), "core.repositoryformatversion", "0")
    same_place(outer / "inner")
    assert find_repository(outer / "inner").worktree == os.path.realpath(outer)


def test_a_format_version_in_the_users_own_settings_makes_no_repository(tmp_path: Path) -> None:
    git(make_repo(tmp_path / "other"), "config", "--global", "core.repositoryformatversion", "0")
    (tmp_path / "no" / ".git").mkdir(parents=True)
    with pytest.raises(RepositoryError, match="not a git repository"):
        find_repository(tmp_path / "no")


def test_a_format_that_git_does_not_know_is_refused(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "alpha")
    git(repo, "config", "core.repositoryformatversion", "99")
    with pytest.raises(RepositoryError, match="Expected git repo version"):
        find_repository(repo)
