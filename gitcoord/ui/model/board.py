"""The board: tasks in columns, with the tasks that each waits for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from gitcoord.ui.facts import Facts
from gitcoord.ui.model.offers import Choice, of_task
from gitcoord.ui.model.words import SHORT, line, name

if TYPE_CHECKING:
    from gitcoord.features.tasks.read import TaskFacts

COLUMNS = ("ready", "claimed", "blocked", "done lately")


class TaskRow(NamedTuple):
    """A task. `waits` are those it needs first, `needed_by` those that need it; `words` say why it is blocked."""

    key: str
    title: str
    priority: int
    status: str
    holder: str
    holder_state: str
    assignee: str
    labels: tuple[str, ...]
    waits: tuple[str, ...]
    needed_by: tuple[str, ...]
    words: str
    creator: str
    at: float
    tentative: bool
    choices: tuple[Choice, ...] = ()


class Column(NamedTuple):
    """Tasks of one status, the first page of them; `more` is how many of them are not in `rows`."""

    name: str
    rows: tuple[TaskRow, ...]
    more: int


def columns(facts: Facts) -> tuple[Column, ...]:
    """Make the columns: ready tasks by priority, then age; of the others those that need somebody first; done ones the
    latest first."""
    found: dict[str, list[TaskFacts]] = {column: [] for column in COLUMNS}
    for row in facts.board.tasks:
        if row.id not in facts.board.held:
            found[_column(row)].append(row)
    found["ready"].sort(key=lambda row: row.priority)
    for column in ("claimed", "blocked"):
        found[column].sort(key=lambda row: not _is_pressing(row, facts))
    page, around = facts.pages["tasks"], _around(facts)
    return tuple(
        Column(column, tuple(_task(row, facts, *around) for row in rows[:page]), max(0, len(rows) - page))
        for column, rows in found.items()
    )


def pressing(facts: Facts) -> tuple[TaskRow, ...]:
    """The tasks that are blocked, or held by a session that is gone, from the whole board."""
    found = [row for row in facts.board.tasks if row.id not in facts.board.held and _is_pressing(row, facts)]
    around = _around(facts) if found else ({}, {})
    return tuple(_task(row, facts, *around) for row in found)


def _is_pressing(row: TaskFacts, facts: Facts) -> bool:
    return row.status == "blocked" or (row.status == "claimed" and facts.board.states.get(row.holder) == "gone")


def _around(facts: Facts) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The titles of tasks that wait or are waited for, and the tasks that need each."""
    named = {*facts.board.needs, *(need for needs in facts.board.needs.values() for need in needs)} - facts.board.held
    return {row.id: row.title for row in facts.board.tasks if row.id in named}, _turned(facts.board.needs)


def _titled(id: str, titles: Mapping[str, str]) -> str:
    return f"{id[:SHORT]} {line(titles.get(id, ''), 80)}".strip()


def _turned(needs: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    turned: dict[str, list[str]] = {}
    for task, its in needs.items():
        for need in its:
            turned.setdefault(need, []).append(task)
    return turned


def _column(row: TaskFacts) -> str:
    if row.status in ("done", "dropped"):
        return "done lately"
    if row.status == "claimed":
        return "claimed"
    return "ready" if row.ready else "blocked"


def _task(row: TaskFacts, facts: Facts, titles: Mapping[str, str], needed: Mapping[str, list[str]]) -> TaskRow:
    here = facts.clone
    return TaskRow(
        row.id,
        line(row.title),
        row.priority,
        row.status,
        name(row.holder, here),
        facts.board.states.get(row.holder, "") if row.status in ("claimed", "blocked") else "",
        name(row.assignee, here),
        tuple(line(label, 40) for label in row.labels),
        tuple(_titled(need, titles) for need in facts.board.needs.get(row.id, ())),
        tuple(_titled(task, titles) for task in needed.get(row.id, ())),
        line(row.words, 300),
        name(row.creator, here),
        row.changed or row.at,
        row.tentative,
        of_task(row.id, row.status, bool(row.claim), row.status == "claimed" and _is_pressing(row, facts)),
    )
