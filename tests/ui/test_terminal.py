"""The terminal view, by its keys and whole screens, with made-up facts and a fixed clock."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from made import BUSY, HERE, NOW, QUIET, box, event, message, oid, said, task
from textual.pilot import Pilot
from told import Told

from gitcoord.errors import Refused
from gitcoord.features.messages.talk import Talk
from gitcoord.features.tasks.board import Board
from gitcoord.ui.details import Output, Step, TaskDetail
from gitcoord.ui.facts import NO_MERGES, PAGES
from gitcoord.ui.model.talk import threads
from gitcoord.ui.model.timeline import timeline
from gitcoord.ui.terminal.app import LiveView
from gitcoord.ui.terminal.rows import Rows

SNAPSHOTS = Path(__file__).with_name("snapshots")
WRITES = os.environ.get("GITCOORD_SNAPSHOTS") == "write"


def text_of(app: LiveView) -> str:
    """The text on the screen, without the spaces at the ends of lines."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines) + "\n"


Play = Callable[[LiveView, Pilot[None]], Awaitable[None]]


def play(told: Told, *keys: str, size: tuple[int, int] = (100, 30), then: Play | None = None) -> str:
    """Start the view, press keys, do more; returns the screen at the end."""

    async def whole() -> str:
        app = LiveView(told, clock=lambda: NOW)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            for key in keys:
                await pilot.press(key)
            await pilot.pause()
            if then:
                await then(app, pilot)
                await pilot.pause()
            return text_of(app)

    return asyncio.run(whole())


def check(name: str, shown: str) -> None:
    """Compare with the snapshot of this name: GITCOORD_SNAPSHOTS=write pytest tests/ui writes them anew."""
    path = SNAPSHOTS / f"{name}.txt"
    if WRITES:
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown)
    assert shown == path.read_text()


# whole screens


@pytest.mark.parametrize("width", [60, 100, 160])
@pytest.mark.parametrize("n", range(1, 7))
def test_sections_at_every_width(width: int, n: int) -> None:
    names = ("sessions", "conversation", "board", "overlaps", "jobs", "timeline")
    check(f"{names[n - 1]}-{width}", play(Told(), str(n), size=(width, 30)))


@pytest.mark.parametrize("width", [60, 100, 160])
def test_a_quiet_repository_says_what_to_do_next(width: int) -> None:
    shown = [
        play(Told(QUIET._replace(sessions=(), events=()), NO_MERGES._replace(unknown="")), key, size=(width, 24))
        for key in "123456"
    ]
    check(f"quiet-{width}", "".join(shown))


def test_a_terminal_of_20_columns_says_what_is_needed_and_goes_on_when_it_grows() -> None:
    async def grow(app: LiveView, pilot: Pilot[None]) -> None:
        assert "too small" in text_of(app)
        await pilot.resize_terminal(100, 30)

    shown = play(Told(), size=(20, 10), then=grow)
    assert "too small" not in shown and "Needs you 10" in shown


def test_a_low_terminal_opens_details_over_the_list() -> None:
    shown = play(Told(), "2", "enter", size=(80, 16))
    assert "asks for an ack" in shown and "total() takes" not in shown


def test_without_colours_nothing_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    seen: set[str] = set()

    async def collect(app: LiveView, pilot: Pilot[None]) -> None:
        for strip in app.screen._compositor.render_strips():
            for style in (segment.style for segment in strip if segment.style):
                seen.update(colour.name for colour in (style.color, style.bgcolor) if colour)

    play(Told(), "3", then=collect)
    assert seen == {"default"}


def test_the_help_names_every_key() -> None:
    check("help-100", play(Told(), "question_mark", size=(100, 44)))


# keys


def test_the_cursor_moves_and_the_details_follow() -> None:
    shown = play(Told(), "2", "j", "j", size=(160, 30))
    assert "Yes, after lunch" in shown and "web read" in shown and "asks for an ack" not in shown


def test_the_cursor_stays_on_its_row_when_others_come() -> None:
    told = Told()

    async def grow(app: LiveView, pilot: Pilot[None]) -> None:
        before = app.listed.key
        fresh = said(message(1, box("docs"), "something new", box("web")), "queued")
        told.show(BUSY._replace(talk=Talk((*BUSY.talk.said, fresh), True)))
        await pilot.pause()
        assert app.listed.key == before and app.listed.listing.entries[0].key == oid(1)

    play(told, "2", "j", then=grow)


def test_only_the_lines_that_changed_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    drawn: list[tuple[str, int]] = []
    render = Rows.render_line

    def counted(self: Rows, y: int) -> Any:
        drawn.append((self.id or "", y))
        return render(self, y)

    async def change(app: LiveView, pilot: Pilot[None]) -> None:
        monkeypatch.setattr(Rows, "render_line", counted)
        told.show(BUSY)  # the very same
        app.redraw()
        await pilot.pause()
        assert drawn == []
        sessions = (*BUSY.sessions[:3], BUSY.sessions[3]._replace(focus="something else"), *BUSY.sessions[4:])
        told.show(BUSY._replace(sessions=sessions))
        await pilot.pause()
        assert drawn == [("list", 4)]

    play(told, "1", then=change)


def test_enter_on_a_need_goes_to_what_it_is_about() -> None:
    shown = play(Told(), "0", "j", "j", "j", "j", "enter", size=(160, 34))
    assert "because  needs a database" in shown


def test_opening_a_thread_tells_its_sender_that_it_was_read() -> None:
    told = Told()
    play(told, "2", "j", "enter")
    assert told.acts == [("read", {"ids": [oid(4)]})]
    looking = Told(read_only=True)
    play(looking, "2", "j", "enter")
    assert looking.acts == []


def test_ack_of_the_first_need_takes_one_key() -> None:
    told = Told()
    assert "ack is done" in play(told, "0", "j", "a")
    assert told.acts == [("ack", {"id": oid(3)})]


def test_a_reply_is_typed_and_sent_with_enter() -> None:
    told = Told()
    play(told, "0", "r", *"on it", "ctrl+j", *"soon", "enter")
    assert told.acts == [("reply", {"id": oid(4), "text": "on it\nsoon"})]


def test_a_form_that_is_left_does_nothing() -> None:
    told = Told()
    play(told, "0", "r", *"never mind", "escape")
    assert told.acts == []


def test_a_form_that_lacks_something_stays() -> None:
    told = Told()
    assert "Reply" in play(told, "0", "r", "enter")
    assert told.acts == []


def test_a_message_is_composed() -> None:
    told = Told()
    play(told, "n", *"api", "tab", *"hello", "tab", "space", "tab", "space", "ctrl+s")
    assert told.acts == [("send", {"to": "api", "text": "hello", "urgent": True, "needs_ack": True})]


def test_on_the_board_n_files_a_task() -> None:
    told = Told()
    play(told, "3", "n", *"Fix it", "tab", "tab", "backspace", *"1", "enter")
    assert told.acts == [("add", {"title": "Fix it", "priority": 1})]


@pytest.mark.parametrize(
    ("keys", "act"),
    [
        (("3", "o"), []),
        (("3", "j", "j", "j", "o"), [("reopen", {"id": oid(33)})]),
        (("3", "p", "1", "enter"), [("prioritise", {"id": oid(32), "priority": 1})]),
        (("3", "f", *"web", "enter"), [("claim_for", {"id": oid(32), "to": "web"})]),
        (("3", "c", *"why?", "enter"), [("comment", {"id": oid(32), "text": "why?"})]),
        (("3", "j", "e", "y"), [("release", {"id": oid(34)})]),
        (("3", "j", "e", "n"), []),
        (("4", "j", "u", "y"), [("unlock", {"patterns": ["templates/"]})]),
        (("4", "j", "u", "escape"), []),
        (("5", "K", "y"), [("kill", {"id": oid(43)})]),
        (("5", "K", "enter", "n"), []),
        (("s",), [("sync", {})]),
    ],
)
def test_acts_by_their_keys(keys: tuple[str, ...], act: list[tuple[str, dict[str, Any]]]) -> None:
    told = Told()
    play(told, *keys)
    assert told.acts == act


def test_the_menu_has_all_that_can_be_done() -> None:
    told = Told()
    shown = play(told, "3", "x")
    assert "claim for" in shown and "priority" in shown and "drop" in shown
    play(told, "3", "x", "y")
    assert told.acts == [("claim", {"id": oid(32)})]


def test_what_was_refused_is_said_with_its_hint() -> None:
    told = Told()
    told.fails = Refused("old holds it", "git coord sessions")
    assert "old holds it  (git coord sessions)" in play(told, "0", "j", "a")


def test_what_was_typed_is_there_again_after_the_act_failed() -> None:
    told = Told()
    told.fails = Refused("the disk is full", "free some space")
    shown = play(told, "0", "j", "r", *"yes", "enter", "r")
    assert "yes" in shown
    told.fails = None
    shown = play(told, "0", "j", "r", *"no", "enter", "r")
    assert told.acts[-1][1]["text"] == "no" and "│ no" not in shown


def test_who_only_looks_on_is_told_so() -> None:
    told = Told(read_only=True)
    assert "only looks on (--read-only)" in play(told, "n")
    assert told.acts == []


def test_search_keeps_what_matches_and_escape_shows_all() -> None:
    told = Told()
    shown = play(told, "3", "slash", *"cents", "enter")
    assert "Round to cents" in shown and "Show VAT" not in shown
    assert "Show VAT" in play(told, "3", "slash", *"cents", "enter", "escape", size=(100, 50))
    assert "Nothing here has “xyz”" in play(told, "3", "slash", *"xyz", "enter")


def test_search_in_the_conversation_goes_through_all_that_was_said() -> None:
    told = Told()
    old = said(message(90, box("docs"), "long ago", box("api")), "read")
    told.answers["talk"] = threads(Talk((old,), False), BUSY)
    assert "long ago" in play(told, "2", "slash", *"ago", "enter")
    play(told, "2", "slash", "at", *"docs", "enter")
    assert [asked for asked in told.asked if asked[0] == "talk"] == [
        ("talk", {"words": "ago", "limit": 500}),
        ("talk", {"session": "docs", "limit": 500}),
    ]


def test_scrolling_to_the_end_reads_more() -> None:
    told = Told()
    play(told, "6", "G")
    assert told.furthered[:1] == ["events"]


def test_scrolling_near_the_end_of_a_column_reads_more_of_it_and_a_search_all() -> None:
    tasks = (*(task(n, f"task {n}") for n in range(130)), task(200, "held", "claimed", holder=box("api"), claim="c"))
    told = Told(BUSY._replace(board=Board(tasks, {}, {box("api"): "active"}, frozenset())))

    async def scroll(app: LiveView, pilot: Pilot[None]) -> None:
        assert not told.furthered
        for _ in range(40):
            if told.furthered:
                break
            await pilot.press("ctrl+d")
        assert "… 30 more" in text_of(app)
        told.show(told.facts._replace(pages={**PAGES, "tasks": 300}))
        await pilot.pause()
        assert "30 more" not in text_of(app) and "task 10" in text_of(app)

    play(told, "3", then=scroll)
    assert set(told.furthered) == {"tasks"}
    play(told, "3", "slash", "t")
    assert told.furthered[-1] == "all tasks"


def test_a_task_shows_its_history() -> None:
    told = Told()
    told.answers["task"] = TaskDetail(oid(32), "Round to cents", "All of them.", "api", NOW, (Step(NOW, "api", "filed", ""),))

    async def rest(app: LiveView, pilot: Pilot[None]) -> None:
        await pilot.pause(0.3)

    shown = play(told, "3", size=(160, 34), then=rest)
    assert "All of them." in shown and "api filed" in shown


def test_a_session_shows_what_it_did_and_a_job_its_output() -> None:
    told = Told()
    told.answers["session"] = timeline([event(1, "note", "VAT is a fraction")], HERE, ())
    told.answers["job"] = Output(oid(43), "listening on 8080", 17, True)

    async def rest(app: LiveView, pilot: Pilot[None]) -> None:
        await pilot.pause(0.3)
        await pilot.press("j")
        await pilot.pause(0.3)
        assert "VAT is a fraction" in text_of(app)
        await pilot.press("5")
        await pilot.pause(0.3)

    assert "listening on 8080" in play(told, "1", size=(160, 34), then=rest)


def test_output_that_goes_on_is_read_only_while_it_is_shown() -> None:
    told = Told()
    told.answers["job"] = Output(oid(43), "building", 8, True)

    async def grow(app: LiveView, pilot: Pilot[None]) -> None:
        await pilot.pause(0.3)
        asked = len(told.asked)
        told.answers["job"] = Output(oid(43), "building\nbuilt", 14, True)
        told.wrote(oid(42))
        await pilot.pause()
        assert len(told.asked) == asked
        told.wrote(oid(43))
        await pilot.pause()
        await pilot.pause()
        assert "built" in text_of(app).replace("building", "")

    play(told, "5", size=(160, 34), then=grow)


def test_output_is_shown_at_its_end_and_stays_where_somebody_scrolled_to() -> None:
    told = Told()

    def grow_to(lines: int) -> None:
        told.answers["job"] = Output(oid(43), "".join(f"line {n}.\n" for n in range(1, lines + 1)), lines, True)
        told.wrote(oid(43))

    async def read(app: LiveView, pilot: Pilot[None]) -> None:
        await pilot.pause(0.3)
        assert "line 100." in text_of(app)
        grow_to(120)
        await pilot.pause(0.1)
        assert "line 120." in text_of(app)
        app.side.scroll_home(animate=False)
        await pilot.pause(0.1)
        grow_to(140)
        await pilot.pause(0.1)
        assert "line 1." in text_of(app) and "line 140." not in text_of(app)

    grow_to(100)
    play(told, "5", size=(160, 34), then=read)


def test_what_goes_wrong_is_said_while_the_rest_stays() -> None:
    told = Told()

    async def fail(app: LiveView, pilot: Pilot[None]) -> None:
        told.show(BUSY, "the repository is gone")

    shown = play(told, size=(160, 30), then=fail)
    assert "the repository is gone; trying again" in shown and "api" in shown


# hostile


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202egnp.exe [bold]not markup[/bold] [link=x]"


def test_texts_with_escapes_and_markup_are_inert() -> None:
    told = message(1, box("api"), HOSTILE, box("ada"))
    facts = QUIET._replace(
        talk=Talk((said(told, "queued"),), False),
        board=Board((task(1, HOSTILE, "blocked", words=HOSTILE),), {}, {}, frozenset()),
        events=(event(1, "note", HOSTILE),),
    )
    for key in "236":
        shown = play(Told(facts), key, size=(160, 34))
        assert not any(c in shown for c in "\x1b\x07\u202e\x9b")
        assert "[bold]not markup" in shown and "\\x1b[2J" in shown


def test_a_line_of_64_kib_neither_hangs_nor_breaks_the_frame() -> None:
    told = message(1, box("api"), "w\u00efde 漢字 " * 8000, box("ada"))
    shown = play(Told(QUIET._replace(talk=Talk((said(told, "queued"),), False))), "2", size=(100, 30))
    assert all(len(line) <= 100 for line in shown.split("\n"))


def test_thousands_of_rows_are_drawn_as_quickly_as_few() -> None:
    tasks = tuple(task(n, f"task {n}", "done", changed=n) for n in range(2000))
    events = tuple(event(n, "note", f"event {n}") for n in range(5000))
    facts = QUIET._replace(board=Board(tasks, {}, {}, frozenset()), events=events, pages={**PAGES, "tasks": 20_000})
    shown = play(Told(facts), "6", "G", "3", "G")
    assert "task 199" in shown
