"""Remove presence commits that were replaced long ago, before the user's `git gc --auto` starts because of them.

`coord/superseded` lists them, one line each: when it was replaced, the id, and how long the machine had run by then, so
that a wrong clock makes no commit old. A commit is removed only under five conditions: it is loose; an hour has passed (a
gc, push or clone that saw it on its ref is done by then); no gc runs; no ref names it; no commit-graph names it (`graphs`
keeps those). All others are left to git, which prunes them in its own time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gitcoord.errors import RepositoryError
from gitcoord.lean import suppress
from gitcoord.store import graphs
from gitcoord.store.absent import is_damaged
from gitcoord.store.loose import gc_is_running, loose_path, remove_loose
from gitcoord.store.objects import Oid
from gitcoord.store.repository import Repository
from gitcoord.system import clocks
from gitcoord.system.files import append_ours, open_ours, read_ours
from gitcoord.system.lock import unwritable, write_whole

WORTH_A_SWEEP = 100
BATCH = 50
"""Objects that are removed between two checks whether a gc has begun."""


def supersede(repo: Repository, path: str, oid: Oid, now: float) -> None:
    """Note that no ref of ours names `oid` any more. To be called under the write lock. Raises RepositoryError."""
    supersede_all(repo, path, [oid], now)


def supersede_all(repo: Repository, path: str, oids: Sequence[Oid], now: float) -> None:
    """As `supersede`, for several. The file of a torn object is removed: nothing else would find it, and the user's gc
    would stop there."""
    up, lines = int(clocks.uptime(now)), []
    for oid in oids:
        if is_damaged(repo, oid):
            remove_loose(repo, oid)
        else:
            lines.append(f"{int(now)} {oid} {up}\n")
    try:
        append_ours(path, "".join(lines).encode())
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error


def keep(repo: Repository, path: str, oids: Sequence[Oid]) -> None:
    """Keep those of `oids` that a commit-graph names, before refs move on from them. Call it under the write lock.

    A graph that was written after a commit was replaced may name it, too, because git lists the refs long before it writes.
    """
    if not graphs.are_there(repo):
        return
    with graphs.opened(repo) as found:
        with suppress(OSError):
            oids = [*oids, *(superseded(path) if os.stat(path).st_mtime < found.written + 2 else ())]
        graphs.keep(repo, found, oids)


def superseded(path: str) -> list[Oid]:
    """Presence commits that were replaced and may still exist; no ref and no journal names them."""
    return [oid for _, oid in _load(path, time.time())]


def is_due(path: str, now: float, grace: float) -> bool:
    """Whether a writer should sweep: there are enough, and the oldest was replaced more than `grace` seconds ago."""
    try:
        with open(open_ours(path, os.O_RDONLY)) as file:
            first = file.readline()
            return os.fstat(file.fileno()).st_size > WORTH_A_SWEEP * len(first) and _age(first, now) >= grace
    except (OSError, ValueError):
        return False


def sweep(repo: Repository, path: str, now: float, grace: float) -> int:
    """Remove the commits that meet the conditions, and keep in the list only those that are too young; returns how many
    were removed.

    To be called under the write lock. Raises RepositoryError.
    """
    graphs.release(repo)
    entries = _load(path, now)
    if not any(at <= now - grace for at, _ in entries) or gc_is_running(repo):
        return 0
    named = _named_by_refs(repo)
    removed = 0
    young = [(at, oid) for at, oid in entries if at > now - grace]
    old = [oid for at, oid in entries if at <= now - grace and oid not in named]
    with graphs.opened(repo) as found:
        for start in range(0, len(old), BATCH):
            if gc_is_running(repo) or graphs.is_being_written(repo):
                young = [(at, oid) for at, oid in entries if oid not in old[:start]]
                break
            removed += sum(_remove(repo, oid, found) for oid in old[start : start + BATCH])
    write_whole(path, "".join(f"{int(at)} {oid} {int(clocks.uptime(at))}\n" for at, oid in young))
    return removed


def _remove(repo: Repository, oid: Oid, found: graphs.Graphs) -> bool:
    try:
        made = os.stat(loose_path(repo, oid)).st_mtime
    except OSError:
        return False
    return not found.may_name(oid, made) and remove_loose(repo, oid)


def _load(path: str, now: float) -> list[tuple[float, Oid]]:
    try:
        lines = read_ours(path).decode(errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    found = [w for w in words if len(w) in (2, 3) and w[0].isdigit() and w[-1].isalnum() and len(w[1]) in (40, 64)]
    return [(now - _age(" ".join(w), now), Oid(w[1])) for w in found]


def _age(line: str, now: float) -> float:
    at, _, *up = line.split()
    return clocks.age(float(at), float(up[0]) if up and up[0].isdigit() else None, now)


def _named_by_refs(repo: Repository) -> set[str]:
    result = repo.git("for-each-ref", "--format=%(objectname)")
    if result.code:
        raise RepositoryError("cannot list refs", "git coord doctor")
    return set(result.out.decode().split())
