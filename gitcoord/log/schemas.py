"""The payload of each type of event: the names, types and bounds of its fields.

A feature declares the schemas of its own types beside its fold (`Feature.schemas`). One function, `objection`, judges a
payload by them, both before an event is written and when it is read, before any fold sees it. docs/format.md lists the
fields; a test compares it with the declarations. Fields without a schema are kept and ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gitcoord.errors import UsageError
from gitcoord.lean import Any, NamedTuple
from gitcoord.log.event import Event, is_attachment_name
from gitcoord.names import EVERYBODY, is_name

MAX_TIME = 253402300799
"""The last second of the year 9999, the last that Python's dates allow."""
MANY = 10_000
"""Largest number of items in a list without a bound of its own."""
_HEX = frozenset("0123456789abcdef")
_NOT_IN_BRANCHES = frozenset(" ~^:?*[\\\x7f")


class Kind(NamedTuple):
    """A kind of value: its name in docs/format.md, and the test for it."""

    says: str
    fits: Callable[[Any], bool]


class Schema(NamedTuple):
    """The fields of a type of event. `objection` checks what goes beyond single fields, and the text; it returns the fault,
    or an empty string."""

    fields: Mapping[str, Kind]
    needed: tuple[str, ...] = ()
    objection: Callable[[Event], str] = lambda event: ""


def objection(schema: Schema, event: Event) -> str:
    """The reason why a payload does not fit its schema; empty if it fits."""
    why = complaint(schema.fields, schema.needed, event.data) or schema.objection(event)
    return f"{event.type}: {why}" if why else ""


def check_draft(schema: Schema, event: Event) -> None:
    """Check an event that is about to be written. Raises UsageError when its schema does not allow it."""
    if why := objection(schema, event):
        raise UsageError(f"this cannot be stored: {why}", "shorten or leave out what it names")


def complaint(fields: Mapping[str, Kind], needed: Sequence[str], data: Mapping[str, Any]) -> str:
    """The fault in the fields of `data`; empty if there is none."""
    for name in needed:
        if name not in data:
            return f"{name} is missing"
    for name, value in data.items():
        kind = fields.get(name)
        if kind is not None and not kind.fits(value):
            return f"{name} is not {kind.says}"
    return ""


# kinds


def number(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""
    return Kind(f"a whole number from {low} to {high}", lambda value: type(value) is int and low <= value <= high)


def text(limit: int) -> Kind:
    """Any text without NUL."""
    return Kind(f"a text of at most {limit:,} characters", lambda value: _is_text(value, limit))


def line(limit: int) -> Kind:
    """Text on one line: no control characters, and none that some program takes for the end of a line."""
    return Kind(f"a line of at most {limit:,} characters", lambda value: _is_text(value, limit) and is_one_line(value))


def one_of(*words: str) -> Kind:
    """One of a few words."""
    return Kind("one of " + ", ".join(f"`{word}`" for word in words), lambda value: type(value) is str and value in words)


def listed(kind: Kind, most: int, least: int = 0) -> Kind:
    """A list of values of one kind."""
    bounds = f"{least} to {most:,}" if least else f"at most {most:,}"
    if least == most:
        bounds = str(least)
    return Kind(
        f"a list of {bounds}, each {kind.says}",
        lambda value: type(value) is list and least <= len(value) <= most and all(map(kind.fits, value)),
    )


def pair(first: Kind, second: Kind) -> Kind:
    """A list of two values."""
    return Kind(
        f"a pair of {first.says} and {second.says}",
        lambda value: type(value) is list and len(value) == 2 and first.fits(value[0]) and second.fits(value[1]),
    )


def mapped(key: Kind, kind: Kind, most: int) -> Kind:
    """An object whose names and values are of one kind each."""
    return Kind(
        f"an object of at most {most:,} entries: from {key.says} to {kind.says}",
        lambda value: (
            type(value) is dict and len(value) <= most and all(map(key.fits, value)) and all(map(kind.fits, value.values()))
        ),
    )


def record(fields: Mapping[str, Kind], needed: Sequence[str]) -> Kind:
    """An object with fields of its own."""
    return Kind(
        "an object with " + "; ".join(f"`{name}`, {kind.says}" for name, kind in fields.items()),
        lambda value: type(value) is dict and not complaint(fields, needed, value),
    )


def either(kind: Kind, nothing: str | None) -> Kind:
    """A value of a kind, or the value that means none."""
    return Kind(f"{kind.says}, or {'null' if nothing is None else 'empty'}", lambda value: value == nothing or kind.fits(value))


def is_one_line(value: str) -> bool:
    """Whether `value` is one line for every program, without commands to a terminal."""
    if value.isascii():
        return value.isprintable()
    return not any(c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029" for c in value)


def _is_text(value: Any, limit: int) -> bool:
    return type(value) is str and len(value) <= limit and "\0" not in value


def _is_id(value: Any) -> bool:
    return type(value) is str and len(value) in (40, 64) and _HEX.issuperset(value)


def _is_named(value: Any) -> bool:
    return type(value) is str and is_name(value)


def _is_mailbox(value: Any) -> bool:
    if type(value) is not str:
        return False
    name, at, clone = value.partition("@")
    return bool(at) and is_name(name) and is_name(clone)


def _is_path(value: Any) -> bool:
    return _is_text(value, 4096) and value != ""


def _is_branch(value: Any) -> bool:
    return _is_text(value, 1000) and value != "" and not any(c <= " " or c in _NOT_IN_BRANCHES for c in value)


def _is_group(value: Any) -> bool:
    if type(value) is not str:
        return False
    return value == EVERYBODY or (value.startswith(("@", "role:")) and is_name(value.removeprefix("@").removeprefix("role:")))


def _is_label(value: Any) -> bool:
    return type(value) is str and 0 < len(value) <= 40 and value.isprintable() and " " not in value and "," not in value


def _is_attachment(value: Any) -> bool:
    return type(value) is str and is_attachment_name(value)


FLAG = Kind("true or false", lambda value: type(value) is bool)
TIME = Kind("a time", number(0, MAX_TIME).fits)
ID = Kind("an id", _is_id)
NAME = Kind("a name", _is_named)
MAILBOX = Kind("a mailbox", _is_mailbox)
PATH = Kind("a path of at most 4,096 characters", _is_path)
BRANCH = Kind("a branch of at most 1,000 characters", _is_branch)
GROUP = Kind("`all`, `@` or `role:` and a name", _is_group)
LABEL = Kind("a label", _is_label)
ATTACHMENT = Kind("the name of an attachment", _is_attachment)
IDS = listed(ID, MANY)
HEX = Kind("1 to 40 hexadecimal digits", lambda value: type(value) is str and 0 < len(value) <= 40 and _HEX.issuperset(value))
