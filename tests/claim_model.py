"""The claim protocol on paper: clones with logs, remotes with a table of rows, and nothing else.

The fold itself (`replay`) judges claims, on the events that a clone knows. The rest is the specification:
a claim is written first, then row and log go out together or one after the other; a claim without a row asks again or is
declared void; a row may be replaced when its claim has ended or when its clone was silent for the whole lease.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from gitcoord.features.tasks.fold import TaskState, replay
from gitcoord.log.event import Event
from gitcoord.store.objects import Oid

TASK = "0" * 40


class Row(NamedTuple):
    """The row of the task at a remote."""

    nonce: str
    clone: str
    event: str
    replaced: tuple[str, ...] = ()


class Place:
    """A remote: its copy of each log, and the row of the only task."""

    def __init__(self) -> None:
        self.logs: dict[str, list[Event]] = {}
        self.row: Row | None = None


class Crash(Exception):
    """The process ended here."""


class Paper:
    """One clone. `known` are the events that it has, its own and others'."""

    made = 0

    def __init__(self, name: str) -> None:
        self.name, self.log, self.known = name, list[Event](), [_event("pm", 1, "task", "a task")]
        self.told: set[str] = set()

    def copy(self, name: str) -> Paper:
        """The same clone, started a second time; its name tells them apart for us alone."""
        other = Paper(self.name)
        other.log, other.known, other.told = [*self.log], [*self.known], {*self.told}
        return other

    # read

    def judged(self, without: str = "") -> tuple[TaskState, dict[str, str]]:
        events = sorted((e for e in self.known if e.id != without), key=lambda e: (e.lc, e.id))
        state, void = replay(events)
        assert state
        return state, dict(void)

    def _has_ended(self, row: Row, without: str = "") -> bool:
        known = [e.id for e in self.known if e.data.get("lease") == row.nonce]
        return bool(known) and self.judged(without)[0].claim not in known

    # write

    def write(self, kind: str, **data: Any) -> Event:
        lc = 1 + max(e.lc for e in self.known)
        event = _event(self.name, lc, kind, f"{kind} {Paper.made}", task=TASK, **data)
        Paper.made += 1
        self.log.append(event)
        self.known.append(event)
        return event

    def pull(self, at: Place) -> bool:
        """Take in all events of a remote. Returns whether its log in our name is another clone's: then we take a new id."""
        mine = at.logs.get(self.name, [])
        if any(e not in self.log for e in mine):
            self._part(mine)
        if at.row and at.row.clone == self.name and all(e.id != at.row.event for e in self.log):
            self._part(mine)
        have = {e.id for e in self.known}
        self.known += [e for log in at.logs.values() for e in log if e.id not in have]
        return True

    def _part(self, mine: list[Event]) -> None:
        """Carry the events that only we had of the log into a new one."""
        kept = [e for e in self.log if e not in mine]
        Paper.made += 1
        self.name = f"{self.name.partition('+')[0]}+{Paper.made}"
        moved = {e.id for e in kept}
        self.known = [e._replace(clone=self.name) if e.id in moved else e for e in self.known]
        self.log = [e for e in self.known if e.id in moved]

    def push(self, at: Place) -> bool:
        """Send our log; returns whether the remote took it."""
        have = at.logs.get(self.name, [])
        if have != self.log[: len(have)]:
            return False
        at.logs[self.name] = [*self.log]
        return True

    # claim

    def claim(self, at: Place, atomic: bool, silent: bool, crash: int) -> bool:
        """Take the task, with a lease; whether that was acknowledged. `crash` is the step after which the process ends, and
        `silent` says that the clone which has the row was not heard of for the whole lease."""
        self.pull(at)
        self._ask(at, atomic)
        state, _ = self.judged()
        row = at.row
        live = row is not None and not self._has_ended(row)
        mine = bool(state.claim) and state.holder == f"w@{self.name}"
        if state.status not in ("open", "claimed") or mine:
            return mine and not (live and row and row.clone != self.name)
        if (live or state.claim) and not silent:
            return False
        replaced = (row.nonce, *row.replaced) if row and live else ()
        nonce = f"n{Paper.made}"
        superseded = [state.claim] if state.claim else []
        data: dict[str, Any] = {"supersedes": superseded, "lease": nonce} | ({"replaces": list(replaced)} if replaced else {})
        event = self.write("task.claim", **data)
        _step(crash, 1)
        return self._take(at, Row(nonce, self.name, event.id, replaced), row, atomic, crash)

    def _take(self, at: Place, row: Row, seen: Row | None, atomic: bool, crash: int = 0) -> bool:
        """Compare-and-swap of the row, with the log or before it."""
        if at.row != seen or (atomic and not self.push(at)):
            self.write("task.settle", supersedes=[row.event], void=True)
            return False
        at.row = row
        _step(crash, 2)
        if not atomic:
            self.push(at)
        _step(crash, 3)
        return True

    def _ask(self, at: Place, atomic: bool) -> None:
        """Ask for a row for our claim without one; the claim is void if another clone has the row."""
        state, _ = self.judged()
        mine = next((e for e in self.log if e.id == state.claim and e.data.get("lease")), None)
        if mine is None or (at.row and at.row.nonce == mine.data["lease"]):
            return
        row, meant = at.row, mine.data.get("replaces", ())
        if row and row.nonce not in meant and not self._has_ended(row, mine.id):
            self.write("task.settle", supersedes=[mine.id], void=True)
            self.told.add(mine.id)
            return
        self._take(at, Row(mine.data["lease"], self.name, mine.id, tuple(meant)), row, atomic)

    def end(self, verb: str) -> Event | None:
        """End the claim, judging by the events known here; None if that was refused."""
        state, _ = self.judged()
        may = {"done": ("open", "claimed"), "drop": ("open", "claimed"), "release": ("claimed",), "reopen": ("done", "dropped")}
        mine = state.holder == f"w@{self.name}"
        if state.status not in may[verb] or (verb in ("done", "release") and state.claim and not mine):
            return None
        named = {"supersedes": [state.claim]} if state.claim else {}
        return self.write(f"task.{verb}", **named, **({"reopens": state.last} if verb == "reopen" else {}))

    def sync(self, at: Place, atomic: bool) -> None:
        self.pull(at)
        self._ask(at, atomic)
        self.told |= {oid for oid in self.judged()[1] if any(e.id == oid for e in self.log)}
        self.push(at)
        state, _ = self.judged()
        if at.row and at.row.clone == self.name and self._has_ended(at.row) and state.claim != at.row.event:
            at.row = None


def _step(crash: int, at: int) -> None:
    if crash == at:
        raise Crash


def _event(clone: str, lc: int, kind: str, text: str, **data: Any) -> Event:
    oid = TASK if kind == "task" else hashlib.sha1(f"{clone} {lc} {text}".encode()).hexdigest()
    return Event(Oid(oid), kind, lc, clone, "w", "", lc, text, data)
