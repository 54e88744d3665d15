"""The terminal view once for real: a terminal of its own under tmux, keys typed, the screen read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Cli

Pair = tuple[Path, Path]

if shutil.which("tmux") is None:
    pytest.skip("the test in a real terminal needs tmux: apt-get install tmux", allow_module_level=True)


class Terminal:
    """A terminal with the view in it."""

    def __init__(self, where: Path, place: Path) -> None:
        self._socket = str(place / "tmux.sock")
        environ = {name: value for name, value in os.environ.items() if name != "TMUX"} | {"COLUMNS": "90", "LINES": "50"}
        shell = f"{sys.executable} -m gitcoord ui; echo ended $?; sleep 60"
        argv = ["tmux", "-f", "/dev/null", "-S", self._socket, "new-session", "-d", "-x", "100", "-y", "30", shell]
        subprocess.run(argv, cwd=where, env=environ, stdin=subprocess.DEVNULL, check=True)

    def run(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self._socket, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        ).stdout

    def type(self, *keys: str) -> None:
        for key in keys:
            self.run("send-keys", key)

    def until(self, holds: Callable[[str], bool]) -> str:
        """The screen, once something holds for it."""
        deadline = time.monotonic() + 60
        while not holds(shown := self.run("capture-pane", "-p")):
            assert time.monotonic() < deadline, shown
            time.sleep(0.05)
        return shown


@pytest.fixture
def terminal(worktrees: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    found = Terminal(worktrees[1], tmp_path_factory.mktemp("tmux"))
    yield found
    found.run("kill-server")


def test_the_view_in_a_real_terminal(worktrees: Pair, cli: Cli, terminal: Terminal) -> None:
    terminal.until(lambda shown: "Nothing needs you." in shown and "alpha" in shown)
    cli(worktrees[0], "send", "ada-lovelace", "which one first?", "--needs-ack")
    terminal.until(lambda shown: "which one first?" in shown and "Needs you 1" in shown)
    terminal.type("0", "r")
    terminal.until(lambda shown: "Enter sends" in shown)
    terminal.type("the parser", "Enter")
    terminal.until(lambda shown: "answered alpha" in shown)
    assert "the parser" in cli(worktrees[0], "inbox").out
    terminal.type("a")
    terminal.until(lambda shown: "Nothing needs you." in shown)
    terminal.run("resize-window", "-x", "20", "-y", "10")
    terminal.until(lambda shown: "too small" in shown)
    terminal.run("resize-window", "-x", "160", "-y", "40")
    terminal.until(lambda shown: "4 Overlaps" in shown)
    terminal.type("q")
    assert "Traceback" not in terminal.until(lambda shown: "ended 0" in shown)
