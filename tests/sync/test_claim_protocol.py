"""One winner in any schedule: the claim protocol on paper, and the same schedules with real clones.

A schedule is any order of claims, ends, syncs, crashes between all steps, lost replies, copies of a clone, silence over the
lease time, clones that come back after it, and a remote that loses its table. GITCOORD_EXAMPLES scales both.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claim_model import Crash, Paper, Place
from clones import make_met, set_clocks, sync_all
from conftest import git
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from steps import stopping

from gitcoord import Coord, Refused, RemoteError, UsageError
from gitcoord.features.tasks.standing import TTL
from gitcoord.store import transport

SCALE = int(os.environ.get("GITCOORD_EXAMPLES", "1"))
WHO = st.integers(0, 2)
VERBS = st.sampled_from(["done", "drop", "release", "reopen"])


class OnPaper(RuleBasedStateMachine):
    """Clones are asked in any order; in the end all know all, and one of them has the task."""

    @initialize(atomic=st.booleans())
    def begin(self, atomic: bool) -> None:
        self.atomic = atomic
        self.place = Place()
        self.clones = [Paper(name) for name in "ab"]
        self.won: list[tuple[Paper, str]] = []
        self.ended: list[tuple[Paper, str]] = []

    def _of(self, who: int) -> Paper:
        return self.clones[who % len(self.clones)]

    @rule(who=WHO, silent=st.booleans(), crash=st.integers(0, 3))
    def claim(self, who: int, silent: bool, crash: int) -> None:
        clone = self._of(who)
        try:
            acknowledged = clone.claim(self.place, self.atomic, silent, crash)
        except Crash:
            return
        if acknowledged:
            row = self.place.row
            assert row and (row.clone, row.event) == (clone.name, clone.judged()[0].claim), "what was acknowledged has its row"
            self.won.append((clone, row.event))

    @rule(who=WHO, verb=VERBS)
    def end(self, who: int, verb: str) -> None:
        clone = self._of(who)
        if (said := clone.end(verb)) and verb in ("done", "drop"):
            self.ended.append((clone, said.id))

    @rule(who=WHO)
    def sync(self, who: int) -> None:
        self._of(who).sync(self.place, self.atomic)

    @rule(who=WHO)
    def copy(self, who: int) -> None:
        if len(self.clones) < 3:
            self.clones.append(self._of(who).copy("copy"))

    @rule()
    def lose_the_table(self) -> None:
        """A hub restored without its leases, or coordination that moved: everybody knows that everybody's claims are
        there."""
        self._rest()
        self.place.row = None

    def _rest(self) -> None:
        for _ in range(4):
            for clone in self.clones:
                clone.sync(self.place, self.atomic)

    def teardown(self) -> None:
        if not hasattr(self, "place"):
            return
        self._rest()
        state = self.clones[0].judged()[0]
        assert all(clone.judged()[0] == state for clone in self.clones), "all see the same"
        row = self.place.row
        if state.claim:
            assert row and row.event == state.claim, "who is shown to have the task has its row"
        for clone, claim in self.won:
            self._is_accounted_for(clone, claim)
        for clone, end in self.ended:
            reopened = any(event.data.get("reopens") == end for event in clone.known)
            assert state.last == end or reopened or end in clone.told, "what was done stays done, or its author is told"

    def _is_accounted_for(self, clone: Paper, claim: str) -> None:
        """An acknowledged claim holds, was ended by an event that names it, was taken over, or its author was told."""
        state, void = clone.judged()
        named = any(claim in event.data.get("supersedes", ()) for event in clone.known)
        assert state.claim == claim or named or claim in clone.told or claim in void


def _run(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples * SCALE, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck),
        print_blob=True,
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[no-untyped-call]


def test_on_paper_one_has_the_task() -> None:
    _run(OnPaper, 60, 20)


class WithClones(RuleBasedStateMachine):
    """The same schedules with real clones of a real remote; a second remote is visited now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder, self.patch = tempfile.TemporaryDirectory(), pytest.MonkeyPatch()

    @initialize(atomic=st.booleans())
    def begin(self, atomic: bool) -> None:
        where = Path(self.folder.name)
        self.hub, self.paths = make_met(where, 2)
        git(self.hub, "config", "receive.advertiseAtomic", str(atomic).lower())
        git(where, "clone", "-q", "--bare", str(where / "source"), "other.git")
        with Coord.open(self.paths[0], as_name="w") as ada:
            self.task = ada.tasks.add("shared").id
        sync_all(self.paths)
        self.wall, self.up = set_clocks(self.patch)
        self.other = self.paths[0].with_name("copy")
        self.copied = False
        self.boxes: set[str] = set()

    def teardown(self) -> None:
        try:
            if hasattr(self, "task"):
                self._compare()
        finally:
            self.patch.undo()
            self.folder.cleanup()

    def _at(self, who: int, act: Callable[[Coord], Any]) -> Any:
        with Coord.open(self.paths[who % 2], as_name="w", long_lived=False) as coord:
            try:
                return act(coord)
            except (RemoteError, Refused, UsageError, Crash):
                return None

    @rule(who=WHO, offline=st.booleans(), step=st.one_of(st.none(), st.integers(0, 30)))
    def claim(self, who: int, offline: bool, step: int | None) -> None:
        """Claim, killed after some step."""
        with pytest.MonkeyPatch.context() as patch:
            for place, name, instead in stopping(step, _crash) if step is not None else ():
                patch.setattr(place, name, instead)
            self._at(who, lambda coord: coord.tasks.claim(self.task, offline=offline))

    @rule(who=WHO)
    def claim_and_lose_the_reply(self, who: int) -> None:
        push = transport.push

        def lost(*args: Any, **kwargs: Any) -> Any:
            push(*args, **kwargs)
            raise RemoteError("the connection broke", "try again")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transport, "push", lost)
            self._at(who, lambda coord: coord.tasks.claim(self.task))

    @rule(who=WHO, verb=VERBS)
    def end(self, who: int, verb: str) -> None:
        self._at(who, lambda coord: getattr(coord.tasks, verb)(self.task))

    @rule(who=WHO)
    def sync(self, who: int) -> None:
        self._at(who, lambda coord: coord.remote.sync("origin"))

    @rule(who=WHO)
    def visit(self, who: int) -> None:
        self._at(who, lambda coord: coord.remote.sync(str(self.hub.with_name("other.git"))))

    @rule()
    def silence(self) -> None:
        self.wall[0] += TTL + 1
        self.up[0] += TTL + 1

    @rule()
    def copy(self) -> None:
        """From here on there are two of the first clone, which take turns at its place."""
        if not self.copied:
            shutil.copytree(self.paths[0], self.other, symlinks=True)
            self.copied = True
        aside = self.other.with_name("aside")
        self.paths[0].rename(aside)
        self.other.rename(self.paths[0])
        aside.rename(self.other)

    @rule()
    def lose_the_table(self) -> None:
        git(self.hub, "update-ref", "-d", "refs/coord/lease/tasks")

    def _compare(self) -> None:
        """All clones see the same, and the shown holder of the task has the only row."""
        views = []
        for _ in range(4):
            views = []
            for turn in range(3 if self.copied else 2):
                if turn == 2:
                    self.copy()
                with Coord.open(self.paths[0 if turn == 2 else turn], as_name="w") as coord:
                    coord.remote.sync("origin")
                    row = coord.clone.read(
                        lambda db: db.execute("SELECT status, holder, claim, lease, last, tentative FROM tasks").fetchone()
                    )
                    shown = coord.tasks.show(self.task)
                    views.append((*row, shown.tentative, *sorted((step.id, step.void) for step in shown.history)))
        assert all(view == views[0] for view in views), views
        rows = git(self.hub, "for-each-ref", "--format=%(contents)", "refs/coord/lease/tasks")
        assert ("lease" in rows and views[0][3] in rows) if views[0][3] else '"key"' not in rows, (views[0], rows)


def _crash() -> None:
    raise Crash


def test_with_real_clones_one_has_the_task() -> None:
    _run(WithClones, 3, 14)
