"""Measure the cost of hostile events for a clone that fetches them: it has to be linear in their number.

Each attack is made in two sizes. The baseline is the time of the small one, multiplied by the ratio of the sizes. Times are
CPU times, of this process and its children, so that a busy machine changes little.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.ground import project
from bench.measure import Row, at_most, git, ratio
from gitcoord import Coord
from gitcoord.log import epoch
from gitcoord.log.event import Draft, Envelope, encode
from gitcoord.store import open_store, packing
from gitcoord.store.objects import GitObject, Oid, make_object, make_tree

MALLORY = "mallory-0badc0de"
LOG = f"refs/coord/log/{MALLORY}/0001"
EMPTY = make_tree({}, "sha1")
SLACK = 1.5
"""The factor over linear that is allowed for caches and the noise of short times."""
FLOOR = 0.05
"""Seconds; shorter times count as this."""

Facts = tuple[str, Mapping[str, Any]]
Make = Callable[[Path, int], None]


def attacks(where: Path, share: int) -> list[Row]:
    """Every attack with a share of its items (1: all of them), and with a quarter of these."""
    rows = []
    for name, (size, what, make) in ATTACKS.items():
        large = max(32, size // share)
        rows += _measured(where / name, f"{large:,} {what}", make, large)
    rows += [*_zeros(where / "zeros", 256), *_long_tree(where / "tree", 256), *_huge(where / "huge", 256)]
    return [*rows, *_huge_at_remote(where / "remote", 600)]


def _measured(where: Path, what: str, make: Make, large: int) -> list[Row]:
    taken = {}
    for number in (large // 4, large):
        repo = project(where / str(number))
        with Coord.open(repo, as_name="w") as coord:
            coord.sessions.join()
        make(repo, number)
        taken[number] = _first_and_again(repo)
    small, big = taken[large // 4], taken[large]
    rows = [ratio(f"{what}: taken in", big[0] * 1000, max(small[0], FLOOR) * 4000, SLACK)]
    return [*rows, ratio(f"{what}: each command after that", big[1] * 1000, max(small[1], FLOOR) * 4000, SLACK)]


def _first_and_again(repo: Path) -> tuple[float, float]:
    """Seconds of the first command after the events came, and of a second one."""
    return _cpu(lambda: _commands(repo)), _cpu(lambda: _commands(repo))


def _commands(repo: Path) -> None:
    with Coord.open(repo, as_name="w") as coord:
        if "hostile" in git(repo, "remote"):
            coord.remote.sync("hostile")
        coord.messages.inbox()
        coord.overview.status()
        coord.overview.brief()


def _cpu(work: Callable[[], object]) -> float:
    before = os.times()
    work()
    return sum(os.times()[:4]) - sum(before[:4])


# make the attacks


def _commit(kind: str, data: Mapping[str, Any], lc: int, parent: Oid | None, clone: str = MALLORY, tree: Oid = EMPTY.oid,
            author: str = "m") -> GitObject:  # fmt: skip
    envelope = Envelope(lc, clone, "m@example.org", "M <m@example.org>", 1_700_000_000)
    return make_object("commit", encode(Draft(kind, "a text", data, author=author), envelope, tree, parent), "sha1")


def _chain(events: Iterable[Facts], clone: str = MALLORY) -> Iterator[GitObject]:
    parent: Oid | None = None
    for lc, (kind, data) in enumerate(events, 1):
        item = _commit(kind, data, lc, parent, clone)
        parent = item.oid
        yield item


def _put(repo: Path, objects: Iterable[GitObject], ref: str = LOG) -> None:
    made = [EMPTY, *objects]
    with Coord.open(repo) as coord:
        packing.write_all(open_store(coord.clone.repo, False), made)
    git(repo, "update-ref", ref, made[-1].oid)


def _renames(repo: Path, number: int) -> None:
    _put(repo, _chain(("rename", {"old": f"s{n}", "new": f"s{n + 1}"}) for n in range(number)))


def _edits(repo: Path, number: int) -> None:
    task = _commit("task", {}, 1, None)
    _put(repo, _chain([("task", {}), *(("task.edit", {"task": task.oid, "title": f"title {n}"}) for n in range(number))]))


def _shuffled(repo: Path, number: int) -> None:
    """Two logs whose events alternate in the order, so that those of the second all come out of order."""
    task = _commit("task", {}, 1, None)
    _put(repo, [task])
    for clone, first in (("even-00000001", 2), ("odd-00000001", 3)):
        made: list[GitObject] = []
        for n in range(number // 2):
            made.append(_commit("task.edit", {"task": task.oid}, first + 2 * n, made[-1].oid if made else None, clone))
        _put(repo, made, f"refs/coord/log/{clone}/0001")


def _circles(repo: Path, number: int) -> None:
    """Tasks that all need each other, fifty at a time."""
    tasks = list(_chain(("task", {}) for _ in range(number)))
    ids = [task.oid for task in tasks]
    groups = [ids[start : start + 50] for start in range(0, number, 50)]
    made = list(tasks)
    for group in groups:
        for one in group:
            needs = [other for other in group if other != one]
            made.append(_commit("task.edit", {"task": one, "needs": needs}, len(made) + 1, made[-1].oid))
    _put(repo, made)


def _mail(repo: Path, number: int) -> None:
    with Coord.open(repo) as coord:
        box = f"w@{coord.clone.id}"
    _put(repo, _chain(("message", {"to": [box]}) for _ in range(number)))


def _unusable(repo: Path, number: int) -> None:
    _put(repo, _chain(("task.reopen", {"task": ""}) for _ in range(number)))


def _many_clones(repo: Path, number: int) -> None:
    """A ref with an id of its own for each event, at a remote."""
    bare = Path(f"{repo}.git")
    git(repo.parent, "init", "-q", "--bare", str(bare))
    made = [_commit("note", {}, 1, None, f"c{n}-00000001") for n in range(number)]
    with Coord.open(bare) as coord:
        packing.write_all(open_store(coord.clone.repo, False), [EMPTY, *made])
    lines = "".join(f"create refs/coord/log/c{n}-00000001/0001 {item.oid}\n" for n, item in enumerate(made))
    subprocess.run(["git", "-C", str(bare), "update-ref", "--stdin"], input=lines.encode(), check=True)
    git(repo, "remote", "add", "hostile", str(bare))


def _checkpoints(repo: Path, number: int) -> None:
    """Eight checkpoints of each clone, with invalid signatures."""
    junk = b"gpgsig -----BEGIN SSH SIGNATURE-----\n U1NIU0lH\n -----END SSH SIGNATURE-----\n"
    for n in range(max(1, number // 8)):
        clone = f"c{n}-00000001"
        ref = f"refs/coord/log/{clone}/0001"
        made: list[GitObject] = []
        for lc in range(1, 9):
            item = _commit("checkpoint", {"ref": ref}, lc, made[-1].oid if made else None, clone, author=clone)
            made.append(make_object("commit", item.data.replace(b"\n\n", b"\n" + junk + b"\n", 1), "sha1"))
        _put(repo, made, ref)


ATTACKS: dict[str, tuple[int, str, Make]] = {
    "renames": (3000, "renames in a chain", _renames),
    "edits": (3000, "edits of one task", _edits),
    "shuffled": (3000, "edits of one task, out of order", _shuffled),
    "circles": (750, "tasks that need each other", _circles),
    "mail": (100_000, "unread messages", _mail),
    "unusable": (3000, "events that cannot be used", _unusable),
    "clones": (5000, "refs with an id each", _many_clones),
    "checkpoints": (480, "checkpoints with bad signatures", _checkpoints),
}
"""For each attack the full number of items, their name, and the function that makes it."""


def _zeros(where: Path, mebibytes: int) -> list[Row]:
    """An epoch whose root carries a blob of zeros, which packs to a thousandth."""
    repo = project(where)
    path = where / "zeros"
    with open(path, "wb") as file:
        file.truncate(mebibytes << 20)
    blob = git(repo, "hash-object", "-w", str(path)).strip()
    names = {f"{n:040x}": Oid(blob) for n in range(8)}
    tree = make_tree(names, "sha1")
    root = _commit("epoch", {"carried": 8, "lowest": 1}, 9, None, tree=tree.oid, author=MALLORY)
    _put(repo, [tree, root])
    limit = epoch.MAX_CARRIED >> 20
    return [at_most(f"an epoch that carries {mebibytes} MiB of zeros (limit {limit})", _cpu(lambda: _commands(repo)), 1, "s")]


def _huge(where: Path, mebibytes: int) -> list[Row]:
    """A commit with a text of hundreds of megabytes on a log that was read before: measure how much of it our own process
    inflates."""
    repo = project(where)
    with Coord.open(repo, as_name="w") as coord:
        coord.sessions.join()
    first = _commit("note", {}, 1, None)
    _put(repo, [first])
    _commands(repo)
    head = _commit("note", {}, 2, first.oid).data
    git(repo, "update-ref", LOG, _hashed(repo, "commit", head + b"x" * (mebibytes << 20)))
    return [at_most(f"a commit of {mebibytes} MiB: memory of our process", _growth(lambda: _commands(repo)), 32, "MiB")]


def _long_tree(where: Path, mebibytes: int) -> list[Row]:
    """An epoch whose root's tree is far larger than the events that it says to carry."""
    repo = project(where)
    entry = b"100644 %040x\0" % 1 + bytes(20)
    tree = Oid(_hashed(repo, "tree", entry * ((mebibytes << 20) // len(entry))))
    _put(repo, [_commit("epoch", {"carried": 8, "lowest": 1}, 9, None, tree=tree, author=MALLORY)])
    return [at_most(f"an epoch whose tree has {mebibytes} MiB for 8 events", _cpu(lambda: _commands(repo)), 1, "s")]


def _huge_at_remote(where: Path, mebibytes: int) -> list[Row]:
    """A commit at the remote that git would inflate whole while it fetches: the memory of our gits."""
    remote = project(where / "remote")
    put = Oid(_hashed(remote, "commit", _commit("note", {}, 1, None).data + b"x" * (mebibytes << 20)))
    git(remote, "update-ref", LOG, put)
    repo = project(where / "repo")
    code = (
        "import resource, sys; from gitcoord import Coord\n"
        "with Coord.open(sys.argv[1], as_name='w') as coord: coord.remote.sync(sys.argv[2])\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)"
    )
    argv = [sys.executable, "-c", code, str(repo), str(remote)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return [at_most(f"a commit of {mebibytes} MiB at the remote: memory of our gits", float(done.stdout), 64, "MiB")]


def _hashed(repo: Path, kind: str, data: bytes) -> str:
    argv = ["git", "-C", str(repo), "hash-object", "-w", "--literally", "-t", kind, "--stdin"]
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout.decode().strip()


def _growth(work: Callable[[], object]) -> float:
    """The growth of this process's largest memory, in MiB."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # resets the peak
    before = _status("VmRSS")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(field)).split()[1])
