"""The whole view at one moment."""

from __future__ import annotations

from typing import Any, NamedTuple

from gitcoord.text import inert
from gitcoord.ui.facts import Facts, Merges
from gitcoord.ui.model import board, jobs, needs, overlaps, people, talk, timeline


class Head(NamedTuple):
    """The head of the view: the project, the person, the number of sessions in each state, and the exchange. `remote` is
    empty without one, `synced` is the time of the last exchange, `unsent` the number of events to be sent."""

    project: str
    user: str
    clone: str
    states: tuple[tuple[str, int], ...]
    remote: str
    synced: float | None
    unsent: int
    sync_failed: bool


class Screen(NamedTuple):
    """All sections. `more_…` say that there are more rows to read; `names` are all sessions to which one can write."""

    head: Head
    needs: tuple[needs.Need, ...]
    sessions: tuple[people.SessionRow, ...]
    more_sessions: bool
    names: tuple[str, ...]
    threads: tuple[talk.Thread, ...]
    more_threads: bool
    board: tuple[board.Column, ...]
    pairs: tuple[overlaps.Pair, ...]
    overlaps_unknown: str
    locks: tuple[overlaps.LockRow, ...]
    jobs: tuple[jobs.JobRow, ...]
    events: tuple[timeline.EventRow, ...]
    more_events: bool


def screen(facts: Facts, merges: Merges) -> Screen:
    """The rows of the whole view."""
    roster = people.roster(facts, merges)
    pairs = overlaps.pairs(facts, merges)
    work = jobs.jobs(facts)
    return Screen(
        _head(facts, roster.states),
        needs.needs(facts, roster.waiting, pairs, work),
        roster.rows,
        roster.more,
        roster.names,
        talk.threads(facts.talk, facts),
        facts.talk.more,
        board.columns(facts),
        pairs,
        inert(merges.unknown),
        overlaps.locks(facts),
        work,
        timeline.timeline(facts.events, facts.clone, facts.held),
        facts.more_events,
    )


def _head(facts: Facts, states: tuple[tuple[str, int], ...]) -> Head:
    sync = facts.trouble.sync
    return Head(
        inert(facts.project), facts.user, facts.clone,
        states,
        inert(sync.remote) if sync else "", sync.at if sync else None, sync.waiting if sync else 0, bool(sync and sync.error),
    )  # fmt: skip


def plain(value: Any) -> Any:
    """Rows as JSON objects with the names of their fields."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value
