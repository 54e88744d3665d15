"""What a feature module tells the index about itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from gitcoord.log.event import Event
from gitcoord.log.schemas import Schema


class Concern(NamedTuple):
    """Names of sessions (mailroom.EVERYBODY: all of them), and what they are told that they could not ask for."""

    names: Iterable[str]
    line: str = ""


class Feature(NamedTuple):
    """One feature's event types, its tables, and how an event changes them.

    `fold` is pure: it reads the event and its own tables, no clock, no repository, and gives the same tables for any
    order of arrival. It is given only events whose payload fits the schema of their type. Whatever it raises sets that
    event aside: the tables stay as they were, the event is counted, and `doctor` names it.
    """

    name: str
    schemas: Mapping[str, Schema]
    """The types of events that are this feature's, and what each may say."""
    tables: str
    fold: Callable[[sqlite3.Connection, Event], None]
    indexes: str = ""
    """`CREATE INDEX …;` for what reads ask and no fold does: a rebuild makes them last. Others go into `tables`."""
    concerns: Callable[[sqlite3.Connection, Event, str], Concern] | None = None
    """Whom an event that was just folded concerns in the clone of that id; only asked where agents' hooks run."""
    living: tuple[str, ...] = ()
    """Questions for the ids of events that something current rests on, as of `:now`, or that ended after `:since` (Unix
    seconds). `gc` keeps these, what is younger, and what speaks about anything that stays."""
    settle: Callable[[sqlite3.Connection], None] | None = None
    """What is worth doing once for many events: called after the last fold of a transaction, before anybody reads."""

    @property
    def types(self) -> Collection[str]:
        """The types of events that are this feature's."""
        return self.schemas.keys()
