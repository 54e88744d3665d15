"""Keep the user's commit-graphs valid: they may name presence commits and tables of leases that our refs replaced since.

git writes a graph over all refs (gc, maintenance, fetch). The graph still names commits that are pruned later, and git
fsck complains about that. So a commit that a graph names goes into a pack with a `.keep` file before its ref moves on:
gc, repack and prune leave such a pack alone, and the next graph does not name the commit, because no ref holds it. When
no graph names a commit of the pack any more, only the `.keep` file is deleted: the pack is then git's like any other.

The format is that of gitformat-commit-graph(5).
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterable, Iterator, Sequence

from gitcoord.lean import NamedTuple, contextmanager, suppress
from gitcoord.store.absent import absent
from gitcoord.store.objects import Oid, make_tree
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_bytes

MARK = b"gitcoord keeps this pack while a commit-graph names what is in it\n"
_NO_PARENT = bytes.fromhex("70000000")


class Graph(NamedTuple):
    """A graph file: its bytes, how many commits it names, and the offsets of the tables of ids and of data."""

    data: mmap.mmap
    size: int
    ids: int
    commits: int


class Graphs:
    """The commit-graph files as they are now. `digits` is the length of an id."""

    def __init__(self, paths: Iterable[str], digits: int) -> None:
        self.width = digits // 2
        self.written = 0.0
        self.all_readable = True
        self.found: list[Graph] = []
        for path in paths:
            graph = _read(path, self.width)
            with suppress(OSError):
                self.written = max(self.written, os.stat(path).st_mtime if graph else time.time())
            self.all_readable &= graph is not None
            self.found += [graph] if graph else []

    def may_name(self, oid: Oid, made: float) -> bool:
        """False only if every graph is older than the object, or can be read and does not have it."""
        if made > self.written + 2:
            return False
        return not self.all_readable or self.names(oid)

    def names(self, oid: Oid) -> bool:
        """Whether a graph that can be read names a commit."""
        return any(self._has(graph, bytes.fromhex(oid)) for graph in self.found)

    def _has(self, graph: Graph, digest: bytes) -> bool:
        low, high = 0, graph.size
        while low < high:
            middle = (low + high) // 2
            at = self._id(graph, middle)
            if at == digest:
                return True
            low, high = (middle + 1, high) if at < digest else (low, middle)
        return False

    def _id(self, graph: Graph, number: int) -> bytes:
        start = graph.ids + number * self.width
        return graph.data[start : start + self.width]

    def without_content(self, tree: Oid, only_roots: bool) -> Iterator[Oid]:
        """The commits with an empty tree that graphs name, as most of ours are; `only_roots`: only those without a
        parent."""
        wanted = bytes.fromhex(tree) + (_NO_PARENT if only_roots else b"")
        size = self.width + 16
        for graph in self.found:
            end = graph.commits + graph.size * size
            at = graph.data.find(wanted, graph.commits, end)
            while at >= 0:
                number, rest = divmod(at - graph.commits, size)
                if not rest:
                    yield Oid(self._id(graph, number).hex())
                at = graph.data.find(wanted, at + 1, end)

    def close(self) -> None:
        """Close the files."""
        for graph in self.found:
            graph.data.close()


def _read(path: str, width: int) -> Graph | None:
    """Read one graph file; None if it is not a valid graph."""
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    if found := _parse(data, width):
        return found
    data.close()
    return None


def _parse(data: mmap.mmap, width: int) -> Graph | None:
    if data[:5] != b"CGPH\x01":
        return None
    at = {data[8 + 12 * n : 12 + 12 * n]: int.from_bytes(data[12 + 12 * n : 20 + 12 * n], "big") for n in range(data[6])}
    try:
        fanout, ids, commits = at[b"OIDF"], at[b"OIDL"], at[b"CDAT"]
    except KeyError:
        return None
    count = int.from_bytes(data[fanout + 1020 : fanout + 1024], "big")
    whole = max(ids + count * width, commits + count * (width + 16)) <= len(data)
    return Graph(data, count, ids, commits) if whole else None


def _info(repo: Repository) -> str:
    return os.path.join(repo.common_dir, "objects", "info")


def _files(repo: Repository) -> list[str]:
    """The paths of the single graph and of the graphs of a chain."""
    chain = os.path.join(_info(repo), "commit-graphs")
    try:
        layers = [os.path.join(chain, name) for name in os.listdir(chain) if name.endswith(".graph")]
    except OSError:
        layers = []
    return [path for path in (os.path.join(_info(repo), "commit-graph"), *layers) if os.path.exists(path)]


def is_being_written(repo: Repository) -> bool:
    """Whether git is writing a graph now."""
    locks = ("commit-graph.lock", os.path.join("commit-graphs", "commit-graph-chain.lock"))
    with suppress(OSError):
        return any(time.time() - os.stat(os.path.join(_info(repo), name)).st_mtime < 3600 for name in locks)
    return False


def are_there(repo: Repository) -> bool:
    """Whether the repository has a graph."""
    return bool(_files(repo))


@contextmanager
def opened(repo: Repository) -> Iterator[Graphs]:
    """Open the graphs of a repository, and close them at the end."""
    graphs = Graphs(_files(repo), len(repo.zero))
    try:
        yield graphs
    finally:
        graphs.close()


# keep the commits that a graph names


def keep(repo: Repository, graphs: Graphs, oids: Sequence[Oid]) -> None:
    """Keep those of `oids` that a graph names; to be called under the write lock before their refs move on.

    Never fails: `mend` finds a commit that is lost all the same.
    """
    named = [oid for oid in dict.fromkeys(oids) if graphs.names(oid)]
    packs = _packs(repo) if named else {}
    inside = {oid for pack in packs.values() for oid in pack}
    if not set(named) <= inside:
        with suppress(OSError):
            still = [oid for oid in inside if graphs.names(oid)]
            _pack(repo, [*still, *(oid for oid in named if oid not in inside)], packs)


def _pack(repo: Repository, oids: Sequence[Oid], before: dict[str, list[Oid]]) -> None:
    """Write one pack with all kept commits, which replaces the packs in `before`."""
    checked = repo.git("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin="".join(f"{o}\n" for o in oids).encode())
    there = [line.split()[0] for line in checked.out.decode().splitlines() if line.endswith(" commit")]
    if not there:
        return
    base = os.path.join(repo.coord_dir, "keep")
    stdin = "".join(f"{oid}\n" for oid in there).encode()
    made = repo.git("-c", "pack.threads=1", "pack-objects", "-q", "--non-empty", base, stdin=stdin)
    if made.code or not (name := made.out.decode().strip()):
        return
    pack = os.path.join(_packs_dir(repo), f"pack-{name}")
    with open(f"{pack}.keep", "wb") as file:
        file.write(MARK)
    for suffix in (".pack", ".idx"):
        os.replace(f"{base}-{name}{suffix}", pack + suffix)
    with suppress(OSError):
        os.unlink(f"{base}-{name}.rev")
    for other, inside in before.items():
        if other != pack:
            _let_go(other, set(inside) <= set(there))


def _let_go(pack: str, wholly: bool) -> None:
    """Remove a pack's `.keep` file, so that git treats it like any other; with `wholly` remove the pack, because another
    has all its objects (the index first, as git does)."""
    for suffix in (".idx", ".rev", ".pack", ".keep") if wholly else (".keep",):
        with suppress(OSError):
            os.unlink(pack + suffix)


def _packs_dir(repo: Repository) -> str:
    return os.path.join(repo.common_dir, "objects", "pack")


def _packs(repo: Repository) -> dict[str, list[Oid]]:
    """Our kept packs, as paths without a suffix, and their content."""
    found = {}
    try:
        names = [name.removesuffix(".keep") for name in os.listdir(_packs_dir(repo)) if name.endswith(".keep")]
    except OSError:
        return {}
    for pack in (os.path.join(_packs_dir(repo), name) for name in names):
        with suppress(OSError):
            if read_bytes(f"{pack}.keep") == MARK:
                found[pack] = _contents(f"{pack}.idx", len(repo.zero) // 2)
    return found


def _contents(path: str, width: int) -> list[Oid]:
    """The ids in a pack's index of version 2: 8 bytes, 256 counts, and then the ids. A missing pack has none."""
    try:
        index = read_bytes(path)
    except OSError:
        return []
    count = int.from_bytes(index[1028:1032], "big")
    return [Oid(index[1032 + n * width : 1032 + (n + 1) * width].hex()) for n in range(count)]


def release(repo: Repository, everything: bool = False) -> None:
    """Leave kept packs to git once no graph names a commit in them; or all of them."""
    packs = _packs(repo)
    if packs:
        with opened(repo) as graphs:
            for pack, inside in packs.items():
                if everything or (graphs.all_readable and not any(graphs.names(oid) for oid in inside)):
                    _let_go(pack, wholly=False)


# mend graphs that name lost commits


def lost(repo: Repository, thoroughly: bool = False) -> list[Oid]:
    """Commits of ours that a graph names and git has lost: presence and leases; `thoroughly`: logs, too. Raises Unreadable
    where git cannot tell."""
    with opened(repo) as graphs:
        named = list(graphs.without_content(make_tree({}, repo.object_format).oid, only_roots=not thoroughly))
    return absent(repo, named)


def mend(repo: Repository, thoroughly: bool = False) -> list[str]:
    """Have git rewrite a graph that names a lost commit of ours; returns a line for the user. Raises Unreadable."""
    gone = lost(repo, thoroughly)
    if not gone:
        return []
    chain = os.path.exists(os.path.join(_info(repo), "commit-graphs", "commit-graph-chain"))
    repo.git("commit-graph", "write", "--reachable", *(["--split=replace"] if chain else []))
    many = f"{len(gone)} lost commit{'s' if len(gone) > 1 else ''}"
    return [f"git's commit-graph named {many}: it was written again"]
