"""Make the repositories that are measured: real ones, with as many events as wanted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

from bench.measure import git
from gitcoord import Coord
from gitcoord.log.event import Draft, Envelope, encode
from gitcoord.sessions.records import Record, Records
from gitcoord.store.objects import make_tree

WORDS = (
    "the parser merges schema before lock branch worker fails because index reads commit after review please rebase "
    "tests green timeout queue deploy cache session build broken again config file line column error first never "
    "migration number table field missing value returned empty retry network slow disk full token budget agent waits"
).split()
CLONE = "bench-00000000"
EMPTY_TREE = make_tree({}, "sha1").oid


def text(number: int) -> str:
    """A message of 200 bytes, different each time."""
    chance = Random(number)
    return f"{number} {' '.join(chance.choices(WORDS, k=60))}"[:200]


def project(path: Path, files: int = 200) -> Path:
    """A repository with some files, a bare remote beside it, and two linked worktrees, `alpha` and `beta`."""
    path.mkdir(parents=True)
    git(path, "init", "-q")
    for number in range(files):
        (path / f"file{number}.txt").write_text(f"{number}\n" * 20)
    git(path, "add", ".")
    git(path, "commit", "-q", "-m", "first")
    for number in range(40):
        git(path, "commit", "-q", "--allow-empty", "-m", f"work {number}")
    git(path, "clone", "-q", "--bare", ".", str(path.parent / f"{path.name}.remote.git"))
    git(path, "remote", "add", "origin", str(path.parent / f"{path.name}.remote.git"))
    git(path, "fetch", "-q", "origin")
    for name in ("alpha", "beta"):
        git(path, "worktree", "add", "-q", "-b", name, str(path.parent / f"{path.name}-{name}"))
    return path


def worktree(path: Path, name: str) -> Path:
    """One of the linked worktrees of `project`."""
    return path.parent / f"{path.name}-{name}"


def with_sessions(path: Path) -> Path:
    """Register `alpha` and `beta`."""
    for name in ("alpha", "beta"):
        with Coord.open(worktree(path, name)) as coord:
            coord.sessions.join(name)
    return path


def crowd(path: Path, sessions: int) -> Path:
    """Register so many sessions in the main worktree, with their records, beats, names and presence. All in one append: one
    by one, each would look at the worktree."""
    with Coord.open(path) as coord:
        clone, now = coord.clone, time.time()
        records = Records(clone.repo.coord_dir)
        names = [f"worker-{number}" for number in range(sessions)]
        with clone.locked():
            clone.append(lambda db: [Draft("join", f"{name} joined", {"session": name}, author=name) for name in names])
            for name in names:
                place = {"git_dir": clone.repo.git_dir, "worktree": str(path), "joined": now, "published": now}
                records.put(Record(name, focus=f"the part of {name}", **place))
                records.touch(name)
                clone.put_presence(name, {"state": "active", "ttl": 900})
    return path


def grow(path: Path, events: int, to: str = f"nobody@{CLONE}") -> Path:
    """Put a log of so many messages of 200 bytes into the repository, as another clone's, through git-fast-import."""
    importer = subprocess.Popen(["git", "-C", str(path), "fast-import", "--quiet"], stdin=subprocess.PIPE)
    assert importer.stdin is not None
    importer.stdin.writelines(_commits(events, to))
    importer.stdin.close()
    if importer.wait():
        raise SystemExit("git fast-import failed")
    git(path, "pack-refs", "--all")
    return path


def _commits(events: int, to: str) -> Iterator[bytes]:
    envelope = Envelope(0, CLONE, "ada@example.org", "Ada Lovelace <ada@example.org>", 1_700_000_000)
    for number in range(1, events + 1):
        draft = Draft("message", text(number), {"to": [to]}, author="writer")
        raw = encode(draft, envelope._replace(lc=number, at=envelope.at + number), EMPTY_TREE, None)
        head, _, message = raw.partition(b"\n\n")
        author, committer = head.split(b"\n")[-2:]
        yield b"commit refs/coord/log/%s/0001\n%s\n%s\ndata %d\n%s\n" % (
            CLONE.encode(), author, committer, len(message), message
        )  # fmt: skip
