"""Overlap notices: both sessions are told once, with a verdict, and never of a file that does not overlap."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from conftest import Cli, git, nameless, with_worktrees

from gitcoord import Coord
from gitcoord.sessions.housekeeping import publish_changes

LINES = "".join(f"{n}\n" for n in range(1, 21))
Pair = tuple[Path, Path]


@pytest.fixture
def pair(repo: Path) -> Pair:
    """Two worktrees, alpha and beta, at a commit with a few files of twenty lines, each with its session."""
    for name in ("a.py", "b.py", "c.py"):
        (repo / name).write_text(LINES)
    (repo / ".gitignore").write_text("*.log\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "files")
    return with_worktrees(repo)


def edit(where: Path, name: str, line: int, text: str) -> None:
    lines = (where / name).read_text().splitlines()
    lines[line - 1] = text
    (where / name).write_text("\n".join(lines) + "\n")


def later(path: Path, seconds: int) -> None:
    """Date a change later than the last one: presence has whole seconds."""
    now = time.time() + seconds
    os.utime(path, (now, now))


def commit(where: Path, *args: str) -> None:
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", "work", *args)


def look(*worktrees: Path) -> None:
    """Do the work of the git hooks after a commit."""
    for where in worktrees:
        with Coord.open(where) as coord:
            publish_changes(coord.clone)


def told(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        texts = [nameless(message.text) for message in coord.messages.receive().messages]
        for text in texts:  # the command to go on, where something will conflict
            assert ("See the difference: git coord diff " in text) == ("it will conflict" in text)
        return [text.partition("\nSee the difference: ")[0] for text in texts]


def test_both_are_told_before_either_commits(pair: Pair, cli: Cli) -> None:
    alpha, beta = pair
    edit(alpha, "a.py", 5, "five")
    edit(beta, "a.py", 5, "FIVE")
    edit(alpha, "b.py", 1, "one")
    edit(beta, "b.py", 20, "twenty")
    look(alpha, beta)
    expected = "{} (branch {}) changed what you changed:\na.py, just now: it will conflict\nb.py, just now: it merges cleanly"
    assert told(alpha) == [expected.format("beta", "beta")]
    assert told(beta) == [expected.format("alpha", "alpha")]


def test_they_are_told_once_per_path(pair: Pair) -> None:
    alpha, beta = pair
    for where in pair:
        edit(where, "a.py", 5, where.name)
    look(alpha, beta, alpha)
    assert len(told(alpha)) == len(told(beta)) == 1
    edit(alpha, "a.py", 6, "more")
    commit(alpha)
    look(alpha, beta)
    assert told(alpha) == told(beta) == []
    edit(alpha, "b.py", 1, "alpha")
    edit(beta, "b.py", 1, "beta")
    look(alpha)
    assert told(beta) == ["alpha (branch alpha) changed what you changed: b.py, just now: it will conflict"]


def test_a_notice_that_was_not_seen_gives_way_to_one_that_has_all_of_it(pair: Pair, cli: Cli) -> None:
    alpha, beta = pair
    for name in ("b.py", "a.py", "c.py"):
        edit(alpha, name, 5, "five")
        edit(beta, name, 5 if name != "c.py" else 20, "FIVE")
        look(alpha)
    with Coord.open(beta) as coord:
        assert coord.overview.status().unread == 1
    assert told(beta) == [
        "alpha (branch alpha) changed what you changed:\n"
        "c.py, just now: it merges cleanly\na.py, just now: it will conflict\nb.py, just now: it will conflict"
    ]
    edit(alpha, "a.py", 6, "no news: they were told of it")
    edit(alpha, ".gitignore", 1, "*.a")
    edit(beta, ".gitignore", 1, "*.b")
    look(beta)
    assert told(beta) == ["alpha (branch alpha) changed what you changed: .gitignore, just now: it will conflict"]
    assert len(told(alpha)) == 1, "she has seen none of the four before"


def test_a_commit_counts_as_much_as_what_lies_there(pair: Pair) -> None:
    alpha, beta = pair
    edit(alpha, "a.py", 5, "five")
    commit(alpha)
    look(alpha)
    edit(beta, "a.py", 6, "six")
    commit(beta)
    assert told(beta) == []
    look(beta)
    assert told(alpha) == ["beta (branch beta) changed what you changed: a.py, just now: it will conflict"]
    assert told(beta) == ["alpha (branch alpha) changed what you changed: a.py, just now: it will conflict"]


@pytest.mark.parametrize("verb", ["editing", "lock"])
def test_saying_what_one_edits_is_enough(pair: Pair, cli: Cli, verb: str) -> None:
    alpha, beta = pair
    edit(alpha, "a.py", 1, "one")
    edit(beta, "a.py", 20, "twenty")
    assert cli(beta, verb, "a.py").code == 0
    assert told(beta) == ["alpha (branch alpha) changed what you changed: a.py, just now: it merges cleanly"]
    assert len(told(alpha)) == 1


def nobody_is_told(pair: Pair) -> None:
    look(*pair)
    look(*pair)
    assert [told(where) for where in pair] == [[], []]


def test_the_same_content_tells_nobody(pair: Pair) -> None:
    for where in pair:
        edit(where, "a.py", 5, "the same")
    commit(pair[0])
    nobody_is_told(pair)


def test_ignored_files_tell_nobody(pair: Pair) -> None:
    for where in pair:
        (where / "build.log").write_text(where.name)
    nobody_is_told(pair)


@pytest.mark.parametrize("committed", [True, False])
def test_a_mere_rename_tells_nobody(pair: Pair, committed: bool) -> None:
    alpha, beta = pair
    (alpha / "a.py").rename(alpha / "renamed.py")
    if committed:
        commit(alpha)
    edit(beta, "a.py", 5, "five")
    nobody_is_told(pair)


@pytest.mark.parametrize("how", ["--no-ff", "--ff-only"])
def test_merging_what_others_began_from_tells_nobody(pair: Pair, repo: Path, how: str) -> None:
    alpha, beta = pair
    edit(repo, "a.py", 5, "five")
    commit(repo)
    git(alpha, "merge", "-q", how, "main")
    edit(beta, "a.py", 5, "FIVE")
    nobody_is_told(pair)


def test_different_files_tell_nobody(pair: Pair) -> None:
    edit(pair[0], "a.py", 5, "five")
    edit(pair[1], "b.py", 5, "five")
    commit(pair[1])
    nobody_is_told(pair)


def test_a_session_that_is_gone_is_not_told(pair: Pair, cli: Cli) -> None:
    alpha, beta = pair
    for where in pair:
        edit(where, "a.py", 5, where.name)
    cli(alpha, "leave")
    look(beta)
    assert told(beta) == []


def test_those_who_share_a_worktree_are_told_who_moved_its_head(pair: Pair, cli: Cli) -> None:
    alpha = pair[0]
    env = {"GIT_COORD_SESSION": "guest"}
    cli(alpha, "focus", "visiting", env=env)
    look(alpha)
    before = git(alpha, "rev-parse", "HEAD")[:10]
    git(alpha, "checkout", "-q", "-b", "topic")
    edit(alpha, "a.py", 1, "one")
    commit(alpha)
    after = git(alpha, "rev-parse", "HEAD")[:10]
    assert cli(alpha, "hook", "refresh", env=env).code == 0
    text = f"guest moved HEAD of this worktree, which you share, from alpha {before} to topic {after}"
    assert text in cli(alpha, "inbox", "--as", "alpha").out
    assert cli(alpha, "inbox", "--as", "guest").out == "No new messages.\n"


def test_the_hooks_tell_by_themselves(pair: Pair, cli: Cli) -> None:
    alpha, beta = pair
    cli(alpha, "init")
    edit(beta, "a.py", 5, "beta")
    edit(alpha, "a.py", 5, "alpha")
    commit(alpha)  # its hook looks in the background, a moment later
    with Coord.open(beta) as coord:
        from gitcoord.store.watch import wait_until

        found = wait_until(coord.clone.repo, lambda: [nameless(m.text) for m in coord.messages.receive().messages] or None, 60)
    see = "See the difference: git coord diff alpha"
    assert found == [f"alpha (branch alpha) changed what you changed: a.py, just now: it will conflict\n{see}"]


ALPHA, BETA = "alpha (branch alpha) changed what you changed", "beta (branch beta) changed what you changed"


def test_a_verdict_that_changes_is_told_again(pair: Pair) -> None:
    alpha, beta = pair
    edit(alpha, "a.py", 1, "one")
    edit(beta, "a.py", 20, "twenty")
    look(alpha, beta)
    assert told(beta) == [f"{ALPHA}: a.py, just now: it merges cleanly"]
    assert told(alpha) == [f"{BETA}: a.py, just now: it merges cleanly"]
    edit(alpha, "a.py", 20, "TWENTY")
    later(alpha / "a.py", 2)
    look(alpha, beta, alpha)
    assert told(beta) == [f"{ALPHA}: a.py, just now: now it will conflict"]
    assert told(alpha) == [f"{BETA}: a.py, just now: now it will conflict"]
    edit(alpha, "a.py", 20, "20")
    later(alpha / "a.py", 4)
    look(alpha, beta)
    assert told(beta) == [f"{ALPHA}: a.py, just now: now it merges cleanly"]


@pytest.mark.parametrize("how", ["undone", "merged"])
def test_a_conflict_that_is_over_is_taken_back_and_forgotten(pair: Pair, how: str) -> None:
    alpha, beta = pair
    for where in pair:
        edit(where, "a.py", 5, where.name)
    look(alpha, beta)
    assert len(told(alpha)) == len(told(beta)) == 1
    if how == "undone":
        git(alpha, "checkout", "-q", "a.py")
    else:
        commit(alpha)
        git(beta, "checkout", "-q", "a.py")
        git(beta, "merge", "-q", "alpha")
    look(alpha, beta)
    assert told(beta) == ["You and alpha (branch alpha) no longer both change a.py"]
    assert told(alpha) == ["You and beta (branch beta) no longer both change a.py"]
    look(alpha, beta)
    assert told(alpha) == told(beta) == []
    for where, text in ((alpha, "again"), (beta, "AGAIN")):
        edit(where, "a.py", 6, text)
    look(alpha, beta)
    assert told(beta) == [f"{ALPHA}: a.py, just now: it will conflict"]


def test_a_notice_that_was_not_seen_says_no_more_than_is_so(pair: Pair) -> None:
    alpha, beta = pair
    for name in ("a.py", "b.py"):
        for where in pair:
            edit(where, name, 5, where.name)
    look(alpha, beta)
    git(alpha, "checkout", "-q", "a.py")
    look(alpha)
    assert told(beta) == [f"{ALPHA}: b.py, just now: it will conflict\nYou and alpha (branch alpha) no longer both change a.py"]
    edit(alpha, "a.py", 1, "one"), edit(beta, "a.py", 5, "5"), edit(beta, "a.py", 20, "twenty")
    look(alpha, beta)
    git(alpha, "checkout", "-q", "a.py")
    look(alpha)
    assert told(beta) == [f"{ALPHA}: b.py, just now: it will conflict"]


def test_a_name_that_is_used_again_is_told_anew(pair: Pair, cli: Cli) -> None:
    alpha, beta = pair
    for where in pair:
        edit(where, "a.py", 5, where.name)
    look(alpha, beta)
    assert len(told(alpha)) == len(told(beta)) == 1
    assert cli(beta, "leave").code == 0
    look(alpha)
    assert told(alpha) == []
    assert cli(beta, "join", "beta").code == 0
    edit(beta, "a.py", 6, "another one goes on here")
    later(beta / "a.py", 2)
    look(beta)
    assert told(beta) == [f"{ALPHA}: a.py, just now: it will conflict"]
    assert told(alpha) == [f"{BETA}: a.py, just now: it will conflict"]
