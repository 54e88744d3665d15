"""Change tasks: each verb decides under the write lock, on the newest state, and writes its notices with the change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from gitcoord.errors import Refused, UsageError
from gitcoord.features.messages.ledger import my_boxes
from gitcoord.features.tasks.file import NewTask, check, check_labels, check_priority, check_title, in_order
from gitcoord.features.tasks.fold import UNFINISHED
from gitcoord.features.tasks.notices import (
    SHORT,
    Telling,
    tell_of_assignments,
    tell_of_claim_for,
    tell_of_deed,
    tell_of_ready,
    tell_of_takeover,
)
from gitcoord.features.tasks.read import TaskFacts, find
from gitcoord.features.tasks.tangles import needed_by
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event, LaterDraft, check_text
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import addressed, display
from gitcoord.sessions.membership import states_in
from gitcoord.sessions.presence import register
from gitcoord.store.objects import Oid

Drafts = Sequence[Draft | LaterDraft]


def write(clone: Clone, me: Identity, decide: Callable[[sqlite3.Connection], Drafts]) -> list[Event]:
    """Register `me` and append; a refused append registers no session, and neither does a person who acts in a session's
    place."""
    with clone.locked():
        if me.stead:
            return clone.append(decide)
        if me.record is None:
            clone.settled_id()
            for draft in clone.read(decide):
                check_text(draft.text if isinstance(draft, Draft) else "")
        register(clone, me)
        return clone.append(decide)


# filing and changing


def add(clone: Clone, me: Identity, tasks: Sequence[NewTask]) -> list[Oid]:
    """File tasks, all or none; returns their ids in the order given.

    Raises UsageError for an unknown need or assignee, a cycle, and input that cannot be stored.
    """
    checked = [check(task) for task in tasks]
    order = in_order(checked)
    events = write(clone, me, lambda db: _filing(db, clone, me, checked, order))
    ids = dict(zip(order, (event.id for event in events), strict=False))  # the notices come after the tasks
    return [ids[place] for place in range(len(tasks))]


def _filing(db: sqlite3.Connection, clone: Clone, me: Identity, tasks: Sequence[NewTask], order: Sequence[int]) -> Drafts:
    written = {tasks[place].local: at for at, place in enumerate(order) if tasks[place].local}
    assigned: dict[str, list[tuple[int, str]]] = {}
    drafts: list[Draft | LaterDraft] = []
    for at, place in enumerate(order):
        task = tasks[place]
        data = _facts(priority=task.priority, labels=list(task.labels))
        if task.assignee:
            data["assignee"] = addressed(db, task.assignee, clone.id)
            assigned.setdefault(data["assignee"], []).append((at, task.title))
        drafts.append(_filed(me, task, data, [written[n] if n in written else find(db, n).id for n in task.needs]))
    return [*drafts, *(_assigned(db, clone, me, box, mine) for box, mine in assigned.items() if not _is_me(db, clone, me, box))]


def _filed(me: Identity, task: NewTask, data: dict[str, Any], needs: Sequence[int | Oid]) -> LaterDraft:
    """A task's event. Needs are ids, or places in this append."""

    def draft(ids: Sequence[Oid]) -> Draft:
        named = [ids[need] if isinstance(need, int) else need for need in needs]
        return Draft("task", _text(task.title, task.text), data | _facts(needs=list(dict.fromkeys(named))), author=me.name)

    return draft


def _assigned(db: sqlite3.Connection, clone: Clone, me: Identity, box: str, tasks: Sequence[tuple[int, str]]) -> LaterDraft:
    def draft(ids: Sequence[Oid]) -> Draft:
        telling = Telling(db, clone, me)
        tell_of_assignments(telling, {box: [(ids[at], title) for at, title in tasks]})
        return telling.drafts()[0]

    return draft


class Edit(NamedTuple):
    """A change of a task; None leaves a field, an empty assignee clears it."""

    title: str | None = None
    text: str | None = None
    priority: int | None = None
    assignee: str | None = None
    labels: Sequence[str] = ()
    not_labels: Sequence[str] = ()
    needs: Sequence[str] = ()
    not_needs: Sequence[str] = ()


def edit(clone: Clone, me: Identity, prefix: str, change: Edit) -> Oid:
    """Change a task's facts. Raises UsageError for an unknown id or name, and for a need that closes a cycle."""
    if change == Edit():
        raise UsageError("the command changes nothing", "git coord task edit --help")
    if change.priority is not None:
        check_priority(change.priority)
    check_labels(change.labels)
    title = None if change.title is None else check_title(change.title)

    def decide(db: sqlite3.Connection) -> Drafts:
        row = find(db, prefix)
        data = {"task": row.id} | _facts(
            title=title,
            text=change.text is not None or None,
            priority=change.priority,
            labels=list(change.labels),
            not_labels=list(change.not_labels),
            needs=_new_needs(db, row, change.needs),
            not_needs=[find(db, need).id for need in change.not_needs],
        )
        telling = Telling(db, clone, me)
        if change.assignee is not None:
            data["assignee"] = addressed(db, change.assignee, clone.id) if change.assignee else ""
            if data["assignee"] not in ("", row.assignee):
                tell_of_assignments(telling, {data["assignee"]: [(row.id, title or row.title)]})
        text = _text(f"edited: {title or row.title}", change.text or "")
        return [Draft("task.edit", text, data, author=me.name), *telling.drafts()]

    return about(clone, me, prefix, decide)


def _new_needs(db: sqlite3.Connection, row: TaskFacts, needs: Sequence[str]) -> list[Oid]:
    found = [find(db, need) for need in needs]
    for need in found:
        if row.id in needed_by(db, [need.id]):
            what = f"{need.id[:SHORT]} needs {row.id[:SHORT]}: each would wait for the other"
            raise UsageError(what, f"git coord task show {need.id[:SHORT]}")
    return [need.id for need in found]


def comment(clone: Clone, me: Identity, prefix: str, text: str) -> Oid:
    """Comment on a task; its holder is told. Raises UsageError for empty text."""
    if not check_text(text).strip():
        raise UsageError("the text is empty", "git coord task comment ID TEXT")

    def decide(db: sqlite3.Connection) -> Drafts:
        row = find(db, prefix)
        telling = Telling(db, clone, me)
        tell_of_deed(telling, row, "comment", text)
        return [Draft("task.comment", _text(f"on: {row.title}", text), {"task": row.id}, author=me.name), *telling.drafts()]

    return about(clone, me, prefix, decide)


# claiming


def claiming(
    db: sqlite3.Connection,
    clone: Clone,
    me: Identity,
    row: TaskFacts,
    facts: Mapping[str, Any] = MappingProxyType({}),
    silent: Collection[str] = (),
) -> Drafts:
    """The claim of a task, or nothing if I hold it. `facts` go into the event; claims in `silent` may be taken over,
    even though no clone said that their holders are gone. Raises Refused."""
    mine = _is_me(db, clone, me, row.holder)
    if mine and row.status == "claimed" and not (row.tentative and facts.get("lease")):
        return []
    if row.status not in UNFINISHED:
        raise Refused(f"{_state(clone, row)} already", f"git coord task reopen {row.id[:SHORT]}")
    if row.status == "blocked" and not row.holder:
        raise Refused(f"{row.id[:SHORT]} is blocked", f"git coord task reopen {row.id[:SHORT]}")
    if not mine and row.claim not in silent:
        _refuse_held(db, clone, row, "git coord task next --claim")
    data = {"task": row.id} | _claim_of(row) | dict(facts)
    telling = Telling(db, clone, me)
    if row.claim and not mine:
        tell_of_takeover(telling, row)
    drafts = [Draft("task.claim", _text(f"claimed: {row.title}", _in_stead(me)), data, author=me.name), *telling.drafts()]
    if me.stead:
        telling = Telling(db, clone, Identity(me.stead, "terminal", person=True))
        tell_of_claim_for(telling, row, clone.box(me.name))
        drafts += telling.drafts()
    return drafts


def _in_stead(me: Identity) -> str:
    return f"{me.stead} did it for {me.name}" if me.stead else ""


def _refuse_held(db: sqlite3.Connection, clone: Clone, row: TaskFacts, hint: str) -> None:
    """Refuse while a session that is not known to be gone holds the task. Raises Refused."""
    if row.claim:
        state = states_in(db, clone, [row.holder], patient=True)[row.holder][0]
        if state != "gone":
            raise Refused(f"{row.id[:SHORT]} is held by {display(row.holder, clone.id)} ({state})", hint)


# ending


class _Verb(NamedTuple):
    """A verb: the new status, the statuses that it may start from, and the text of its event."""

    after: str
    before: tuple[str, ...]
    word: str


_VERBS = {
    "done": _Verb("done", UNFINISHED, "done"),
    "block": _Verb("blocked", UNFINISHED, "blocked"),
    "release": _Verb("open", ("claimed", "blocked"), "released"),
    "drop": _Verb("dropped", UNFINISHED, "dropped"),
    "reopen": _Verb("open", ("blocked", "done", "dropped"), "reopened"),
}


def change(clone: Clone, me: Identity, prefix: str, verb: str, words: str = "", force: bool = False) -> Oid:
    """Apply `done`, `block`, `release`, `drop` or `reopen` to a task.

    Raises Refused when its status does not allow it, or when another live session holds it (unless `force`).
    """
    check_text(words)
    if verb == "block" and not words.strip():
        raise UsageError("the reason is missing", "git coord task block ID REASON")
    return about(clone, me, prefix, lambda db: _changing(db, clone, me, find(db, prefix), verb, words, force))


def _changing(db: sqlite3.Connection, clone: Clone, me: Identity, row: TaskFacts, verb: str, words: str, force: bool) -> Drafts:
    rule = _VERBS[verb]
    mine = _is_me(db, clone, me, row.holder)
    if row.status not in rule.before or (verb == "release" and not row.claim):
        if row.status == rule.after and (mine or not row.holder) and not words:
            return []
        why = "already" if row.status == rule.after else f"and cannot be {rule.word}"
        raise Refused(f"{_state(clone, row)} {why}", f"git coord task show {row.id[:SHORT]}")
    if verb in ("done", "block", "release") and not mine and not force:
        _refuse_held(db, clone, row, f"git coord task {verb} {row.id[:SHORT]} --force")
    telling = Telling(db, clone, me)
    tell_of_deed(telling, row, verb, words)
    if verb in ("done", "drop"):
        tell_of_ready(telling, row)
    data = {"task": row.id} | _claim_of(row) | ({"reopens": row.last} if verb == "reopen" and row.last else {})
    return [Draft(f"task.{verb}", _text(f"{rule.word}: {row.title}", words), data, author=me.name), *telling.drafts()]


# shared by the verbs


def about(clone: Clone, me: Identity, prefix: str, decide: Callable[[sqlite3.Connection], Drafts]) -> Oid:
    """Write what is decided about one task; returns its full id."""
    oid = clone.read(lambda db: find(db, prefix)).id
    write(clone, me, decide)
    return oid


def _is_me(db: sqlite3.Connection, clone: Clone, me: Identity, box: str) -> bool:
    return bool(box) and box in my_boxes(db, clone, me.name)


def _claim_of(row: TaskFacts) -> dict[str, Any]:
    """The ids that an event which ends or replaces a claim names."""
    return {"supersedes": [row.claim]} if row.claim else {}


def _state(clone: Clone, row: TaskFacts) -> str:
    by = f" by {display(row.holder, clone.id)}" if row.holder else ""
    return f"{row.id[:SHORT]} is {row.status}{by}"


def _text(subject: str, body: str) -> str:
    return f"{subject}\n\n{body}" if body else subject


def _facts(**facts: Any) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None and value not in ("", [])}
