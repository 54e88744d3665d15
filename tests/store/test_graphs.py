"""Presence that a commit-graph of the user's names is kept until no graph names it, so that git fsck has nothing to say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import make_met, sync_all
from conftest import git

from gitcoord import Coord
from gitcoord.sessions import housekeeping
from gitcoord.store import graphs
from gitcoord.store.objects import Oid

FORMS = pytest.mark.parametrize("form", [["--reachable"], ["--reachable", "--split"]], ids=["one", "chain"])


@pytest.fixture
def coord(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Coord]:
    monkeypatch.setenv("GIT_COORD_SESSION", "w")
    with Coord.open(repo) as opened:
        opened.notes.add("first")
        yield opened


def beat(coord: Coord, number: int = 0, name: str = "w") -> Oid:
    data = {"session": name, "state": "active", "ttl": 900, "n": number}
    return coord.clone.put_presence(name, data)  # type: ignore[return-value]


def fsck(repo: Path) -> tuple[int, str]:
    done = subprocess.run(["git", "-C", str(repo), "fsck", "--strict", "--no-dangling"], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def kept(repo: Path) -> list[str]:
    return sorted(path.stem for path in (repo / ".git/objects/pack").glob("*.keep"))


@FORMS
def test_replaced_presence_that_a_graph_names_outlives_repack_and_prune(coord: Coord, repo: Path, form: list[str]) -> None:
    beat(coord, name="w")
    named = [beat(coord, name="v")]
    git(repo, "commit-graph", "write", *form)
    for number in range(1, 4):
        beat(coord, number, "w")
        beat(coord, number, "v")
    git(repo, "repack", "-a", "-d", "-q")
    git(repo, "prune", "--expire=now")
    assert fsck(repo) == (0, "")
    assert len(kept(repo)) == 1
    assert git(repo, "cat-file", "-t", named[0]) == "commit\n"


@FORMS
def test_what_no_graph_names_any_more_is_left_to_git(coord: Coord, repo: Path, form: list[str]) -> None:
    for number in range(3):
        beat(coord, 2 * number)
        git(repo, "commit-graph", "write", *[*form[:1], *(["--split=replace"] if form[1:] else [])])
        beat(coord, 2 * number + 1)
    assert len(kept(repo)) == 1
    git(repo, "gc", "-q", "--prune=now")
    assert fsck(repo) == (0, "")
    git(repo, "update-ref", "-d", f"refs/coord/presence/{coord.clone.id}")
    git(repo, "commit-graph", "write", *[*form[:1], *(["--split=replace"] if form[1:] else [])])
    coord.clone.sweep()
    assert kept(repo) == []
    git(repo, "gc", "-q", "--prune=now")
    assert fsck(repo) == (0, "")


def test_a_graph_that_was_begun_before_and_landed_after_is_seen_with_the_next_beat(coord: Coord, repo: Path) -> None:
    ref = f"refs/coord/presence/{coord.clone.id}"
    old, new = beat(coord, 1), beat(coord, 2)
    git(repo, "update-ref", ref, old)
    git(repo, "commit-graph", "write", "--reachable")  # as if git had listed the refs before the second beat
    git(repo, "update-ref", ref, new)
    beat(coord, 3)
    git(repo, "repack", "-a", "-d", "-q")
    git(repo, "prune", "--expire=now")
    assert fsck(repo) == (0, "")


@pytest.mark.parametrize("mends", ["refresh", "doctor"])
@FORMS
def test_a_graph_that_names_a_lost_commit_is_written_anew(coord: Coord, repo: Path, form: list[str], mends: str) -> None:
    ref = f"refs/coord/presence/{coord.clone.id}"
    beat(coord, 1)
    git(repo, "commit-graph", "write", *form)
    git(repo, "update-ref", "-d", ref)  # a fetch that prunes
    git(repo, "prune", "--expire=now")
    assert fsck(repo)[0] != 0
    if mends == "doctor":
        (found,) = [f for f in coord.repository.doctor() if not f.well]
        assert found.said == "git's commit-graph names 1 lost commit"
        assert [f for f in coord.repository.doctor(fix=True) if not f.well] == []
    else:
        housekeeping.refresh(coord.clone)
    assert fsck(repo) == (0, "")


def test_a_graph_that_cannot_be_read_keeps_nothing_and_stops_nothing(coord: Coord, repo: Path) -> None:
    beat(coord)
    git(repo, "commit-graph", "write", "--reachable")
    path = repo / ".git/objects/info/commit-graph"
    whole = path.read_bytes()
    path.chmod(0o644)
    for data in (b"", whole[:30], whole[:200], b"CGPH\x01\x01\x09\x00" + b"\xff" * 300, whole.replace(b"OIDF", b"XXXX")):
        path.write_bytes(data)
        beat(coord, len(data))
        assert graphs.lost(coord.clone.repo, thoroughly=True) == []
    assert kept(repo) == []


def test_others_presence_is_in_no_ref_and_so_in_no_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (here, there) = make_met(tmp_path, 2)
    git(here, "commit-graph", "write", "--reachable")
    with Coord.open(there, as_name="w") as coord:
        beat(coord, 1)
    sync_all([there, here], 1)
    git(here, "repack", "-a", "-d", "-q")
    git(here, "prune", "--expire=now")
    assert fsck(here) == (0, "")
    assert not kept(here)
