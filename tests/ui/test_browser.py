"""The web view in a real browser: clicks, keys, and news that arrive by themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import Cli
from made import BUSY, QUIET, box, event, message, oid, said, task
from served import in_process, serve
from told import Told

from gitcoord.errors import Refused
from gitcoord.features.messages.talk import Talk
from gitcoord.features.tasks.board import Board
from gitcoord.ui.details import Output
from gitcoord.ui.facts import PAGES

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright: pip install -e '.[dev-ui]'")
CHROMIUM = os.environ.get("GITCOORD_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
if not os.path.exists(CHROMIUM):
    pytest.skip("the browser tests need Chromium: apt-get install chromium, or GITCOORD_CHROMIUM", allow_module_level=True)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
Pair = tuple[Path, Path]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page whose errors fail the test."""
    context = chromium.new_context(viewport={"width": 1180, "height": 760})
    context.set_default_timeout(20_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    context.close()
    assert wrong == []


def show(page: Any, visitor: Any, door: Any) -> None:
    page.goto(f"http://{visitor.called}/enter?token={door.invite()}")


def test_a_message_from_another_worktree_appears_and_its_answer_is_read(worktrees: Pair, page: Any, cli: Cli) -> None:
    with serve(worktrees[1]) as served:
        page.goto(served.link)
        assert re.fullmatch(rf"http://127\.0\.0\.1:{urlsplit(served.link).port}/[\w-]+/", page.url)  # the token is gone from it
        page.get_by_text("Nothing needs you.").wait_for()
        cli(worktrees[0], "send", "ada-lovelace", "which one first?")
        page.locator("#needs .row", has_text="which one first?").click()
        page.locator("article", has_text="ada-lovelace read").wait_for()
        assert "ada-lovelace read" in cli(worktrees[0], "sent").out
        page.get_by_label("Answer").fill("the parser")
        page.keyboard.press("Enter")
        page.locator("article.mine", has_text="alpha queued").wait_for()
        assert "the parser" in cli(worktrees[0], "inbox").out
        page.locator("article.mine", has_text="alpha read").wait_for()
        page.get_by_text("Nothing needs you.").wait_for()
        assert page.get_by_label("Answer").input_value() == ""


def test_two_tabs_agree(worktrees: Pair, page: Any, cli: Cli) -> None:
    cli(worktrees[0], "send", "ada-lovelace", "may I?", "--needs-ack")
    with serve(worktrees[1]) as served:
        page.goto(served.link)
        page.locator("#needs .row", has_text="may I?").wait_for()
        other = page.context.new_page()
        other.goto(page.url)
        other.locator("#needs").get_by_role("button", name="ack: alpha").click()
        page.get_by_text("Nothing needs you.").wait_for()
        other.get_by_text("Nothing needs you.").wait_for()


def test_a_lost_server_is_said_and_reconnected_to(worktrees: Pair, page: Any, cli: Cli) -> None:
    with serve(worktrees[1]) as served:
        page.goto(served.link)
        port = str(urlsplit(served.link).port)
        page.get_by_text("Nothing needs you.").wait_for()
        served.program.send_signal(signal.SIGKILL)
        page.get_by_role("alert").get_by_text("The server is lost").wait_for()
    with serve(worktrees[1], "--port", port) as again:
        page.get_by_role("alert").get_by_text("open the link that it printed").wait_for()
        other = page.context.new_page()
        other.goto(again.link)
        other.close()
        page.get_by_role("alert").wait_for(state="hidden")
        cli(worktrees[0], "send", "ada-lovelace", "here again")
        page.locator("#needs .row", has_text="here again").wait_for()


def test_the_view_stands_alone_and_loads_nothing_from_elsewhere(page: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with in_process(Told()) as (visitor, door):
        show(page, visitor, door)
        page.locator("#needs .row").first.wait_for()
        assert {urlsplit(url).netloc for url in asked} == {visitor.called}
        page.goto("about:blank")


def test_keys_and_forms(page: Any) -> None:
    told = Told()
    with in_process(told) as (visitor, door):
        show(page, visitor, door)
        page.locator("#needs .row").first.wait_for()
        page.keyboard.press("3")
        page.keyboard.press("j")
        page.keyboard.press("p")
        page.get_by_role("spinbutton").fill("1")
        page.keyboard.press("Enter")
        page.get_by_role("status").get_by_text("prioritise is done").wait_for()
        page.keyboard.press("n")
        page.get_by_label("Title").fill("Tidy up")
        page.get_by_role("button", name="Send").click()
        page.get_by_role("status").get_by_text("add is done").wait_for()
        page.keyboard.press("4")
        page.locator("#rows .row", has_text="templates/").click()
        page.locator("#detail").get_by_role("button", name="unlock").click()
        page.get_by_role("button", name="Leave it").click()
        page.locator("#detail").get_by_role("button", name="unlock").click()
        page.get_by_role("button", name="Do it").click()
        page.get_by_role("status").get_by_text("unlock is done").wait_for()
        page.keyboard.press("/")
        page.keyboard.type("nothing such")
        page.get_by_text("Nothing here has “nothing such”").wait_for()
        page.keyboard.press("Escape")
        page.locator("#rows .row", has_text="templates/").wait_for()
        page.keyboard.press("?")
        page.get_by_role("dialog").get_by_text("what needs you").wait_for()
        page.goto("about:blank")
    assert [name for name, _ in told.acts] == ["prioritise", "add", "unlock"]
    assert told.acts[0][1]["priority"] == 1 and told.acts[1][1] == {"title": "Tidy up", "priority": 2}


def test_what_did_not_change_keeps_its_place_and_what_is_typed_stays(page: Any) -> None:
    told = Told()
    with in_process(told) as (visitor, door):
        show(page, visitor, door)
        page.keyboard.press("2")
        page.locator("#rows .row").nth(2).click()
        page.get_by_label("Answer").fill("half a sent")
        page.evaluate("document.querySelector('#rows .row').mark = 1")
        fresh = said(message(1, box("docs"), "something new", box("web")), "queued")
        told.show(BUSY._replace(talk=Talk((*BUSY.talk.said, fresh), True)))
        page.locator("#rows .row", has_text="something new").wait_for()
        page.keyboard.type("ence")
        assert page.get_by_label("Answer").input_value() == "half a sentence"
        assert page.evaluate("document.querySelectorAll('#rows .row')[1].mark") == 1
        page.goto("about:blank")


def test_output_grows_where_it_is_shown_and_what_failed_is_filled_in_again(page: Any) -> None:
    told = Told()
    told.answers["job"] = Output(oid(43), "building", 8, True)
    with in_process(told) as (visitor, door):
        show(page, visitor, door)
        page.keyboard.press("5")
        page.locator("#rows .row", has_text="devserver").click()
        page.locator("#detail pre", has_text="building").wait_for()
        told.answers["job"] = Output(oid(43), "building\nbuilt", 14, True)
        told.wrote(oid(43))
        page.locator("#detail pre", has_text="built").wait_for()
        told.fails = Refused("the disk is full", "free some space")
        page.get_by_role("button", name="New message").click()
        page.get_by_label("To").fill("web")
        page.get_by_label("Text").fill("a long text")
        page.get_by_role("button", name="Send").click()
        page.get_by_role("status").get_by_text("the disk is full").wait_for()
        page.get_by_role("button", name="New message").click()
        assert (page.get_by_label("To").input_value(), page.get_by_label("Text").input_value()) == ("web", "a long text")
        page.goto("about:blank")


def test_the_end_of_a_column_reads_on(page: Any) -> None:
    tasks = tuple(task(n, f"task {n}") for n in range(130))
    told = Told(BUSY._replace(board=Board(tasks, {}, {}, frozenset())))
    with in_process(told) as (visitor, door):
        show(page, visitor, door)
        page.keyboard.press("3")
        page.get_by_text("30 more…").wait_for()
        assert told.furthered == []
        page.locator("#rows > div").first.hover()
        for _ in range(40):
            page.mouse.wheel(0, 2000)
            page.wait_for_timeout(50)
            if told.furthered:
                break
        told.show(told.facts._replace(pages={**PAGES, "tasks": 300}))
        page.locator("#rows .row", has_text="task 129").wait_for(state="attached")
        page.goto("about:blank")
    assert set(told.furthered) == {"tasks"}


HOSTILE = '<img src=x onerror="document.title=1">\x1b[31m\u202egnp.exe</script><script>document.title=2</script>'


def test_texts_with_html_escapes_and_64_kib_lines_are_inert(page: Any) -> None:
    talk = Talk((said(message(1, box("api"), HOSTILE + "w" * 65_000, box("ada"), attachments=(HOSTILE,)), "queued"),), False)
    board = Board((task(1, HOSTILE, "blocked", words=HOSTILE, labels=(HOSTILE,)),), {}, {}, frozenset())
    facts = QUIET._replace(talk=talk, board=board, events=(event(1, "note", HOSTILE),), project=HOSTILE)
    with in_process(Told(facts)) as (visitor, door):
        show(page, visitor, door)
        for key in "236":
            page.keyboard.press(key)
            page.locator("#rows .row").first.click()
            page.locator("#detail", has_text="<img src=x").wait_for()
        shown = page.locator("body").inner_text()
        assert page.locator("img, script:not([src])").count() == 0 and "<img" in page.title()
        assert "\u202e" not in shown and "\x1b" not in shown and "\\u202e" in shown
        assert page.evaluate("document.documentElement.scrollWidth") <= 1180
        page.goto("about:blank")


def test_who_only_looks_on_sees_no_way_to_act(page: Any) -> None:
    with in_process(Told(read_only=True)) as (visitor, door):
        show(page, visitor, door)
        page.locator("#needs .row").first.wait_for()
        page.keyboard.press("2")
        page.locator("#rows .row").first.click()
        page.locator("article").first.wait_for()
        assert page.locator("#needs .acts, #detail .acts, .composer").count() == 0 and page.locator("#new").is_hidden()
        page.goto("about:blank")


def axe() -> str:
    """The checker's source, where `npm install axe-core` has put it."""
    place = Path(os.environ.get("GITCOORD_AXE", "")) if os.environ.get("GITCOORD_AXE") else None
    if place is None or not place.exists():
        pytest.skip("the accessibility check needs axe-core: npm install axe-core, and GITCOORD_AXE names its axe.min.js")
    return place.read_text()


@pytest.mark.parametrize(("width", "scheme"), [(1180, "light"), (480, "dark")])
def test_axe_finds_nothing_to_complain_of(page: Any, scheme: str, width: int) -> None:
    source = axe()
    told = Told()
    with in_process(told) as (visitor, door):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 760})
        show(page, visitor, door)
        page.locator("#needs .row").first.wait_for()
        page.evaluate(source + ";0")
        for key in "123456n":
            page.keyboard.press(key)
            if key != "n":
                page.locator("#rows .row").first.click()
            found = page.evaluate("axe.run().then((it) => it.violations.map((v) => [v.id, v.nodes.map((n) => n.html)]))")
            assert found == [], json.dumps(found, indent=1)[:3000]
        page.goto("about:blank")
