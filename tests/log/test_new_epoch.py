"""A new epoch of a log is taken in without reading all again, and leaves the tables that a rebuild makes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from byhand import allow, make_key, sign_with
from clones import clone_id, make_met
from conftest import git
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples
from test_index import logs, state_after
from test_retention import DAY, STEPS, assert_index_is_what_the_refs_say, content

from gitcoord import Coord
from gitcoord.features import REGISTRY
from gitcoord.log import trust
from gitcoord.log.event import Event
from gitcoord.log.index import Index, forgetting


def forgetting_some(ids: Collection[str]) -> Any:
    """The step after which the events `ids` are forgotten, for `state_after`."""

    def step(db: sqlite3.Connection, fold: Any) -> None:
        parts = [trust.FORGET, *(feature.forget for feature in REGISTRY.features())]
        for event in forgetting.forget(db, ids, parts):
            fold(event)

    return step


@given(logs(), st.data())
@examples(150)
def test_what_is_forgotten_leaves_no_trace(written: list[list[Event]], data: st.DataObject) -> None:
    events = sorted((event for log in written for event in log), key=lambda event: (event.lc, event.id))
    gone = {event.id for event in events if data.draw(st.booleans())}
    expected = state_after([event for event in events if event.id not in gone])
    expected.pop("refused")
    assert state_after(events, forgetting_some(gone)) == expected


@pytest.fixture
def no_rebuild(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Index._begin_rebuild

    def refuse(index: Index, anew: bool) -> None:
        assert not index.known_tips(), "the index is read anew"
        begin(index, anew)

    monkeypatch.setattr(Index, "_begin_rebuild", refuse)


def live_a_little(coord: Coord, other: str, old: float) -> None:
    """All kinds of events, half of them `old` seconds ago, some about another clone's sessions."""
    for age in (old, 0.0):
        coord.clone.clock = lambda age=age: time.time() - age
        for number in range(2):
            for step in STEPS:
                if step.__name__ != "_redact":
                    step(coord, number)
            coord.send(other, f"mail {age} {number}")
    coord.tasks.add("left open")
    coord.clone.clock = time.time


def sync(where: Path) -> None:
    with Coord.open(where, as_name="w") as coord:
        coord.remote.sync()


@pytest.mark.parametrize("how", ["redact", "gc twice"])
def test_others_take_a_new_epoch_in_without_reading_all_again(tmp_path: Path, how: str, no_rebuild: None) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(bob, as_name="w") as coord:
        coord.sessions.join("w")
        coord.remote.sync()
    with Coord.open(ada, as_name="w") as coord:
        coord.sessions.join("w")
        live_a_little(coord, f"w@{clone_id(bob)}", 100 * DAY)
        coord.remote.sync()
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        coord.inbox()
        coord.tasks.done(coord.tasks.list()[0].id, force=True)
        coord.remote.sync()
    with Coord.open(ada, as_name="w") as coord:
        if how == "redact":
            gone = coord.notes.list(limit=100)[1].id
            coord.events.redact(gone)
        else:
            gone = coord.notes.list(limit=100)[-1].id
            assert coord.repository.gc(keep=50 * DAY).dropped > 3
            assert how == "gc" or coord.repository.gc(keep=-10).dropped > 1
        coord.notes.add("goes on")
        assert_index_is_what_the_refs_say(coord)
        coord.remote.sync()
    with Coord.open(bob, as_name="w") as coord:
        assert gone in [note.id for note in coord.notes.list(limit=100)]
        coord.remote.sync()
        assert gone not in [note.id for note in coord.notes.list(limit=100)]
        assert_index_is_what_the_refs_say(coord)
    assert len(git(bob, "for-each-ref", f"refs/coord/log/{clone_id(ada)}").splitlines()) == 1


@pytest.mark.parametrize("required", ["false", "true"])
def test_the_new_epoch_of_a_signer_is_taken_in_once_it_is_signed(
    tmp_path: Path, required: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    key = make_key(tmp_path, "key")
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    git(bob, "config", "coord.requireSigned", required)
    with Coord.open(bob, as_name="w") as coord:
        coord.clone.read(lambda db: None)
    with Coord.open(ada, as_name="w") as coord:
        coord.sessions.join("w")
        live_a_little(coord, "w", 100 * DAY)
        coord.remote.sync()
    sync(bob)
    with Coord.open(ada, as_name="w") as coord:
        assert coord.repository.gc(keep=50 * DAY).dropped > 3
        coord.remote.sync()
    begin_anew, rebuilds = Index._begin_rebuild, []
    monkeypatch.setattr(Index, "_begin_rebuild", lambda index, anew: (rebuilds.append(index), begin_anew(index, anew)))
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        assert rebuilds == []
        anew = Index(str(tmp_path), REGISTRY, frozenset(), lambda: coord.clone.id, coord.clone.index.referee)
        anew.refresh(coord.clone.store, coord.clone.store.tips())
        assert content(coord.clone.index) == content(anew)
        assert len(git(bob, "for-each-ref", f"refs/coord/log/{clone_id(ada)}").splitlines()) == 1
        anew.close()
