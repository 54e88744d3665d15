"""What a feature module tells the index about itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from gitcoord.log.event import Event, Malformed

T = TypeVar("T")
MAX_INT = 2**63 - 1


class Concern(NamedTuple):
    """Names of sessions (mailroom.EVERYBODY: all of them), and what they are told that they could not ask for."""

    names: Iterable[str]
    line: str = ""


class Feature(NamedTuple):
    """One feature's event types, its tables, and how an event changes them.

    `fold` is pure: it reads the event and its own tables, no clock, no repository, and gives the same tables for any
    order of arrival. It raises Malformed for a payload it cannot use; such an event is kept, skipped and reported.
    """

    name: str
    types: frozenset[str]
    tables: str
    fold: Callable[[sqlite3.Connection, Event], None]
    indexes: str = ""
    """`CREATE INDEX …;` for what reads ask and no fold does: a rebuild makes them last. Others go into `tables`."""
    concerns: Callable[[sqlite3.Connection, Event, str], Concern] | None = None
    """Whom an event that was just folded concerns in the clone of that id; only asked where agents' hooks run."""
    living: tuple[str, ...] = ()
    """Questions for the ids of events that something current rests on, as of `:now`, or that ended after `:since` (Unix
    seconds). `gc` keeps these, what is younger, and what speaks about anything that stays."""


def want(event: Event, key: str, kind: type[T], default: T | None = None) -> T:
    """The value of `key` in the payload, if it has the type it should. Raises Malformed."""
    value: Any = event.data.get(key, default)
    if type(value) is not kind:
        raise Malformed(f"{event.type}: {key} is no {kind.__name__}")
    if isinstance(value, int) and not -MAX_INT <= value <= MAX_INT:
        raise Malformed(f"{event.type}: {key} does not fit 64 bits")
    return value


def want_strings(event: Event, key: str) -> list[str]:
    """The value of `key`, a list of strings (missing: empty). Raises Malformed."""
    if key not in event.data:
        return []
    values = want(event, key, list)
    if any(type(value) is not str for value in values):
        raise Malformed(f"{event.type}: {key} is no list of strings")
    return values
