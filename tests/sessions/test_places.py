"""Worktrees made and removed together with their sessions."""

from __future__ import annotations

from pathlib import Path

from conftest import Cli, git

from gitcoord import Coord


def test_a_worktree_is_made_with_its_branch_and_an_expected_session(repo: Path, cli: Cli) -> None:
    made = cli(repo, "worktree", "add", "../parser")
    assert made.out.splitlines()[0] == f"{repo.parent / 'parser'} on branch parser: parser is expected there"
    assert cli(repo, "send", "parser", "welcome").code == 0
    assert cli(repo, "worktree", "add", "../second", "-b", "more", "HEAD").code == 0
    assert git(repo.parent / "second", "symbolic-ref", "--short", "HEAD") == "more\n"
    again = cli(repo, "worktree", "add", "../parser")
    assert (again.code, again.err.splitlines()[1]) == (3, "hint: git worktree list") and "already exists" in again.err
    assert cli(repo, "worktree", "add", "../third", "-b", "more", "HEAD").code == 2


def test_a_worktree_is_not_removed_while_something_in_it_would_be_lost(
    worktrees: tuple[Path, Path], repo: Path, cli: Cli
) -> None:
    alpha, beta = worktrees
    with Coord.open(alpha) as coord:
        coord.sessions.join()
    refused = cli(repo, "worktree", "remove", "alpha")
    assert (refused.code, refused.err.splitlines()[0]) == (1, f"error: alpha lives in {alpha}")
    assert cli(beta, "leave", env={"GIT_COORD_SESSION": "beta"}).code == 0
    (beta / "new.txt").write_text("new\n")
    assert f"{beta} has uncommitted changes: new.txt" in cli(repo, "worktree", "remove", "../beta").err
    git(beta, "add", "-A")
    git(beta, "commit", "-qm", "new")
    assert "1 commit of beta is in no other branch" in cli(repo, "worktree", "remove", str(beta)).err
    git(repo, "branch", "merged", "beta")
    assert cli(repo, "worktree", "remove", "beta").out == f"removed {beta}; the branch beta is kept\n"
    assert not beta.exists() and git(repo, "rev-parse", "--verify", "beta")
    assert cli(repo, "worktree", "remove", "alpha", "--force").code == 0 and not alpha.exists()
    assert cli(repo, "worktree", "remove", ".").code == cli(repo, "worktree", "remove", "nobody").code == 2
