"""Fold task events into the tables: each payload, and the resulting state of a task (docs/format.md).

The fold is pure: whether an event holds depends on the other events of its task, in the order (lc, id), and on no clock
and no liveness. An event that ends or replaces a claim names that claim in `supersedes`, and holds only while it is the
current one. `fences` finds the events that a lease makes void, in any order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from gitcoord import lean_json as json
from gitcoord.features.tasks import fences, tangles
from gitcoord.features.tasks.tangles import judge, needs_of, set_needs
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log.event import Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.query import COLUMNS, event_of
from gitcoord.log.schemas import FLAG, ID, LABEL, MAILBOX, Kind, Schema, either, line, listed, number, text

UNFINISHED = ("open", "claimed", "blocked")
STATUSES = (*UNFINISHED, "done", "dropped")
PRIORITIES = range(5)
DEFAULT_PRIORITY = 2
TITLE = 200
"""Largest length of a title."""
MAX_REPLACED = 100
"""Largest number of leases that one claim may name as replaced."""
MAX_NEEDS, MAX_LABELS = 100, 50
"""Largest number of needs and of labels of one task; an edit adds no more."""


class TaskState(NamedTuple):
    """A task after some of its events. `needs` has each need's place in the order of its declaration."""

    title: str
    text: str
    priority: int
    assignee: str
    labels: tuple[str, ...]
    needs: Mapping[str, tuple[int, str]]
    status: str = "open"
    holder: str = ""
    """The holder; of a finished task, the session that finished it."""
    claim: str = ""
    lease: str = ""
    """The nonce of the claim's lease; empty without one."""
    last: str = ""
    """The last event that changed the status."""
    tentative: bool = False
    words: str = ""
    """The reason why it is blocked, or the text with which it ended."""
    changed: int = 0


# one task


class Replayed(NamedTuple):
    """The result of a task's events. `void` has each void event, with the event that made it void."""

    state: TaskState | None
    void: Mapping[str, str]


def replay(events: Sequence[Event]) -> Replayed:
    """Compute the state of a task from all its events, which must be in total order."""
    state: TaskState | None = None
    void: dict[str, str] = {}
    fenced = fences.void(events)
    for event in events:
        after = None if event.id in fenced else _STEPS[event.type](state, event) if state else _filed(event)
        if after is None:
            void[event.id] = fenced.get(event.id) or (state.last if state else "")
            continue
        if state and (late := _overridden(state, event)):
            void[late] = event.id
        state = after
    return Replayed(state, void)


def _overridden(state: TaskState, event: Event) -> str:
    """The event that a claim with a lease replaces, unless it names that event itself; empty if there is none."""
    if not fences.claims_with_lease(event) or state.claim in event.data.get("supersedes", ()):
        return ""
    return state.claim or (state.last if state.status in ("done", "dropped") else "")


def ended_claims(events: Sequence[Event]) -> Iterator[tuple[Event, str]]:
    """The events of a task, in total order, that ended another session's claim, each with that holder. Void claims are left
    out: `settling` tells their authors."""
    fenced, void = fences.void(events), replay(events).void
    state: TaskState | None = None
    for event in events:
        after = None if event.id in fenced else _STEPS[event.type](state, event) if state else _filed(event)
        if state and after and state.claim not in {"", after.claim, *void} and event.sender != state.holder:
            yield event, state.holder
        state = after or state


def split_text(text: str) -> tuple[str, str]:
    """The subject and the body of an event's text, as git splits a commit message."""
    subject, _, body = text.partition("\n\n")
    return subject, body


def _filed(event: Event) -> TaskState | None:
    if event.type != "task":
        return None
    title, body = split_text(event.text)
    data = event.data
    return TaskState(
        _title(title), body, data.get("priority", DEFAULT_PRIORITY), data.get("assignee", ""),
        tuple(dict.fromkeys(data.get("labels", ()))), dict.fromkeys(data.get("needs", ()), (event.lc, event.id)),
        changed=event.at,
    )  # fmt: skip


def _title(text: str) -> str:
    return " ".join(text.split())[:TITLE]


def _names_the_claim(state: TaskState, event: Event) -> bool:
    return bool(event.data.get("supersedes", []) == ([state.claim] if state.claim else []))


def _claim(state: TaskState, event: Event) -> TaskState | None:
    """Apply a claim. A lease wins over events that its author had not seen, because the remote gives leases only for free
    tasks."""
    free = state.status == "open" or (state.claim and state.status in UNFINISHED)
    if not event.data.get("lease") and not (free and _names_the_claim(state, event)):
        return None
    tentative = event.data.get("tentative", False)
    after = _to(state, event, "claimed")
    return after._replace(holder=event.sender, claim=event.id, lease=event.data.get("lease", ""), tentative=tentative, words="")


def _settle(state: TaskState, event: Event) -> TaskState | None:
    """Apply the settling of an offline claim: from here on it counts, because it got its lease; or it ends."""
    if event.data.get("lease"):
        after = _claim(state, event)
        blocked = after and state.status == "blocked" and _names_the_claim(state, event)
        return after._replace(status=state.status, words=state.words) if after and blocked else after
    if event.data.get("void"):
        return state
    return _to(state, event, "open") if state.tentative and _names_the_claim(state, event) else None


def _release(state: TaskState, event: Event) -> TaskState | None:
    return _to(state, event, "open") if state.claim and _names_the_claim(state, event) else None


def _block(state: TaskState, event: Event) -> TaskState | None:
    if state.status not in UNFINISHED or not _names_the_claim(state, event):
        return None
    return _to(state, event, "blocked")._replace(
        holder=state.holder, claim=state.claim, lease=state.lease, tentative=state.tentative
    )


def _done(state: TaskState, event: Event) -> TaskState | None:
    """Finish a task, whichever session holds it, except under a claim with a lease that the author had not seen."""
    return _to(state, event, "done")._replace(holder=event.sender) if _may_end(state, event) else None


def _drop(state: TaskState, event: Event) -> TaskState | None:
    return _to(state, event, "dropped") if _may_end(state, event) else None


def _may_end(state: TaskState, event: Event) -> bool:
    return state.status in UNFINISHED and (not state.lease or _names_the_claim(state, event))


def _reopen(state: TaskState, event: Event) -> TaskState | None:
    """Reopen a task, if the event names the event that it revokes; an event of an earlier version, which named none,
    revokes the last."""
    if state.status not in ("blocked", "done", "dropped") or event.data.get("reopens", state.last) != state.last:
        return None
    return _to(state, event, "open") if not state.lease or _names_the_claim(state, event) else None


def _to(state: TaskState, event: Event, status: str) -> TaskState:
    words = split_text(event.text)[1]
    return state._replace(
        status=status, holder="", claim="", lease="", last=event.id, tentative=False, words=words, changed=event.at
    )


def _edit(state: TaskState, event: Event) -> TaskState:
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


_STEPS: dict[str, Callable[[TaskState, Event], TaskState | None]] = {
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


# all tasks


def _fold(db: sqlite3.Connection, event: Event) -> None:
    task = event.id if event.type == "task" else event.data["task"]
    _note_lease(db, event, task)
    if event.type == "task.comment":
        db.execute("INSERT OR IGNORE INTO task_comments VALUES (?, ?, ?)", (task, event.lc, event.id))
        return
    db.execute("INSERT OR IGNORE INTO task_events VALUES (?, ?, ?)", (task, event.lc, event.id))
    if fences.fences(event):
        db.execute("INSERT OR IGNORE INTO tasks_fenced VALUES (?)", (task,))
    if not _goes_on(db, task, event):
        db.execute("INSERT OR IGNORE INTO tasks_due VALUES (?)", (task,))


def _goes_on(db: sqlite3.Connection, task: str, event: Event) -> bool:
    """Take the next step from the state in the index, if `event` is the last of its task and nothing contests it. Otherwise
    the task's events are replayed, once for all events of a transaction."""
    last = db.execute("SELECT id FROM task_events WHERE task = ? ORDER BY lc DESC, id DESC LIMIT 1", (task,)).fetchone()
    if last[0] != event.id or any(db.execute(f"SELECT 1 FROM {t} WHERE task = ?", (task,)).fetchone() for t in _CONTESTED):
        return False
    before = _stored(db, task)
    if before is None:
        if first := _filed(event):
            _store(db, task, first, event)
        return True
    state = _STEPS[event.type](before, event)
    if state is None or _overridden(before, event):
        return False
    _update(db, task, before, state)
    return True


_CONTESTED = ("tasks_due", "tasks_fenced")
_KEPT = (
    "title", "text", "status", "priority", "assignee", "labels", "holder", "claim", "lease", "last", "tentative", "words",
    "changed",
)  # fmt: skip
"""The fields of a TaskState that are columns of `tasks`."""


def _stored(db: sqlite3.Connection, task: str) -> TaskState | None:
    row = db.execute(f"SELECT {', '.join(_KEPT)} FROM tasks WHERE id = ?", (task,)).fetchone()
    if row is None:
        return None
    facts = dict(zip(_KEPT, row, strict=True))
    facts |= {"labels": tuple(json.loads(facts["labels"])), "tentative": bool(facts["tentative"])}
    return TaskState(**facts, needs=needs_of(db, task))


def _columns(state: TaskState) -> list[object]:
    return [json.dumps(state.labels) if name == "labels" else getattr(state, name) for name in _KEPT]


def _store(db: sqlite3.Connection, task: str, state: TaskState, first: Event) -> None:
    db.execute(
        f"INSERT OR REPLACE INTO tasks (id, lc, creator, at, {', '.join(_KEPT)}) VALUES ({', '.join('?' * (4 + len(_KEPT)))})",
        (task, first.lc, first.sender, first.at, *_columns(state)),
    )
    set_needs(db, task, state.needs)


def _update(db: sqlite3.Connection, task: str, before: TaskState, state: TaskState) -> None:
    db.execute(
        f"UPDATE tasks SET ({', '.join(_KEPT)}) = ({', '.join('?' * len(_KEPT))}) WHERE id = ?", (*_columns(state), task)
    )
    if state.needs != before.needs:
        set_needs(db, task, state.needs)


def _go_through(db: sqlite3.Connection) -> None:
    """Replay the tasks that have events out of order, then judge the needs that changed."""
    due = [task for (task,) in db.execute("SELECT task FROM tasks_due").fetchall()]
    for task in due:
        events = events_of(db, [task])[task]
        state, void = replay(events)
        if state is not None:  # otherwise its filing has not arrived
            _store(db, task, state, next(e for e in events if e.type == "task"))
        db.execute("DELETE FROM task_void WHERE task = ?", (task,))
        db.executemany("INSERT INTO task_void VALUES (?, ?, ?)", [(oid, task, by) for oid, by in void.items() if by])
    if due:
        db.execute("DELETE FROM tasks_due")
    judge(db)


def _note_lease(db: sqlite3.Connection, event: Event, task: str) -> None:
    """Note a claim with a lease, and the offline claims that their own clone has settled."""
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
    """The events about each of `tasks`, in total order, without comments."""
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
_NONCE = line(64)
_CLAIM = Schema({**_ABOUT, "tentative": FLAG, "lease": _NONCE, "replaces": listed(_NONCE, MAX_REPLACED)}, ("task",))
SCHEMAS = {
    **{kind: Schema(_ABOUT, ("task",)) for kind in (*_STEPS, "task.comment")},
    "task.reopen": Schema({**_ABOUT, "reopens": ID}, ("task",)),
    "task": Schema(_FACTS, (), _objection),
    "task.edit": Schema({"task": ID, **_FACTS, **_EDITED}, ("task",)),
    "task.claim": _CLAIM,
    "task.settle": Schema({**_CLAIM.fields, "void": FLAG}, ("task",)),
}

FEATURE = Feature(
    "tasks",
    SCHEMAS,
    """
    CREATE TABLE tasks (id TEXT PRIMARY KEY, lc INTEGER NOT NULL, creator TEXT NOT NULL, at INTEGER NOT NULL,
        title TEXT NOT NULL, text TEXT NOT NULL, status TEXT NOT NULL, priority INTEGER NOT NULL, assignee TEXT NOT NULL,
        labels TEXT NOT NULL, holder TEXT NOT NULL, claim TEXT NOT NULL, lease TEXT NOT NULL, last TEXT NOT NULL,
        tentative INTEGER NOT NULL, words TEXT NOT NULL, changed INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX tasks_status ON tasks (status, lc, id);
    CREATE TABLE task_events (task TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (task, lc, id)) WITHOUT ROWID;
    CREATE TABLE task_comments (task TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (task, lc, id)) WITHOUT ROWID;
    CREATE TABLE tasks_due (task TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE tasks_fenced (task TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE task_void (id TEXT PRIMARY KEY, task TEXT NOT NULL, by TEXT NOT NULL) WITHOUT ROWID;
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
    forget=(
        "CREATE TEMP TABLE harmed AS SELECT id FROM forgotten UNION SELECT json_extract(e.data, '$.task')"
        " FROM forgotten f JOIN events e ON e.id = f.id WHERE e.type GLOB 'task.*'"
        " UNION SELECT json_extract(e.data, '$.task') FROM events e, json_each(e.data, '$.supersedes') j"
        " WHERE e.type = 'task.settle' AND j.value IN (SELECT id FROM forgotten)",
        "INSERT OR IGNORE INTO again SELECT id FROM task_events WHERE task IN (SELECT id FROM harmed)"
        " UNION SELECT id FROM task_comments WHERE task IN (SELECT id FROM harmed)",
        "DELETE FROM tasks WHERE id IN (SELECT id FROM harmed)",
        *(
            f"DELETE FROM {table} WHERE task IN (SELECT id FROM harmed)"
            for table in (
                "task_events",
                "task_comments",
                "tasks_due",
                "tasks_fenced",
                "task_void",
                "task_leases",
                "offline_claims",
            )
        ),
        *tangles.FORGET,
    ),
)
