"""Start the look at the remote of `git coord sync` before the rest of the program is loaded.

A sync with nothing new only waits for that answer, so the program loads meanwhile (30 ms). The look counts only if no
process of this clone has used the network since; otherwise it may be older than the state here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from gitcoord.errors import CoordError
from gitcoord.lean import NamedTuple, suppress
from gitcoord.store import transport
from gitcoord.store.repository import Repository
from gitcoord.store.transport import PendingLook
from gitcoord.system.files import signature
from gitcoord.system.lock import try_lock


class EarlyLook(NamedTuple):
    """A look that is running. `turn` is the signature of the file `sync.turn` at its start: each link changes the file."""

    common_dir: str
    turn: tuple[int, ...]
    look: PendingLook


_begun: list[EarlyLook] = []


def begin(args: Sequence[str]) -> None:
    """Begin the look for `git coord sync ARGS`, if that is a plain sync. The sync itself finds and reports any failure."""
    rest = [arg for arg in args if arg != "--json"]
    if len(rest) > 1 or any(arg.startswith("-") for arg in rest):
        return
    from gitcoord.store.discovery import find_repository
    from gitcoord.sync import remotes

    with suppress(CoordError, OSError):
        repo = find_repository()
        remote = remotes.choose(repo, rest[0] if rest else None, os.getcwd())
        with try_lock(os.path.join(repo.coord_dir, "sync.lock")) as free:
            if free:
                _begun.append(EarlyLook(repo.common_dir, signature(turn_file(repo)), transport.start_look(repo, remote.name)))


def turn_file(repo: Repository) -> str:
    """The file that every link touches. It is not the file of the lock, in which the holder leaves a note."""
    return os.path.join(repo.coord_dir, "sync.turn")


def look(repo: Repository, name: str) -> PendingLook | None:
    """The look that was begun, if it is at this remote and no process had a link since; None the second time. The caller
    holds the network lock."""
    found = _begun.pop() if _begun else None
    if found is None or (found.common_dir, found.turn, found.look.name) == (repo.common_dir, signature(turn_file(repo)), name):
        return found.look if found else None
    transport.give_up(found.look)
    return None
