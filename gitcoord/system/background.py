"""Start a program that goes on by itself, detached from everything of ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def start(argv: list[str], environ: Mapping[str, str], collect: bool) -> None:
    """Start `argv` in a session of its own, with no standard streams. `collect` is for a process that stays: it has to
    collect its children, which subprocess does."""
    if sys.platform != "win32" and not collect and hasattr(os, "posix_spawn"):
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            os.posix_spawn(argv[0], argv, environ, file_actions=null, setsid=True)
            return
        except NotImplementedError:
            pass  # macOS before 10.15 has no setsid here
    import subprocess

    null_fd = subprocess.DEVNULL
    subprocess.Popen(argv, env=environ, stdin=null_fd, stdout=null_fd, stderr=null_fd, start_new_session=True)
