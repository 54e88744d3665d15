"""Three clones and a remote, any interleaving of work, syncs, partitions and crashes: in the end all see the same.

GITCOORD_EXAMPLES and GITCOORD_STEPS scale it; CI runs a few histories.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import make_met
from conftest import git
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from steps import stopping

from gitcoord import Coord, Refused, RemoteError, UsageError

EXAMPLES = int(os.environ.get("GITCOORD_EXAMPLES", "4"))
STEPS_EACH = int(os.environ.get("GITCOORD_STEPS", "30"))
COUNT = 3
CLONES = st.integers(0, COUNT - 1)
PRIVATE = {"meta", "tips", "events", "strange", "presence", "heard", "intake"}
"""Tables that are about one clone: how far it has read, and when."""


class Crash(Exception):
    """The process ended here."""


def crash() -> None:
    raise Crash


class World(RuleBasedStateMachine):
    """The clones, by their directories: every step opens one anew, as a command does."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.tasks: list[str] = []
        self.won: dict[str, set[str]] = {}
        self.numbers: list[int] = []
        self.away = False

    @initialize()
    def begin(self) -> None:
        self.hub, self.clones = make_met(Path(self.folder.name), COUNT)

    def teardown(self) -> None:
        try:
            if hasattr(self, "hub"):
                self._settle()
        finally:
            self.folder.cleanup()

    def _at(self, number: int, act: Callable[[Coord], Any]) -> Any:
        with Coord.open(self.clones[number], environ={**os.environ, "GIT_COORD_SESSION": "w"}) as coord:
            try:
                return act(coord)
            except (RemoteError, Refused, UsageError, Crash):
                return None

    # work

    @rule(clone=CLONES)
    def file_a_task(self, clone: int) -> None:
        task = self._at(clone, lambda coord: coord.tasks.add(f"task {len(self.tasks)}").id)
        self.tasks.append(task)

    @precondition(lambda self: self.tasks)
    @rule(clone=CLONES, offline=st.booleans(), which=st.integers(0, 99))
    def claim(self, clone: int, offline: bool, which: int) -> None:
        self._at(clone, lambda coord: coord.tasks.claim(self.tasks[which % len(self.tasks)], offline=offline))

    @precondition(lambda self: self.tasks)
    @rule(clone=CLONES, which=st.integers(0, 99), verb=st.sampled_from(["done", "release", "drop", "reopen"]))
    def change(self, clone: int, which: int, verb: str) -> None:
        self._at(clone, lambda coord: getattr(coord.tasks, verb)(self.tasks[which % len(self.tasks)]))

    @rule(clone=CLONES)
    def claim_the_next(self, clone: int) -> None:
        self._at(clone, lambda coord: coord.tasks.next(claim=True))

    @rule(clone=CLONES, other=CLONES)
    def write(self, clone: int, other: int) -> None:
        def send(coord: Coord) -> None:
            known = [s for s in coord.sessions.list(everyone=True) if s.session == "w"]
            box = known[other % len(known)]
            coord.send(f"w@{box.clone}", "a word", needs_ack=True)

        self._at(clone, send)

    @rule(clone=CLONES)
    def read_mail(self, clone: int) -> None:
        self._at(clone, lambda coord: [coord.messages.ack(m.id) for m in coord.messages.receive().messages if m.needs_ack])

    @rule(clone=CLONES)
    def take_a_number(self, clone: int) -> None:
        taken = self._at(clone, lambda coord: coord.numbers.allocate("ports").number)
        self.numbers += [taken] if taken else []

    @rule(clone=CLONES, pattern=st.sampled_from(["a.py", "*.py", "src/"]), everywhere=st.booleans())
    def lock(self, clone: int, pattern: str, everywhere: bool) -> None:
        self._at(clone, lambda coord: coord.locks.take([pattern], everywhere=everywhere))

    @rule(clone=CLONES)
    def unlock(self, clone: int) -> None:
        self._at(clone, lambda coord: coord.locks.release(everything=True))

    @rule(clone=CLONES, key=st.sampled_from(["plan", "next"]))
    def remember(self, clone: int, key: str) -> None:
        self._at(clone, lambda coord: (coord.state.set(key, "text"), coord.notes.add("seen")))

    # the network

    @rule(clone=CLONES)
    def sync(self, clone: int) -> None:
        self._at(clone, lambda coord: coord.remote.sync("origin"))

    @rule()
    def part_or_meet_again(self) -> None:
        elsewhere = self.hub.with_name("away.git")
        (elsewhere if self.away else self.hub).rename(self.hub if self.away else elsewhere)
        self.away = not self.away

    @rule(clone=CLONES, step=st.integers(0, 24), verb=st.sampled_from(["sync", "claim", "alloc", "lock"]))
    def crash(self, clone: int, step: int, verb: str) -> None:
        acts: dict[str, Callable[[Coord], Any]] = {
            "sync": lambda coord: coord.remote.sync("origin"),
            "claim": lambda coord: coord.tasks.next(claim=True),
            "alloc": lambda coord: self.numbers.append(coord.numbers.allocate("ports").number),
            "lock": lambda coord: coord.locks.take(["*.py"], everywhere=True),
        }
        with pytest.MonkeyPatch.context() as patch:
            for place, name, instead in stopping(step, crash):
                patch.setattr(place, name, instead)
            self._at(clone, acts[verb])

    # what holds

    @invariant()
    def no_number_was_given_twice(self) -> None:
        assert len(set(self.numbers)) == len(self.numbers)

    def _settle(self) -> None:
        """All clones sync until nothing is new; then all have the same events and the same state."""
        if self.away:
            self.part_or_meet_again()
        for _ in range(8):
            crossed = []
            for path in self.clones:
                with Coord.open(path, environ={**os.environ, "GIT_COORD_SESSION": "w"}) as coord:
                    report = coord.remote.sync("origin")
                    assert not report.refused
                    crossed.append(report.sent + report.received)
            if not any(crossed):
                break
        else:
            raise AssertionError("it never comes to rest")
        views = [_view(path) for path in self.clones]
        for view in views[1:]:
            for table in views[0]:
                assert view[table] == views[0][table], table
        for path in (self.hub, *self.clones):
            assert "error" not in git(path, "fsck", "--strict")
        self._claims_are_leased()

    def _claims_are_leased(self) -> None:
        """No task is held tentatively any more: the remote said whose it is."""
        with Coord.open(self.clones[0]) as coord:
            assert [task.id for task in coord.tasks.list() if task.tentative] == []


def _view(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The tables that the folds made of the shared events."""
    with Coord.open(path) as coord:

        def ask(db: Any) -> dict[str, list[tuple[Any, ...]]]:
            tables = [
                n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
            ]
            found = {n: sorted(db.execute(f"SELECT * FROM {n}").fetchall(), key=repr) for n in tables if n not in PRIVATE}
            columns = "id, type, lc, clone, author, at, text, data"
            return {**found, "events": db.execute(f"SELECT {columns} FROM events WHERE local = 0 ORDER BY lc, id").fetchall()}

        return coord.clone.read(ask)


def test_all_clones_come_to_see_the_same() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        World,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )
