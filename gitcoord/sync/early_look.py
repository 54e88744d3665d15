"""The look at the remote that `git coord sync` begins with, begun before the rest of the program is loaded.

For a sync with nothing new the answer is all there is to wait for, so loading (30 ms) goes on meanwhile. It is a look only
if nobody of this clone was at the network since: else what it shows may be older than what is here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from gitcoord.errors import CoordError
from gitcoord.store import transport
from gitcoord.store.repository import Repository
from gitcoord.store.transport import Look
from gitcoord.system.files import signature
from gitcoord.system.lock import try_lock


class Begun(NamedTuple):
    """A look that is under way. `turn` is the network lock's file as it was then: who gets the lock changes it."""

    common_dir: str
    turn: tuple[int, ...]
    look: Look


_begun: list[Begun] = []


def begin(args: Sequence[str]) -> None:
    """For `git coord sync ARGS`, if that is a plain sync. Whatever goes wrong is for the sync itself to find and to say."""
    rest = [arg for arg in args if arg != "--json"]
    if len(rest) > 1 or any(arg.startswith("-") for arg in rest):
        return
    from gitcoord.store.discovery import find_repository
    from gitcoord.sync import remotes

    with suppress(CoordError, OSError):
        repo = find_repository()
        remote = remotes.choose(repo, rest[0] if rest else None, os.getcwd())
        lock = os.path.join(repo.coord_dir, "sync.lock")
        with try_lock(lock) as free:
            if free:
                _begun.append(Begun(repo.common_dir, signature(lock), transport.start_look(repo, remote.name)))


def look(repo: Repository, name: str, lock: str) -> Look | None:
    """The look that was begun, if it was at this remote, and nobody had the network `lock` since we did; once."""
    found = _begun.pop() if _begun else None
    if found is None or (found.common_dir, found.turn, found.look.name) == (repo.common_dir, signature(lock), name):
        return found.look if found else None
    transport.give_up(found.look)
    return None
