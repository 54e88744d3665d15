"""Tasks as events: what each says, and what all of them together make of a task (docs/format.md).

Pure: whether an event holds depends on the events before it in (lc, id), on no clock and on nobody's liveness. What
ends or replaces a claim names that claim in `supersedes`, and holds only while it is the current one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from gitcoord.log.event import Event, Malformed
from gitcoord.log.index.feature import Feature, want, want_strings
from gitcoord.log.query import COLUMNS, event_of
from gitcoord.names import is_name, split_mailbox

UNFINISHED = ("open", "claimed", "blocked")
STATUSES = (*UNFINISHED, "done", "dropped")
PRIORITIES = range(5)
DEFAULT_PRIORITY = 2
TITLE = 200
"""Characters of a title that are kept."""


class State(NamedTuple):
    """A task after some of its events. `needs` has the place in the order at which each was declared."""

    title: str
    text: str
    priority: int
    assignee: str
    labels: tuple[str, ...]
    needs: Mapping[str, tuple[int, str]]
    status: str = "open"
    holder: str = ""
    """Who holds it; of one done, who did it."""
    claim: str = ""
    tentative: bool = False
    words: str = ""
    """Why it is blocked, or what was said when it ended."""
    changed: int = 0


# one task


def replay(events: Iterable[Event]) -> tuple[State | None, set[str]]:
    """What a task's events, in total order, make of it; and the ids of those that held."""
    state: State | None = None
    held: set[str] = set()
    for event in events:
        after = _STEPS[event.type](state, event) if state else _filed(event)
        if after is not None:
            state = after
            held.add(event.id)
    return state, held


def split_text(text: str) -> tuple[str, str]:
    """The subject and the body of an event's text, as git splits a commit message."""
    subject, _, body = text.partition("\n\n")
    return subject, body


def _filed(event: Event) -> State | None:
    if event.type != "task":
        return None
    title, body = split_text(event.text)
    data = event.data
    return State(
        _title(title), body, data.get("priority", DEFAULT_PRIORITY), data.get("assignee", ""),
        tuple(dict.fromkeys(data.get("labels", ()))), dict.fromkeys(data.get("needs", ()), (event.lc, event.id)),
        changed=event.at,
    )  # fmt: skip


def _title(text: str) -> str:
    return " ".join(text.split())[:TITLE]


def _names_the_claim(state: State, event: Event) -> bool:
    return bool(event.data.get("supersedes", []) == ([state.claim] if state.claim else []))


def _claim(state: State, event: Event) -> State | None:
    free = state.status == "open" or (state.claim and state.status in UNFINISHED)
    if not free or not (_names_the_claim(state, event) or _outranks(state, event)):
        return None
    tentative = event.data.get("tentative", False)
    return _to(state, event, "claimed")._replace(holder=event.sender, claim=event.id, tentative=tentative, words="")


def _outranks(state: State, event: Event) -> bool:
    """A claim that has its lease need not know of one made offline, nor of a release; whichever comes first in the order."""
    return bool(event.data.get("lease")) and (state.tentative or not state.claim)


def _settle(state: State, event: Event) -> State | None:
    """A claim that was made offline got its lease, and counts from here on; or it did not."""
    if event.data.get("lease"):
        after = _claim(state, event)
        return after._replace(status=state.status, words=state.words) if after and state.status == "blocked" else after
    return _to(state, event, "open") if state.tentative and _names_the_claim(state, event) else None


def _release(state: State, event: Event) -> State | None:
    return _to(state, event, "open") if state.claim and _names_the_claim(state, event) else None


def _block(state: State, event: Event) -> State | None:
    if state.status not in UNFINISHED or not _names_the_claim(state, event):
        return None
    return _to(state, event, "blocked")._replace(holder=state.holder, claim=state.claim, tentative=state.tentative)


def _done(state: State, event: Event) -> State | None:
    """Work that is done is done, whoever held the task meanwhile."""
    return _to(state, event, "done")._replace(holder=event.sender) if state.status in UNFINISHED else None


def _drop(state: State, event: Event) -> State | None:
    return _to(state, event, "dropped") if state.status in UNFINISHED else None


def _reopen(state: State, event: Event) -> State | None:
    return _to(state, event, "open") if state.status in ("blocked", "done", "dropped") else None


def _to(state: State, event: Event, status: str) -> State:
    words = split_text(event.text)[1]
    return state._replace(status=status, holder="", claim="", tentative=False, words=words, changed=event.at)


def _edit(state: State, event: Event) -> State:
    data = event.data
    labels = [label for label in state.labels if label not in data.get("not_labels", ())]
    needs = {need: at for need, at in state.needs.items() if need not in data.get("not_needs", ())}
    return state._replace(
        title=_title(data.get("title", "")) or state.title,
        text=split_text(event.text)[1] if data.get("text") else state.text,
        priority=data.get("priority", state.priority),
        assignee=data.get("assignee", state.assignee),
        labels=tuple(dict.fromkeys([*labels, *data.get("labels", ())])),
        needs=dict.fromkeys(data.get("needs", ()), (event.lc, event.id)) | needs,
    )


_STEPS: dict[str, Callable[[State, Event], State | None]] = {
    "task": lambda state, event: None,
    "task.claim": _claim,
    "task.settle": _settle,
    "task.release": _release,
    "task.block": _block,
    "task.done": _done,
    "task.drop": _drop,
    "task.reopen": _reopen,
    "task.edit": _edit,
}


# all of them


def _fold(db: sqlite3.Connection, event: Event) -> None:
    task = _check(event)
    _note_lease(db, event, task)
    if event.type == "task.comment":
        db.execute("INSERT OR IGNORE INTO task_comments VALUES (?, ?, ?)", (task, event.lc, event.id))
        return
    db.execute("INSERT OR IGNORE INTO task_events VALUES (?, ?, ?)", (task, event.lc, event.id))
    events = events_of(db, [task])[task]
    state, _ = replay(events)
    if state is None:
        return  # it has not been filed, as far as we know
    first = next(e for e in events if e.type == "task")
    db.execute(
        "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (task, first.lc, first.sender, first.at, state.title, state.text, state.status, state.priority, state.assignee,
         json.dumps(state.labels), state.holder, state.claim, state.tentative, state.words, state.changed),
    )  # fmt: skip
    _set_needs(db, task, state.needs)


def _note_lease(db: sqlite3.Connection, event: Event, task: str) -> None:
    """Which claim a lease belongs to, and which of those made offline have been settled by the clone that made them."""
    if event.data.get("lease") and event.type in ("task.claim", "task.settle"):
        db.execute("INSERT OR IGNORE INTO task_leases VALUES (?, ?, ?)", (event.data["lease"], event.id, task))
    if event.type == "task.settle" or (event.type == "task.claim" and event.data.get("tentative")):
        settled = event.type == "task.settle"
        claims = event.data.get("supersedes", []) if settled else [event.id]
        db.executemany(
            "INSERT INTO offline_claims VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            " settled = max(settled, excluded.settled), task = min(task, excluded.task)",
            [(claim, event.clone, task, settled) for claim in claims],
        )


def _check(event: Event) -> str:
    """The id of the task that `event` is about. Raises Malformed."""
    for key in ("needs", "labels", "not_needs", "not_labels", "supersedes"):
        want_strings(event, key)
    for key in ("text", "tentative"):
        want(event, key, bool, False)
    if want(event, "priority", int, DEFAULT_PRIORITY) not in PRIORITIES:
        raise Malformed(f"{event.type}: the priority is not 0 to 4")
    assignee = want(event, "assignee", str, "")
    if assignee and not all(is_name(part) for part in split_mailbox(assignee)):
        raise Malformed(f"{event.type}: the assignee is no mailbox")
    want(event, "title", str, "")
    want(event, "lease", str, "")
    if event.type == "task" and not _title(split_text(event.text)[0]):
        raise Malformed("task: no title")
    return event.id if event.type == "task" else want(event, "task", str)


def events_of(db: sqlite3.Connection, tasks: Collection[str]) -> dict[str, list[Event]]:
    """What happened to each of `tasks`, in total order, comments apart."""
    columns = ", ".join(f"e.{name}" for name in COLUMNS.split(", "))
    rows = db.execute(
        f"SELECT x.task, {columns} FROM task_events x JOIN events e ON e.id = x.id"
        " WHERE x.task IN (SELECT value FROM json_each(?)) ORDER BY x.task, x.lc, x.id",
        (json.dumps(list(tasks)),),
    )
    found: dict[str, list[Event]] = {task: [] for task in tasks}
    for task, *row in rows:
        found[task].append(event_of(tuple(row)))
    return found


# dependencies: an edge that closes a cycle, in the order in which the edges were declared, is ignored


def _set_needs(db: sqlite3.Connection, task: str, needs: Mapping[str, tuple[int, str]]) -> None:
    rows = db.execute("SELECT need, lc, id FROM task_needs WHERE task = ?", (task,))
    if {need: (lc, oid) for need, lc, oid in rows} == needs:
        return
    tangled = _cycles_through(db, task)
    db.execute("DELETE FROM task_needs WHERE task = ?", (task,))
    db.executemany("INSERT INTO task_needs VALUES (?, ?, ?, ?, 0)", [(task, need, *at) for need, at in needs.items()])
    tangled |= _cycles_through(db, task)
    if tangled:
        _judge(db, tangled)


def _cycles_through(db: sqlite3.Connection, task: str) -> set[str]:
    """The tasks that share a cycle with `task`, itself included; none if it is in no cycle."""
    needed = needed_by(db, [need for (need,) in db.execute("SELECT need FROM task_needs WHERE task = ?", (task,))])
    if task not in needed:
        return set()
    rows = db.execute(
        "WITH RECURSIVE up(x) AS (VALUES (?) UNION SELECT n.task FROM task_needs n JOIN up ON n.need = up.x) SELECT x FROM up",
        (task,),
    )
    return needed & {found for (found,) in rows}


def needed_by(db: sqlite3.Connection, tasks: Iterable[str]) -> set[str]:
    """`tasks` and all they need, directly or not, by every edge declared."""
    rows = db.execute(
        "WITH RECURSIVE down(x) AS (SELECT value FROM json_each(?)"
        " UNION SELECT n.need FROM task_needs n JOIN down ON n.task = down.x) SELECT x FROM down",
        (json.dumps(list(tasks)),),
    )
    return {found for (found,) in rows}


def _judge(db: sqlite3.Connection, tangled: Collection[str]) -> None:
    """Decide anew which edges among `tangled` count."""
    names = json.dumps(list(tangled))
    edges = db.execute(
        "SELECT task, need FROM task_needs WHERE task IN (SELECT value FROM json_each(?1))"
        " AND need IN (SELECT value FROM json_each(?1)) ORDER BY lc, id, need",
        (names,),
    ).fetchall()
    accepted: dict[str, list[str]] = {}
    for task, need in edges:
        closes = _leads(accepted, need, task)
        if not closes:
            accepted.setdefault(task, []).append(need)
        db.execute("UPDATE task_needs SET ignored = ? WHERE task = ? AND need = ?", (closes, task, need))


def _leads(edges: Mapping[str, list[str]], start: str, goal: str) -> bool:
    seen, ahead = {start}, [start]
    while ahead:
        at = ahead.pop()
        if at == goal:
            return True
        fresh = [n for n in edges.get(at, ()) if n not in seen]
        seen.update(fresh)
        ahead += fresh
    return False


FEATURE = Feature(
    "tasks",
    frozenset({*_STEPS, "task.comment"}),
    """
    CREATE TABLE tasks (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, creator TEXT NOT NULL, at INTEGER NOT NULL,
        title TEXT NOT NULL, text TEXT NOT NULL, status TEXT NOT NULL, priority INTEGER NOT NULL, assignee TEXT NOT NULL,
        labels TEXT NOT NULL, holder TEXT NOT NULL, claim TEXT NOT NULL, tentative INTEGER NOT NULL, words TEXT NOT NULL,
        changed INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX tasks_status ON tasks (status, lc, id);
    CREATE TABLE task_events (task TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (task, lc, id)) WITHOUT ROWID;
    CREATE TABLE task_comments (task TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (task, lc, id)) WITHOUT ROWID;
    CREATE TABLE task_needs (task TEXT NOT NULL, need TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        ignored INTEGER NOT NULL, PRIMARY KEY (task, need)) WITHOUT ROWID;
    CREATE INDEX task_needs_back ON task_needs (need);
    CREATE TABLE task_leases (nonce TEXT NOT NULL, claim TEXT NOT NULL, task TEXT NOT NULL,
        PRIMARY KEY (nonce, claim, task)) WITHOUT ROWID;
    CREATE TABLE offline_claims (claim TEXT NOT NULL, clone TEXT NOT NULL, task TEXT NOT NULL, settled INTEGER NOT NULL,
        PRIMARY KEY (claim, clone)) WITHOUT ROWID;
    """,
    _fold,
    living=(
        "SELECT id FROM tasks WHERE status NOT IN ('done', 'dropped')",
        "SELECT t.id FROM tasks t JOIN task_events s ON s.task = t.id JOIN events e ON e.id = s.id WHERE e.at >= :since",
    ),
)
