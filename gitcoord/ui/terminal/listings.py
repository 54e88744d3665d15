"""The rows of each list of the terminal view: pure, from the rows of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gitcoord.ui.model.board import TaskRow
from gitcoord.ui.model.jobs import JobRow
from gitcoord.ui.model.needs import Need
from gitcoord.ui.model.overlaps import LockRow, Pair
from gitcoord.ui.model.people import HERE, PEOPLE, SessionRow
from gitcoord.ui.model.screen import Screen
from gitcoord.ui.model.talk import Thread
from gitcoord.ui.model.timeline import EventRow
from gitcoord.ui.model.words import SHORT, age, left
from gitcoord.ui.terminal.rows import MORE, Cell, Column, Entry, Listing

SIGNS = {"active": "●", "idle": "○", "waiting": "◆", "unknown": "?", "expected": "·", "gone": "✕", "": " "}
COLOURS = {"active": "green", "idle": "", "waiting": "bold yellow", "unknown": "dim", "expected": "dim", "gone": "red"}
KINDS = {"conflict": "red", "failed": "red", "died": "red", "waiting": "yellow", "ack": "yellow", "trust": "magenta"}

AGE = Column(4)


def heading(text: str) -> Entry:
    return Entry(f"# {text}", (Cell(text, "bold"),))


def matching(listing: Listing, words: str) -> Listing:
    """The rows of a listing in which all words occur, and the headings that still have rows."""
    wanted = words.lower().split()
    if not wanted:
        return listing
    kept: list[Entry] = []
    for entry in listing.entries:
        text = " ".join(cell.text for cell in entry.cells).lower()
        if entry.row is None:
            if kept and kept[-1].row is None:
                kept.pop()
            kept.append(entry)
        elif all(word in text for word in wanted):
            kept.append(entry)
    if kept and kept[-1].row is None:
        kept.pop()
    return listing._replace(entries=tuple(kept), empty=f"Nothing here has “{words}”. Esc shows all again.")


def needs(screen: Screen, now: float) -> Listing:
    """The list of needs."""
    columns = (Column(8), Column(16, least=50), Column(weight=1), AGE)
    return Listing(columns, tuple(_need(row, now) for row in screen.needs), "Nothing needs you.")


def _need(row: Need, now: float) -> Entry:
    colour = "bold red" if row.urgent else KINDS.get(row.kind, "cyan")
    text = f"{row.text}  ({row.command})" if row.command and not row.choices else row.text
    text = f"urgent: {text}" if row.urgent else text
    cells = (Cell(row.kind, colour), Cell(row.who, "bold"), Cell(text), Cell(f"{age(row.at, now):>4}", "dim"))
    return Entry(row.key, cells, row)


def sessions(screen: Screen, now: float) -> Listing:
    """The list of sessions, here and elsewhere."""
    columns = (
        Column(2), Column(16), Column(8), AGE, Column(14, least=78), Column(5, least=62), Column(3, least=62), Column(weight=1),
    )  # fmt: skip
    entries: list[Entry] = []
    for row in screen.sessions:
        if not entries or entries[-1].row.group != row.group:
            entries.append(heading(_group(row)))
        entries.append(_session(row, now))
    empty = "Nobody works here yet.\ngit worktree add ../NAME, and start an agent in it."
    return Listing(columns, tuple(entries), empty, screen.more_sessions)


def _group(row: SessionRow) -> str:
    words = {HERE: "Worktrees here", PEOPLE: "People"}
    return words.get(row.group, f"Clone {row.group}, as it said last")


def _session(row: SessionRow, now: float) -> Entry:
    who = Cell(row.name.partition("@")[0] or "nobody", "bold" if row.name else "dim")  # the heading says whose it is
    files = f"{len(row.files)}±" if row.files else ""
    doing = "you" if row.is_user else row.task or row.focus
    where = row.branch if row.branch != row.worktree else row.worktree
    cells = (
        Cell(SIGNS.get(row.state, " "), COLOURS.get(row.state, "")),
        who,
        Cell(row.state, COLOURS.get(row.state, "")),
        Cell(f"{age(row.at, now):>4}", "dim"),
        Cell(where or row.worktree, "cyan"),
        Cell(f"{files:>5}", "yellow"),
        Cell(f"{row.unread}✉" if row.unread else "", "yellow"),
        Cell(doing if row.name else f"worktree {row.worktree}", "" if row.task else "dim"),
    )
    return Entry(row.key, cells, row)


def conversation(screen: Screen, now: float) -> Listing:
    """The list of threads, the newest message first."""
    columns = (Column(2), Column(weight=2), Column(weight=5), Column(3, least=50), AGE)
    entries = tuple(_thread(row, screen.head.user, now) for row in screen.threads)
    return Listing(columns, entries, "Nobody has said anything yet.\nn writes the first message.", screen.more_threads)


def _thread(row: Thread, user: str, now: float) -> Entry:
    others = [name for name in row.who if name != user]
    text = row.last if len(row.said) == 1 else f"{row.last_by}: {row.last}"
    count = f"{len(row.said):>3}" if len(row.said) > 1 else ""
    mark = Cell("◆" if row.waits else "", "bold yellow")
    who = Cell(", ".join(others) or user, "bold" if row.waits else "cyan")
    cells = (mark, who, Cell(text), Cell(count, "dim"), Cell(f"{age(row.at, now):>4}", "dim"))
    return Entry(row.key, cells, row)


def board(screen: Screen, now: float) -> Listing:
    """The list of tasks, column below column."""
    columns = (Column(SHORT, least=70), Column(2), Column(weight=5), Column(weight=2), AGE)
    entries: list[Entry] = []
    for column in screen.board:
        if column.rows:
            entries.append(heading(f"{column.name.capitalize()} {len(column.rows) + column.more}"))
            entries += [_task(row, now) for row in column.rows]
            if column.more:
                entries.append(Entry(f"{MORE} {column.name}", (Cell(f"    … {column.more} more", "dim"),)))
    return Listing(columns, tuple(entries), "No tasks yet.\nn files the first one.")


def _task(row: TaskRow, now: float) -> Entry:
    facts = row.words if row.status == "blocked" and row.words else ""
    if row.waits:
        facts = f"waits for {', '.join(row.waits)}"
    elif not facts and row.needed_by:
        facts = f"{len(row.needed_by)} {'wait' if len(row.needed_by) > 1 else 'waits'} for it"
    title = f"{row.title}  · {facts}" if facts else row.title
    who = row.holder or (f"for {row.assignee}" if row.assignee else "")
    if row.holder_state == "gone":
        who += " (gone)"
    over = row.status in ("done", "dropped")
    cells = (
        Cell(row.key[:SHORT], "dim" if over else "yellow"),
        Cell(f"p{row.priority}", "bold" if row.priority == 0 else "dim"),
        Cell(title, "dim" if over else "red" if row.status == "blocked" else ""),
        Cell(who, "red" if row.holder_state == "gone" else "cyan"),
        Cell(f"{age(row.at, now):>4}", "dim"),
    )
    return Entry(row.key, cells, row)


def overlaps(screen: Screen, now: float) -> Listing:
    """The list of pairs whose work overlaps, then locks."""
    columns = (Column(2), Column(weight=2), Column(weight=3), Column(4))
    entries: list[Entry] = []
    if screen.pairs:
        entries += [heading("Both changed"), *map(_pair, screen.pairs)]
    if screen.overlaps_unknown:
        entries.append(heading(f"Overlaps: {screen.overlaps_unknown}"))
    if screen.locks:
        entries += [heading("Locks"), *(_lock(row, now) for row in screen.locks)]
    return Listing(columns, tuple(entries), "No two sessions change the same files, and nothing is locked.")


def _pair(row: Pair) -> Entry:
    files = ", ".join((*row.conflicts, *row.merges))
    what = f"{len(row.conflicts)} will not merge: {files}" if row.conflicts else f"merges: {files}"
    sign = Cell("✕" if row.conflicts else "≈", "bold red" if row.conflicts else "yellow")
    return Entry(row.key, (sign, Cell(f"{row.a} ↔ {row.b}", "bold"), Cell(what), Cell("")), row)


def _lock(row: LockRow, now: float) -> Entry:
    who = f"{row.holder}{' (shared)' if row.shared else ''}"
    text = f"{', '.join(row.patterns)}  {row.reason}".rstrip()
    cells = (Cell("▣", "yellow"), Cell(who, "bold"), Cell(text), Cell(f"{left(row.expires, now):>4}", "dim"))
    return Entry(row.key, cells, row)


def jobs(screen: Screen, now: float) -> Listing:
    """The list of jobs: running ones, then ended ones."""
    columns = (Column(2), Column(16), Column(12, least=60), Column(weight=2), Column(weight=3, least=70), AGE)
    return Listing(columns, tuple(_job(row, now) for row in screen.jobs), "No jobs today.\ngit coord run -- COMMAND runs one.")


def _job(row: JobRow, now: float) -> Entry:
    running = row.state == "running"
    sign = Cell("▶" if running else "✕" if row.failed else "✓", "green" if running else "bold red" if row.failed else "dim")
    state = Cell(f"running {row.how}".strip() if running else row.how, "red" if row.failed else "")
    cells = (
        sign, Cell(row.name, "bold"), Cell(row.session, "cyan"), state, Cell(row.command, "dim"),
        Cell(f"{age(row.started if running else row.ended, now):>4}", "dim"),
    )  # fmt: skip
    return Entry(row.key, cells, row)


def timeline(screen: Screen, now: float) -> Listing:
    """The list of events, the newest first."""
    entries = tuple(_event(row, now) for row in screen.events)
    return Listing(EVENTS, entries, "Nothing has happened yet.", screen.more_events)


EVENTS = (AGE, Column(14), Column(12, least=50), Column(weight=1))


def _event(row: EventRow, now: float) -> Entry:
    cells = (Cell(f"{age(row.at, now):>4}", "dim"), Cell(row.who, "bold"), Cell(row.kind, "cyan"), Cell(row.text))
    return Entry(row.key, cells, row)


class Section(NamedTuple):
    """A list that has a tab: its name, a short one for narrow terminals, its rows, its count, and the page of the facts
    that scrolling makes longer."""

    name: str
    short: str
    listing: Callable[[Screen, float], Listing]
    count: Callable[[Screen], int]
    page: str = ""


def _alive(screen: Screen) -> int:
    return sum(count for state, count in screen.head.states if state in ("active", "idle", "waiting"))


SECTIONS = (
    Section("sessions", "sess", sessions, _alive, "sessions"),
    Section("conversation", "talk", conversation, lambda s: sum(thread.waits for thread in s.threads), "talk"),
    Section("board", "board", board, lambda s: sum(len(column.rows) + column.more for column in s.board[:3]), "tasks"),
    Section("overlaps", "over", overlaps, lambda s: len(s.pairs)),
    Section("jobs", "jobs", jobs, lambda s: sum(1 for job in s.jobs if job.state == "running")),
    Section("timeline", "time", timeline, lambda s: 0, "events"),
)
