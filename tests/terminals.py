"""Commands at a terminal."""

from __future__ import annotations

import os
import pty
import sys
from contextlib import suppress
from pathlib import Path


def at_a_terminal(where: Path, *args: str, **env: str) -> tuple[int, str]:
    """Run a command at a terminal; returns its exit code and what the terminal showed."""
    argv = [sys.executable, "-m", "gitcoord", *args]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(where)
        os.execve(sys.executable, argv, {**os.environ, **env})
    shown = b""
    with suppress(OSError):  # EIO: the other end is closed
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode().replace("\r\n", "\n")
