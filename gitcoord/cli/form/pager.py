"""The pager: at a terminal, what may be longer than the screen goes through the pager that git would use.

`git --no-pager coord …`, `git --paginate coord …` and `pager.coord` mean what they mean for git's own commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from gitcoord.sessions.identity import is_agent
from gitcoord.system.streams import columns_of

PAGED = frozenset(
    """
    log thread show search notes tasks sent locks sessions jobs conflicts brief status day overdue trust
    task:show task:list job:show job:log state:show
    """.split()
)
"""Verbs that only show something, and mark nothing read."""
_running: subprocess.Popen[bytes] | None = None


def is_wanted(args: Sequence[str]) -> bool:
    """Whether a person at a terminal gets this verb's output in a pager: an agent would be stuck in it."""
    words = [arg for arg in args if not arg.startswith("-")][:2]
    shows = not {":".join(words), *words[:1]}.isdisjoint(PAGED) and not {"-h", "--help", "--short"} & set(args)
    return shows and "GIT_PAGER_IN_USE" not in os.environ and not is_agent(os.environ)


def start() -> None:
    """Let standard output go through the pager from now on, if there is one."""
    global _running
    command = _command()
    if not command:
        return
    width = columns_of(sys.stdout)
    env = {"LESS": "FRX", "LV": "-c", **os.environ}
    sys.stdout.flush()
    try:
        _running = subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=env)
    except OSError:
        return
    assert _running.stdin is not None
    os.dup2(_running.stdin.fileno(), sys.stdout.fileno())
    _running.stdin.close()
    os.environ["GIT_PAGER_IN_USE"] = "true"
    os.environ["COLUMNS"] = str(width)


def finish() -> None:
    """Wait until the reader is done."""
    if _running is not None:
        os.close(sys.stdout.fileno())
        _running.wait()


def _command() -> str:
    """The pager, as git finds it; "" for none."""
    ours = subprocess.run(["git", "config", "--bool", "pager.coord"], capture_output=True, text=True)
    if ours.stdout.strip() == "false":
        return ""
    found = subprocess.run(["git", "var", "GIT_PAGER"], capture_output=True, text=True, errors="surrogateescape")
    pager = found.stdout.strip()
    return "" if pager in ("", "cat") else pager
