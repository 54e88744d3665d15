"""The index: incremental, disposable, shared; its folds are pure."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, permutations
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from conftest import git
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord
from gitcoord.features import REGISTRY
from gitcoord.log import index as index_module
from gitcoord.log import trust
from gitcoord.log.event import Draft, Envelope, Event, canonical_json, encode
from gitcoord.log.index import SCHEMA, Index, presence
from gitcoord.log.schemas import objection
from gitcoord.store.objects import GitObject, Oid, make_object, make_tree

CLONES = ("ada-00000001", "bob-00000002", "eve-00000003")
EMPTY = make_tree({}, "sha1")


def event_commit(text: str, lc: int, parent: Oid | None = None, clone: str = CLONES[1], **data: Any) -> GitObject:
    kind = data.pop("type", "note")
    envelope = Envelope(lc, clone, "a@example.org", "A <a@example.org>", 1_700_000_000 + lc)
    return make_object("commit", encode(Draft(kind, text, data, author="w1"), envelope, EMPTY.oid, parent), "sha1")


def log_of(coord: Coord, texts: Sequence[str], clone: str = CLONES[1], first: int = 1) -> list[GitObject]:
    """A log of another clone with one note a text, put on its ref as a fetch would."""
    parent, found = None, list[GitObject]()
    for number, text in enumerate(texts):
        found.append(event_commit(text, first + number, parent, clone))
        parent = found[-1].oid
    coord.clone.store.write([EMPTY, *found])
    git(coord.clone.repo.common_dir, "update-ref", f"refs/coord/log/{clone}/0001", found[-1].oid)
    return found


def notes(coord: Coord) -> list[str]:
    return [note.text for note in coord.notes.list(limit=1000)]


def index_file(repo: Path, suffix: str = "") -> Path:
    return repo / ".git" / "coord" / f"index.sqlite{suffix}"


@pytest.fixture
def coord(repo: Path) -> Iterator[Coord]:
    with Coord.open(repo) as opened:
        opened.sessions.join("w0")
        yield opened


# incremental


class Watched:
    """A store that counts the calls."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)

        def ask(*args: Any) -> Any:
            self.asked.append((name, args))
            return method(*args)

        return ask if callable(method) else method


def test_only_what_is_new_is_read(coord: Coord) -> None:
    commits = log_of(coord, ["one", "two"])
    assert notes(coord) == ["two", "one"]
    more = event_commit("three", 3, commits[-1].oid)
    coord.clone.store.write([more])
    git(coord.clone.repo.common_dir, "update-ref", f"refs/coord/log/{CLONES[1]}/0001", more.oid)
    watched = Watched(coord.clone.store)
    coord.clone.store = watched  # type: ignore[assignment]
    assert notes(coord) == ["three", "two", "one"]
    assert [(name, args) for name, args in watched.asked if name != "tips"] == [("chain", (more.oid, commits[-1].oid))]
    watched.asked.clear()
    assert notes(coord) == ["three", "two", "one"]
    assert watched.asked == [("tips", ())]


SHIM = """#!/bin/sh
for word in "$@"; do
    case $word in -*|.|/*|core.*|hook.*) ;; *) echo "$word" >>{log}; break ;; esac
done
exec {git} "$@"
"""


def test_a_command_with_nothing_new_opens_no_object_and_does_not_import_pygit2(
    repo: Path, tmp_path: Path, coord: Coord
) -> None:
    log_of(coord, ["one", "two"])
    assert notes(coord) == ["two", "one"]
    log, shims = tmp_path / "asked", tmp_path / "bin"
    shims.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    (shims / "git").write_text(SHIM.format(log=log, git=real))
    (shims / "git").chmod(0o755)
    script = (
        "import sys; from gitcoord.cli import run; code = run(sys.argv[1:]); sys.stdout.flush()\n"
        "heavy = {'pygit2', 'subprocess', 'gitcoord.store.libgit2'} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)"
    )
    environ = {**os.environ, "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}", "GIT_COORD_STORE": ""}
    for words in (["notes"], ["inbox"], ["log"], ["search", "one"]):
        log.write_text("")
        argv = [sys.executable, "-c", script, *words]
        done = subprocess.run(argv, cwd=repo, capture_output=True, text=True, env=environ, start_new_session=True)
        assert done.stderr == "0 []\n", words
        assert set(log.read_text().split()) <= {"rev-parse", "config", "for-each-ref"}, words


def test_a_read_asks_no_object_whatever_the_store(repo: Path, coord: Coord) -> None:
    log_of(coord, [f"note {n}" for n in range(100)])
    expected = notes(coord)
    objects = repo / ".git" / "objects"
    hidden = objects.rename(repo / ".git" / "objects-away")
    objects.mkdir()
    try:
        assert notes(coord) == expected
    finally:
        objects.rmdir()
        hidden.rename(objects)


# disposable


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def overwrite(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(random.Random(7).randbytes(size))


def scramble(path: Path) -> None:
    """Damage every page but the first."""
    data = bytearray(path.read_bytes())
    for start in range(4096, len(data), 4096):
        data[start : start + 64] = random.Random(start).randbytes(64)
    path.write_bytes(data)


def other_schema(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    db.execute("CREATE TABLE something_else (x)")
    db.execute("DROP TABLE notes")
    db.commit()
    db.close()


def lost_table(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TABLE notes")
    db.commit()
    db.close()


HARM: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": truncate,
    "overwritten with garbage": overwrite,
    "scrambled behind its first page": scramble,
    "of another schema": other_schema,
    "without a table": lost_table,
}


def settle(coord: Coord) -> None:
    """Move the content of the write-ahead log into the file itself."""
    coord.clone.index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("harm", list(HARM))
def test_a_harmed_index_is_made_anew_by_the_next_process(repo: Path, harm: str) -> None:
    with Coord.open(repo) as coord:
        coord.sessions.join("w0")
        log_of(coord, ["one", "two"])
        coord.notes.add("own")
        before = notes(coord)
        settle(coord)
    HARM[harm](index_file(repo))
    with Coord.open(repo) as coord:
        assert notes(coord) == before
        coord.notes.add("after")
        assert notes(coord) == ["after", *before]


@pytest.mark.parametrize("harm", list(HARM))
def test_a_harmed_index_is_made_anew_between_two_queries_of_one_process(repo: Path, coord: Coord, harm: str) -> None:
    log_of(coord, [f"note {n}" for n in range(200)])
    before = notes(coord)
    settle(coord)
    HARM[harm](index_file(repo))
    assert notes(coord) == before
    coord.notes.add("after")
    assert notes(coord) == ["after", *before]
    with Coord.open(repo) as other:
        assert notes(other) == ["after", *before]


@pytest.mark.parametrize("harm", [name for name, how in HARM.items() if how not in (other_schema, lost_table)])
def test_a_harmed_index_with_its_write_ahead_log_left_over_is_made_anew(repo: Path, tmp_path: Path, harm: str) -> None:
    with Coord.open(repo) as coord:
        coord.sessions.join("w0")
        settle(coord)
        log_of(coord, ["one", "two"])
        before = notes(coord)
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"kept{suffix}").write_bytes(index_file(repo, suffix).read_bytes())
    for suffix in ("", "-wal", "-shm"):
        index_file(repo, suffix).write_bytes((tmp_path / f"kept{suffix}").read_bytes())
    HARM[harm](index_file(repo))
    with Coord.open(repo) as coord:
        assert notes(coord) == before


def test_a_garbled_write_ahead_log_costs_nothing_but_time(repo: Path, tmp_path: Path) -> None:
    with Coord.open(repo) as coord:
        coord.sessions.join("w0")
        settle(coord)
        log_of(coord, ["one", "two"])
        before = notes(coord)
        kept = {suffix: index_file(repo, suffix).read_bytes() for suffix in ("", "-wal")}
    index_file(repo).write_bytes(kept[""])
    wal = bytearray(kept["-wal"])
    wal[len(wal) // 2 :] = random.Random(3).randbytes(len(wal) - len(wal) // 2)
    index_file(repo, "-wal").write_bytes(wal)
    index_file(repo, "-shm").unlink(missing_ok=True)
    with Coord.open(repo) as coord:
        assert notes(coord) == before


@pytest.mark.parametrize("column", ["ref", "oid"])
def test_values_of_another_table_in_a_damaged_index_are_not_taken_for_refs(repo: Path, column: str) -> None:
    """Found by the campaign (seed 1803, episode 34): SQLite gave an integer for a ref and saw nothing wrong."""
    with Coord.open(repo) as coord:
        coord.sessions.join("w0")
        coord.notes.add("own")
        coord.clone.index.db.execute(f"UPDATE tips SET {column} = x'00' WHERE ref LIKE '%/log/%'")
    with Coord.open(repo) as coord:
        coord.notes.add("after")
        assert notes(coord) == ["after", "own"]


def test_an_answer_that_fails_for_a_damaged_index_is_asked_again_of_a_new_one(repo: Path, coord: Coord) -> None:
    log_of(coord, [f"note {n}" for n in range(200)])
    before = notes(coord)
    settle(coord)
    asked = []

    def ask(db: sqlite3.Connection) -> int:
        asked.append(db)
        if len(asked) == 1:
            raise AttributeError("'int' object has no attribute 'split'")
        return len(asked)

    with pytest.raises(AttributeError):
        coord.clone.read(ask)  # a bug is a bug where the file is sound
    asked.clear()
    with index_file(repo).open("r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(b"\xff" * 4096)
    assert coord.clone.read(ask) == 2
    assert notes(coord) == before


def test_a_decision_that_fails_for_a_damaged_index_is_taken_again(repo: Path, coord: Coord) -> None:
    log_of(coord, [f"note {n}" for n in range(200)])
    before = notes(coord)
    settle(coord)
    asked = []

    def decide(db: sqlite3.Connection) -> list[Draft]:
        asked.append(db)
        if len(asked) == 1:
            with index_file(repo).open("r+b") as file:
                file.seek(-4096, os.SEEK_END)
                file.write(b"\xff" * 4096)
            raise AttributeError("'int' object has no attribute 'split'")
        return [Draft("note", "after", author="w0")]

    coord.clone.append(decide)
    assert notes(coord) == ["after", *before]


def test_the_index_is_no_part_of_what_is_true(repo: Path, coord: Coord) -> None:
    """Deleting it between any two steps of a conversation changes nothing."""
    said = []
    for number in range(6):
        said.append(coord.notes.add(f"note {number}"))
        for suffix in ("", "-wal", "-shm"):
            index_file(repo, suffix).unlink(missing_ok=True)
        assert [n.id for n in coord.notes.list()] == said[::-1]


# rewritten logs


def test_a_log_that_was_rewritten_stays_as_it_was_seen(coord: Coord) -> None:
    log = log_of(coord, ["one", "two", "three"])
    log_of(coord, ["hello"], CLONES[2])
    assert sorted(notes(coord)) == ["hello", "one", "three", "two"]
    log_of(coord, ["one", "changed"])
    assert sorted(notes(coord)) == ["hello", "one", "three", "two"]
    assert coord.clone.store.tips().refs[f"refs/coord/log/{CLONES[1]}/0001"] == log[-1].oid


def test_a_log_that_went_is_forgotten(coord: Coord) -> None:
    log_of(coord, ["one"])
    log_of(coord, ["hello"], CLONES[2])
    assert sorted(notes(coord)) == ["hello", "one"]
    git(coord.clone.repo.common_dir, "update-ref", "-d", f"refs/coord/log/{CLONES[1]}/0001")
    assert notes(coord) == ["hello"]


def test_an_ignored_clone_is_not_read(repo: Path, coord: Coord) -> None:
    log_of(coord, ["one"])
    log_of(coord, ["noise"], CLONES[2])
    git(repo, "config", "coord.ignoreClone", CLONES[2])
    with Coord.open(repo) as other:
        assert notes(other) == ["one"]


# shared


READER = """
import sys
from gitcoord import Coord
with Coord.open(sys.argv[1], as_name=sys.argv[2]) as coord:
    seen = -1
    while seen < int(sys.argv[3]):
        now = len(coord.notes.list(limit=1000))
        assert now >= seen, (now, seen)
        seen = now
print(seen)
"""


def test_processes_share_it_while_it_is_deleted_under_them(repo: Path, coord: Coord) -> None:
    total = 40
    argv = [sys.executable, "-c", READER, str(repo)]
    readers = [
        subprocess.Popen([*argv, f"r{n}", str(total)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    try:
        for number in range(total):
            coord.notes.add(f"note {number}")
            if number % 10 == 5:
                for suffix in ("", "-wal", "-shm"):
                    index_file(repo, suffix).unlink(missing_ok=True)
        for reader in readers:
            out, err = reader.communicate()
            assert (out, err, reader.returncode) == (f"{total}\n", "", 0)
    finally:
        for reader in readers:
            reader.kill()  # which would otherwise wait for ever for notes that do not come


def test_a_read_only_place_is_read_without_leaving_a_file(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Coord.open(repo) as coord:
        coord.sessions.join("w0")
        log_of(coord, ["one"])
        assert notes(coord) == ["one"]
        log_of(coord, ["one", "two"])
    real = sqlite3.connect

    def refuse(path: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
        return real(f"file:{path}?mode=ro&immutable=1" if str(path).startswith("/") else path, *args, **{**kwargs, "uri": True})

    monkeypatch.setattr("gitcoord.log.index.sqlite3.connect", refuse)
    before = index_file(repo).read_bytes()
    with Coord.open(repo, as_name="w0") as coord:
        assert notes(coord) == ["two", "one"]
        assert coord.clone.index.in_memory
    assert index_file(repo).read_bytes() == before


# the folds are pure

NAMES = st.sampled_from(["w1", "w2", "beta"])
BOXES = st.builds("{}@{}".format, NAMES, st.sampled_from(CLONES))
IDS = st.integers(0, 11).map(lambda n: Oid(f"{n:040x}"))
FLAG = st.booleans()
LEASES = st.sampled_from(["", "n1", "n2"])
STATES = ["surfaced", "read", "acked", "strange"]


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


LABELS = st.lists(st.sampled_from(["x", "y"]), max_size=2)
TASK: dict[str, st.SearchStrategy[Any]] = {
    "needs": st.lists(IDS, max_size=2), "not_needs": st.lists(IDS, max_size=1), "labels": LABELS, "not_labels": LABELS,
    "supersedes": st.lists(IDS, max_size=1), "priority": st.integers(0, 5), "assignee": BOXES, "tentative": FLAG,
    "text": FLAG, "title": st.sampled_from(["one", "two"]), "lease": LEASES,
}  # fmt: skip
PATTERNS = st.lists(st.sampled_from(["a", "/b", "c/*", "!"]), max_size=3)
SHOWN = st.fixed_dictionaries({"state": st.sampled_from(["active", "gone"]), "ttl": st.integers(1, 9), "at": st.integers(0, 9)})
PAYLOADS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "join": st.fixed_dictionaries({"session": NAMES}),
    "leave": st.fixed_dictionaries({"session": NAMES}),
    "presence": st.fixed_dictionaries({"session": NAMES}),
    "rename": st.fixed_dictionaries({"old": NAMES, "new": NAMES}),
    "adopt": st.fixed_dictionaries({"session": NAMES, "from": st.sampled_from(CLONES)}),
    "note": some(paths=st.lists(st.sampled_from(["a", "b/c"]), max_size=2)),
    "message": some(
        to=st.lists(BOXES, max_size=3), opens=st.lists(NAMES, max_size=1), thread=IDS, reply_to=IDS, urgent=FLAG,
        needs_ack=FLAG, expires=st.integers(0, 9), notice=st.sampled_from(["", "bounce"]), about=IDS,
        attachments=st.just(["x"]), replaces=st.lists(IDS, max_size=2),
    ),
    "receipt": st.fixed_dictionaries(
        {"session": NAMES, "state": st.sampled_from(STATES), "ids": st.lists(IDS, max_size=3)},
        optional={"of": st.sampled_from(CLONES)},
    ),
    "alloc": st.fixed_dictionaries({"sequence": st.sampled_from(["a", "b"]), "number": st.integers(0, 3)}),
    "task": some(**TASK),
    **{
        f"task.{verb}": st.fixed_dictionaries({"task": IDS}, optional=TASK)
        for verb in ("claim", "settle", "release", "block", "done", "drop", "reopen", "edit", "comment")
    },
    "lock": st.fixed_dictionaries(
        {"patterns": PATTERNS},
        optional={"supersedes": st.lists(IDS, max_size=2), "shared": FLAG, "ttl": st.integers(0, 9), "lease": LEASES},
    ),
    "job.start": some(name=NAMES, key=st.sampled_from(["k", "l"]), runs=NAMES, was=IDS),
    "job.detail": st.fixed_dictionaries({"job": IDS, "part": st.sampled_from(["end", "middle"])}, optional={"tail": NAMES}),
    "job.end": st.fixed_dictionaries({"job": IDS}, optional={"exit": st.integers(0, 2), "ms": st.integers(0, 9)}),
    "job.lost": st.fixed_dictionaries({"job": IDS}),
    "gone": st.fixed_dictionaries({"session": NAMES}, optional={"since": st.integers(0, 9)}),
    "checkpoint": some(ref=st.sampled_from([f"refs/coord/log/{clone}/0001" for clone in CLONES])),
    "lock.wait": st.fixed_dictionaries({"patterns": PATTERNS}),
    "presences": st.fixed_dictionaries({"sessions": st.dictionaries(NAMES, SHOWN, max_size=2)}),
    "unlock": st.fixed_dictionaries({"locks": st.dictionaries(IDS, st.lists(st.sampled_from(["a", "/b"]), max_size=2))}),
    "overlap": st.fixed_dictionaries({"between": st.lists(BOXES, max_size=3), "paths": st.lists(NAMES, max_size=2)}),
    "state": st.fixed_dictionaries({"key": st.sampled_from(["a", "b/c"])}, optional={"unset": FLAG, "json": FLAG}),
}  # fmt: skip
"""For every type of event some payloads; a new type needs a line here."""


def test_every_type_of_event_takes_part_in_the_test_of_purity() -> None:
    known = {kind for feature in REGISTRY.features() for kind in feature.types} | {"checkpoint"}
    assert known <= PAYLOADS.keys(), "add payloads of the new types to PAYLOADS"


@st.composite
def logs(draw: st.DrawFn) -> list[list[Event]]:
    """A few logs, each with rising clocks, as several clones write them."""
    number = count()
    found = []
    for clone in CLONES:
        lc, log = 0, []
        for _ in range(draw(st.integers(0, 4))):
            lc += draw(st.integers(1, 3))
            kind = draw(st.sampled_from(sorted(PAYLOADS)))
            data = draw(PAYLOADS[kind])
            oid = Oid(f"{next(number):040x}")
            log.append(Event(oid, kind, lc, clone, draw(NAMES), "a@b", draw(st.integers(1, 5)), "text\n\nmore", data))
        found.append(log)
    return found


def state_after(events: Sequence[Event], then: Callable[..., None] | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """All tables of all features after the events arrived in this order, and `then` was called with the database and the
    function that folds an event."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    loaded = REGISTRY.features()
    for statement in "".join([index_module.TABLES, trust.TABLES, *(feature.tables for feature in loaded)]).split(";"):
        db.execute(statement)
    kinds = {kind: feature for feature in loaded for kind in feature.types}
    schemas = {kind: feature.schemas[kind] for kind, feature in kinds.items()} | trust.SCHEMAS
    refused = set()

    def judge(event: Event) -> None:
        for verdict in trust.admitted(db, [(event, b"\ngpgsig")], f"refs/coord/log/{event.clone}/0001"):
            if verdict.event is not None:
                kinds[verdict.event.type].fold(db, verdict.event)
            elif verdict.refused:
                refused.add((verdict.id, verdict.refused))

    def settle() -> None:
        for event in trust.reconsidered(db):
            kinds[event.type].fold(db, event)
        for feature in loaded:
            if feature.settle:
                feature.settle(db)

    for place, event in enumerate(events, 1):
        if objection(schemas[event.type], event):
            continue
        row = (event.id, event.v, event.type, event.lc, event.clone, event.author, event.email, event.at, event.text)
        db.execute(f"INSERT INTO events VALUES (NULL{', ?' * 13})", (*row, canonical_json(event.data), 0, 1, place))
        judge(event)
    if then:
        settle()
        refused.clear()
        then(db, judge)
    settle()
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]
    found = {
        name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
        for name in tables
        if name not in ("events", "tasks_due")
    }
    return {**found, **({} if then else {"refused": sorted(refused)})}


@given(logs(), st.data())
@examples(120)
def test_any_order_of_arrival_gives_the_same_state(written: list[list[Event]], data: st.DataObject) -> None:
    """Logs arrive in any interleaving, each in its own order; with all there is, the state is one."""
    by_clock = sorted((event for log in written for event in log), key=lambda event: (event.lc, event.id))
    owners = [number for number, log in enumerate(written) for _ in log]
    expected = state_after(by_clock)
    for _ in range(3):
        left = [list(log) for log in written]
        assert state_after([left[owner].pop(0) for owner in data.draw(st.permutations(owners))]) == expected


def an_event(number: int, kind: str, clone: str, lc: int, **data: Any) -> Event:
    return Event(Oid(f"{number:040x}"), kind, lc, clone, "w1", "a@b", 1, "text\n\nmore", data)


ADA, BOB = CLONES[:2]
REARRIVING = {
    "a receipt for mail that another clone adopts": [
        an_event(1, "message", ADA, 1, to=[f"beta@{ADA}"]),
        an_event(2, "receipt", BOB, 2, session="beta", of=ADA, state="read", ids=[f"{1:040x}"]),
        an_event(3, "adopt", BOB, 3, session="beta", **{"from": ADA}),
    ],
    "a claim made offline, and its settlement in a later epoch": [
        an_event(1, "task.claim", ADA, 1, task=f"{8:040x}", tentative=True),
        an_event(2, "task.settle", ADA, 2, task=f"{9:040x}", supersedes=[f"{1:040x}"]),
    ],
}


@pytest.mark.parametrize("events", REARRIVING.values(), ids=REARRIVING)
def test_what_arrives_in_whatever_order_fills_the_same_tables(events: list[Event]) -> None:
    expected = state_after(events)
    for order in permutations(events):
        assert state_after(order) == expected


@given(logs())
@examples(20)
def test_an_index_that_grew_equals_one_made_anew(written: list[list[Event]]) -> None:
    """Through the index itself: append event by event, or rebuild from the logs."""
    from tempfile import TemporaryDirectory

    def raw(event: Event, parent: Oid | None) -> GitObject:
        envelope = Envelope(event.lc, event.clone, "a@b", "A <a@b>", event.at)
        draft = Draft(event.type, event.text, event.data, author=event.author)
        return make_object("commit", encode(draft, envelope, EMPTY.oid, parent), "sha1")

    chains: dict[str, list[tuple[Oid, bytes]]] = {}
    for log in written:
        parent = None
        for event in log:
            item = raw(event, parent)
            parent = item.oid
            chains.setdefault(f"refs/coord/log/{event.clone}/0001", []).append((item.oid, item.data))

    class Logs:
        def chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
            chain = next(c for c in chains.values() if any(oid == new for oid, _ in c))
            ids = [oid for oid, _ in chain]
            yield from chain[ids.index(old) + 1 if old else 0 : ids.index(new) + 1]

    from gitcoord.store.contract import Tips

    def content(index: Index) -> dict[str, list[Any]]:
        tables = [n for (n,) in index.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if n != "events"]
        rows = {name: sorted(index.db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in tables}
        columns = "id, v, type, lc, clone, author, email, at, text, data, local, epoch"
        names = index.db.execute("SELECT name FROM sqlite_master WHERE type = 'index' ORDER BY name").fetchall()
        return {**rows, "events": sorted(index.db.execute(f"SELECT {columns} FROM events").fetchall()), "indexes": names}

    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        grown = Index(one, REGISTRY, frozenset())
        for length in range(1, 5):
            tips = {ref: chain[min(length, len(chain)) - 1][0] for ref, chain in chains.items()}
            with grown.writing():
                grown.ingest_tips(Logs(), Tips(tips))  # type: ignore[arg-type]
        whole = Index(two, REGISTRY, frozenset())
        with whole.writing():
            whole.ingest_tips(Logs(), Tips({ref: chain[-1][0] for ref, chain in chains.items()}))  # type: ignore[arg-type]
        assert content(grown) == content(whole)
        grown.close()
        whole.close()


# the fingerprint

FINGERPRINT = (47, "8a0fa9ff73f680ba")
"""SCHEMA, and the hash of all that decides what is in the tables. When this test fails: raise SCHEMA if a table or the
outcome of a fold changed (old indexes must not be read by the new code), and record both here."""


def sources(function: FunctionType, seen: dict[str, str]) -> None:
    """The source of a function and of all our functions that it calls, with their constants and without their docstrings
    and comments."""
    code = re.sub(r'^ *"""(.|\n)*?"""$', "", inspect.getsource(function), flags=re.MULTILINE)
    lines = (line.partition("  #")[0].strip() for line in code.splitlines())
    source = "\n".join(line for line in lines if line and not line.startswith("#"))
    if source in seen:
        return
    seen[source] = function.__qualname__  # by its text: the place of a function changes nothing in a table
    for used in sorted(_names(function.__code__)):
        value = function.__globals__.get(used)
        if isinstance(value, FunctionType) and value.__module__.startswith("gitcoord."):
            sources(value, seen)
        elif isinstance(value, dict):
            for inner in value.values():
                if isinstance(inner, FunctionType):
                    sources(inner, seen)
        elif isinstance(value, (str, int, tuple)):
            seen[f"{used} = {value!r}"] = ""


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*(_names(one) for one in inner))


def test_a_change_of_tables_or_folds_raises_the_schema() -> None:
    seen: dict[str, str] = {"tables": index_module.TABLES + index_module.INDEXES + trust.TABLES + trust.INDEXES}
    for judged in (trust.admitted, trust.reconsidered, trust.as_carried, trust.note_carried, trust.speaks_for):
        sources(judged, seen)  # type: ignore[arg-type]
    seen["rules"] = repr(trust.RULES)
    sources(Index._add, seen)  # type: ignore[arg-type]
    sources(Index._insert, seen)  # type: ignore[arg-type]
    sources(Index._fold, seen)  # type: ignore[arg-type]
    for reading in (Index.take_presence, presence.read, presence.is_replayed, presence.take, presence.drop_others):
        sources(reading, seen)  # type: ignore[arg-type]
    for feature in REGISTRY.features():
        fields = {kind: {name: field.says for name, field in one.fields.items()} for kind, one in feature.schemas.items()}
        seen[f"feature {feature.name}"] = f"{sorted(fields.items())} {feature.tables} {feature.indexes}"
        sources(feature.fold, seen)  # type: ignore[arg-type]
        if feature.settle:
            sources(feature.settle, seen)  # type: ignore[arg-type]
    seen.pop(f"SCHEMA = {SCHEMA!r}", None)
    digest = hashlib.sha256("\n".join(f"{name}: {text}" for name, text in sorted(seen.items())).encode()).hexdigest()
    assert (SCHEMA, digest[:16]) == FINGERPRINT


def test_an_unlock_of_ones_own_lock_and_anothers_is_judged_the_same_in_any_order() -> None:
    own, theirs = f"{1:040x}", f"{2:040x}"
    lock = {"patterns": ["/a"], "ttl": 60}
    written = [
        Event(Oid(own), "lock", 1, CLONES[0], "w1", "a@b", 1, "locks", lock),
        Event(Oid(theirs), "lock", 1, CLONES[1], "w2", "a@b", 1, "locks", {**lock, "patterns": ["/b"]}),
        Event(Oid(f"{3:040x}"), "unlock", 2, CLONES[0], "w1", "a@b", 1, "unlocks", {"locks": {own: ["/a"], theirs: ["/b"]}}),
    ]
    outcomes = [state_after(order) for order in permutations(written)]
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0]["refused"] == []
