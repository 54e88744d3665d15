"""Children and their exit codes, in any surroundings."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gitcoord import Coord
from gitcoord.errors import RepositoryError

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGCHLD"), reason="there is no SIGCHLD here")


def ignore() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


@pytest.mark.parametrize("verb", [("note", "hello"), ("run", "--", "false"), ("doctor",), ("init", "--no-agents")])
def test_a_parent_that_ignores_sigchld_changes_nothing(repo: Path, verb: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gitcoord", *verb], cwd=repo, preexec_fn=ignore, capture_output=True, text=True
    )
    assert done.returncode == (verb[-1] == "false"), done.stderr


def test_a_thread_of_a_program_that_ignores_it_is_told_so(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def work() -> None:
        try:
            with Coord.open(repo, long_lived=False) as coord:
                coord.notes.add("hello")
        except RepositoryError as error:
            said.append(error.what)

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert said == ["this process ignores SIGCHLD, so the exit code of git is not known"]
