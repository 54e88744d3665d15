"""Tasks as events: what each says, and what all of them together make of a task (docs/format.md).

Pure: whether an event holds depends on the events before it in (lc, id), on no clock and on nobody's liveness. What
ends or replaces a claim names that claim in `supersedes`, and holds only while it is the current one.
"""

from __future__ import annotations

import json
import sqlite3

from gitcoord.features.tasks import tangles
from gitcoord.features.tasks.tangles import judge, needs_of, set_needs
from gitcoord.lean import Callable, Collection, Iterable, Iterator, Mapping, NamedTuple
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.query import COLUMNS, event_of
from gitcoord.log.schemas import FLAG, ID, LABEL, MAILBOX, Kind, Schema, either, line, listed, number, text

UNFINISHED = ("open", "claimed", "blocked")
STATUSES = (*UNFINISHED, "done", "dropped")
PRIORITIES = range(5)
DEFAULT_PRIORITY = 2
TITLE = 200
"""Characters of a title that are kept."""
MAX_NEEDS, MAX_LABELS = 100, 50
"""Of each, how many a task has; what an edit adds beyond them does not count."""


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


def ended_claims(events: Iterable[Event]) -> Iterator[tuple[Event, str]]:
    """Each of a task's events, in total order, that ended somebody else's claim, and who held it."""
    state: State | None = None
    for event in events:
        after = _STEPS[event.type](state, event) if state else _filed(event)
        if state and after and state.claim not in ("", after.claim) and event.sender != state.holder:
            yield event, state.holder
        state = after or state


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
    for need in data.get("needs", ()):
        if len(needs) < MAX_NEEDS:
            needs.setdefault(need, (event.lc, event.id))
    return state._replace(
        title=_title(data.get("title", "")) or state.title,
        text=split_text(event.text)[1] if data.get("text") else state.text,
        priority=data.get("priority", state.priority),
        assignee=data.get("assignee", state.assignee),
        labels=tuple(dict.fromkeys([*labels, *data.get("labels", ())]))[:MAX_LABELS],
        needs=needs,
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
    task = event.id if event.type == "task" else event.data["task"]
    _note_lease(db, event, task)
    if event.type == "task.comment":
        db.execute("INSERT OR IGNORE INTO task_comments VALUES (?, ?, ?)", (task, event.lc, event.id))
        return
    db.execute("INSERT OR IGNORE INTO task_events VALUES (?, ?, ?)", (task, event.lc, event.id))
    if not _goes_on(db, task, event):
        db.execute("INSERT OR IGNORE INTO tasks_due VALUES (?)", (task,))


def _goes_on(db: sqlite3.Connection, task: str, event: Event) -> bool:
    """Take the next step from the state that the index has, if `event` is the last of its task; else all are to be gone
    through again, once for all the events of a transaction."""
    last = db.execute("SELECT id FROM task_events WHERE task = ? ORDER BY lc DESC, id DESC LIMIT 1", (task,)).fetchone()
    if last[0] != event.id or db.execute("SELECT 1 FROM tasks_due WHERE task = ?", (task,)).fetchone():
        return False
    before = _stored(db, task)
    state = _STEPS[event.type](before, event) if before else _filed(event)
    if state is not None and before is None:
        _store(db, task, state, event)
    elif state is not None and before is not None:
        _update(db, task, before, state)
    return True


_KEPT = (
    "title", "text", "status", "priority", "assignee", "labels", "holder", "claim", "tentative", "words", "changed",
)  # fmt: skip
"""The fields of a State that are columns of `tasks`."""


def _stored(db: sqlite3.Connection, task: str) -> State | None:
    row = db.execute(f"SELECT {', '.join(_KEPT)} FROM tasks WHERE id = ?", (task,)).fetchone()
    if row is None:
        return None
    facts = dict(zip(_KEPT, row, strict=True))
    facts |= {"labels": tuple(json.loads(facts["labels"])), "tentative": bool(facts["tentative"])}
    return State(**facts, needs=needs_of(db, task))


def _columns(state: State) -> list[object]:
    return [json.dumps(state.labels) if name == "labels" else getattr(state, name) for name in _KEPT]


def _store(db: sqlite3.Connection, task: str, state: State, first: Event) -> None:
    db.execute(
        f"INSERT OR REPLACE INTO tasks (id, lc, creator, at, {', '.join(_KEPT)}) VALUES ({', '.join('?' * 15)})",
        (task, first.lc, first.sender, first.at, *_columns(state)),
    )
    set_needs(db, task, state.needs)


def _update(db: sqlite3.Connection, task: str, before: State, state: State) -> None:
    db.execute(f"UPDATE tasks SET ({', '.join(_KEPT)}) = ({', '.join('?' * 11)}) WHERE id = ?", (*_columns(state), task))
    if state.needs != before.needs:
        set_needs(db, task, state.needs)


def _go_through(db: sqlite3.Connection) -> None:
    """Go once through all events of the tasks of which some came out of order; then judge the needs that changed."""
    due = [task for (task,) in db.execute("SELECT task FROM tasks_due").fetchall()]
    for task in due:
        events = events_of(db, [task])[task]
        state, _ = replay(events)
        if state is not None:  # else it has not been filed, as far as we know
            _store(db, task, state, next(e for e in events if e.type == "task"))
    if due:
        db.execute("DELETE FROM tasks_due")
    judge(db)


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


def _objection(event: Event) -> str:
    return "" if _title(split_text(event.text)[0]) else "it has no title"


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


_FACTS = {
    "priority": number(PRIORITIES[0], PRIORITIES[-1]),
    "assignee": either(MAILBOX, ""),
    "labels": listed(LABEL, MAX_LABELS),
    "needs": listed(ID, MAX_NEEDS),
}
_EDITED = {"title": text(TITLE), "text": FLAG, "not_labels": listed(LABEL, MAX_LABELS), "not_needs": listed(ID, MAX_NEEDS)}
_ABOUT: dict[str, Kind] = {"task": ID, "supersedes": listed(ID, 10)}
_CLAIM = Schema({**_ABOUT, "tentative": FLAG, "lease": line(64)}, ("task",))
SCHEMAS = {
    **{kind: Schema(_ABOUT, ("task",)) for kind in (*_STEPS, "task.comment")},
    "task": Schema(_FACTS, (), _objection),
    "task.edit": Schema({"task": ID, **_FACTS, **_EDITED}, ("task",)),
    "task.claim": _CLAIM,
    "task.settle": _CLAIM,
}

FEATURE = Feature(
    "tasks",
    SCHEMAS,
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
    CREATE TABLE tasks_due (task TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE task_leases (nonce TEXT NOT NULL, claim TEXT NOT NULL, task TEXT NOT NULL,
        PRIMARY KEY (nonce, claim, task)) WITHOUT ROWID;
    CREATE TABLE offline_claims (claim TEXT NOT NULL, clone TEXT NOT NULL, task TEXT NOT NULL, settled INTEGER NOT NULL,
        PRIMARY KEY (claim, clone, task)) WITHOUT ROWID;
    """
    + tangles.TABLES,
    _fold,
    settle=_go_through,
    living=(
        "SELECT id FROM tasks WHERE status NOT IN ('done', 'dropped')",
        "SELECT t.id FROM tasks t JOIN task_events s ON s.task = t.id JOIN events e ON e.id = s.id WHERE e.at >= :since",
    ),
)
