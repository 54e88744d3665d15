"""A Python of ours that cannot start, and one in the background: neither stops the user or an agent."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Cli, git
from programs import eventually
from test_files import hook

from gitcoord import Coord, RepositoryError
from gitcoord.agents.install import FOLDER
from gitcoord.store.discovery import find_repository

LAUNCHER = Path(__file__).parents[2] / "scripts" / "git-coord"
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """`git-coord` as it is installed: beside the program that names its Python in the first line."""
    folder = tmp_path / "with space"
    folder.mkdir()
    twin = f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"
    (folder / "gitcoord").write_text(twin)
    shutil.copy2(LAUNCHER, folder / "git-coord")
    return folder / "git-coord"


def run(program: Path, where: Path, *args: str, **environ: str) -> Done:
    return subprocess.run(
        [str(program), *args], cwd=where, env={**os.environ, **environ}, capture_output=True, text=True, errors="replace"
    )


BROKEN = {
    "PYTHONHOME": "/nonexistent",
    "PYTHONPATH": "SHADOWS",
    "PYTHONSTARTUP": "/nonexistent",
    "PYTHONWARNINGS": "error",
    "PYTHONINSPECT": "1",
}


@pytest.mark.parametrize("name", BROKEN)
def test_no_variable_of_pythons_decides_what_a_command_does(repo: Path, tmp_path: Path, program: Path, name: str) -> None:
    shadows = tmp_path / "shadows"
    shadows.mkdir()
    for module in ("click", "json", "typing", "sqlite3", "gitcoord", "sitecustomize"):
        (shadows / f"{module}.py").write_text("raise SystemExit('shadowed')\n")
    done = run(program, repo, "note", "hi", **{name: BROKEN[name].replace("SHADOWS", str(shadows))})
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_other_projects_packages_come_after_ours(repo: Path, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ImportError('old click')\n")
    argv = [sys.executable, "-c", "from gitcoord.cli import main; main(['note', 'hi'])"]
    done = subprocess.run(argv, cwd=repo, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_installation_that_is_not_whole_says_so_in_two_lines(repo: Path) -> None:
    code = "import sys; sys.modules['click'] = None; from gitcoord.cli import main; main(['help'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("error: gitcoord's installation is incomplete: import of click halted")
    assert done.stderr.endswith(f"\nhint: install it again for {sys.executable}\n")


FAILING = {
    "cannot begin": "echo Fatal Python error >&2; exit 1",
    "is killed": "kill -9 $$",
    "means something else by it": "echo no >&2; exit 2",
    "is none": "exit 127",
}


@pytest.mark.parametrize("how", FAILING)
@pytest.mark.parametrize("moment", ["start", "prompt", "edit", "stop", "end"])
def test_a_python_that_fails_stops_no_agent(repo: Path, tmp_path: Path, how: str, moment: str) -> None:
    with Coord.open(repo) as coord:
        coord.notes.add("used")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{FAILING[how]}\n")
    python.chmod(0o755)
    done = hook(repo, moment=moment, python=str(python))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("how", FAILING)
def test_a_python_that_fails_stops_no_commit(repo: Path, tmp_path: Path, cli: Cli, how: str) -> None:
    assert cli(repo, "lock", "readme.txt").code == 0
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{FAILING[how]}\n")
    python.chmod(0o755)
    line = f"python='{python}' event=pre-commit; . '{FOLDER}/git-hook'"
    done = subprocess.run(["sh", "-c", line], cwd=repo, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_commit_that_is_refused_says_why(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    git(alpha, "config", "coord.guard", "block")
    assert cli(alpha, "hooks", "install").code == 0
    assert cli(alpha, "lock", "readme.txt", "-m", "mine").code == 0
    (beta / "readme.txt").write_text("changed\n")
    done = subprocess.run(["git", "commit", "-qam", "x"], cwd=beta, capture_output=True, text=True)
    assert done.returncode == 1 and "readme.txt" in done.stderr and "alpha" in done.stderr


# standard input


def test_an_agents_hook_does_not_wait_for_the_end_of_its_input(repo: Path) -> None:
    with Coord.open(repo) as coord:
        coord.notes.add("used")
    line = f"python='{sys.executable}' hooks='{FOLDER}' harness=codex moment=start; . '{FOLDER}/agent-hook'"
    document = json.dumps({"session_id": "s-1", "cwd": str(repo), "source": "startup", "more": "x" * 10_000})
    with subprocess.Popen(["sh", "-c", line], cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin and running.stdout
        running.stdin.write(document)
        running.stdin.flush()
        assert running.wait(60) == 0  # with its standard input still open
        assert "You are project" in running.stdout.read()


# in the background


def test_what_runs_in_the_background_keeps_nothing_that_was_lent(repo: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    high = os.dup2(write, 200)
    os.close(write)
    with Coord.open(repo) as coord:
        coord.notes.add("used")
    line = f"python='{sys.executable}' event=post-commit; . '{FOLDER}/git-hook'"
    env = {**os.environ, "GIT_DIR": str(repo / ".git")}
    subprocess.run(["sh", "-c", line], cwd=repo, env=env, pass_fds=[high], check=True)
    os.close(high)
    os.set_blocking(read, False)

    def ended() -> bool:
        try:
            return os.read(read, 1) == b""
        except BlockingIOError:
            return False

    began = time.monotonic()
    marker = repo / ".git" / "coord" / "refresh-main"
    eventually(ended)
    assert marker.exists() or time.monotonic() - began > 1  # and not because the process has ended
    os.close(read)


def test_a_moment_after_a_hook_the_marker_is_gone(repo: Path) -> None:
    with Coord.open(repo) as coord:
        coord.notes.add("used")
    subprocess.run(
        ["sh", "-c", f"python='{sys.executable}' event=post-commit; . '{FOLDER}/git-hook'"],
        cwd=repo,
        env={**os.environ, "GIT_DIR": ".git"},
        check=True,
    )
    eventually(lambda: not (repo / ".git" / "coord" / "refresh-main").exists())


# output


def test_a_character_that_cannot_be_shown_is_replaced(repo: Path, program: Path) -> None:
    done = run(program, repo, "note", "naïve 日本 ✅", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    shown = run(program, repo, "notes", PYTHONIOENCODING="latin-1:strict")
    assert shown.returncode == 0 and "?? ?" in shown.stdout
    assert "\\u65e5" in run(program, repo, "notes", "--json", PYTHONIOENCODING="ascii").stdout
    assert run(program, repo, "notes", PYTHONIOENCODING="no-such").returncode == 0


def test_a_broken_output_changes_nothing_else(worktrees: tuple[Path, Path], program: Path) -> None:
    alpha, beta = worktrees
    with Coord.open(alpha) as coord:
        for number in range(30):
            coord.send("beta", f"{number} " * 2000)

    def shell(line: str) -> int:
        return subprocess.run(["bash", "-c", line], cwd=beta, stderr=subprocess.DEVNULL, timeout=60).returncode

    assert shell(f"'{program}' lock a.txt >&-") == 0
    assert shell(f"'{program}' lock b.txt >/dev/full") == 0
    assert shell(f"'{program}' inbox --limit 1 >&-") != 0
    assert shell(f"'{program}' inbox --limit 1 >/dev/full") == 3
    assert shell(f"'{program}' inbox | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}") == 141
    with Coord.open(beta) as coord:
        assert len(coord.locks.held()) == 2
        assert {message.state for message in coord.inbox(limit=100).messages} == {"queued"}


def test_an_early_interrupt_is_silent(repo: Path, program: Path) -> None:
    for wait in range(0, 60, 4):
        started = subprocess.Popen(
            [str(program), "--help"], cwd=repo, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        time.sleep(wait / 1000)
        started.send_signal(signal.SIGINT)
        _, said = started.communicate(timeout=30)
        assert said == b"", wait
        assert started.returncode in (0, 1, 130, -signal.SIGINT)  # 1: met before our first line could run


# links


def test_a_broken_link_of_a_worktree_says_how_to_repair_it(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "linked"))
    repo.rename(tmp_path / "moved")
    with pytest.raises(RepositoryError, match="broken") as caught:
        find_repository(tmp_path / "linked")
    assert caught.value.hint == f"in the main worktree: git worktree repair {tmp_path / 'linked'}"
    git(tmp_path / "moved", "worktree", "repair", str(tmp_path / "linked"))
    assert find_repository(tmp_path / "linked").common_dir == str(tmp_path / "moved" / ".git")
