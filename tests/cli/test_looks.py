"""No git process that looks at a worktree runs under the write lock: in a large worktree it takes seconds, and all would
wait."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from calls import UNTRIED, calls, verbs
from conftest import Cli, git

from gitcoord import Coord

LOOKS = "add|check-ignore|checkout|checkout-index|diff|diff-files|diff-index|ls-files|reset|restore|stash|status|update-index"
WRAPPER = r"""#!/bin/sh
# The git that is called, after a note of who looked at a worktree, and whether the write lock was held then.
verb=
for word in "$@"; do
    case $skip$word in
    -C | -c) skip=1 ;;
    1*) skip= ;;
    -*) ;;
    *) verb=$word; break ;;
    esac
done
case $verb in
LOOKS) "PYTHON" -S -E -c 'import fcntl, sys
lock = open("COORD/lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    said = "free"
except OSError:
    said = "held"
open("NOTED", "a").write(said + " " + " ".join(sys.argv[1:]) + "\n")' "$@" ;;
esac
exec "GIT" "$@"
"""


@pytest.fixture
def noted(repo: Path, worktrees: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The notes of a `git` that stands first on PATH; all three worktrees are dirty."""
    for where in (repo, *worktrees):
        (where / "lying.txt").write_text("x\n")
        (where / "ignored.txt").write_text("x\n")
        (where / ".gitignore").write_text("ignored.txt\n")
    notes, folder = tmp_path / "notes", tmp_path / "wrapped"
    folder.mkdir()
    text = WRAPPER.replace("LOOKS", LOOKS.replace("|", " | ")).replace("PYTHON", sys.executable)
    text = text.replace("COORD", str(repo / ".git" / "coord")).replace("NOTED", str(notes))
    (folder / "git").write_text(text.replace("GIT", shutil.which("git") or "git"))
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return notes


def test_every_verb_is_tried() -> None:
    tried = [" ".join(call) for call in calls()]
    assert [
        verb for verb in verbs() if verb not in UNTRIED and not any(f"{call} ".startswith(f"{verb} ") for call in tried)
    ] == []


def test_no_git_looks_at_a_worktree_under_the_write_lock(
    repo: Path, worktrees: tuple[Path, Path], noted: Path, cli: Cli, tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "hub.git"))
    with Coord.open(worktrees[1], as_name="beta") as beta:
        message = beta.send("alpha", "may I?", needs_ack=True).id
        task = beta.tasks.add("a task").id
    with Coord.open(worktrees[0], as_name="alpha") as alpha:
        event = alpha.send("beta", "a word too many").id
    failed, held = [], []
    looked: set[str] = set()
    for call in calls():
        noted.write_text("")
        ran = cli(worktrees[0], *(word.format(m=message, t=task, e=event, name="gamma") for word in call))
        said = noted.read_text().splitlines()
        looked |= {call[0] for _ in said}
        held += [f"{' '.join(call)}: {line}" for line in said if line.startswith("held")]
        if ran.code == 2:
            failed.append(f"{' '.join(call)}: {ran.err}")
    assert looked >= {"join", "editing", "sessions", "conflicts", "leave"}, "what is noted is what looks"
    assert held == []
    assert not failed, "\n".join(failed)
