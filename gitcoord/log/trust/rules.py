"""The table of rules: which clone may write which event about whose item, and how much it counts unsigned. It is applied
before any fold. A rule also states how the author must relate to the items that an event names. If an item is not known
yet, the event waits for it: when the item arrives, the event is judged again, about that item alone. So the order of
arrival does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gitcoord import lean_json as json
from gitcoord.lean import Any, NamedTuple, sqlite3
from gitcoord.log.event import Event, Malformed
from gitcoord.log.query import COLUMNS, event_of
from gitcoord.log.trust import names
from gitcoord.log.trust.reach import CHECKPOINT, EPOCH, note_checkpoint

HELD, COUNTS, NOTHING = "is kept back", "counts", "counts for nothing"
"""The effect of an unsigned event of another clone under `coord.requireSigned`: it is folded, but not shown without being
asked for; it is folded; it waits until a good signature covers it. Events that end, move or free something wait."""
MAX_AWAITED = 256
"""Number of items that one event can wait for. An honest clone's own items come before its events about them."""


class Rule(NamedTuple):
    """`who`: words that say which clone may write the event. `items` is the key of the payload whose items must belong to
    the author's clone, `boxes` that of mailboxes which must. If one does not, the event counts for nothing with `whole`,
    otherwise only that item is skipped."""

    who: str
    unsigned: str
    items: str = ""
    boxes: str = ""
    whole: bool = True


ANYBODY = "anybody"
OWN_NAME = "the clone, about its own names"
OWN_LOCK = "the clone, about its own locks"
OWN_JOB = "the clone that started the job"

RULES: Mapping[str, Rule] = {
    "join": Rule(OWN_NAME, NOTHING),
    "rename": Rule(OWN_NAME, NOTHING),
    "leave": Rule(OWN_NAME, NOTHING),
    "gone": Rule(OWN_NAME, NOTHING),
    "presence": Rule(OWN_NAME, NOTHING),
    "presences": Rule(OWN_NAME, NOTHING),
    "adopt": Rule("any other clone, until the name's own clone joins again", NOTHING),
    "message": Rule("anybody; a notice replaces or bounces only messages of its own clone", HELD, "replaces", whole=False),
    "receipt": Rule("the clone of the mailbox, or one that has adopted it", NOTHING),
    "note": Rule(ANYBODY, HELD),
    "state": Rule(OWN_NAME, COUNTS),
    "lock": Rule("anybody; it ends only locks of its own clone", HELD, "supersedes", whole=False),
    "lock.wait": Rule("anybody; it ends only locks of its own clone", HELD, "supersedes", whole=False),
    "unlock": Rule(OWN_LOCK, NOTHING, "locks", whole=False),
    "overlap": Rule("the clone, about two of its own names", COUNTS, boxes="between"),
    "task": Rule(ANYBODY, HELD),
    "task.claim": Rule(ANYBODY, NOTHING),
    "task.settle": Rule("the clone that made the offline claim", NOTHING, "supersedes"),
    "task.release": Rule(ANYBODY, NOTHING),
    "task.block": Rule(ANYBODY, NOTHING),
    "task.done": Rule(ANYBODY, NOTHING),
    "task.drop": Rule(ANYBODY, NOTHING),
    "task.reopen": Rule(ANYBODY, NOTHING),
    "task.edit": Rule(ANYBODY, NOTHING),
    "task.comment": Rule(ANYBODY, HELD),
    "alloc": Rule("anybody; a number is followed as far as the numbers known explain it", COUNTS),
    "job.start": Rule("anybody; `was` counts for jobs of its own clone", NOTHING),
    "job.detail": Rule(OWN_JOB, NOTHING, "job"),
    "job.end": Rule(OWN_JOB, NOTHING, "job"),
    "job.lost": Rule(OWN_JOB, NOTHING, "job"),
    CHECKPOINT: Rule("the clone, about the log it stands in", NOTHING),
    EPOCH: Rule("the clone, at the root of its log", COUNTS),
}
SAYS_OF_IT = "{word}.clone IN ({item}.clone, :here)"
"""SQL condition: the clone of row `word` may write about row `item`: the item's own clone may, and so may we, who have been
that clone."""
OURS_FIRST = "{word}.clone != :here"
"""SQL: the order of rows about an item; ours count most."""
_WITH_ITEMS = frozenset(kind for kind, rule in RULES.items() if rule.items)
_BOUNCE = Rule("", HELD, "about", whole=False)


def is_owners(event: Event, item: Event) -> bool:
    """Whether an event about `item` was written by the item's own clone."""
    return event.clone == item.clone


class Verdict(NamedTuple):
    """The event that the folds may see (None: none), and the reason, if the event should not have been written."""

    id: str
    event: Event | None
    refused: str = ""


def admitted(
    db: sqlite3.Connection, items: Iterable[tuple[Event, bytes]], ref: str, required_but: str | None = None
) -> Iterator[Verdict]:
    """Judge events that have just arrived at `ref`, each followed by those that waited for it. The caller folds them in
    between. Signatures are required of every clone but `required_but`; of none if that is None."""
    any_wait = _any_wait(db)
    for event, raw in items:
        if required_but not in (None, event.clone) and _needs_signature(event):
            db.execute("INSERT OR IGNORE INTO unsigned VALUES (?, ?)", (event.clone, event.id))
            yield Verdict(event.id, None)
            continue
        yield _judged(db, event, None, raw, ref)
        if any_wait:
            for waiting in _released(db, event.id):
                yield _judged(db, waiting, event.id)
        elif event.type in _WITH_ITEMS:
            any_wait = _any_wait(db)


def signed(db: sqlite3.Connection, ids: Iterable[str]) -> Iterator[Verdict]:
    """Judge events whose signature has come."""
    query = f"SELECT {COLUMNS} FROM events WHERE id IN (SELECT value FROM json_each(?)) ORDER BY lc, id"
    for row in db.execute(query, (json.dumps(list(ids)),)).fetchall():
        event = event_of(row)
        db.execute("DELETE FROM unsigned WHERE clone = ? AND id = ?", (event.clone, event.id))
        yield _judged(db, event, None)
        for waiting in _released(db, event.id):
            yield _judged(db, waiting, event.id)


def _needs_signature(event: Event) -> bool:
    """Whether an unsigned event counts for nothing: by its type, or because it replaces or ends what it names."""
    rule = RULES.get(event.type)
    if rule is None or event.v != 1 or event.type == CHECKPOINT:
        return False
    return rule.unsigned == NOTHING or bool(rule.items and rule.items in event.data) or event.data.get("notice") == "bounce"


def _any_wait(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM awaited LIMIT 1").fetchone() is not None


def _judged(db: sqlite3.Connection, event: Event, only: str | None, raw: bytes = b"", ref: str = "") -> Verdict:
    try:
        if event.v > 1:
            return Verdict(event.id, event)
        if event.type == EPOCH:
            return Verdict(event.id, None)
        if event.type == CHECKPOINT:
            note_checkpoint(db, event, raw, ref)
            return Verdict(event.id, None)
        return Verdict(event.id, _permitted(db, event, only))
    except Malformed as why:
        return Verdict(event.id, None, str(why))


def _released(db: sqlite3.Connection, arrived: str) -> list[Event]:
    if db.execute("SELECT 1 FROM awaited WHERE target = ?", (arrived,)).fetchone() is None:
        return []
    query = f"SELECT {COLUMNS} FROM events WHERE id IN (SELECT id FROM awaited WHERE target = ?) ORDER BY lc, id"
    found = [event_of(row) for row in db.execute(query, (arrived,))]
    db.execute("DELETE FROM awaited WHERE target = ?", (arrived,))
    return found


def _permitted(db: sqlite3.Connection, event: Event, only: str | None) -> Event | None:
    """`event` without the items that its author may not write about. Raises Malformed."""
    rule = RULES.get(event.type)
    if rule is None:
        return event
    if rule.boxes:
        _check_boxes(event, event.data.get(rule.boxes))
    if event.type == "adopt" and event.data.get("from") == event.clone:
        raise Malformed("adopt: the name belongs to this clone already")
    names.note(db, event)
    for each in (rule, _BOUNCE) if event.data.get("notice") == "bounce" and event.type == "message" else (rule,):
        kept = _own_items(db, event, each, only) if each.items in event.data else event
        if kept is None:
            return None
        event = kept
    return event


def _check_boxes(event: Event, boxes: object) -> None:
    for box in boxes if isinstance(boxes, list) else []:
        if isinstance(box, str) and box.partition("@")[2] != event.clone:
            raise Malformed(f"{event.type}: it speaks of another clone's sessions")


def _own_items(db: sqlite3.Connection, event: Event, rule: Rule, only: str | None) -> Event | None:
    value: Any = event.data[rule.items]
    named = [value] if isinstance(value, str) else [item for item in value if isinstance(item, str)] if _many(value) else []
    clones = _clones_of(db, named)
    if only is None:
        _await(db, event, [item for item in named if item not in clones])
    all_own = {item for item in named if event.clone in clones.get(item, ())}
    if named and len(all_own) < len(named) and rule.whole:
        if all(item in clones for item in named):
            raise Malformed(f"{event.type}: it speaks of an event of another clone")
        return None
    own = all_own & {only} if only and not rule.whole else all_own
    if len(own) == len(named):
        return event
    if event.type == "unlock" and not own:
        if all(item in clones for item in named) and not all_own:
            raise Malformed("unlock: it ends locks of another clone")
        return None
    return event._replace(data=_with(event.data, rule.items, value, own))


def _many(value: object) -> bool:
    return isinstance(value, list | dict)


def _with(data: Mapping[str, Any], key: str, value: Any, own: set[str]) -> dict[str, Any]:
    """The payload with only those items."""
    rest = {name: item for name, item in data.items() if name != key}
    if isinstance(value, dict):
        return rest | {key: {item: detail for item, detail in value.items() if item in own}}
    return rest | ({key: [item for item in value if item in own]} if isinstance(value, list) else {})


def _clones_of(db: sqlite3.Connection, ids: list[str]) -> dict[str, tuple[str, str]]:
    """The clones of the known events among `ids`: the clone in whose log each is, and the one that it names, if a clone
    with a new id carries it."""
    if not ids:
        return {}
    named = "CASE WHEN e.place < 0 THEN coalesce(n.clone, e.clone) ELSE e.clone END"
    query = f"SELECT e.id, e.clone, {named} FROM events e LEFT JOIN named n ON n.id = e.id"
    query += " WHERE e.id IN (SELECT value FROM json_each(?))"
    return {oid: (clone, also) for oid, clone, also in db.execute(query, (json.dumps(ids),))}


def _await(db: sqlite3.Connection, event: Event, unknown: list[str]) -> None:
    db.executemany("INSERT OR IGNORE INTO awaited VALUES (?, ?)", [(item, event.id) for item in unknown[:MAX_AWAITED]])
