"""Clones with gitcoord 0.1, whose presence is one ref for each session, beside newer ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from clones import clone_id, make_met, sync_all
from conftest import git
from hostile import commit

from gitcoord import Coord
from gitcoord.log.index import presence
from gitcoord.store import packing

OLD = "old-00000001"


def show_old(where: Path, ref_of: str, name: str, at: int = 1_700_000_000, **facts: object) -> str:
    """Write the presence of one session as gitcoord 0.1 does."""
    data = {"session": name, "state": "active", "ttl": 900, **facts}
    item = commit("presence", f"{name} is active", data, 5, None, name, clone=ref_of, at=at)
    with Coord.open(where, as_name="w") as coord:
        packing.write_all(coord.clone.store.git, [item])
    git(where, "update-ref", f"refs/coord/sessions/{ref_of}/{name}", item.oid)
    return item.oid


def here(where: Path) -> set[str]:
    with Coord.open(where, as_name="w") as coord:
        return {f"{s.session}@{s.clone}" for s in coord.sessions.list() if s.session}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    _, (ada, bob) = make_met(tmp_path, 2)
    return ada, bob


def refs(where: Path, kind: str) -> list[str]:
    return git(where, "for-each-ref", "--format=%(refname)", f"refs/coord/{kind}").split()


def test_the_presence_that_an_older_version_left_here_moves_with_the_next_beat(pair: tuple[Path, Path]) -> None:
    ada, _ = pair
    own = clone_id(ada)
    with Coord.open(ada, as_name="v") as coord:
        coord.sessions.join()
    git(ada, "update-ref", "-d", f"refs/coord/presence/{own}")
    for name in ("w", "v"):
        show_old(ada, own, name)
    assert here(ada) >= {f"w@{own}"}
    with Coord.open(ada, as_name="w") as coord:
        coord.sessions.focus("the parser")
        shown = coord.clone.read(lambda db: db.execute("SELECT name FROM presence WHERE clone = ?", (own,)).fetchall())
    assert sorted(shown) == [("v",), ("w",)]
    assert (refs(ada, "sessions"), refs(ada, "presence")) == ([], [f"refs/coord/presence/{own}"])


def test_an_older_clone_is_read_and_sees_ours(pair: tuple[Path, Path]) -> None:
    ada, bob = pair
    hub = ada.parent / "hub.git"
    show_old(hub, OLD, "o")
    sync_all([ada, bob])
    assert f"o@{OLD}" in here(ada)
    assert refs(ada, "sessions") == [], "nothing of it in a ref here"
    own = f"refs/coord/sessions/{clone_id(ada)}/w"
    assert own in refs(hub, "sessions")
    with Coord.open(ada, as_name="w") as coord:
        before = git(hub, "rev-parse", own)
        assert coord.remote.sync().sent == 0
        assert git(hub, "rev-parse", own) == before, "the same facts are the same commit"
        coord.sessions.focus("the parser")
        coord.remote.sync()
    assert '"focus":"the parser"' in git(hub, "log", "-1", "--format=%B", own)
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        assert own not in coord.clone.read(presence.heard), "a newer clone reads the newer form alone"
        git(hub, "update-ref", "-d", f"refs/coord/sessions/{OLD}/o")
    sync_all([ada, bob])
    assert refs(hub, "sessions") == [], "nobody needs them any more"


def test_a_clone_that_was_upgraded_loses_no_session_on_the_way(pair: tuple[Path, Path]) -> None:
    ada, bob = pair
    own, hub = clone_id(ada), ada.parent / "hub.git"
    ref = f"refs/coord/presence/{own}"
    git(hub, "update-ref", "-d", ref)
    show_old(hub, own, "w")
    show_old(hub, own, "v")
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        shown = {
            "w": {"state": "active", "ttl": 900, "at": 1_700_000_000},
            "v": {"state": "idle", "ttl": 900, "at": 1_700_000_100},
        }
        item = commit("presences", "two", {"sessions": shown}, 9, None, own, clone=own, at=1_700_000_100)
        packing.write_all(coord.clone.store.git, [item])
    git(bob, "push", "-q", str(hub), f"{item.oid}:{ref}")
    for name in ("w", "v"):
        git(hub, "update-ref", "-d", f"refs/coord/sessions/{own}/{name}")
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        assert here(bob) >= {f"w@{own}", f"v@{own}"}
