"""A list of rows in columns, drawn line by line: unchanged lines are not drawn again, even in a long list."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

GAP = 2


class Column(NamedTuple):
    """A column of fixed `width`, or with a `weight` a share of what is left; shown where the list has `least` cells."""

    width: int = 0
    weight: int = 0
    least: int = 0


class Cell(NamedTuple):
    text: str
    style: str = ""


class Entry(NamedTuple):
    """A line: a row with its cells; a heading has no row and cannot be chosen."""

    key: str
    cells: tuple[Cell, ...]
    row: Any = None


class Listing(NamedTuple):
    """The rows of a list, and the text for an empty one."""

    columns: tuple[Column, ...]
    entries: tuple[Entry, ...]
    empty: str
    more: bool = False


MORE = "more"
"""The beginning of the key of a line that stands for rows that were not read yet; it cannot be chosen."""
NEAR = 3
"""Number of lines before the end of the list from which more is asked for."""
NOTHING = Listing((), (), "")


@lru_cache(256)
def style(words: str) -> Style:
    """A style by rich's words; only the terminal's own colours are used."""
    return Style.parse(words)


def widths(columns: Sequence[Column], total: int) -> list[int]:
    """Cells for each column; 0 for one that is not shown."""
    shown = [column for column in columns if column.least <= total]
    left = total - sum(column.width for column in shown) - GAP * (len(shown) - 1)
    weights = sum(column.weight for column in shown) or 1
    return [
        0 if column not in shown else column.width or max(4, left * column.weight // weights)
        for column in columns
    ]  # fmt: skip


def fit(text: str, width: int) -> str:
    """`text` in exactly so many cells, with an ellipsis where it is cut."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


class Rows(ScrollView, can_focus=True):
    """A list with a cursor, which stays on its row when others come and go."""

    DEFAULT_CSS = "Rows { overflow-x: hidden; scrollbar-size: 0 1; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "move(1)", "down", show=False),
        Binding("k,up", "move(-1)", "up", show=False),
        Binding("g,home,less_than_sign", "move(-100000)", "first", show=False),
        Binding("G,end,greater_than_sign", "move(100000)", "last", show=False),
        Binding("ctrl+d,pagedown", "page(1)", "a page down", show=False),
        Binding("ctrl+u,pageup", "page(-1)", "a page up", show=False),
        Binding("enter", "choose", "open", show=False),
    ]

    class Moved(Message):
        """The cursor is on another row, or its row changed."""

        def __init__(self, rows: Rows) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> Rows:
            return self.rows

    class Chosen(Moved):
        """The row under the cursor was opened."""

    class Ended(Moved):
        """The cursor came near the end of the rows read so far."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self.listing = NOTHING
        self._at = 0

    @property
    def row(self) -> Any:
        """The row under the cursor, or None."""
        entries = self.listing.entries
        return entries[self._at].row if self._at < len(entries) else None

    @property
    def room(self) -> Size:
        """The width and height without the scrollbar."""
        return self.scrollable_content_region.size

    @property
    def key(self) -> str:
        entries = self.listing.entries
        return entries[self._at].key if self._at < len(entries) else ""

    def show(self, listing: Listing, key: str | None = None) -> None:
        """Show a listing; the cursor stays on its row, or goes to the row `key`, else to the first."""
        before, old_key, old_row = self.listing, self.key, self.row
        self.listing = listing
        self._at = self._at if key is None else 0
        self._at = self._place(old_key if key is None else key)
        self._resize()
        if key is not None or self.key != old_key:
            self._see()
        self._redraw(before)
        self._say_place()
        if self.row != old_row or self.key != old_key:
            self.post_message(self.Moved(self))

    def _say_place(self) -> None:
        """Say on the border which row of how many the cursor is on, where not all can be seen."""
        entries = self.listing.entries
        rows = sum(1 for entry in entries if entry.row is not None)
        at = sum(1 for entry in entries[: self._at + 1] if entry.row is not None)
        more = "+" if self.listing.more else ""
        said = f"{at} of {rows}{more}" if len(entries) > self.room.height else ""
        if self.border_subtitle != said:
            self.border_subtitle = said

    def _place(self, key: str) -> int:
        entries = self.listing.entries
        for place, entry in enumerate(entries):
            if entry.key == key and entry.row is not None:
                return place
        return self._nearest(min(self._at, len(entries) - 1), 1)

    def _nearest(self, at: int, step: int) -> int:
        """The row at a place or, at a heading, the next one in that direction, else in the other."""
        entries = self.listing.entries
        before, after = list(range(min(at, len(entries) - 1), -1, -1)), list(range(max(0, at), len(entries)))
        for place in after + before if step > 0 else before + after:
            if 0 <= place < len(entries) and entries[place].row is not None:
                return place
        return 0

    def _resize(self) -> None:
        size = Size(self.room.width, max(1, len(self.listing.entries)))
        if size != self.virtual_size:
            self.virtual_size = size

    def _redraw(self, before: Listing) -> None:
        """Redraw only the lines that are different."""
        if before.columns != self.listing.columns or len(before.entries) != len(self.listing.entries):
            self.refresh()
            return
        top = self.scroll_offset.y
        for y in range(self.room.height):
            at = top + y
            old, new = (it.entries[at] if at < len(it.entries) else None for it in (before, self.listing))
            if old is not None and new is not None and (old.cells, old.key) != (new.cells, new.key):
                self.refresh(Region(0, y, self.room.width, 1))

    def on_resize(self, event: events.Resize) -> None:
        self._resize()
        self._say_place()
        self._see()

    def _see(self) -> None:
        top = self._at - 1 if self._at and self.listing.entries[self._at - 1].row is None else self._at
        height = self.room.height
        if top < self.scroll_offset.y:
            self.scroll_to(y=top, animate=False)
        elif height and self._at >= self.scroll_offset.y + height:
            self.scroll_to(y=self._at - height + 1, animate=False)

    # keys and mouse

    def action_move(self, step: int) -> None:
        last = len(self.listing.entries) - 1
        self._go(self._nearest(max(0, min(last, self._at + step)), 1 if step > 0 else -1))

    def action_page(self, step: int) -> None:
        self.action_move(step * max(1, self.room.height - 2))

    def action_choose(self) -> None:
        if self.row is not None:
            self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        at = self.scroll_offset.y + event.y
        if at < len(self.listing.entries) and self.listing.entries[at].row is not None:
            again = at == self._at
            self._go(at)
            if again and event.chain > 1:
                self.action_choose()

    def _go(self, at: int) -> None:
        if at != self._at and self.listing.entries:
            self._at = at
            self._see()
            self._say_place()
            self.refresh()
            self.post_message(self.Moved(self))
        self._ask_for_more(at, at)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Handle scrolling, also by the mouse, which leaves the cursor where it is."""
        super().watch_scroll_y(old_value, new_value)
        if new_value > old_value:
            self._ask_for_more(int(new_value), int(new_value) + self.room.height - 1)

    def _ask_for_more(self, first: int, last: int) -> None:
        """Ask for more rows if the end of the list is among these lines, or near."""
        entries = self.listing.entries
        near = entries[max(0, first) : last + NEAR + 1]
        if (self.listing.more and last + NEAR >= len(entries)) or any(entry.key.startswith(f"{MORE} ") for entry in near):
            self.post_message(self.Ended(self))

    # draw

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.room.width
        at = self.scroll_offset.y + y
        entries = self.listing.entries
        if not entries:
            return self._nothing(y, width)
        if at >= len(entries):
            return Strip.blank(width, self.rich_style)
        return Strip(self._segments(entries[at], at == self._at, width), width)

    def _nothing(self, y: int, width: int) -> Strip:
        lines = self.listing.empty.split("\n")
        text = lines[y] if y < len(lines) else ""
        return Strip([Segment(fit(f" {text}", width), self.rich_style + style("dim" if y else ""))], width)

    def _segments(self, entry: Entry, here: bool, width: int) -> list[Segment]:
        base = self.rich_style
        if entry.row is None:
            return [Segment(fit(f" {entry.cells[0].text}", width), base + style(entry.cells[0].style or "bold"))]
        picked = here and self.has_focus
        if here:
            base = base + style("reverse" if picked else "bold")
        mark = "›" if here else " "
        segments = [Segment(mark, base)]
        for cell, room in zip(entry.cells, widths(self.listing.columns, width - 2), strict=False):
            if room:
                gap = " " * GAP if len(segments) > 1 else ""
                segments.append(Segment(gap + fit(cell.text, room), base if picked else base + style(cell.style)))
        used = sum(segment.cell_length for segment in segments)
        return [*segments, Segment(" " * max(0, width - used), base)]
