"""A sync with nothing new ends with the remote's answer, unless something is left to be done."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from byhand import make_key, sign_with
from clones import at_rest, clone_id, sync_all
from conftest import git

from gitcoord import Coord
from gitcoord.features.locks import read as locks
from gitcoord.log.index import presence
from gitcoord.store import refs
from gitcoord.sync import exchange, leases, link, pull, remotes


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return at_rest(tmp_path)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows with every sync that goes further than the remote's answer."""
    busy: list[str] = []
    further = pull.take

    def take(at: link.Link, there: link.Refs) -> object:
        busy.append(at.clone.id)
        return further(at, there)

    monkeypatch.setattr(exchange, "take", take)
    return busy


def rows(coord: Coord, kind: str) -> int:
    oid = coord.clone.store.tips().refs.get(leases.lease_ref(kind))
    return len(leases.read_table(coord.clone, kind, oid).rows)


def test_with_nothing_to_do_the_answer_is_the_end(pair: tuple[Path, Path], idle: list[str]) -> None:
    ada, bob = pair
    with Coord.open(bob, as_name="w") as coord:
        task = coord.tasks.add("shared").id
        coord.tasks.claim(task)
        coord.locks.take(["a.py"], everywhere=True)
        coord.remote.sync()
    sync_all(pair)
    idle.clear()
    with Coord.open(ada, as_name="w") as coord:
        before = remotes.current(coord.clone.repo)
        assert coord.remote.sync() == ("origin", 0, 0, ())
        assert idle == []
        assert remotes.current(coord.clone.repo).at > before.at, "it counts as a sync"
        assert remotes.current(coord.clone.repo).ours == before.ours
    git(ada, "config", "coord.ignoreClone", clone_id(bob))
    with Coord.open(bob, as_name="w") as coord:
        coord.notes.add("unheard")
        coord.remote.sync()
    idle.clear()
    with Coord.open(ada, as_name="w") as coord:
        assert coord.remote.sync() == ("origin", 0, 0, ())
        assert idle == []


def test_an_offline_claim_that_was_pushed_by_hand_is_settled(pair: tuple[Path, Path]) -> None:
    ada, _ = pair
    with Coord.open(ada, as_name="w") as coord:
        task = coord.tasks.add("shared").id
        coord.tasks.claim(task, offline=True)
        own = coord.clone.id
        git(ada, "push", "-q", "origin", f"refs/coord/log/{own}/*", f"+refs/coord/presence/{own}")
        assert coord.tasks.show(task).tentative
        coord.remote.sync()
        assert not coord.tasks.show(task).tentative


def test_the_row_of_a_lock_whose_time_is_over_is_given_back(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ada, _ = pair
    with Coord.open(ada, as_name="w") as coord:
        coord.locks.take(["a.py"], ttl=60, everywhere=True)
        coord.remote.sync()
        assert rows(coord, "locks") == 1
        later = time.time() + 3600
        monkeypatch.setattr(locks, "time", SimpleNamespace(time=lambda: later))
        coord.remote.sync()
        assert rows(coord, "locks") == 0


def test_who_begins_to_sign_signs_what_is_there_already(pair: tuple[Path, Path], tmp_path: Path) -> None:
    ada, _ = pair
    sign_with(ada, make_key(tmp_path, "key"))
    with Coord.open(ada, as_name="w") as coord:
        assert coord.remote.sync().sent == 1
        assert coord.events.log(kind="checkpoint")
        assert coord.remote.sync().sent == 0


def test_presence_that_left_the_remote_leaves_here(pair: tuple[Path, Path]) -> None:
    ada, bob = pair
    ref = f"refs/coord/presence/{clone_id(bob)}"
    git(bob, "push", "-q", "origin", f":{ref}")
    with Coord.open(ada, as_name="w") as coord:
        assert ref in coord.clone.read(presence.heard)
        assert not git(ada, "for-each-ref", ref)
        coord.remote.sync()
        assert ref not in coord.clone.read(presence.heard)
        assert {s.session for s in coord.sessions.list() if not s.local} == set()


def test_many_refs_are_packed_and_the_users_are_left_as_they_are(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refs, "LOOSE_REFS", 1)
    ada, _ = pair
    tip = git(ada, "rev-parse", f"refs/coord/log/{clone_id(ada)}/0001").strip()
    git(ada, "tag", "-a", "-m", "a tag", "v1")
    git(ada, "pack-refs")
    git(ada, "branch", "topic")
    for number in range(5):
        git(ada.parent / "hub.git", "update-ref", f"refs/coord/log/eve-0000000{number}/0001", tip)
    branches = list((ada / ".git" / "refs" / "heads").iterdir())
    before = git(ada, "show-ref", "--dereference")
    with Coord.open(ada, as_name="w") as coord:
        coord.remote.sync()
        listed = coord.clone.store.tips().refs
    assert [path for path in (ada / ".git" / "refs" / "coord").rglob("*") if path.is_file()] == []
    assert branches and all(path.is_file() for path in branches)
    assert git(ada, "for-each-ref", "--format=%(refname)", "refs/coord").splitlines() == sorted(listed)
    assert set(before.splitlines()) <= {*git(ada, "show-ref", "--dereference").splitlines(), *_ours(before)}
    assert sum("eve-" in ref for ref in listed) == 5 and not (ada / ".git/packed-refs.lock").exists()
    git(ada, "fsck", "--strict")


def _ours(listed: str) -> list[str]:
    return [line for line in listed.splitlines() if "refs/coord/" in line]
