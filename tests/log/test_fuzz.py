"""Random bytes from outside: they raise only the declared errors, take time in proportion to their size, and give the same
state in any order. Inputs that once failed stay as examples, so that every run tries them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hostile import JUNK, TEXTS, bases, commit, schemas
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from profiles import examples

from gitcoord.features import REGISTRY
from gitcoord.log.event import MAX_COMMIT, Event, Malformed, decode
from gitcoord.log.index import Index
from gitcoord.log.index.database import part
from gitcoord.store.objects import GitObject, Oid
from gitcoord.sync.leases import _parse

CLONES = ("ada-00000001", "bob-00000002")
BOB = CLONES[1]
IDS = [f"{n:040x}" for n in range(4)]
ATOMS = st.sampled_from([
    *IDS, "m", "n", "m@ada-00000001", "n@bob-00000002", "ada-00000001", "read", "acked", "surfaced", "active", "start", "end",
    "readme.txt", "*.py", "@all", "bounce", "k", "", 0, 1, 2, 900, -1, 10**15, True, False, None, *TEXTS[:4],
])  # fmt: skip
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(IDS), inner), max_leaves=6
)
VALID = commit("note", "hello", {"paths": ["a"]}, 5, None).data
CORPUS = [
    b"", b"\n\n", b"\n\nCoord: ", VALID[:-1], VALID.replace(b'"v":1', b'"v":true'), VALID.replace(b'"v":1', b'"v":1e400'),
    VALID.replace(b"author m ", b"author \xff "), VALID.replace(b"1700000000", b"9" * 15), VALID.replace(b"[", b"[" * 70),
    VALID.replace(b'"a"', b'"\\ud800"'), VALID.replace(b"hello", b"\0"), VALID.replace(b'"lc":5', b'"lc":' + b"9" * 5000),
    b"tree \nauthor m <> 1 +0000\n\nx\n\nCoord: " + b"[" * 100_000 + b"\n",
]  # fmt: skip


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A commit of ours with some bytes replaced."""
    data = bytearray(VALID)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=9))
    return bytes(data)


def is_decoded(data: bytes) -> bool:
    try:
        assert isinstance(decode(Oid(""), data), Event)
    except Malformed:
        return False
    return True


@given(st.binary(max_size=200) | mangled())
@examples(300)
def test_any_bytes_are_an_event_or_malformed(data: bytes) -> None:
    is_decoded(data)


@pytest.mark.parametrize("data", CORPUS)
def test_what_went_wrong_with_bytes_once(data: bytes) -> None:
    assert is_decoded(data) == (data == VALID.replace(b"1700000000", b"9" * 15))


@pytest.mark.parametrize("filler", [b"[", b"{", b"\n\nCoord: ", b'"', b"\\", b"a", b"\n", b" <> 1 +0000\n"])
def test_the_decoder_takes_time_by_size_alone(filler: bytes) -> None:
    def taken(size: int) -> float:
        data = b"tree 0\nauthor " + filler * (size // len(filler)) + b"\n\nCoord: {" + filler * (size // len(filler)) + b"}\n"
        began = time.process_time()
        is_decoded(data[:MAX_COMMIT])
        return time.process_time() - began

    taken(1000)
    assert taken(200_000) < max(0.05, 40 * taken(20_000))


# the index


@st.composite
def logs(draw: st.DrawFn) -> list[list[GitObject]]:
    """Two logs of events of all types, with fields that are mostly invalid and sometimes valid."""
    of = bases("m@ada-00000001", IDS[0], IDS[1], IDS[2])
    kinds = schemas()
    found = []
    for clone in CLONES:
        log: list[GitObject] = []
        lc = 0
        for _ in range(draw(st.integers(0, 5))):
            lc += draw(st.integers(1, 3))
            kind = draw(st.sampled_from(sorted(kinds)))
            fields = draw(st.dictionaries(st.sampled_from(["x", *kinds[kind].fields]), VALUES, max_size=3))
            data = {**of[kind], **fields}
            log.append(commit(kind, draw(st.sampled_from(TEXTS[:8])), data, lc, log[-1].oid if log else None, clone=clone))
        found.append(log)
    return found


def tables_after(written: Sequence[tuple[int, Sequence[GitObject]]]) -> tuple[dict[str, list[Any]], list[str]]:
    """The content of the index after these logs came in this order, and its reasons for the events that it set aside."""
    with TemporaryDirectory() as directory:
        index = Index(directory, REGISTRY, frozenset())
        with index.writing() as db:
            for number, log in written:
                ref = f"refs/coord/log/{CLONES[number]}/0001"
                index._add(ref, index._decoded(ref, [(item.oid, item.data) for item in log]), None, 0)
            index._reconsider()
            index._settle()
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            rows = {name: sorted(db.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr) for name in names}
        index.close()
    rows["events"] = sorted((row[1:] for row in rows["events"]), key=repr)
    return {name: found for name, found in rows.items() if not name.startswith("sqlite")}, [row[2] for row in rows["strange"]]


def log_of(*events: tuple[str, dict[str, Any]], clone: str = CLONES[0]) -> list[GitObject]:
    """A log of these events, a type and a payload each."""
    found: list[GitObject] = []
    for lc, (kind, data) in enumerate(events, 1):
        found.append(commit(kind, "x", data, lc, found[-1].oid if found else None, clone=clone))
    return found


@given(logs())
@example([log_of(("task.reopen", {"task": ""})), []])  # each of these made every command fail for good
@example([log_of(("task.reopen", {"task": "\u0000"})), []])
@example(
    [log_of(("task.needs", {"task": IDS[0], "needs": [IDS[0]]})), log_of(("task.done", {"task": IDS[0]}), clone=CLONES[1])]
)
@example(
    [log_of(("message", {"to": ["@all", "", "m"], "thread": IDS[1]})), log_of(("receipt", {"read": [IDS[1]]}), clone=CLONES[1])]
)
@example([log_of(("rename", {"session": "m", "to": "n"}), ("rename", {"session": "n", "to": "m"})), []])
@example(
    [
        log_of(("epoch", {"lowest": 2, "carried": 10**9})),
        log_of(("adopt", {"session": "m", "from": CLONES[0]}), clone=CLONES[1]),
    ]
)
@examples(60, suppress_health_check=[HealthCheck.too_slow])
def test_any_payloads_fold_without_an_exception_and_in_any_order(written: list[list[GitObject]]) -> None:
    numbered = list(enumerate(written))
    there, reasons = tables_after(numbered)
    back, _ = tables_after(numbered[::-1])
    assert there == back
    assert not [reason for reason in reasons if "its fold failed" in reason]


def test_a_part_that_failed_leaves_the_rest_of_a_transaction(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "x", isolation_level=None)
    db.execute("CREATE TABLE t (x)")
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(KeyError), part(db):
        db.execute("INSERT INTO t VALUES (2)")
        raise KeyError
    db.execute("COMMIT")
    assert db.execute("SELECT x FROM t").fetchall() == [(1,)]


# leases


@given(st.dictionaries(st.sampled_from(["kind", "nonce", "rows", "counters"]), VALUES | st.sampled_from([
    "tasks", {"a": 1}, [{"nonce": "a", "key": "b", "holder": "m@ada-00000001", "ttl": 5, "patterns": ["*"], "more": 1}],
])))  # fmt: skip
@example({"kind": "tasks", "rows": [{"nonce": "a", "key": "b", "holder": "m@x-1", "ttl": True}]})
@example({"kind": "tasks", "rows": [None]})
@example({"kind": "locks", "rows": {"a": 1}})
@example({"kind": "numbers", "counters": {"a": 2**70}})
@examples(150)
def test_any_table_of_leases_is_one_or_malformed(data: dict[str, Any]) -> None:
    try:
        table = _parse(decode(Oid(""), commit("lease", "x", data, 5, None).data))
    except Malformed:
        return
    assert all(type(row.ttl) is int and row.ttl > 0 and "@" in row.holder for row in table.rows.values())


@pytest.mark.parametrize("value", JUNK)
def test_rows_of_nonsense_are_no_leases(value: Any) -> None:
    for data in ({"kind": "tasks", "rows": value}, {"kind": "tasks", "rows": [value]}):
        if value in ([], None) and data["rows"] == []:
            continue
        with pytest.raises(Malformed):
            _parse(decode(Oid(""), commit("lease", "x", data, 5, None).data))
