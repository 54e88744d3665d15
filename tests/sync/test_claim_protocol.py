"""One winner, whatever happens in between: the claim protocol on paper, and the same schedules with real clones.

A schedule is any order of claims, ends, syncs, crashes between all steps, lost replies, copies of a clone, silence over the
lease time, clones that come back after it, and a remote that loses its table. GITCOORD_EXAMPLES scales both.
"""

from __future__ import annotations

import os
from typing import Any

from claim_model import Crash, Paper, Place
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

SCALE = int(os.environ.get("GITCOORD_EXAMPLES", "1"))
WHO = st.integers(0, 3)
VERBS = st.sampled_from(["done", "drop", "release", "reopen"])


class OnPaper(RuleBasedStateMachine):
    """Clones are asked in any order; in the end all know all, and one of them has the task."""

    @initialize(atomic=st.booleans())
    def begin(self, atomic: bool) -> None:
        self.atomic = atomic
        self.place = Place()
        self.clones = [Paper(name) for name in "abc"]
        self.won: list[tuple[Paper, str]] = []

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
        self._of(who).end(verb)

    @rule(who=WHO)
    def sync(self, who: int) -> None:
        self._of(who).sync(self.place, self.atomic)

    @rule(who=WHO)
    def copy(self, who: int) -> None:
        if len(self.clones) < 5:
            self.clones.append(self._of(who).copy("copy"))

    @rule()
    def lose_the_table(self) -> None:
        """A hub restored without its leases, or coordination that moved: everybody knows that everybody's claims are there."""
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
        states = {clone.judged()[0] for clone in map(_hashable, self.clones)}
        assert len(states) == 1, "all see the same"
        state = states.pop()
        row = self.place.row
        if state.claim:
            assert row and row.event == state.claim, "who is shown to have the task has its row"
        for clone, claim in self.won:
            self._is_accounted_for(clone, claim)

    def _is_accounted_for(self, clone: Paper, claim: str) -> None:
        """A claim that was acknowledged holds, was ended by a word that names it, was taken over, or its author was told."""
        state, void = clone.judged()
        named = any(claim in event.data.get("supersedes", ()) for event in clone.known)
        assert state.claim == claim or named or claim in clone.told or claim in void


class _Hashed(Paper):
    pass


def _hashable(clone: Paper) -> Any:
    class View:
        def judged(self) -> tuple[Any, None]:
            state, _ = clone.judged()
            return state._replace(needs=()), None  # type: ignore[arg-type]

    return View()


def _run(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    chosen = settings(
        max_examples=examples * SCALE, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck),
        print_blob=True,
    )  # fmt: skip
    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[no-untyped-call]


def test_on_paper_one_has_the_task() -> None:
    _run(OnPaper, 300, 25)
