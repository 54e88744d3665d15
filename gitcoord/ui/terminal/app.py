"""The terminal view: the needs of the person on top, a section below, one row in full beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.geometry import Size
from textual.screen import Screen as TextualScreen
from textual.widgets import Input, Static

from gitcoord.ui.desk import Desk, News
from gitcoord.ui.model.jobs import JobRow
from gitcoord.ui.model.offers import ANYWHERE, OFFERS, Choice
from gitcoord.ui.model.talk import Thread
from gitcoord.ui.terminal import bars, listings
from gitcoord.ui.terminal.acting import Acting, Source, failure
from gitcoord.ui.terminal.details import detail, question
from gitcoord.ui.terminal.forms import Help
from gitcoord.ui.terminal.rows import Rows

NARROWEST = 40
"""Columns below which nothing useful fits."""
WIDE = 110
"""Columns from which the details are beside the list instead of below it."""
AGES_EVERY = 10.0
"""Seconds after which ages are computed again; only lines whose text changed are drawn."""
SETTLED = 0.12
"""Seconds that the cursor has to rest on a row before more is read about it."""


class LiveView(Acting):
    """The frame."""

    TITLE = "git coord"
    ENABLE_COMMAND_PALETTE = True
    CSS = bars.CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "leave"),
        Binding("question_mark", "help", "help"),
        Binding("colon", "command_palette", "commands", show=False),
        Binding("slash", "search", "search"),
        Binding("escape", "return", "back", show=False),
        Binding("0", "needs", "needs you", show=False),
        *[Binding(str(n), f"section({n - 1})", f"section {n}", show=False) for n in range(1, 7)],
        Binding("left_square_bracket,h,left", "step(-1)", "section before", show=False),
        Binding("right_square_bracket,l,right", "step(1)", "section after", show=False),
        Binding("x", "menu", "menu", show=False),
        Binding("R", "again", "look again", show=False),
        Binding("n", "new", "new", show=False),
        *[Binding(o.key, f"offer('{name}')", o.label, show=False) for name, o in OFFERS.items() if name not in ("send", "add")],
    ]

    def __init__(self, source: Source, clock: Callable[[], float] = time.time) -> None:
        super().__init__(source)
        self.theme = "ansi-dark"
        self.clock = clock
        self.words = ""
        self.found: tuple[Any, ...] | None = None
        """The threads of a search that went through the whole history."""
        self.deep: dict[str, Any] = {}
        self.wrong = ""
        self.room = Size(100, 30)
        self.head, self.tabs, self.detail, self.foot, self.narrow = (
            Static(id=name, markup=False) for name in ("head", "tabs", "detail", "foot", "narrow")
        )
        self.needs, self.listed = Rows("needs"), Rows("list")
        self.side = VerticalScroll(id="side")
        self.search = Input(id="search", placeholder="words, or @NAME")
        self._asked = self._shown_key = ""
        self._stale = False

    def compose(self) -> ComposeResult:
        yield self.head
        yield self.needs
        yield self.tabs
        with Container(id="panes"):
            yield self.listed
            with self.side:
                yield self.detail
        yield self.search
        yield self.foot
        yield self.narrow

    def on_mount(self) -> None:
        self.needs.border_title = "Needs you"
        self.screen.set_focus(self.listed)
        self.set_interval(AGES_EVERY, self.redraw)
        self._shape(self.size)
        self.redraw()
        self.source.start(
            lambda news: self.later(lambda: self._take(news)), lambda job: self.later(lambda: self._output_grew(job))
        )

    def on_unmount(self) -> None:
        self.source.stop()

    @property
    def current(self) -> Rows:
        """The list that keys are meant for, also below a form; the widgets themselves learn of the focus a moment later."""
        stack = self.screen_stack
        return self.needs if stack and stack[0].focused is self.needs else self.listed

    # news

    def _take(self, news: News) -> None:
        if news.screen is not None:
            self.shown = news.screen
        self.wrong = news.wrong
        self.redraw()

    def redraw(self) -> None:
        """Bring every line up to date; unchanged lines are not drawn."""
        now = self.clock()
        bars.put(self.head, bars.head(self.shown, self.wrong, now))
        if self.shown is None:
            return
        needs = listings.needs(self.shown, now)
        height = min(max(1, len(needs.entries)), max(3, self.room.height // 4)) + 2
        if self.needs.styles.height is None or self.needs.styles.height.value != height:
            self.needs.styles.height = height
        title = f"Needs you {len(needs.entries)}" if needs.entries else "Needs you"
        if self.needs.border_title != title:
            self.needs.border_title = title
        self.needs.set_class(bool(needs.entries), "pressing")
        self.needs.show(needs)
        self._list(now)
        self._rest(now)

    def _list(self, now: float, key: str | None = None) -> None:
        if self.shown is None:
            return
        shown = self.shown if self.found is None else self.shown._replace(threads=self.found, more_threads=False)
        listing = listings.SECTIONS[self.section].listing(shown, now)
        words = "" if self.found is not None else self.words
        self.listed.show(listings.matching(listing, words), key)

    def redraw_rest(self) -> None:
        """Draw the tabs, the details and the last line."""
        self._rest(self.clock())

    def _rest(self, now: float) -> None:
        if self.shown is None:
            return
        bars.put(self.tabs, bars.tabs(self.shown, self.section, self.words, self.room.width))
        row = self.current.row
        self._detail(row, self.current.key, now)
        bars.put(self.foot, self.said or bars.keys(row, self.section, self.source.read_only, self.room.width))

    def _detail(self, row: Any, key: str, now: float) -> None:
        """Show a row in full: from its beginning; talk and output at the end, and there as long as nobody scrolls up."""
        has_end = isinstance(row, (Thread, JobRow))
        stays = has_end and key == self._shown_key and self.side.scroll_offset.y >= self.side.max_scroll_y - 1
        fresh, self._shown_key = key != self._shown_key, key
        bars.put(self.detail, detail(row, self.deep.get(key), now))
        if stays or (fresh and has_end):
            self.call_after_refresh(self.side.scroll_end, animate=False)
        elif fresh:
            self.side.scroll_home(animate=False)

    # moving around

    def on_rows_moved(self, message: Rows.Moved) -> None:
        if message.rows is self.current:
            self._rest(self.clock())
            self.set_timer(SETTLED, self._ask)

    def on_descendant_focus(self) -> None:
        if self.shown is not None:
            self._rest(self.clock())
            self.set_timer(SETTLED, self._ask)

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        row = message.rows.row
        if message.rows is self.needs and row.section:
            self._go([s.name for s in listings.SECTIONS].index(row.section), row.about)
            self.screen.set_focus(self.listed)
            self._has_read(self.listed.row)
            return
        self._has_read(row)
        if not self.side.display:
            self.set_class(True, "opened")
            self.side.focus()  # once it is displayed
        else:
            self.screen.set_focus(self.side)

    def _has_read(self, row: Any) -> None:
        """Mark an opened thread read, so that its senders see that."""
        read = next((choice for choice in getattr(row, "choices", ()) if choice.offer == "read"), None)
        if read is not None and isinstance(row, Thread) and not self.source.read_only:
            self.act("read", read.given)

    def on_rows_ended(self, message: Rows.Ended) -> None:
        if message.rows is self.listed:
            self.source.more(listings.SECTIONS[self.section].page)

    def _go(self, section: int, key: str = "") -> None:
        self.section, self.words, self.found = section, "", None
        self._list(self.clock(), key)
        self._rest(self.clock())

    def action_section(self, section: int) -> None:
        """Show a section."""
        self._go(section)
        self.screen.set_focus(self.listed)

    def action_step(self, step: int) -> None:
        """Show the section before or after this one."""
        self.action_section((self.section + step) % len(listings.SECTIONS))

    def action_needs(self) -> None:
        """Go to the list of needs, at once, so that the next key acts there."""
        self.screen.set_focus(self.needs)

    def action_return(self) -> None:
        """Show all again, or go back to the list."""
        self.search.display = False
        self.set_class(False, "opened")
        if self.words:
            self._go(self.section)
        self.screen.set_focus(self.listed)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(Help())

    def action_again(self) -> None:
        """Look again at once."""
        self.source.look_again()
        self.say(Text(" looked again"))

    # more about a row

    def _ask(self) -> None:
        """Read more about the row under the cursor, once it rests there."""
        row, key = self.current.row, self.current.key
        asked = question(row)
        if asked is None or key == self._asked:
            return
        self._asked = key
        answer = self.source.ask(*asked)
        answer.add_done_callback(lambda done: self.later(lambda: self._answered(key, done)))

    def _answered(self, key: str, done: Future[Any]) -> None:
        self._asked = ""
        if self._stale and self.current.key == key:
            self._ask()
        self._stale = False
        if done.exception() is None:
            changed = self.deep.get(key) != done.result()
            self.deep = {**dict(list(self.deep.items())[-50:]), key: done.result()}
            if changed:
                self._rest(self.clock())

    def _output_grew(self, job: str) -> None:
        if self._asked == job:
            self._stale = True  # the running read may lack this output, and the desk tells again only after another read
        elif self.current.key == job:
            self._ask()

    # search

    def action_search(self) -> None:
        """Search the list."""
        self.search.value = self.words
        self.search.display = True
        self.screen.set_focus(self.search)

    def on_input_changed(self, message: Input.Changed) -> None:
        if message.input.id == "search" and message.input.display:
            if not self.words and message.value.strip():
                self._read_all()
            self.words, self.found = message.value.strip(), None
            self._list(self.clock())

    def _read_all(self) -> None:
        """Read all sessions and tasks for a search, not only those that were scrolled to."""
        if (page := listings.SECTIONS[self.section].page) in ("sessions", "tasks"):
            self.source.more(page, whole=True)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        if message.input.id != "search":
            return
        message.input.display = False
        self.screen.set_focus(self.listed)
        if self.words and listings.SECTIONS[self.section].name == "conversation":
            self._search_history()
        self._rest(self.clock())

    def _search_history(self) -> None:
        """Search the whole history of the conversation."""
        words = self.words
        asked = {"session": words[1:]} if words.startswith("@") else {"words": words}
        answer = self.source.ask("talk", {**asked, "limit": 500})

        def take(done: Future[Any]) -> None:
            if done.exception() is not None:
                self.say(failure(done.exception()))
            elif self.words == words:
                self.found = done.result()
                self._list(self.clock())

        answer.add_done_callback(lambda done: self.later(lambda: take(done)))

    # the frame

    def on_resize(self, event: events.Resize) -> None:
        self._shape(event.size)
        self.redraw()

    def _shape(self, size: Size) -> None:
        """Lay the panes out for the size of the terminal."""
        self.room = size
        width, height = size
        self.set_class(width >= WIDE, "wide")
        self.set_class(height < 20, "low")
        self.set_class(width < NARROWEST or height < 10, "tiny")
        words = f"{width}×{height} is too small: the view needs {NARROWEST}×10. q leaves."
        bars.put(self.narrow, Text(words))

    def get_system_commands(self, screen: TextualScreen[Any]) -> Iterable[SystemCommand]:
        """The entries of the command palette."""
        for n, section in enumerate(listings.SECTIONS):
            yield SystemCommand(f"Show {section.name}", f"key {n + 1}", lambda n=n: self.action_section(n))
        yield SystemCommand("Needs you", "key 0", self.action_needs)
        for choice in (*self.choices(), *(Choice(name, {}) for name in ANYWHERE)):
            offer = OFFERS[choice.offer]
            yield SystemCommand(offer.label.capitalize(), f"key {offer.key}", lambda choice=choice: self.perform(choice))
        yield SystemCommand("Theme", "choose other colours", self.action_change_theme)
        yield SystemCommand("Keys", "key ?", self.action_help)
        yield SystemCommand("Leave", "key q", self.exit)


def run(desk: Desk) -> None:
    """Show the view until the person leaves it."""
    for name in ("COLUMNS", "LINES"):  # if they are exported, Textual takes them and never sees a resize
        os.environ.pop(name, None)
    LiveView(desk).run()
