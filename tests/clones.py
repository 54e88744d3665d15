"""Several clones of one repository around a bare one, each with a user of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from conftest import git, make_repo

from gitcoord import Coord

USERS = ("Ada", "Bob", "Cy", "Dee", "Eve", "Fay", "Gus", "Hal")


def make_clones(where: Path, count: int) -> tuple[Path, list[Path]]:
    """A bare repository and clones of it, called by their users' names in lower case."""
    source = make_repo(where / "source")
    hub = where / "hub.git"
    git(where, "clone", "-q", "--bare", str(source), str(hub))
    found = []
    for user in USERS[:count]:
        path = where / user.lower()
        git(where, "clone", "-q", str(hub), str(path))
        git(path, "config", "user.name", user)
        found.append(path)
    return hub, found


def meet(clones: Iterable[Path]) -> None:
    """Every clone has a session `w`, and knows of everybody's."""
    for _ in range(2):
        for path in clones:
            with Coord.open(path, as_name="w") as coord:
                coord.sessions.join()
                coord.remote.sync("origin")


def sync_all(clones: Iterable[Path], rounds: int = 2) -> None:
    """Until nothing is new any more, where one round may bring what the next has to send on."""
    for _ in range(rounds):
        for path in clones:
            with Coord.open(path, as_name="w") as coord:
                coord.remote.sync("origin")


def at_rest(where: Path) -> tuple[Path, Path]:
    """Ada's and Bob's clones, which know each other's session `w` and have nothing more to tell each other."""
    _, (ada, bob) = make_clones(where, 2)
    meet([ada, bob])
    sync_all([ada, bob])
    return ada, bob


def identity(path: Path) -> str:
    with Coord.open(path) as coord:
        assert coord.clone.id
        return coord.clone.id


def holders(clones: Iterable[Path], task: str) -> list[tuple[str, str | None, bool]]:
    """Status, holder and whether the claim is tentative, as each clone sees it."""
    found = []
    for path in clones:
        with Coord.open(path, as_name="w") as coord:
            shown = coord.tasks.show(task)
            found.append((shown.status, shown.holder, shown.tentative))
    return found


def start(path: Path, *args: str) -> subprocess.Popen[str]:
    """The program, running."""
    return subprocess.Popen(
        [sys.executable, "-m", "gitcoord", *args],
        cwd=path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def at_once(clones: Iterable[Path], argv: Callable[[int], Iterable[str]]) -> list[tuple[int, str, str]]:
    """Run one command in each clone at the same time: exit code, output and errors of each."""
    running = [start(path, *argv(number)) for number, path in enumerate(clones)]
    said = [run.communicate(timeout=120) for run in running]
    return [(run.returncode, out, err) for run, (out, err) in zip(running, said, strict=True)]
