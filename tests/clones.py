"""Several clones of one repository around a bare one, each with a user of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import copy_of, git, make_repo
from forkserver import Program
from templates import LASTS

from gitcoord import Coord
from gitcoord.sync import leases

USERS = ("Ada", "Bob", "Cy", "Dee", "Eve", "Fay", "Gus", "Hal")


def make_clones(where: Path, count: int) -> tuple[Path, list[Path]]:
    """A bare repository and clones of it, called by their users' names in lower case."""
    copy_of(("clones", count), lambda place: _make_clones(place, count), where)
    return where / "hub.git", [where / user.lower() for user in USERS[:count]]


def _make_clones(where: Path, count: int) -> list[Path]:
    source = make_repo(where / "source")
    hub = where / "hub.git"
    git(where, "clone", "-q", "--bare", str(source), str(hub))
    found = []
    for user in USERS[:count]:
        path = where / user.lower()
        git(where, "clone", "-q", str(hub), str(path))
        git(path, "config", "user.name", user)
        found.append(path)
    return found


def make_met(where: Path, count: int) -> tuple[Path, list[Path]]:
    """As `make_clones`; every clone has a session `w`, and knows of everybody's."""
    copy_of(("met", count), lambda place: meet(_make_clones(place, count)), where, LASTS)
    return where / "hub.git", [where / user.lower() for user in USERS[:count]]


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

    def make(place: Path) -> None:
        clones = _make_clones(place, 2)
        meet(clones)
        sync_all(clones)

    copy_of("at rest", make, where, LASTS)
    return where / "ada", where / "bob"


def clone_id(path: Path) -> str:
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


def start(path: Path, *args: str) -> Program:
    """The program, running, with nothing on its standard input."""
    program = Program(["-m", "gitcoord", *args], path)
    program.stdin.close()
    return program


def at_once(clones: Iterable[Path], argv: Callable[[int], Iterable[str]]) -> list[tuple[int, str, str]]:
    """Run one command in each clone at the same time: exit code, output and errors of each."""
    running = [start(path, *argv(number)) for number, path in enumerate(clones)]
    said = [run.communicate(timeout=120) for run in running]
    return [(run.returncode, out, err) for run, (out, err) in zip(running, said, strict=True)]


def set_clocks(monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], list[float]]:
    """The two clocks by which leases are observed, to be set."""
    wall, up = [time.time()], [leases.uptime()]
    monkeypatch.setattr(leases, "time", SimpleNamespace(time=lambda: wall[0]))
    monkeypatch.setattr(leases, "uptime", lambda: up[0])
    return wall, up
