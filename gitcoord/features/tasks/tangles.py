"""Break cycles of needs: of the needs on a cycle, ignore those that close it, in the order in which they were declared.

They are judged once for all the needs that a transaction changed. Tasks on a common cycle form a tangle. The index
keeps which tasks are in which tangle, so that a change touches only the tasks that it concerns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from gitcoord import lean_json as json
from gitcoord.lean import sqlite3

MAX_TANGLE = 200
"""Tasks of one tangle whose needs are judged one by one; in a larger one no need counts."""

TABLES = """
    CREATE TABLE task_needs (task TEXT NOT NULL, need TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        ignored INTEGER NOT NULL, PRIMARY KEY (task, need)) WITHOUT ROWID;
    CREATE INDEX task_needs_back ON task_needs (need);
    CREATE TABLE task_tangles (task TEXT PRIMARY KEY, tangle TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX task_tangles_whole ON task_tangles (tangle);
    CREATE TABLE task_needs_due (task TEXT PRIMARY KEY) WITHOUT ROWID;
"""

FORGET = (
    "INSERT OR IGNORE INTO task_needs_due SELECT DISTINCT task FROM task_needs WHERE task IN (SELECT id FROM harmed)",
    "DELETE FROM task_needs WHERE task IN (SELECT id FROM harmed)",
)
"""SQL statements that take back the needs of the tasks in `harmed`, until their events are folded anew."""

Edge = tuple[str, str]
"""A task, and one that it needs."""
Places = Mapping[str, tuple[int, str]]
"""Needs, each with the place in the order of its declaration."""


def needs_of(db: sqlite3.Connection, task: str) -> dict[str, tuple[int, str]]:
    """The needs of a task, by every edge declared."""
    rows = db.execute("SELECT need, lc, id FROM task_needs WHERE task = ?", (task,))
    return {need: (lc, oid) for need, lc, oid in rows}


def set_needs(db: sqlite3.Connection, task: str, needs: Places) -> None:
    """Declare the needs of a task; call `judge` before anything reads them."""
    if needs_of(db, task) == needs:
        return
    db.execute("DELETE FROM task_needs WHERE task = ?", (task,))
    db.executemany("INSERT INTO task_needs VALUES (?, ?, ?, ?, 0)", [(task, need, *at) for need, at in needs.items()])
    db.execute("INSERT OR IGNORE INTO task_needs_due VALUES (?)", (task,))


def needed_by(db: sqlite3.Connection, tasks: Iterable[str]) -> set[str]:
    """`tasks` and all they need, directly or not, by every edge declared."""
    return _reached(db, "SELECT n.need FROM task_needs n JOIN x ON n.task = x.id", tasks)


def judge(db: sqlite3.Connection) -> None:
    """Decide which edges count, among those that the changes since the last time may concern."""
    due = {task for (task,) in db.execute("SELECT task FROM task_needs_due")}
    if not due:
        return
    seeds = due | _partners(db, due)
    needing = _reached(db, "SELECT n.task FROM task_needs n JOIN x ON n.need = x.id", seeds)
    region = json.dumps(sorted(needed_by(db, seeds) & needing))
    inside = "IN (SELECT value FROM json_each(?1))"
    edges = db.execute(
        f"SELECT task, need FROM task_needs WHERE task {inside} AND need {inside} ORDER BY lc, id, need", (region,)
    ).fetchall()
    db.execute(f"UPDATE task_needs SET ignored = 0 WHERE task {inside} AND ignored = 1", (region,))
    db.execute(f"DELETE FROM task_tangles WHERE task {inside}", (region,))
    for tangle, within in tangles(edges):
        name = min(tangle)
        db.executemany("INSERT INTO task_tangles VALUES (?, ?)", [(task, name) for task in tangle])
        db.executemany("UPDATE task_needs SET ignored = 1 WHERE task = ? AND need = ?", ignored(tangle, within))
    db.execute("DELETE FROM task_needs_due")


def _partners(db: sqlite3.Connection, tasks: Collection[str]) -> set[str]:
    """Tasks that were in a tangle with one of `tasks` when they were last judged."""
    rows = db.execute(
        "SELECT task FROM task_tangles WHERE tangle IN"
        " (SELECT tangle FROM task_tangles WHERE task IN (SELECT value FROM json_each(?)))",
        (json.dumps(sorted(tasks)),),
    )
    return {task for (task,) in rows}


def _reached(db: sqlite3.Connection, step: str, start: Iterable[str]) -> set[str]:
    query = f"WITH RECURSIVE x(id) AS (SELECT value FROM json_each(?) UNION {step}) SELECT id FROM x"
    return {found for (found,) in db.execute(query, (json.dumps(sorted(start)),))}


def tangles(edges: Sequence[Edge]) -> list[tuple[set[str], list[Edge]]]:
    """The tasks on common cycles, with the edges between them, in the order given (Tarjan, without recursion)."""
    after: dict[str, list[str]] = {}
    for task, need in edges:
        after.setdefault(task, []).append(need)
    home: dict[str, int] = {}
    groups = _components(after)
    for number, group in enumerate(groups):
        home.update(dict.fromkeys(group, number))
    within: dict[int, list[Edge]] = {}
    for task, need in edges:
        if home[task] == home[need]:
            within.setdefault(home[task], []).append((task, need))
    return [(groups[number], found) for number, found in within.items()]


def _components(after: Mapping[str, Sequence[str]]) -> list[set[str]]:
    """The strongly connected components of a graph."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: dict[str, None] = {}
    found: list[set[str]] = []
    for start in after:
        path = [] if start in order else [(start, iter(after.get(start, ())))]
        while path:
            node, rest = path[-1]
            if node not in order:
                order[node] = low[node] = len(order)
                open_[node] = None
            child = next((one for one in rest if one not in order or one in open_), None)
            if child is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == order[node]:
                    found.append(_closed(open_, node))
            elif child in order:
                low[node] = min(low[node], order[child])
            else:
                path.append((child, iter(after.get(child, ()))))
    return found


def _closed(open_: dict[str, None], node: str) -> set[str]:
    """Remove the component that began with `node` from the open nodes."""
    group: set[str] = set()
    while node not in group:
        group.add(open_.popitem()[0])
    return group


def ignored(tangle: Collection[str], edges: Sequence[Edge]) -> list[Edge]:
    """The edges that close a cycle, taken in the order given; all of them in a tangle that is too large to be judged."""
    if len(tangle) > MAX_TANGLE:
        return list(edges)
    bit = {task: 1 << number for number, task in enumerate(sorted(tangle))}
    names = sorted(tangle)
    below, above = dict(bit), dict(bit)  # the nodes that each one reaches, and that reach it, itself included
    closing = []
    for task, need in edges:
        if below[need] & bit[task]:
            closing.append((task, need))
        elif not below[task] & bit[need]:
            gained, led = below[need], above[task]
            for name in _named(names, led):
                below[name] |= gained
            for name in _named(names, gained):
                above[name] |= led
    return closing


def _named(names: Sequence[str], bits: int) -> list[str]:
    found = []
    while bits:
        lowest = bits & -bits
        found.append(names[lowest.bit_length() - 1])
        bits ^= lowest
    return found
