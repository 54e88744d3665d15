"""Nothing acknowledged is lost: many writers beside gc, pack-refs, repack and moving branches, and under kill -9.

GITCOORD_WRITERS and GITCOORD_SENDS scale the crowd (32 and 500 are what the promise names).
"""

from __future__ import annotations

import os
import random
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from conftest import git
from forkserver import Program

from gitcoord import Coord
from gitcoord.errors import RepositoryError
from gitcoord.log.event import Draft
from gitcoord.store.discovery import find_repository
from gitcoord.system.lock import file_lock

WRITERS = int(os.environ.get("GITCOORD_WRITERS", "8"))
SENDS = int(os.environ.get("GITCOORD_SENDS", "30"))
KILLS = 3
"""For each writer; another one ends its work."""
ENDLESS = 1_000_000
BRANCHES = 300
WRITER = Path(__file__).parents[1] / "writer.py"


class Crowd:
    """Writers as processes of their own, each with a file of what was acknowledged to it."""

    def __init__(self, repo: Path, where: Path) -> None:
        self.repo, self.where = repo, where
        self.names = [f"w{number}" for number in range(WRITERS)]
        where.mkdir()
        with Coord.open(repo, as_name="sink") as sink:
            sink.sessions.join()

    def start(self, name: str, sends: int = SENDS) -> Program:
        """A writer that continues until so many sends were acknowledged, including those of the writers before it."""
        return Program([str(WRITER), str(self.repo), name, str(sends), str(self.where / name)], self.repo)

    def acknowledged(self) -> dict[str, list[str]]:
        return {name: [line.split()[0] for line in self._lines(name)] for name in self.names}

    def seconds(self) -> list[float]:
        return [float(line.split()[1]) for name in self.names for line in self._lines(name)]

    def _lines(self, name: str) -> list[str]:
        path = self.where / name
        return path.read_text().splitlines() if path.exists() else []


def in_log(repo: Path) -> list[str]:
    """Every message on the log, as plain git tells it."""
    return git(repo, "log", "--format=%H", "--grep=^w[0-9]* [0-9]*$", "--extended-regexp", "--glob=refs/coord/log").split()


@contextmanager
def looping(*actions: Callable[[], object]) -> Iterator[None]:
    """Run each action over and over, in threads of their own, until the block ends; then raise what one of them raised."""
    stop = threading.Event()
    raised: list[BaseException] = []

    def loop(action: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                action()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=loop, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if raised:
        raise raised[0]


class Branches:
    """300 branches of the user's, each moved by git alone; any value but the last one given is a branch reverted."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        first = git(repo, "rev-parse", "HEAD").strip()
        second = git(repo, "commit-tree", "-m", "second", f"{first}^{{tree}}", "-p", first).strip()
        self.values = first, second
        self.now = {f"refs/heads/user/{n}": first for n in range(BRANCHES)}
        self._update("".join(f"create {ref} {oid}\n" for ref, oid in self.now.items()))
        self.moves = 0

    def _update(self, commands: str) -> None:
        argv = ["git", "-c", "core.warnAmbiguousRefs=false", "-C", str(self.repo), "update-ref", "--stdin"]
        done = subprocess.run(argv, input=commands, capture_output=True, text=True)
        assert "but expected" not in done.stderr, f"a branch was reverted: {done.stderr}"
        if done.returncode:
            assert "lock" in done.stderr, done.stderr
            raise BlockingIOError

    def move_one(self) -> None:
        ref = random.choice(list(self.now))
        new = self.values[self.now[ref] == self.values[0]]
        try:
            self._update(f"update {ref} {new} {self.now[ref]}\n")
        except BlockingIOError:
            return
        self.now[ref] = new
        self.moves += 1

    def check(self) -> None:
        lines = git(self.repo, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/user").splitlines()
        assert dict(line.split() for line in lines) == self.now


def housekeeping(repo: Path) -> list[Callable[[], object]]:
    """Run the commands that a user's own git may run at any time. It may meet a lock; no other error is allowed. gc and
    repack take turns, because they make each other fail, also without gitcoord."""

    def run(*args: str) -> None:
        done = subprocess.run(["git", "-C", str(repo), *args], capture_output=True, text=True)
        assert done.returncode == 0 or ".lock" in done.stderr, f"git {args}: {done.stderr}"

    def clean() -> None:
        run("gc", "-q")
        run("repack", "-adq")

    return [clean, lambda: run("pack-refs", "--all")]


def report(crowd: Crowd, seconds: float, **facts: object) -> None:
    """Print the measurements, for `pytest -s` and docs/decisions.md."""
    taken = sorted(crowd.seconds())
    means = [statistics.mean(float(x.split()[1]) for x in crowd._lines(name)) for name in crowd.names if crowd._lines(name)]
    print(
        f"\n{len(taken)} sends by {WRITERS} writers in {seconds:.1f} s: {len(taken) / seconds:.0f}/s,"
        f" p50 {taken[len(taken) // 2] * 1000:.0f} ms, p99 {taken[int(len(taken) * 0.99)] * 1000:.0f} ms,"
        f" max {taken[-1] * 1000:.0f} ms; slowest writer {max(means) / min(means):.2f} x the fastest; {facts}"
    )


def test_many_writers_lose_nothing_beside_gc_repack_pack_refs_and_moving_branches(repo: Path, tmp_path: Path) -> None:
    crowd, branches = Crowd(repo, tmp_path / "acks"), Branches(repo)
    began = time.monotonic()
    with looping(branches.move_one, *housekeeping(repo)):
        running = [crowd.start(name) for name in crowd.names]
        ends = [child.communicate()[1] for child in running]
    assert ends == [""] * WRITERS
    assert [child.returncode for child in running] == [0] * WRITERS
    report(crowd, time.monotonic() - began, branches_moved=branches.moves)
    acknowledged = [oid for ids in crowd.acknowledged().values() for oid in ids]
    assert len(acknowledged) == WRITERS * SENDS
    assert Counter(in_log(repo)) == Counter(acknowledged)
    branches.check()
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_writers_killed_at_any_instant_lose_nothing_acknowledged(repo: Path, tmp_path: Path) -> None:
    """Half of them with the git that writes for them. Another writer continues each one's work; the last ones may
    finish."""
    crowd = Crowd(repo, tmp_path / "acks")
    began = time.monotonic()
    with looping(*housekeeping(repo)), ExitStack() as stack:
        children = {name: crowd.start(name, ENDLESS) for name in crowd.names}
        for name in crowd.names:
            stack.callback(lambda name=name: children[name].kill())
        for _ in range(KILLS * WRITERS):
            name = random.choice(crowd.names)
            with pytest.raises(subprocess.TimeoutExpired):
                children[name].wait(random.uniform(0, 1.2 / WRITERS))
            kill(children[name])
            children[name] = crowd.start(name, ENDLESS)
        for name, ids in crowd.acknowledged().items():
            kill(children[name])
            children[name] = crowd.start(name, len(ids) + 2)
        ends = [children[name].communicate()[1] for name in crowd.names]
    assert [children[name].returncode for name in crowd.names] == [0] * WRITERS, ends
    acknowledged = [oid for ids in crowd.acknowledged().values() for oid in ids]
    report(crowd, time.monotonic() - began, kills=(KILLS + 1) * WRITERS)
    found = Counter(in_log(repo))
    assert len(acknowledged) >= 2 * WRITERS and all(found[oid] == 1 for oid in acknowledged)
    assert max(found.values()) == 1
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def kill(writer: Program) -> None:
    """Kill a writer, alone or with its group. It may have said whom it waited for, nothing else."""
    os.killpg(writer.pid, signal.SIGKILL) if random.random() < 0.5 else writer.kill()
    said = writer.communicate()[1]
    assert writer.returncode == -signal.SIGKILL and not re.search("Traceback|error", said), said


def test_the_git_child_of_a_killed_writer_keeps_the_next_writer_waiting(repo: Path) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.sessions.join()
    held = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(repo)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert held.stdout is not None and held.stdout.readline() == b"child runs\n"
        held.kill()
        held.wait()
        lock = os.path.join(find_repository(repo).coord_dir, "lock")
        probe = [sys.executable, "-c", f"import fcntl; fcntl.flock(open({str(lock)!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)"]
        assert subprocess.run(probe, capture_output=True).returncode != 0  # the orphan still moves the ref
    finally:
        (repo / "go").touch()  # or it would go on for ever
    with file_lock(lock):  # waits for the orphan alone
        assert (repo / "gone").exists()


HOLDER = """
import sys
from pathlib import Path
from gitcoord.system.lock import file_lock
from gitcoord.store.discovery import find_repository
from gitcoord.system.spawn import run
repo = find_repository(sys.argv[1])
with file_lock(repo.coord_dir + "/lock") as fd:
    script = f'echo "child runs" >&3; while [ ! -e {sys.argv[1]}/go ]; do sleep 0.02; done; touch {sys.argv[1]}/gone'
    run(["/bin/sh", "-c", f"exec 3>/proc/{__import__('os').getpid()}/fd/1; " + script], repo.env, keep_fd=fd)
"""


def test_a_decision_is_made_again_when_the_log_moved_meanwhile(repo: Path) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.sessions.join()
        seen = []

        def decide(db: object) -> list[Draft]:
            seen.append(coord.clone.index.known_tips())
            if len(seen) == 1:  # somebody moves our log under our lock: a forced fetch
                ref = f"refs/coord/log/{coord.clone.id}/0001"
                git(repo, "update-ref", ref, f"{ref}~1") if git(repo, "rev-list", "--count", ref) != "1\n" else None
                git(repo, "update-ref", "-d", ref)
            return [Draft("note", "twice", author="w")]

        coord.clone.append(decide)
        assert len(seen) == 2
        assert [event.text for event in coord.events.log()] == ["twice", "w joined"]


def test_an_error_in_the_decision_leaves_everything_as_it_was(repo: Path) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.sessions.join()
        before = git(repo, "for-each-ref")

        def decide(db: object) -> list[Draft]:
            raise RepositoryError("no")

        with pytest.raises(RepositoryError):
            coord.clone.append(decide)
        assert git(repo, "for-each-ref") == before
        assert coord.notes.add("goes on")
