"""The fold of tasks is pure: any order of arrival gives the same tables, and events are judged in total order."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord.features import REGISTRY
from gitcoord.features.numbers import FEATURE as SEQUENCES
from gitcoord.features.tasks import tangles
from gitcoord.features.tasks.fold import FEATURE, replay
from gitcoord.features.tasks.tangles import needed_by
from gitcoord.log.event import Event
from gitcoord.log.index import TABLES
from gitcoord.log.query import COLUMNS
from gitcoord.log.schemas import objection
from gitcoord.store.objects import Oid

MINE = ("tasks", "task_events", "task_comments", "task_needs", "task_void", "tasks_fenced", "allocations")


HERE, THERE = "here-12345678", "there-12345678"


def event(lc: int, kind: str, author: str = "ann", said: str = "", oid: str = "", clone: str = HERE, **data: Any) -> Event:
    """An event as it would be read from a log; the id is made from what it says unless given."""
    key = json.dumps([lc, kind, author, said, clone, data])
    return Event(Oid(oid or hashlib.sha1(key.encode()).hexdigest()), kind, lc, clone, author, "", 1000 + lc, said, data)


def folded(events: list[Event]) -> sqlite3.Connection:
    """An index into which `events` came in this order."""
    db = sqlite3.connect(":memory:")
    for statement in (TABLES + "".join(feature.tables for feature in REGISTRY.features())).split(";"):
        db.execute(statement)
    kinds = {kind: feature for feature in (FEATURE, SEQUENCES) for kind in feature.types}
    for e in events:
        row = (e.id, e.type, e.lc, e.clone, e.author, e.email, e.at, e.text, json.dumps(e.data), e.v)
        db.execute(f"INSERT INTO events ({COLUMNS}, local, epoch) VALUES ({', '.join('?' * 10)}, 0, 1)", row)
        feature = kinds[e.type]
        if not objection(feature.schemas[e.type], e):
            feature.fold(db, e)
    assert FEATURE.settle
    FEATURE.settle(db)
    return db


def tables(db: sqlite3.Connection) -> dict[str, list[Any]]:
    return {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall()) for name in MINE}


# any order

IDS = [hashlib.sha1(b"task %d" % n).hexdigest() for n in range(5)]
CLAIMS = [hashlib.sha1(b"claim %d" % n).hexdigest() for n in range(4)]
some = st.lists(st.sampled_from(IDS), max_size=2)
clocks = st.integers(1, 20)
authors = st.sampled_from(["ann", "bob"])
supersedes = st.one_of(st.just([]), st.sampled_from(CLAIMS).map(lambda c: [c]))


@st.composite
def filings(draw: st.DrawFn) -> Event:
    number = draw(st.integers(0, 4))
    return event(
        number + 1, "task", draw(authors), f"task {number}", IDS[number], needs=draw(some), priority=draw(st.integers(0, 5))
    )


@st.composite
def claims(draw: st.DrawFn) -> Event:
    data = {"task": draw(st.sampled_from(IDS)), "supersedes": draw(supersedes)}
    data |= draw(leased)
    return event(draw(clocks), "task.claim", draw(authors), "claimed", draw(st.sampled_from(CLAIMS)), draw(where), **data)


NONCES = ["n0", "n1", "n2"]
where = st.sampled_from([HERE, THERE])
leased = st.one_of(
    st.just({}),
    st.just({"tentative": True}),
    st.fixed_dictionaries(
        {"lease": st.sampled_from(NONCES)}, optional={"replaces": st.lists(st.sampled_from(NONCES), max_size=2, unique=True)}
    ),
)


@st.composite
def verdicts(draw: st.DrawFn) -> Event:
    data = {"task": draw(st.sampled_from(IDS)), "supersedes": draw(supersedes)}
    data |= draw(st.one_of(leased, st.just({"void": True})))
    return event(draw(clocks), "task.settle", draw(authors), "settled", "", draw(where), **data)


@st.composite
def deeds(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(["release", "block", "done", "drop", "reopen", "comment", "edit"]))
    data: dict[str, Any] = {"task": draw(st.sampled_from(IDS)), "supersedes": draw(supersedes)}
    if kind == "edit":
        data |= {"needs": draw(some), "not_needs": draw(some), "labels": draw(st.sampled_from([["x"], ["y"], []]))}
        data |= draw(
            st.sampled_from([{}, {"priority": 0}, {"assignee": "bob@here-12345678"}, {"text": True}, {"title": "new"}])
        )
    return event(draw(clocks), f"task.{kind}", draw(authors), "subject\n\nwords", "", draw(where), **data)


@st.composite
def numbers(draw: st.DrawFn) -> Event:
    return event(
        draw(clocks), "alloc", draw(authors), sequence=draw(st.sampled_from(["a", "b"])), number=draw(st.integers(0, 4))
    )


histories = st.lists(
    st.one_of(filings(), filings(), claims(), claims(), verdicts(), deeds(), deeds(), numbers()),
    max_size=25,
    unique_by=lambda e: e.id,
)


@examples(300)
@given(histories.flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_any_order_of_arrival_gives_the_same_tables(orders: tuple[list[Event], list[Event]]) -> None:
    assert tables(folded(orders[0])) == tables(folded(orders[1]))


@examples(200)
@given(histories)
def test_the_edges_that_count_never_make_a_cycle(events: list[Event]) -> None:
    db = folded(events)
    declared = db.execute("SELECT count(*) FROM task_needs").fetchone()[0]
    for task, need in db.execute("SELECT task, need FROM task_needs WHERE ignored = 1").fetchall():
        assert task in needed_by(db, [need])  # only what lies on a cycle is ignored
    db.execute("DELETE FROM task_needs WHERE ignored = 1")
    for task, need in db.execute("SELECT task, need FROM task_needs").fetchall():
        assert task not in needed_by(db, [need])
    assert db.execute("SELECT count(*) FROM task_needs").fetchone()[0] <= declared


# what holds

A, B = IDS[:2]


def row(*events: Event) -> tuple[Any, ...]:
    """Status and holder of task A."""
    found: tuple[Any, ...] = folded([event(1, "task", "pm", "a", A), *events]).execute(
        "SELECT status, holder FROM tasks WHERE id = ?", (A,)
    ).fetchone()  # fmt: skip
    return found


def claim(lc: int, author: str, *superseded: str) -> Event:
    return event(lc, "task.claim", author, task=A, supersedes=list(superseded))


def test_of_two_claims_the_first_in_the_order_holds_and_the_other_is_void() -> None:
    first, second = claim(2, "ann"), claim(3, "bob")
    assert row(second, first) == ("claimed", "ann@here-12345678")
    void = replay([event(1, "task", "pm", "a", A), first, second]).void
    assert void == {second.id: first.id}


def test_a_takeover_holds_only_against_the_current_claim() -> None:
    first = claim(2, "ann")
    assert row(first, claim(3, "bob", first.id)) == ("claimed", "bob@here-12345678")
    released = event(3, "task.release", "ann", task=A, supersedes=[first.id])
    again = claim(4, "cat")
    assert row(first, released, again, claim(5, "bob", first.id)) == ("claimed", "cat@here-12345678")


def test_a_release_of_a_claim_that_is_past_changes_nothing() -> None:
    first = claim(2, "ann")
    taken = claim(3, "bob", first.id)
    assert row(first, taken, event(4, "task.release", "ann", task=A, supersedes=[first.id])) == ("claimed", "bob@here-12345678")


def test_done_counts_for_any_holder() -> None:
    first = claim(2, "ann")
    assert row(first, event(4, "task.done", "bob", task=A)) == ("done", "bob@here-12345678")
    assert row(first, event(4, "task.done", "bob", task=A), claim(5, "cat")) == ("done", "bob@here-12345678")


# leases


def leased_claim(lc: int, author: str, lease: str, *superseded: str, clone: str = HERE, **more: Any) -> Event:
    return event(lc, "task.claim", author, "", "", clone, task=A, supersedes=list(superseded), lease=lease, **more)


def about(lc: int, verb: str, author: str, claimed: str = "", clone: str = HERE, **more: Any) -> Event:
    named = [claimed] if claimed else []
    return event(lc, f"task.{verb}", author, "", "", clone, task=A, supersedes=named, **more)


@pytest.mark.parametrize("stale", [2, 9])
def test_a_claim_whose_lease_was_replaced_is_void_whenever_it_arrives(stale: int) -> None:
    late = leased_claim(stale, "ann", "n1")
    winner = leased_claim(5, "bob", "n2", clone=THERE, replaces=["n1"])
    done = about(stale + 1, "done", "ann", late.id)
    for order in ([late, winner], [winner, late], [winner, done, late], [done, late, winner]):
        assert row(*order) == ("claimed", f"bob@{THERE}")
    filed = event(1, "task", "pm", "a", A)
    void = replay(sorted([filed, late, done, winner], key=lambda e: (e.lc, e.id))).void
    assert void == {late.id: winner.id, done.id: winner.id}


def test_a_claim_that_was_seen_was_good_until_it_was_taken_over() -> None:
    first = leased_claim(2, "ann", "n1")
    winner = leased_claim(5, "bob", "n2", first.id, clone=THERE, replaces=["n1"])
    late = about(7, "done", "ann", first.id)
    events = [event(1, "task", "pm", "a", A), first, winner, late]
    assert row(*events[1:]) == ("claimed", f"bob@{THERE}")
    assert replay(events).void == {late.id: winner.id}


@pytest.mark.parametrize("verb", ["drop", "done", "reopen", "block"])
@pytest.mark.parametrize("at", [3, 9])
def test_what_does_not_know_of_a_lease_ends_no_claim_that_has_one(verb: str, at: int) -> None:
    taken = leased_claim(5, "bob", "n1", clone=THERE)
    assert row(taken, about(at, verb, "ann")) == ("claimed", f"bob@{THERE}")


def test_the_word_of_the_holders_clone_counts_before_that_of_any_other() -> None:
    taken = leased_claim(2, "bob", "n1", clone=THERE)
    dropped, done = about(3, "drop", "ann", taken.id), about(4, "done", "bob", taken.id, THERE)
    assert row(taken, dropped) == ("dropped", "")
    assert row(taken, dropped, done) == row(done, dropped, taken) == ("done", f"bob@{THERE}")


def test_what_never_got_its_lease_replaced_none() -> None:
    first = leased_claim(2, "ann", "n1")
    lost = leased_claim(3, "bob", "n2", clone=THERE, replaces=["n1"])
    given_up = event(4, "task.settle", "bob", "", "", THERE, task=A, supersedes=[lost.id], void=True)
    for order in ([first, lost, given_up], [given_up, lost, first]):
        assert row(*order) == ("claimed", f"ann@{HERE}")


def test_a_stale_reopen_does_not_take_back_what_it_never_saw() -> None:
    dropped = about(2, "drop", "ann")
    taken = leased_claim(3, "bob", "n1", clone=THERE)
    done = about(4, "done", "bob", taken.id, THERE)
    assert row(dropped, taken, done, about(5, "reopen", "ann", reopens=dropped.id)) == ("done", f"bob@{THERE}")
    assert row(dropped, taken, done, about(5, "reopen", "ann", reopens=done.id)) == ("open", "")


def test_an_event_before_its_task_or_of_an_unknown_one_is_ignored() -> None:
    assert row(event(1, "task.done", "bob", oid="0" * 40, task=A)) == ("open", "")
    assert folded([claim(2, "ann")]).execute("SELECT count(*) FROM tasks").fetchone() == (0,)


def test_of_a_cycle_the_edge_declared_last_is_ignored() -> None:
    first = event(1, "task", "pm", "a", A)
    second = event(2, "task", "pm", "b", B, needs=[A])
    closing = event(3, "task.edit", "pm", task=A, needs=[B])
    away = event(4, "task.edit", "pm", task=B, not_needs=[A])
    assert folded([closing, second, first]).execute("SELECT task, ignored FROM task_needs ORDER BY task").fetchall() == sorted(
        [(A, 1), (B, 0)]
    )
    assert folded([closing, away, second, first]).execute("SELECT task, ignored FROM task_needs").fetchall() == [(A, 0)]


def test_payloads_of_the_wrong_kind_are_refused_and_change_nothing() -> None:
    bad: list[dict[str, Any]] = [
        {"task": 7}, {}, {"task": A, "needs": "x"}, {"task": A, "needs": [1]}, {"task": A, "priority": 9},
        {"task": A, "priority": True}, {"task": A, "assignee": "No Name"}, {"task": A, "assignee": "a b@c"},
        {"task": A, "text": 1}, {"task": A, "title": []},
        {"task": A, "not_needs": {}}, {"task": A, "labels": None},
    ]  # fmt: skip
    good = event(1, "task", "pm", "a", A)
    before = tables(folded([good]))
    for number, data in enumerate(bad):
        assert tables(folded([good, event(2 + number, "task.edit", "pm", **data)])) == before
    assert tables(
        folded([event(1, "task", "pm", " \n\n body", A), event(1, "alloc", "pm", sequence="../x", number=-1)])
    ) == tables(folded([]))


# tangles


def test_of_a_tangle_that_is_too_large_no_need_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [hashlib.sha1(b"tangled %d" % n).hexdigest() for n in range(5)]
    filed = [event(n + 1, "task", "pm", f"t{n}", ids[n]) for n in range(5)]
    ring = [event(10 + n, "task.edit", "pm", task=ids[n], needs=[ids[(n + 1) % 5]]) for n in range(5)]

    def ignored() -> list[int]:
        db = folded([*filed, *ring])
        return [n for (n,) in db.execute("SELECT ignored FROM task_needs ORDER BY lc")]

    assert ignored() == [0, 0, 0, 0, 1], "the one that closes it"
    monkeypatch.setattr(tangles, "MAX_TANGLE", 4)
    assert ignored() == [1, 1, 1, 1, 1]


def test_a_tangle_that_is_cut_counts_again() -> None:
    filed = [event(n + 1, "task", "pm", f"t{n}", IDS[n]) for n in range(3)]
    ring = [event(10 + n, "task.edit", "pm", task=IDS[n], needs=[IDS[(n + 1) % 3]]) for n in range(3)]
    cut = event(20, "task.edit", "pm", task=IDS[0], not_needs=[IDS[1]])
    db = folded([*filed, *ring])
    assert db.execute("SELECT count(*) FROM task_tangles").fetchone() == (3,)
    db = folded([*filed, *ring, cut])
    assert db.execute("SELECT task, need, ignored FROM task_needs ORDER BY lc").fetchall() == [
        (IDS[1], IDS[2], 0),
        (IDS[2], IDS[0], 0),
    ]
    assert db.execute("SELECT count(*) FROM task_tangles").fetchone() == (0,)


def test_no_more_needs_and_labels_than_a_task_may_have() -> None:
    needs = [hashlib.sha1(b"need %d" % n).hexdigest() for n in range(150)]
    edits = [
        event(2, "task.edit", "pm", task=A, needs=needs[:100], labels=[f"a{n}" for n in range(50)]),
        event(3, "task.edit", "pm", task=A, needs=needs[100:], labels=["late"]),
    ]
    db = folded([event(1, "task", "pm", "a", A), *edits])
    assert db.execute("SELECT count(*), max(lc) FROM task_needs").fetchone() == (100, 2)
    assert "late" not in db.execute("SELECT labels FROM tasks").fetchone()[0]
