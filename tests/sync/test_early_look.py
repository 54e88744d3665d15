"""`git coord sync` asks the remote before it has loaded all of itself: once, and not when that may be out of date."""

from __future__ import annotations

from pathlib import Path

import pytest
from clones import at_rest, start
from conftest import git

from gitcoord import Coord
from gitcoord.store import transport
from gitcoord.sync import early_look


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return at_rest(tmp_path)


def connections(path: Path, log: Path) -> None:
    """Have each connection to the remote of a clone written down."""
    script = log.with_suffix(".sh")
    script.write_text(f'#!/bin/sh\necho "${{0##*/}}" >>"{log}"\nexec git-upload-pack "$@"\n')
    script.chmod(0o755)
    git(path, "config", "remote.origin.uploadpack", str(script))


@pytest.mark.parametrize("args", [[], ["--json"], ["origin"], ["--dry-run"], ["nowhere"]])
def test_the_program_connects_once(pair: tuple[Path, Path], tmp_path: Path, args: list[str]) -> None:
    ada, _ = pair
    log = tmp_path / "connections"
    connections(ada, log)
    out, err = start(ada, "sync", *args).communicate(timeout=60)
    if args == ["nowhere"]:
        assert err.startswith("error: nowhere is not a readable repository")
        assert not log.exists()
    else:
        assert out
        assert log.read_text().count("\n") == 1


def test_outside_of_a_repository_the_sync_itself_says_what_is_wrong(tmp_path: Path) -> None:
    out, err = start(tmp_path, "sync").communicate(timeout=60)
    assert (out, err.splitlines()[0][:6]) == ("", "error:")


@pytest.mark.parametrize("in_between", [False, True])
def test_a_look_is_good_for_as_long_as_nobody_else_was_at_the_remote(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, in_between: bool
) -> None:
    ada, bob = pair
    looks: list[str] = []
    look = transport.start_look
    monkeypatch.setattr(transport, "start_look", lambda *args: looks.append("look") or look(*args))
    monkeypatch.chdir(ada)
    early_look.begin([])
    assert looks == ["look"]
    (begun,) = early_look._begun
    if in_between:
        with Coord.open(bob, as_name="w") as coord:
            coord.notes.add("after the look")
            coord.remote.sync()
        monkeypatch.setattr(early_look, "_begun", [])
        with Coord.open(ada, as_name="w") as coord:
            coord.remote.sync()
        monkeypatch.setattr(early_look, "_begun", [begun])
    looks.clear()
    with Coord.open(ada, as_name="w") as coord:
        assert coord.remote.sync().received == 0
        assert looks == (["look"] if in_between else [])
        assert not coord.clone.mended
    assert early_look._begun == []
    assert begun.look.started.child.returncode is not None


def test_who_finds_the_network_in_use_does_not_look_ahead(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from gitcoord.sync import remotes
    from gitcoord.sync.link import linked

    ada, _ = pair
    monkeypatch.chdir(ada)
    with Coord.open(ada, as_name="w") as coord, linked(coord.clone, remotes.choose(coord.clone.repo, None, ".")):
        early_look.begin([])
        assert early_look._begun == []
