"""The damage that a campaign does beside its writers: git's own upkeep, foreign commands, broken files, full disks. Each
leaves what the promises say is enough for a repair: in one episode either the journal is damaged, or refs and objects are,
never both."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple

from gitcoord import Coord


class Ground(NamedTuple):
    """The repositories of an episode: `main` with linked worktrees `w0`, … beside it, a bare `hub.git`, and another clone of
    that, which nothing damages."""

    place: Path
    chance: Random
    branches: dict[str, str]
    """The expected values of the user's branches, updated when the user changes them."""

    @property
    def main(self) -> Path:
        return self.place / "main"

    @property
    def coord(self) -> Path:
        return self.main / ".git" / "coord"

    def git(self, *args: str) -> str:
        """Run git as the user would; its errors do not matter while others write."""
        done = subprocess.run(["git", "-C", str(self.main), *args], capture_output=True, text=True)
        return done.stdout.strip()


OTHER = "other"
Harm = Callable[[Ground], object]


def _git(*args: str) -> Harm:
    return lambda ground: ground.git(*args)


def user_commits(ground: Ground) -> None:
    """Commit on a branch that no worktree has checked out, by plumbing; from then on it has to exist."""
    name = f"topic{ground.chance.randrange(6)}"
    tree = ground.git("rev-parse", "HEAD^{tree}")
    made = ground.git("commit-tree", tree, "-p", ground.branches.get(name) or "HEAD", "-m", f"work on {name}")
    ground.git("update-ref", f"refs/heads/{name}", made)
    ground.branches[name] = made


def user_deletes(ground: Ground) -> None:
    """Delete a branch. Its commit is kept under another ref, because a commit-graph would still name it after a repack
    dropped it."""
    name = f"topic{ground.chance.randrange(6)}"
    if ground.branches.pop(name, None):
        ground.git("update-ref", f"refs/archive/{ground.git('rev-parse', name)}", name)
        ground.git("branch", "-q", "-D", name)


def worktree_comes_and_goes(ground: Ground) -> None:
    where = ground.place / f"extra{ground.chance.randrange(3)}"
    if where.exists():
        ground.git("worktree", "remove", "--force", str(where))
    else:
        ground.git("worktree", "add", "-q", "--detach", str(where))


def pruning_fetch(ground: Ground) -> None:
    """Fetch as a mirror: this deletes every ref of ours that the remote does not have, and resets the others."""
    ground.git("fetch", "-q", "--prune", "origin", "+refs/coord/*:refs/coord/*")


def _own_refs(ground: Ground) -> list[str]:
    return ground.git("for-each-ref", "--format=%(refname)", "refs/coord").split()


def ref_vanishes(ground: Ground) -> None:
    if refs := _own_refs(ground):
        ground.git("update-ref", "-d", ground.chance.choice(refs))


def ref_is_turned_back(ground: Ground) -> None:
    logs = [ref for ref in _own_refs(ground) if ref.startswith("refs/coord/log/")]
    if logs:
        ref = ground.chance.choice(logs)
        if older := ground.git("rev-parse", "--verify", "-q", f"{ref}~{ground.chance.randrange(1, 4)}"):
            ground.git("update-ref", ref, older)


def ref_is_emptied(ground: Ground) -> None:
    """Empty a ref file, as a power loss does."""
    found = [Path(where, name) for where, _, names in os.walk(ground.main / ".git" / "refs" / "coord") for name in names]
    if found:
        with suppress(OSError):
            os.truncate(ground.chance.choice(sorted(found)), 0)


def lock_is_left(ground: Ground) -> None:
    """Leave a lock file, as a killed git does."""
    for ref in _own_refs(ground)[:1]:
        path = ground.main / ".git" / f"{ref}.lock"
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def object_is_torn(ground: Ground) -> None:
    """Tear a recent loose object of ours, as a power loss does."""
    tips = [ground.git("rev-parse", "-q", "--verify", ref) for ref in _own_refs(ground)]
    paths = [ground.main / ".git" / "objects" / oid[:2] / oid[2:] for oid in tips if oid]
    loose = [path for path in paths if path.exists()]
    if loose:
        path = ground.chance.choice(loose)
        with suppress(OSError):
            path.chmod(0o644)
            if ground.chance.random() < 0.5:
                path.unlink()
            else:
                os.truncate(path, ground.chance.choice((0, 10)))


def _file_is(name: str, how: str) -> Harm:
    def harm(ground: Ground) -> None:
        path = ground.coord / name
        with suppress(OSError):
            if how == "gone":
                path.unlink()
            elif how == "halved":
                os.truncate(path, path.stat().st_size // 2)
            else:
                path.write_bytes(ground.chance.randbytes(300))

    return harm


def session_file_is_garbage(ground: Ground) -> None:
    found = sorted((ground.coord / "sessions").glob("*.json"))
    if found:
        ground.chance.choice(found).write_text("{")


def disk_is_full(ground: Ground) -> None:
    """Fill the disk for half a second, if the repository is on a small file system of its own."""
    import time

    filler = ground.place / "filler"
    if ground.place.stat().st_dev == ground.place.parent.stat().st_dev:
        return
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(b"\0" * 65536)
            file.flush()
    time.sleep(0.5)
    filler.unlink(missing_ok=True)


UPKEEP: dict[str, Harm] = {
    "gc": _git("gc", "--quiet"),
    "pack-refs": _git("pack-refs", "--all", "--prune"),
    "repack": _git("repack", "-a", "-d", "-q"),
    "maintenance": _git("maintenance", "run", "--quiet", "--task=gc"),
    "commit-graph": _git("commit-graph", "write", "--reachable"),
    "commit-graphs": _git("commit-graph", "write", "--reachable", "--split"),
    "user_commits": user_commits,
    "user_deletes": user_deletes,
    "worktree": worktree_comes_and_goes,
    "index_gone": _file_is("index.sqlite", "gone"),
    "index_halved": _file_is("index.sqlite", "halved"),
    "index_garbage": _file_is("index.sqlite", "garbage"),
    "checked_garbage": _file_is("checked", "garbage"),
    "superseded_garbage": _file_is("superseded", "garbage"),
    "session_garbage": session_file_is_garbage,
    "lock_left": lock_is_left,
    "disk_full": disk_is_full,
}
"""Harms that remove nothing of which there is only one copy."""

LOSSES: dict[str, Harm] = {
    "prune": _git("prune", "--expire=now"),
    "gc_prune": _git("gc", "--quiet", "--prune=now"),
    "pruning_fetch": pruning_fetch,
    "ref_vanishes": ref_vanishes,
    "ref_turned_back": ref_is_turned_back,
    "ref_emptied": ref_is_emptied,
    "object_torn": object_is_torn,
}
"""Harms that the journal can repair."""

JOURNAL: dict[str, Harm] = {
    "journal_gone": _file_is("journal", "gone"),
    "journal_halved": _file_is("journal", "halved"),
    "journal_garbage": _file_is("journal", "garbage"),
    "journal_old_gone": _file_is("journal.old", "gone"),
}
"""Harms that refs and objects can repair."""


def make(place: Path, chance: Random) -> Ground:
    """A fresh repository, with four worktrees for the workers."""
    ground = Ground(place, chance, {})
    shutil.rmtree(ground.main, ignore_errors=True)
    ground.main.mkdir(parents=True)
    for args in (["init", "-q", "-b", "trunk"], ["config", "gc.auto", "0"], ["config", "coord.autosync", "false"]):
        ground.git(*args)
    (ground.main / "a.txt").write_text("a\n")
    ground.git("add", ".")
    ground.git("commit", "-q", "-m", "first")
    ground.git("clone", "-q", "--bare", ".", str(place / "hub.git"))
    ground.git("remote", "add", "origin", str(place / "hub.git"))
    ground.git("clone", "-q", str(place / "hub.git"), str(place / OTHER))
    for args in (["config", "gc.auto", "0"], ["config", "coord.autosync", "false"]):
        subprocess.run(["git", "-C", str(place / OTHER), *args], check=True)
    for number in range(4):
        ground.git("worktree", "add", "-q", "-b", f"w{number}", str(place / f"w{number}"))
    for clone in (ground.main, place / OTHER):  # claims and numbers are the remote's from now on
        with Coord.open(clone, as_name="first") as coord:
            coord.remote.sync("origin", quiet=True)
    ground.branches.update({name: ground.git("rev-parse", name) for name in ("trunk", "w0", "w1", "w2", "w3")})
    return ground
