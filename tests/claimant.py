"""One process among many that want a session at the same moment: `claimant.py DOOR NUMBER`. Each line of standard input is
a worktree; the answer is the name of its session there, or the error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from gitcoord import Coord, CoordError
from gitcoord.agents import Call, binding, handlers, load
from gitcoord.mcp import caller
from gitcoord.sessions.records import Records


def by_hook(where: str, number: str) -> str:
    """The first hook of a conversation of a program of its own."""
    with binding.open_for(load("codex"), Call("codex", "start", f"thread-{number}", where)) as desk:
        handlers.run(desk, lambda answer: None)
        return Records(desk.clone.repo.coord_dir).name_of(f"thread-{number}")


def by_command(where: str, number: str) -> str:
    """The first command of an agent whose program has no hooks of ours."""
    with Coord.open(where, environ={**os.environ, "CODEX_THREAD_ID": f"thread-{number}"}, long_lived=False) as coord:
        coord.notes.add("hello")
        return coord.identity.name


def by_mcp(where: str, number: str) -> str:
    """The first call of a tool in a conversation."""
    with caller.opened(caller.caller({"cwd": where}, {"threadId": f"thread-{number}"})) as coord:
        coord.notes.add("hello")
        return coord.identity.name


def by_join(where: str, number: str) -> str:
    """A live process that wants the name of the worktree."""
    with Coord.open(where, long_lived=False) as coord:
        return coord.sessions.join(os.path.basename(where), pid=os.getpid()).name


DOORS: dict[str, Callable[[str, str], str]] = {"hook": by_hook, "command": by_command, "mcp": by_mcp, "join": by_join}


def main(door: str, number: str) -> None:
    os.environ["GIT_COORD_PPID"] = str(os.getpid())  # we are the agent program, and run our hooks ourselves
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            print(DOORS[door](line.strip(), number), flush=True)
        except CoordError as error:
            print(f"refused: {error.what}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
