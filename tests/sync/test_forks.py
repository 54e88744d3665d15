"""Several remotes to read, one to write: contributors meet through their forks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clones import clone_id, make_met
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.sync import forks


def texts(where: Path) -> set[str]:
    with Coord.open(where, as_name="w") as coord:
        return {note.text for note in coord.notes.list(limit=100)}


@pytest.fixture
def forked(tmp_path: Path) -> tuple[Path, Path, Path, Path]:
    """Ada writes to the hub, which Bob can only read; Bob writes to a fork of his own."""
    hub, (ada, bob) = make_met(tmp_path, 2)
    fork = tmp_path / "fork.git"
    shutil.copytree(hub, fork)
    git(bob, "remote", "set-url", "origin", str(fork))
    (bob / ".git/coord/remote").unlink()
    git(bob, "config", "--add", "coord.remotes", str(hub))
    return hub, fork, ada, bob


def test_contributors_meet_through_their_forks(forked: tuple[Path, ...], cli: Cli) -> None:
    hub, fork, ada, bob = forked
    git(ada, "config", "coord.remotes", str(fork))
    for where, text in ((ada, "from the hub"), (bob, "from the fork")):
        assert cli(where, "note", text).code == 0
    before = git(hub, "for-each-ref", f"refs/coord/log/{clone_id(bob)}")
    for where in (ada, bob, ada):
        ran = cli(where, "sync", "origin")
        assert (ran.code, ran.err) == (0, ""), ran
    assert texts(ada) == texts(bob) == {"from the hub", "from the fork"}
    assert git(hub, "for-each-ref", f"refs/coord/log/{clone_id(bob)}") == before, "nothing is written to a remote that is read"
    assert "trust " not in cli(ada, "status").out + cli(bob, "status").out, "an older copy at a fork is no misdeed"


def test_logs_are_passed_on_unchanged(forked: tuple[Path, ...], tmp_path: Path, cli: Cli) -> None:
    """Cy knows Bob's fork alone, and reads there what Ada wrote to the hub."""
    hub, fork, ada, bob = forked
    git(bob, "config", "coord.relay", "true")
    assert cli(ada, "note", "from the hub").code == cli(ada, "sync").code == 0
    for _ in range(2):
        assert cli(bob, "sync", "origin").code == 0
    log = f"refs/coord/log/{clone_id(ada)}/0001"
    assert git(fork, "rev-parse", log) == git(hub, "rev-parse", log) == git(ada, "rev-parse", log)
    git(tmp_path, "clone", "-q", str(fork), "cy")
    assert cli(tmp_path / "cy", "sync").code == 0
    assert "from the hub" in texts(tmp_path / "cy")


def test_a_fork_that_does_not_answer_is_named_and_stops_nothing(forked: tuple[Path, ...], cli: Cli) -> None:
    hub, fork, _, bob = forked
    shutil.rmtree(hub)
    assert cli(bob, "note", "goes all the same").code == 0
    ran = cli(bob, "sync", "origin")
    assert ran.code == 0 and f"{hub} was not read: " in ran.err
    log = f"refs/coord/log/{clone_id(bob)}/0001"
    assert git(fork, "rev-parse", log) == git(bob, "rev-parse", log)


def test_the_background_reads_forks_once_a_minute(forked: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, _, bob = forked
    looks = []
    pull = forks.pull
    monkeypatch.setattr(forks, "pull", lambda link: (looks.append(link.remote.name), pull(link))[1])
    with Coord.open(bob, as_name="w") as coord:
        for quiet in (True, True, False):
            coord.remote.sync("origin", quiet=quiet)
    assert len(looks) == 2
