"""The declarations of a feature for the rooms below: how to fold its events, and hooks for what happens there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from gitcoord.lean import Any, Generic, NamedTuple, TypeVar, import_module, sqlite3
from gitcoord.log.event import Draft, Event
from gitcoord.log.schemas import Schema

C = TypeVar("C")
"""The clone that a hook is called for; a protocol, because the clone itself is above this module."""


class Concern(NamedTuple):
    """Names of sessions (mailroom.EVERYBODY: all of them), and a line for them that the index could not tell them."""

    names: Iterable[str]
    line: str = ""


class Feature(NamedTuple):
    """One feature's event types, its tables, and how an event changes them.

    `fold` is pure: it reads the event and its own tables, no clock, no repository, and gives the same tables for any
    order of arrival. It gets only events whose payload fits the schema of their type. If it raises, that event is set
    aside: the tables stay as they were, the event is counted, and `doctor` names it.
    """

    name: str
    schemas: Mapping[str, Schema]
    """The event types of this feature, each with its schema."""
    tables: str
    fold: Callable[[sqlite3.Connection, Event], None]
    indexes: str = ""
    """`CREATE INDEX …;` for indexes that only reads need: a rebuild makes them last. Others go into `tables`."""
    concerns: Callable[[sqlite3.Connection, Event, str], Concern] | None = None
    """The sessions of the clone with that id that a newly folded event concerns; only called where agents' hooks run."""
    living: tuple[str, ...] = ()
    """SQL queries for the ids of events that are still needed at `:now`, or that ended after `:since` (Unix seconds). `gc`
    keeps these, younger events, and events about anything that stays."""
    forget: tuple[str, ...] = ()
    """SQL statements that take events back: `forgotten` has their ids, and `events` still has their rows. They delete each
    row that one of these events has made or changed, and put into `again` the ids of events to be folded anew."""
    settle: Callable[[sqlite3.Connection], None] | None = None
    """Work that is done once for many events: called after the last fold of a transaction, before anything reads."""

    @property
    def types(self) -> Collection[str]:
        """The event types of this feature."""
        return self.schemas.keys()


class Hooks(NamedTuple, Generic[C]):
    """The functions that a room below calls when something happens. A hook that is None does nothing."""

    before_sync: Callable[[C], object] | None = None
    """This clone is about to show others the state of its sessions."""
    arrived: Callable[[C, Sequence[Event]], None] | None = None
    """Events of other clones came in with a sync, in the order of their arrival."""
    presence_changed: Callable[[C, str, float], object] | None = None
    """A session of this clone changed files or moved its HEAD: its name, and the time in Unix seconds."""
    parting: Callable[[sqlite3.Connection, C, str], Sequence[Draft]] | None = None
    """A session of this clone leaves: its name. The drafts that it returns are written together with the leave event."""
    parted: Callable[[C], None] | None = None
    """The session has left; called under the write lock."""
    renamed: Callable[[C, str], None] | None = None
    """This clone continues under a new id; the argument is the old one. Called under the write lock."""
    leases: Any = None
    """The `sync.leases.Kind` of this feature: the leases that it holds at the remote."""


class Entry(NamedTuple):
    """A feature in the registry: the module with its `FEATURE`, its event types, the module with its `HOOKS`, and their
    names."""

    module: str
    types: str
    hooks_module: str = ""
    hooks: str = ""


class Registry(Generic[C]):
    """All features by name. A module is loaded when one of its events is folded or one of its hooks is called."""

    def __init__(self, *entries: Entry) -> None:
        self.entries = entries
        self._of_type = {kind: entry for entry in entries for kind in entry.types.split()}

    def folding(self, kind: str) -> Feature | None:
        """The feature that folds events of a type."""
        entry = self._of_type.get(kind)
        return self._load(entry) if entry else None

    def features(self) -> list[Feature]:
        """All features, loaded: for making tables anew."""
        return [self._load(entry) for entry in self.entries]

    def _load(self, entry: Entry) -> Feature:
        module = sys.modules.get(entry.module) or import_module(entry.module)  # called for every event
        feature: Feature = module.FEATURE
        return feature

    def hooks(self, moment: str) -> Iterator[Hooks[C]]:
        """The functions that features have for one field of `Hooks`."""
        for entry in self.entries:
            if moment in entry.hooks.split():
                yield import_module(entry.hooks_module).HOOKS
