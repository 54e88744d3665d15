"""The model of the view: facts in, rows out, with a fixed clock."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import BUSY, FAR, HERE, MERGES, NOW, QUIET, box, event, job, message, oid, said, session, task
from profiles import examples

from gitcoord.features.messages.inbox import Inbox
from gitcoord.features.messages.talk import Talk
from gitcoord.features.tasks.board import Board, Lost
from gitcoord.text import inert
from gitcoord.ui.facts import NO_MERGES, PAGES, Facts
from gitcoord.ui.model.offers import OFFERS
from gitcoord.ui.model.screen import Screen, plain, screen
from gitcoord.ui.model.words import age, body, left

SEEN = screen(BUSY, MERGES)


def needed(facts: Facts) -> list[tuple[str, str, str]]:
    return [(need.kind, need.who, need.text) for need in screen(facts, NO_MERGES).needs]


def test_nothing_needs_the_person_when_all_is_well() -> None:
    assert needed(QUIET) == []


def test_all_that_needs_the_person_stands_on_top() -> None:
    assert [(need.kind, need.who, need.text) for need in SEEN.needs] == [
        ("message", "web", "The receipt page is ready for a look."),
        ("ack", "api", "May I change the rounding of old invoices too?"),
        ("waiting", "web", "waits for its human in web: the receipt page"),
        ("conflict", "api, web", "will not merge: prices.py"),
        ("blocked", "web", "The checkout tests take nine minutes: needs a database"),
        ("failed", "web", "pytest: exit 1: AssertionError: 2 failed"),
        ("died", "old", f"is gone and held {oid(34)[:10]} Move the logo"),
        ("lost", "web", f"lost its offline claim of {oid(30)[:10]} Charge VAT in the basket: api holds it"),
        ("sync", "", "with origin failed: could not read from remote repository"),
        ("trust", FAR, "its key changed"),
    ]


def test_every_need_has_an_act_or_a_command() -> None:
    assert all(need.choices or need.command for need in SEEN.needs)
    assert all(choice.offer in OFFERS for need in SEEN.needs for choice in need.choices)


def test_a_need_leads_to_its_row() -> None:
    rows = {
        "sessions": {row.key for row in SEEN.sessions},
        "conversation": {row.key for row in SEEN.threads},
        "board": {row.key for column in SEEN.board for row in column.rows},
        "overlaps": {row.key for row in SEEN.pairs},
        "jobs": {row.key for row in SEEN.jobs},
    }
    assert all(need.about in rows[need.section] for need in SEEN.needs if need.section)
    assert {need.section for need in SEEN.needs} == {*rows, ""}


def test_an_ack_is_owed_after_reading_and_a_read_message_is_not() -> None:
    asked = message(1, box("api"), "may I?", box("ada"), needs_ack=True, state="read")
    told = message(2, box("api"), "by the way", box("ada"))
    talk = Talk((said(asked, "read"), said(told, "read")), False)
    rows = [thread.said[0] for thread in screen(QUIET._replace(talk=talk), NO_MERGES).threads]
    assert [(row.waits, row.unread) for row in rows] == [("ack", False), ("", False)]
    assert needed(QUIET._replace(awaiting=Inbox((asked,), 0))) == [("ack", "api", "asks for an ack: may I?")]


def test_what_is_behind_a_page_or_held_back_is_said() -> None:
    kinds = needed(QUIET._replace(awaiting=Inbox((), 7, 2)))
    assert [kind for kind, _, _ in kinds] == ["message", "trust"] and "7 more" in kinds[0][2] and "2 messages" in kinds[1][2]


def test_a_failed_job_is_forgotten_once_it_ran_again() -> None:
    bad = job(1, "lint", "exited", exit=1, started=100)
    assert len(needed(QUIET._replace(jobs=(bad,)))) == 1
    assert needed(QUIET._replace(jobs=(bad, job(2, "lint", started=200)))) == []
    others = job(2, "lint", started=200, session=box("api"))
    assert len(needed(QUIET._replace(jobs=(bad, others)))) == 1


def test_a_claim_that_was_lost_is_told_only_while_its_task_goes_on_elsewhere() -> None:
    lost = Lost(oid(1), box("web"), int(NOW), oid(9), "claim", False)
    going = Board((task(9, "it", "claimed", holder=box("api")),), {}, {box("api"): "active"}, frozenset())
    assert needed(QUIET._replace(lost=(lost,), board=going)) == [
        ("lost", "web", f"lost its claim of {oid(9)[:10]} it: api holds it")
    ]
    assert needed(QUIET._replace(lost=(lost._replace(by=box("api")),), board=going)) == []
    taken = lost._replace(taken=True)
    assert needed(QUIET._replace(lost=(taken,), board=going))[0][2].endswith(": api took it over")
    assert needed(QUIET._replace(lost=(taken._replace(by=box("left")),), board=going)) == []
    over = Board((task(9, "it", "done", holder=box("api")),), {}, {}, frozenset())
    assert needed(QUIET._replace(lost=(lost,), board=over)) == []
    assert needed(QUIET._replace(lost=(lost,), board=going._replace(held=frozenset({oid(9)})))) == []


def test_sessions_stand_in_groups_with_what_they_hold_and_changed() -> None:
    rows = [(row.group, row.name, row.state, row.task[11:], len(row.files)) for row in SEEN.sessions]
    assert rows == [
        ("worktrees", "", "", "", 0),
        ("worktrees", "api", "active", "Charge VAT in the basket", 2),
        ("worktrees", "web", "waiting", "", 0),
        ("worktrees", "docs", "idle", "", 0),
        ("people", "ada", "", "", 0),
        (FAR, f"tests@{FAR}", "unknown", "", 0),
    ]
    assert [row.name for row in SEEN.sessions if row.is_user] == ["ada"]


def test_threads_are_sorted_by_their_newest_word_and_have_the_ledger() -> None:
    assert [(thread.subject, thread.waits, len(thread.said)) for thread in SEEN.threads] == [
        ("May I change the rounding of old invoices too?", 1, 1),
        ("The receipt page is ready for a look.", 1, 1),
        ("total() takes the VAT rate now", 0, 2),
    ]
    first = SEEN.threads[2].said[0]
    assert [(mark.name, mark.state) for mark in first.ledger] == [("web", "read"), (f"tests@{FAR}", "queued")]


def test_what_is_not_signed_is_not_shown_where_signatures_are_required() -> None:
    talk = Talk((said(message(1, box("x", FAR), "obey me", box("ada")), "queued", held=True),), False)
    board = Board((task(9, "obey me"),), {}, {}, frozenset([oid(9)]))
    lock = BUSY.locks[0]._replace(reason="obey me")
    facts = QUIET._replace(
        talk=talk, board=board, events=(event(1, "note", "obey me"),), locks=(lock,), held=frozenset([oid(1), lock.id])
    )
    assert "obey" not in json.dumps(plain(screen(facts, NO_MERGES)))
    assert json.dumps(plain(screen(facts._replace(held=frozenset()), NO_MERGES))).count("obey me") == 3


def test_the_board_says_what_waits_for_what() -> None:
    columns = {column.name: [row.title for row in column.rows] for column in SEEN.board}
    assert columns == {
        "ready": ["Round to cents"],
        "claimed": ["Move the logo", "Charge VAT in the basket"],
        "blocked": ["The checkout tests take nine minutes", "Show VAT on the receipt"],
        "done lately": ["Say how refunds work"],
    }
    rows = {row.title: row for column in SEEN.board for row in column.rows}
    assert rows["Show VAT on the receipt"].waits == (f"{oid(30)[:10]} Charge VAT in the basket",)
    assert rows["Charge VAT in the basket"].needed_by == (f"{oid(31)[:10]} Show VAT on the receipt",)


def test_long_lists_are_cut_and_grow_with_their_page() -> None:
    many = Board(tuple(task(n, f"task {n}") for n in range(105)), {}, {}, frozenset())
    crowd = QUIET._replace(board=many, sessions=tuple(session(f"w{n:03}") for n in range(120)))
    seen = screen(crowd, NO_MERGES)
    assert (len(seen.board[0].rows), seen.board[0].more) == (100, 5)
    assert (len(seen.sessions), seen.more_sessions, len(seen.names), seen.head.states) == (100, True, 120, (("active", 120),))
    seen = screen(crowd._replace(pages={**PAGES, "tasks": 300, "sessions": 300}), NO_MERGES)
    assert (len(seen.board[0].rows), seen.board[0].more, len(seen.sessions), seen.more_sessions) == (105, 0, 120, False)


def test_what_needs_the_person_is_found_behind_the_first_page() -> None:
    tasks = [task(n, f"task {n}", "claimed", holder=box("api"), claim="c") for n in range(150)]
    tasks[140] = task(140, "the stuck one", "blocked", words="no key")
    tasks[141] = task(141, "the orphan", "claimed", holder=box("old"), claim="c")
    crowd = [session(f"w{n:03}") for n in range(150)]
    crowd[140] = session("asks", state="waiting")
    board = Board(tuple(tasks), {}, {box("api"): "active", box("old"): "gone"}, frozenset())
    seen = screen(QUIET._replace(board=board, sessions=tuple(crowd)), NO_MERGES)
    assert [(need.kind, need.who) for need in seen.needs] == [("waiting", "asks"), ("blocked", "api"), ("died", "old")]
    assert {need.about for need in seen.needs if need.section == "board"} <= {r.key for c in seen.board for r in c.rows}


def test_overlaps_of_a_pair_stand_in_one_row() -> None:
    (pair,) = SEEN.pairs
    assert (pair.a, pair.b, pair.conflicts, pair.merges) == ("api", "web", ("prices.py",), ("readme.md",))


def test_the_head_counts_sessions_but_not_the_person() -> None:
    assert SEEN.head.states == (("waiting", 1), ("active", 1), ("idle", 1), ("unknown", 1))
    assert (SEEN.head.remote, SEEN.head.unsent, SEEN.head.sync_failed) == ("origin", 3, True)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "now"), (59, "now"), (60, "1m"), (3599, "59m"), (3600, "1h"), (86400 * 3, "3d"), (-5, "now")]
)
def test_ages(seconds: float, words: str) -> None:
    assert age(NOW - seconds, NOW) == words


def test_time_that_is_left() -> None:
    assert [left(NOW + seconds, NOW) for seconds in (7300, 61, 59, 0, -9)] == ["2h", "1m", "<1m", "over", "over"]
    assert age(None, NOW) == ""


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() if key != "given" for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return [value] if isinstance(value, str) else []


HOSTILE = st.text(st.sampled_from("ab<>&\"'\x1b[31m\u202e\u200b\x00\x9b\n\r\t\U000e0041\ufeff“”"), max_size=40)


@given(HOSTILE)
@examples(60)
def test_whatever_others_wrote_is_inert_in_every_row(text: str) -> None:
    shown = plain(screen(_filled_with(text), MERGES))
    for found in _strings(shown):
        assert inert(found.replace("\n", "")) == found.replace("\n", "")


def _filled_with(text: str) -> Facts:
    told = message(1, box("x", FAR), text, box("ada"), attachments=(text,))
    return BUSY._replace(
        project=text,
        sessions=(session("x", focus=text, branch=text, role=text, harness=text, clone=FAR, local=False),),
        awaiting=Inbox((told,), 0),
        talk=Talk((said(told, "queued"),), False),
        board=Board((task(1, text, "blocked", words=text, labels=(text,)),), {}, {}, frozenset()),
        jobs=(job(1, text, "exited", exit=1, command=(text,), stderr_tail=text),),
        locks=(BUSY.locks[0]._replace(patterns=(text,), reason=text),),
        events=(event(1, "note", text),),
    )


def test_a_text_of_64_kib_on_one_line_is_cut_in_lists_and_bounded_whole() -> None:
    told = message(1, box("api"), "x" * 65536, box("ada"))
    seen: Screen = screen(QUIET._replace(talk=Talk((said(told, "queued"),), False), awaiting=Inbox((told,), 0)), NO_MERGES)
    assert len(seen.needs[0].text) <= 200 and len(seen.threads[0].last) <= 160
    assert "(cut: 45536 characters more)" in seen.threads[0].said[0].text
    assert len(body("x" * 65536)) < 21_000


def test_the_whole_screen_can_be_written_as_json() -> None:
    document = json.loads(json.dumps(plain(SEEN)))
    assert document["needs"][0]["choices"][0] == {"offer": "reply", "given": {"id": oid(4)}}
    assert document["head"]["clone"] == HERE
