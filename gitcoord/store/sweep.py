"""Remove presence commits that were replaced long ago, before they set off the user's `git gc --auto`.

`coord/superseded` lists them, a line each: when replaced, the id, and how long the machine had run by then: a clock that
was set wrong makes none of them old. One is removed only while it is loose, an hour
after it was replaced (a gc, push or clone that saw it on its ref is done by then), while no gc runs, when no ref names
it and no commit-graph does. What does not qualify is left to git, which prunes it in its own time.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gitcoord.errors import RepositoryError
from gitcoord.store.loose import gc_is_running, loose_path, remove_loose
from gitcoord.store.objects import Oid
from gitcoord.store.repository import Repository
from gitcoord.system import clocks
from gitcoord.system.files import append_ours, open_ours, read_ours
from gitcoord.system.lock import unwritable, write_whole

WORTH_A_SWEEP = 100
BATCH = 50
"""Removed between two looks at whether a gc has begun."""


def supersede(path: str, oid: Oid, now: float) -> None:
    """Remember that no ref of ours names `oid` any more; to be called under the write lock. Raises RepositoryError."""
    try:
        append_ours(path, f"{int(now)} {oid} {int(clocks.uptime(now))}\n".encode())
    except OSError as error:
        raise unwritable(os.path.dirname(path), error) from error


def superseded(path: str) -> list[Oid]:
    """Presence that was replaced and may still lie there: on no ref, and in no journal."""
    return [oid for _, oid in _load(path, time.time())]


def is_due(path: str, now: float, grace: float) -> bool:
    """Whether enough lie about for a writer to sweep, the oldest for longer than `grace` seconds."""
    try:
        with open(open_ours(path, os.O_RDONLY)) as file:
            first = file.readline()
            return os.fstat(file.fileno()).st_size > WORTH_A_SWEEP * len(first) and _age(first, now) >= grace
    except (OSError, ValueError):
        return False


def sweep(repo: Repository, path: str, now: float, grace: float) -> int:
    """Remove what qualifies, and keep in the list only what is too young; returns how many objects went.

    To be called under the write lock. Raises RepositoryError.
    """
    entries = _load(path, now)
    if not any(at <= now - grace for at, _ in entries) or gc_is_running(repo):
        return 0
    named = _named_by_refs(repo)
    removed = 0
    young = [(at, oid) for at, oid in entries if at > now - grace]
    old = [oid for at, oid in entries if at <= now - grace and oid not in named]
    with _graphs(repo) as graphs:
        for start in range(0, len(old), BATCH):
            if gc_is_running(repo) or _graph_is_being_written(repo):
                young = [(at, oid) for at, oid in entries if oid not in old[:start]]
                break
            removed += sum(_remove(repo, oid, graphs) for oid in old[start : start + BATCH])
    write_whole(path, "".join(f"{int(at)} {oid} {int(clocks.uptime(at))}\n" for at, oid in young))
    return removed


def _remove(repo: Repository, oid: Oid, graphs: Graphs) -> bool:
    try:
        made = os.stat(loose_path(repo, oid)).st_mtime
    except OSError:
        return False
    return not graphs.may_name(oid, made) and remove_loose(repo, oid)


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


# the commit-graph: see gitformat-commit-graph(5)


def _graph_files(repo: Repository) -> list[Path]:
    info = Path(repo.common_dir, "objects", "info")
    return [path for path in (info / "commit-graph", *info.glob("commit-graphs/graph-*.graph")) if path.exists()]


def _graph_is_being_written(repo: Repository) -> bool:
    info = Path(repo.common_dir, "objects", "info")
    locks = (info / "commit-graph.lock", info / "commit-graphs" / "commit-graph-chain.lock")
    return any(path.exists() and time.time() - path.stat().st_mtime < 3600 for path in locks)


@contextmanager
def _graphs(repo: Repository) -> Iterator[Graphs]:
    graphs = Graphs(_graph_files(repo), 64 if repo.object_format == "sha256" else 40)
    try:
        yield graphs
    finally:
        graphs.close()


class Graphs:
    """The commit-graph files as they are now, and whether they name a commit."""

    def __init__(self, paths: Iterable[Path], digits: int) -> None:
        self.width = digits // 2
        self.written = 0.0
        self.tables: list[tuple[mmap.mmap, int, int] | None] = []
        for path in paths:
            table = _oid_table(path)
            with suppress(OSError):
                self.written = max(self.written, path.stat().st_mtime if table else time.time())
            self.tables.append(table)

    def may_name(self, oid: Oid, made: float) -> bool:
        """False only if every graph is older than the object, or can be read and does not have it."""
        if made > self.written + 2:
            return False
        return any(table is None or self._has(table, bytes.fromhex(oid)) for table in self.tables)

    def _has(self, table: tuple[mmap.mmap, int, int], digest: bytes) -> bool:
        data, low, high = table
        first, size = low, self.width
        low, high = 0, (high - first) // size
        while low < high:
            middle = (low + high) // 2
            at = data[first + middle * size : first + (middle + 1) * size]
            if at == digest:
                return True
            low, high = (middle + 1, high) if at < digest else (low, middle)
        return False

    def close(self) -> None:
        for table in self.tables:
            if table is not None:
                table[0].close()


def _oid_table(path: Path) -> tuple[mmap.mmap, int, int] | None:
    """Where a graph file lists its commits, sorted; None if this cannot be told."""
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    if data[:5] == b"CGPH\x01":
        for number in range(data[6]):
            at = 8 + 12 * number
            if data[at : at + 4] == b"OIDL":
                start, end = (int.from_bytes(data[at + k : at + k + 8], "big") for k in (4, 16))
                return data, start, end
    data.close()
    return None
