"""Hermetic ground for every test: own HOME, no system git config, fixed identity, no inherited GIT_*, real git."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from gitcoord import Coord
from gitcoord.sessions.identity import AGENT_MARKS, HARNESS_IDS

# started in the background of a shell, everything below inherits ignored signals, which no shell can trap any more
for number in (signal.SIGINT, signal.SIGQUIT) if hasattr(signal, "SIGQUIT") else (signal.SIGINT,):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

USER = "Ada Lovelace"
EMAIL = "ada@example.org"
DROPPED = ("GIT_", "COORD_", "CLAUDE", "CODEX", "COPILOT", "GEMINI", "CURSOR", "OPENCODE", *AGENT_MARKS, *HARNESS_IDS)


@pytest.fixture(autouse=True)
def hermetic(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the machine's HOME, git configuration, agent program or identity."""
    home = tmp_path_factory.mktemp("home")
    keep_store = os.environ.get("GIT_COORD_STORE")
    for name in list(os.environ):
        if name.startswith(DROPPED):
            monkeypatch.delenv(name)
    if keep_store:
        monkeypatch.setenv("GIT_COORD_STORE", keep_store)
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }.items():
        monkeypatch.setenv(name, value)
    (home / ".gitconfig").write_text(
        f"[user]\n\tname = {USER}\n\temail = {EMAIL}\n[init]\n\tdefaultBranch = main\n"
        '[coord]\n\tautosync = false\n[gc]\n\tauto = 0\n[protocol "file"]\n\tallow = always\n[advice]\n\tdetachedHead = false\n'
    )
    return home


def git(where: Path, *args: str, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Run git in `where` and return its standard output."""
    done = subprocess.run(
        ["git", "-C", str(where), *args],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        errors="surrogateescape",
    )
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def make_repo(path: Path, *options: str) -> Path:
    """A repository with one file and one commit."""
    path.mkdir(parents=True, exist_ok=True)
    git(path, "init", "-q", *options)
    (path / "readme.txt").write_text("hello\n")
    git(path, "add", "readme.txt")
    git(path, "commit", "-q", "-m", "first")
    return path


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A fresh repository called `project`."""
    return make_repo(tmp_path / "project")


def with_worktrees(repo: Path) -> tuple[Path, Path]:
    """Add two linked worktrees to `repo`, `alpha` and `beta`, each with a session of its name."""
    pair = repo.parent / "alpha", repo.parent / "beta"
    for path in pair:
        git(repo, "worktree", "add", "-q", str(path))
        with Coord.open(path) as coord:
            coord.sessions.join()
    return pair


@pytest.fixture
def worktrees(repo: Path) -> tuple[Path, Path]:
    """Two linked worktrees of `repo`, `alpha` and `beta`, each with a session of its name."""
    return with_worktrees(repo)


def nameless(text: str) -> str:
    """Output with its ids made literal, and as if no time had passed."""
    text = re.sub(r"\b[0-9a-f]{40}\b", "FULLID", re.sub(r"\b[0-9a-f]{10}\b", "ID", text))
    return re.sub(r"\b\d+ s ago\b", "just now", text)


class Ran:
    """How a command ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}--- err\n{self.err}"


Cli = Callable[..., Ran]


@pytest.fixture
def cli() -> Iterator[Cli]:
    """Run the installed program, as a process of its own: `cli(where, "send", "beta", "hi")`."""

    def run(where: Path, *args: str, stdin: str | None = "", env: Mapping[str, str] | None = None) -> Ran:
        argv = [sys.executable, "-m", "gitcoord", *args]
        done = subprocess.run(
            argv,
            cwd=where,
            capture_output=True,
            text=True,
            input=stdin,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        return Ran(done)

    yield run
