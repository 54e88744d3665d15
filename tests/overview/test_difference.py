"""The changes of a session as one diff: committed or not, new files too; looking touches nothing."""

from __future__ import annotations

from pathlib import Path

from conftest import Cli, git

from gitcoord import Coord


def test_commits_changes_and_new_files_are_one_diff(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    with Coord.open(alpha) as coord:
        coord.sessions.join()
    (alpha / "readme.txt").write_text("hello\ncommitted\n")
    git(alpha, "commit", "-qam", "more")
    (alpha / "readme.txt").write_text("hello\ncommitted\nnot yet \x1b[31m\n")
    (alpha / "new [a].txt").write_text("new\n")
    before = git(alpha, "status", "--porcelain"), git(alpha, "count-objects")
    out = cli(beta, "diff", "alpha").out
    changed = [line.strip() for line in out.splitlines() if line[:1] in "+-" and line[:3] not in ("---", "+++")]
    assert changed == ["+new", "+committed", "+not yet \\x1b[31m"]
    assert (git(alpha, "status", "--porcelain"), git(alpha, "count-objects")) == before
    (beta / "src").mkdir()
    assert "new [a].txt" not in cli(beta / "src", "diff", "alpha", "../readme.txt").out
    assert cli(beta, "diff", "alpha", "--stat").out.endswith("2 files changed, 3 insertions(+)\n")
    assert cli(alpha, "diff", "beta").out.startswith("beta on beta has changed nothing since ")
    unknown = cli(beta, "diff", "gamma")
    assert (unknown.code, unknown.err) == (2, "error: no session is called gamma\nhint: git coord sessions\n")


def test_of_a_session_elsewhere_only_commits_are_here(repo: Path, tmp_path: Path, cli: Cli) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repo), str(other))
    git(other, "checkout", "-qb", "far")
    (other / "readme.txt").write_text("from afar\n")
    git(other, "commit", "-qam", "far")
    (other / "readme.txt").write_text("and more\n")
    with Coord.open(other) as coord:
        coord.sessions.join("far-1")
    git(repo, "fetch", "-q", str(other), "refs/coord/*:refs/coord/*")
    missing = cli(repo, "diff", "far-1")
    assert (missing.code, missing.err.splitlines()[1]) == (3, "hint: git fetch --all")
    git(repo, "fetch", "-q", str(other), "far")
    out = cli(repo, "diff", "far-1").out
    assert "+from afar" in out and "and more" not in out
    assert out.endswith("(only commits: uncommitted changes of far-1 are in its own clone)\n")
