"""Print tasks: as lines, one whole task, and as columns that fit the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from gitcoord import Coord
from gitcoord.cli.output import ago, inert, one_line, paint, quoted, say, say_block
from gitcoord.cli.talk import SHORT
from gitcoord.lean import TYPE_CHECKING
from gitcoord.overview.shapes import shown_name
from gitcoord.system.screen import cut, pad
from gitcoord.system.streams import columns_of

if TYPE_CHECKING:
    from gitcoord.features.tasks.read import Task

COLOURS = {"ready": "32", "open": "0", "claimed": "36", "blocked": "31", "done": "2", "dropped": "2"}
GAP = 2
NARROW = 14
"""The least width of a column in characters; with less room the columns are printed below each other."""
DEEP = 20
"""Number of tasks shown in a column."""
LATEST = 5
ENDLESS = 1_000_000


def task_line(coord: Coord, task: Task) -> str:
    """A task on one line, like `git log --oneline` with its decorations."""
    status = "ready" if task.ready and task.status == "open" else task.status
    word = paint(f"{status:<7}", COLOURS[status])
    facts = ", ".join(_facts(coord, task))
    line = f"{paint(task.id[:SHORT], '33')} {word} p{task.priority} {inert(task.title)}"
    return line + (f"  ({inert(facts)})" if facts else "")


def _facts(coord: Coord, task: Task) -> list[str]:
    facts = []
    if task.holder:
        verb = "by " if task.status == "done" else ""
        state = f" {task.holder_state}" if task.status in ("claimed", "blocked") else ""
        facts.append(f"{verb}{shown_name(coord, task.holder)}{state}")
    if task.assignee and task.assignee != task.holder:
        facts.append(f"for {shown_name(coord, task.assignee)}")
    if task.unmet and task.status in ("open", "claimed"):
        facts.append("needs " + " ".join(need[:SHORT] for need in task.unmet))
    if task.status == "blocked":
        facts.append(one_line(task.words, 50))
    return facts + [f"#{label}" for label in task.labels] + (["tentative"] if task.tentative else [])


def say_task(coord: Coord, task: Task, needs: Iterable[Task]) -> None:
    """Everything about one task, like `git show`."""
    say(paint(f"task {task.id}", "33"))
    holder = f" by {shown_name(coord, task.holder)} ({task.holder_state})" if task.holder else ""
    say(f"Title:    {inert(task.title)}")
    say(f"Status:   {task.status}{holder}{', ready' if task.ready else ''}, {ago(task.changed)}")
    say(f"Priority: {task.priority}")
    say(f"Filed:    by {shown_name(coord, task.creator)}, {ago(task.at)}")
    if task.assignee:
        say(f"Assignee: {shown_name(coord, task.assignee)}")
    if task.labels:
        say(inert(f"Labels:   {', '.join(task.labels)}"))
    for need in needs:
        say(f"Needs:    {task_line(coord, need)}")
    if task.text:
        say()
        say_block(quoted(task.text))
    say()
    steps = [
        (s.lc, s.at, f"{s.what}{' (void: another was quicker)' if s.void else ''}", s.sender, s.text) for s in task.history
    ]
    steps += [(c.lc, c.at, "says", c.sender, c.text) for c in task.comments]
    for _, at, what, sender, text in sorted(steps):
        say(f"{shown_name(coord, sender)} {what}, {ago(at)}")
        if text:
            say_block(quoted(text))


def columns(tasks: Sequence[Task]) -> dict[str, list[Task]]:
    """The tasks of a board by column: of open ones the ready first, of done ones the latest few."""
    found = {name: [t for t in tasks if t.status == name] for name in ("open", "claimed", "blocked", "done")}
    found["open"].sort(key=lambda t: (not t.ready, t.priority))
    found["done"] = sorted(found["done"], key=lambda t: -t.changed)[:LATEST]
    return found


def say_board(coord: Coord, board: dict[str, list[Task]]) -> None:
    """Columns side by side, or below each other where there is no room; all of it fits the terminal, if there is one."""
    import shutil

    size = shutil.get_terminal_size((80, 24))
    width = columns_of(sys.stdout) or size.columns
    height = size.lines - 2 if columns_of(sys.stdout) else ENDLESS
    each = (width - GAP * (len(board) - 1)) // len(board)
    if each < NARROW:
        for name, tasks in board.items():
            say(*(line.rstrip() for line in _column(coord, name, tasks, (max(width, NARROW), height // len(board) - 2))), "")
        return
    made = [_column(coord, name, tasks, (each, height)) for name, tasks in board.items()]
    for cells in zip_longest(*made, fillvalue=""):
        say((" " * GAP).join(pad(cell, each) for cell in cells).rstrip())


def _column(coord: Coord, name: str, tasks: Sequence[Task], size: tuple[int, int]) -> list[str]:
    """The lines of a column of a width and a height; the last one counts the tasks that are left out."""
    width, height = size
    head = "done lately" if name == "done" else f"{'ready/open' if name == 'open' else name} {len(tasks)}"
    lines = [cut(head, width), "─" * width]
    for number, task in enumerate(tasks):
        cell = _cell(coord, task, width)
        is_last = number == len(tasks) - 1
        if number == DEEP or (number and len(lines) + len(cell) + (0 if is_last else 2) > height):
            return [*lines, f"… {len(tasks) - number} more"]
        lines += [*cell, ""]
    return lines[:-1] if tasks else lines


def _cell(coord: Coord, task: Task, width: int) -> list[str]:
    import textwrap

    who = f" {shown_name(coord, task.holder)}" if task.holder else ""
    if task.assignee and task.assignee != task.holder:
        who += f" for {shown_name(coord, task.assignee)}"
    mark = " waits" if task.status == "open" and not task.ready else ""
    gone = " gone" if task.status == "claimed" and task.ready else ""
    title = textwrap.wrap(inert(task.title), width, max_lines=2, placeholder="…")
    why = [f"> {line}" for line in textwrap.wrap(one_line(task.words), width - 2, max_lines=2, placeholder="…")]
    lines = (f"{task.id[:8]} p{task.priority}{who}{mark}{gone}", *title, *(why if task.status == "blocked" else []))
    return [cut(line, width) for line in lines]
