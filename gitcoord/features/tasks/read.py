"""Read tasks: one, many, the best to take next."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.features.messages.ledger import my_boxes
from gitcoord.features.tasks.fold import STATUSES, UNFINISHED, events_of, replay, split_text
from gitcoord.features.tasks.ready import READY
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.query import resolve_id
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import Homes, resolve_name
from gitcoord.sessions.membership import states, states_in
from gitcoord.store.objects import Oid
from gitcoord.sync import asked


class TaskFacts(NamedTuple):
    """A task as the index has it. Names are present mailboxes, empty for nobody."""

    id: Oid
    lc: int
    creator: str
    at: int
    title: str
    text: str
    status: str
    priority: int
    assignee: str
    labels: tuple[str, ...]
    holder: str
    claim: str
    lease: str
    """The nonce of the claim's lease; empty without one."""
    last: str
    """The last event that changed the status; empty if none did."""
    tentative: bool
    words: str
    changed: int
    ready: bool
    """Whether it is open and all that it needs is done; the index does not know whether its holder is gone."""


class Comment(NamedTuple):
    """A session's comment on a task; `at` in Unix seconds."""

    id: Oid
    sender: str
    text: str
    at: int
    lc: int


class Step(NamedTuple):
    """A session's act on a task; `void` if another session was first, so that it changed nothing."""

    id: Oid
    sender: str
    what: str
    text: str
    at: int
    lc: int
    void: bool


class Task(NamedTuple):
    """A task as it is shown. Times are Unix seconds, names mailboxes; `holder` of a finished task is the session that
    finished it."""

    id: Oid
    title: str
    text: str
    status: str
    priority: int
    assignee: str | None
    labels: tuple[str, ...]
    needs: tuple[Oid, ...]
    unmet: tuple[Oid, ...]
    """Those of `needs` that are neither done nor dropped."""
    ready: bool
    holder: str | None
    holder_state: str | None
    tentative: bool
    comments: tuple[Comment, ...]
    history: tuple[Step, ...]
    creator: str
    words: str
    """The reason why it is blocked, or the text with which it ended."""
    at: int
    changed: int


class Which(NamedTuple):
    """A choice of tasks to list. `status` names one status; without it, tasks not done or dropped, unless `everything`."""

    ready: bool = False
    mine: bool = False
    filed: bool = False
    status: str | None = None
    everything: bool = False
    labels: tuple[str, ...] = ()
    """Labels that a task must have, all of them."""
    holder: str = ""
    assignee: str = ""
    """Names of sessions."""
    sort: str = "worth"


SORTS: dict[str, Callable[[Task], Any]] = {
    "worth": lambda task: (not task.ready, task.status in ("done", "dropped"), task.priority),
    "age": lambda task: 0,
    "changed": lambda task: (-task.changed, -max((step.lc for step in task.history), default=0)),
}
"""Orders of a list; equal tasks are in the order in which they were filed. `worth`: ready ones first, by priority;
`changed`: in one second, which is what times have, the order of the log."""
UNFINISHED_ONES = Which()
WORDS = {
    "task": "filed",
    "task.claim": "claimed",
    "task.settle": "settled",
    "task.release": "released",
    "task.block": "blocked",
    "task.done": "finished",
    "task.drop": "dropped",
    "task.reopen": "reopened",
    "task.edit": "edited",
}


def rows(db: sqlite3.Connection, condition: str, values: Sequence[object] = ()) -> list[TaskFacts]:
    """The tasks `t` for which an SQL condition holds, oldest first."""
    columns = ", ".join(f"t.{name}" for name in TaskFacts._fields[:-1])
    found = db.execute(f"SELECT {columns}, {READY} FROM tasks t WHERE {condition} ORDER BY t.lc, t.id", values).fetchall()
    homes = Homes(db)
    now = {box: homes.of(box) if box else "" for raw in found for box in (raw[2], raw[8], raw[10])}
    return [_row(raw, now) for raw in found]


def _row(raw: Sequence[Any], now: dict[str, str]) -> TaskFacts:
    """A row from its columns, the fields of TaskFacts in their order."""
    oid, lc, creator, at, title, text, status, priority, assignee, labels, holder, *rest, tentative, words, changed, ready = raw
    labelled = tuple(json.loads(labels)) if labels != "[]" else ()
    who = (now[assignee], labelled, now[holder])
    return TaskFacts._make(
        (oid, lc, now[creator], at, title, text, status, priority, *who, *rest, bool(tentative), words, changed, bool(ready))
    )


def find(db: sqlite3.Connection, prefix: str) -> TaskFacts:
    """The task whose id begins with `prefix`. Raises UsageError."""
    try:
        oid = resolve_id(db, prefix, "task")
    except UsageError as error:
        raise UsageError(error.what, "git coord tasks --all" if error.hint == "git coord log" else error.hint) from None
    found = rows(db, "t.id = ?", (oid,))
    if not found:
        raise UsageError(f"no task has the id {prefix}", "git coord tasks --all")
    return found[0]


def get_task(clone: Clone, prefix: str, now: float | None = None) -> Task:
    """One task, by a unique prefix of its id. Raises UsageError."""
    return _tasks(clone, lambda db: [find(db, prefix)], now)[0]


def list_tasks(clone: Clone, me: Identity, which: Which = UNFINISHED_ONES, now: float | None = None) -> list[Task]:
    """Tasks, in the order of `which`. Raises UsageError for an unknown status, order or session."""
    if which.sort not in SORTS:
        raise UsageError(f"{which.sort!a} is not an order of tasks", "one of " + ", ".join(SORTS))
    if which.status is not None and which.status not in STATUSES:
        raise UsageError(f"{which.status!a} is not a status", "one of " + ", ".join(STATUSES))
    found = _tasks(clone, lambda db: _select(db, clone, me, which), now)
    return sorted((task for task in found if task.ready or not which.ready), key=SORTS[which.sort])


def _select(db: sqlite3.Connection, clone: Clone, me: Identity, which: Which) -> list[TaskFacts]:
    wanted = STATUSES if which.everything else (which.status,) if which.status else UNFINISHED
    found = rows(db, f"t.status IN ({', '.join('?' * len(wanted))})", wanted)
    mine = set(my_boxes(db, clone, me.name))
    if which.mine:
        found = [row for row in found if mine & {row.holder, row.assignee}]
    if which.filed:
        found = [row for row in found if row.creator in mine]
    for name in ("holder", "assignee"):
        if asked := getattr(which, name):
            box = resolve_name(db, asked, clone.id)
            found = [row for row in found if getattr(row, name) == box]
    return [row for row in found if set(which.labels) <= set(row.labels)]


def _tasks(clone: Clone, select: Callable[[sqlite3.Connection], list[TaskFacts]], now: float | None) -> list[Task]:
    """Whole tasks for rows: with needs, comments, history, and the liveness of holders."""

    def ask(db: sqlite3.Connection) -> tuple[list[TaskFacts], _Details]:
        found = select(db)
        return found, _details(db, [row.id for row in found])

    found, details = clone.read(ask)
    life = states(clone, {row.holder for row in found if row.holder}, now)
    waiting = asked.waiting(clone)
    found = [row._replace(tentative=row.tentative or row.lease in waiting) for row in found]
    return [_task(row, details, life[row.holder][0] if row.holder else None) for row in found]


class _Details(NamedTuple):
    needs: dict[str, list[tuple[Oid, str]]]
    comments: dict[str, list[Comment]]
    history: dict[str, list[Step]]


def _details(db: sqlite3.Connection, ids: Collection[str]) -> _Details:
    history = {task: history_of(events) for task, events in events_of(db, ids).items()}
    details = _Details({task: [] for task in ids}, {task: [] for task in ids}, history)
    wanted = (json.dumps(list(ids)),)
    inside = "IN (SELECT value FROM json_each(?))"
    for task, need, status in db.execute(
        "SELECT n.task, n.need, o.status FROM task_needs n JOIN tasks o ON o.id = n.need"
        f" WHERE n.ignored = 0 AND n.task {inside} ORDER BY n.lc, n.id, n.need",
        wanted,
    ):
        details.needs[task].append((Oid(need), status))
    for task, oid, author, clone, text, at, lc in db.execute(
        "SELECT c.task, c.id, e.author, e.clone, e.text, e.at, e.lc FROM task_comments c JOIN events e ON e.id = c.id"
        f" WHERE c.task {inside} ORDER BY c.lc, c.id",
        wanted,
    ):
        details.comments[task].append(Comment(Oid(oid), mailbox(author, clone), split_text(text)[1], at, lc))
    return details


def history_of(events: Sequence[Event]) -> list[Step]:
    """The acts on one task, oldest first."""
    void = replay(events).void
    senders: dict[str, str] = {e.id: e.sender for e in events}
    return [
        Step(
            e.id, e.sender, _what(e, senders),
            "" if e.type in ("task", "task.edit") else split_text(e.text)[1], e.at, e.lc, e.id in void,
        )
        for e in events
    ]  # fmt: skip


def _what(event: Event, senders: Mapping[str, str]) -> str:
    if event.type == "task.claim" and event.data.get("supersedes"):
        return "resumed" if senders.get(event.data["supersedes"][0]) == event.sender else "took over"
    return WORDS[event.type]


def _task(row: TaskFacts, details: _Details, holder_state: str | None) -> Task:
    needs = details.needs[row.id]
    unmet = tuple(need for need, status in needs if status in UNFINISHED)
    ready = row.ready or (row.status == "claimed" and holder_state == "gone")
    return Task(
        row.id, row.title, row.text, row.status, row.priority, row.assignee or None, row.labels,
        tuple(need for need, _ in needs), unmet, ready, row.holder or None, holder_state, row.tentative,
        tuple(details.comments[row.id]), tuple(details.history[row.id]), row.creator, row.words, row.at, row.changed,
    )  # fmt: skip


def held_titles(db: sqlite3.Connection) -> dict[str, str]:
    """The title of the task that each session holds and claimed last."""
    found = db.execute("SELECT holder, title FROM tasks WHERE status = 'claimed' ORDER BY changed, id").fetchall()
    homes = Homes(db)
    return {homes.of(holder): title for holder, title in found}


# find the best task to take next


def best(
    db: sqlite3.Connection, clone: Clone, me: Identity, now: float | None = None, taken: Collection[str] = ()
) -> TaskFacts | None:
    """The ready task to take next: mine first, then nobody's; free ones before a gone holder's; priority, then age.

    Tasks in `taken` are left out.
    """
    now = time.time() if now is None else now
    mine = set(my_boxes(db, clone, me.name))
    free = rows(db, READY)
    held = [row for row in rows(db, "t.status = 'claimed'") if row.holder not in mine]
    life = states_in(db, clone, _names(free, held), now)

    def gone(box: str) -> bool:
        return bool(box) and box not in mine and life[box][0] == "gone"

    candidates = free + [row for row in held if gone(row.holder)]
    open_to_me = [
        row for row in candidates if row.id not in taken and (not row.assignee or row.assignee in mine or gone(row.assignee))
    ]
    return min(open_to_me, key=lambda row: _rank(row, mine), default=None)


def _names(free: Iterable[TaskFacts], held: Iterable[TaskFacts]) -> set[str]:
    return {box for row in [*free, *held] for box in (row.assignee, row.holder) if box}


def _rank(row: TaskFacts, mine: Collection[str]) -> tuple[object, ...]:
    assigned = 0 if row.assignee in mine else 1 if not row.assignee else 2
    return (assigned, row.status != "open", row.priority, row.lc, row.id)
