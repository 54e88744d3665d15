"""State: keys and values of a session that outlive a compaction, a restart and a change of name.

Every change is an event, so the log is the history; the last writer of a key wins.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.errors import Refused, UsageError
from gitcoord.lean import Any, NamedTuple, re, sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event, check_text
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import FLAG, Kind, Schema
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import leading_to, resolve_name
from gitcoord.sessions.presence import register

_KEY = r"[A-Za-z0-9._/-]{1,100}"


def _fold(db: sqlite3.Connection, event: Event) -> None:
    unset, as_json = event.data.get("unset", False), event.data.get("json", False)
    db.execute(
        "INSERT INTO state VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (box, key) DO UPDATE SET"
        " lc = excluded.lc, id = excluded.id, json = excluded.json, unset = excluded.unset"
        " WHERE (excluded.lc, excluded.id) > (lc, id)",
        (event.sender, event.data["key"], event.lc, event.id, as_json, unset),
    )


_IS_KEY = Kind("1 to 100 of `A-Za-z0-9._/-`", lambda value: type(value) is str and re.fullmatch(_KEY, value) is not None)

FEATURE = Feature(
    "state",
    {"state": Schema({"key": _IS_KEY, "json": FLAG, "unset": FLAG}, ("key",))},
    """
    CREATE TABLE state (box TEXT NOT NULL, key TEXT NOT NULL, lc INTEGER NOT NULL, id TEXT NOT NULL,
        json INTEGER NOT NULL, unset INTEGER NOT NULL, PRIMARY KEY (box, key)) WITHOUT ROWID;
    """,
    _fold,
    living=("SELECT id FROM state",),
    forget=(
        "INSERT OR IGNORE INTO again SELECT e.id FROM events e JOIN"
        " (SELECT f.clone, f.author, json_extract(f.data, '$.key') AS key FROM state s JOIN events f ON f.id = s.id"
        " WHERE s.id IN (SELECT id FROM forgotten)) x"
        " ON (e.clone, e.author, json_extract(e.data, '$.key')) = (x.clone, x.author, x.key) WHERE e.type = 'state'",
        "DELETE FROM state WHERE id IN (SELECT id FROM forgotten)",
    ),
)


class Value(NamedTuple):
    """The value of a key: text, or with `json` the text of a JSON document; `at` (Unix seconds) is when it was set.

    `lc` orders the settings of one repository.
    """

    text: str
    json: bool
    at: int
    lc: int

    @property
    def plain(self) -> Any:
        """The value in Python: a string, or the JSON value (a string, too, if another clone wrote invalid JSON)."""
        try:
            return _parse(self.text) if self.json else self.text
        except (ValueError, RecursionError):
            return self.text


def _parse(text: str) -> Any:
    """The value of a JSON document; NaN and the infinities are invalid. Raises ValueError or RecursionError."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def set_state(clone: Clone, me: Identity, key: str, text: str, as_json: bool = False) -> Value:
    """Set a key of my session; nothing is written if it has that value. Raises UsageError for a bad key or value."""
    _check(key, text, as_json)
    with clone.locked():
        register(clone, me)
        data: dict[str, Any] = {"key": key, **({"json": True} if as_json else {})}

        def decide(db: sqlite3.Connection) -> list[Draft]:
            known = _values(db, _box(clone, me)).get(key)
            same = known is not None and (known.text, known.json) == (text, as_json)
            return [] if same else [Draft("state", text, data, author=me.name)]

        clone.append(decide)
    return get_state(clone, me, key)


def _check(key: str, text: str, as_json: bool) -> None:
    if re.fullmatch(_KEY, key) is None:
        raise UsageError(f"{key[:60]!a} is not a valid key", "use up to 100 letters, digits, '.', '_', '/' and '-'")
    try:
        check_text(text)
    except UsageError as error:
        raise UsageError(error.what.replace("the text", "the value"), "keep it in a file and set its path") from None
    if as_json:
        try:
            _parse(text)
        except (ValueError, RecursionError):
            raise UsageError("the value is not JSON", "quote it for the shell, or leave out --type json") from None


def get_state(clone: Clone, me: Identity, key: str) -> Value:
    """The value of a key of my session. Raises Refused if it is not set."""
    found = show_state(clone, me)
    if key not in found:
        raise _unset(key)
    return found[key]


def _unset(key: str) -> Refused:
    return Refused(f"{ascii(key[:100])[1:-1]} is not set", "git coord state show")


def unset_state(clone: Clone, me: Identity, key: str) -> Value:
    """Unset a key; returns its last value. Raises Refused if it is not set."""
    with clone.locked():
        was = get_state(clone, me, key)
        register(clone, me)
        clone.append(lambda db: [Draft("state", f"{key} is unset", {"key": key, "unset": True}, author=me.name)])
        return was


def show_state(clone: Clone, me: Identity, session: str | None = None) -> Mapping[str, Value]:
    """All keys that are set, sorted: mine, or another session's. Raises UsageError for an unknown session."""

    def ask(db: sqlite3.Connection) -> Mapping[str, Value]:
        box = resolve_name(db, session, clone.id) if session else _box(clone, me)
        return _values(db, box)

    return clone.read(ask)


def _box(clone: Clone, me: Identity) -> str:
    return clone.box(me.name)


def _values(db: sqlite3.Connection, box: str) -> dict[str, Value]:
    """The values under a mailbox and the former names that lead to it; the last event about each key counts."""
    rows = db.execute(
        "SELECT s.key, e.text, s.json, e.at, s.lc, s.unset FROM state s JOIN events e ON e.id = s.id"
        " WHERE s.box IN (SELECT value FROM json_each(?)) ORDER BY s.lc, s.id",
        (json.dumps(leading_to(db, box)),),
    )
    last = {key: (Value(text, bool(as_json), at, lc), unset) for key, text, as_json, at, lc, unset in rows}
    return {key: value for key, (value, unset) in sorted(last.items()) if not unset}


class Keys(NamedTuple):
    """The state of one session, as `Coord.state` gives it."""

    clone: Clone
    me: Identity

    def set(self, key: str, text: str, as_json: bool = False) -> Value:
        """See `set_state`."""
        return set_state(self.clone, self.me, key, text, as_json)

    def get(self, key: str) -> Value:
        """See `get_state`."""
        return get_state(self.clone, self.me, key)

    def unset(self, key: str) -> Value:
        """See `unset_state`."""
        return unset_state(self.clone, self.me, key)

    def show(self, session: str | None = None) -> Mapping[str, Value]:
        """See `show_state`."""
        return show_state(self.clone, self.me, session)
