"""A claim that is killed with SIGKILL between any two steps: no two sessions have the same thing, and no dead session keeps
it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from clones import clone_id, holders, make_met, sync_all
from conftest import git
from forkserver import Program

from gitcoord import Coord, Refused
from gitcoord.features.locks.take import list_locks
from gitcoord.features.tasks.file import NewTask

DIER = Path(__file__).parents[1] / "dier.py"
Clones = tuple[Path, Path]


@pytest.fixture
def clones(tmp_path: Path) -> Clones:
    """Ada's clone, in which a process is killed, and Bob's."""
    _, (ada, bob) = make_met(tmp_path, 2)
    return ada, bob


def kill_at_every_step(repo: Path, what: Callable[[], Sequence[str]], then: Callable[[], None]) -> str:
    """Do `what` as session `w`, killed one step later each time, and look `then`, until it came to its end: its output."""
    steps = 0
    while True:
        program = Program([str(DIER), str(repo), str(steps), *what()], repo)
        out, err = program.communicate(timeout=60)
        if program.returncode != -signal.SIGKILL:
            break
        then()
        steps += 1
    assert program.returncode == 0, err
    assert steps > 8, "it is to be killed at every step"
    return out


TASKS = 60
"""More than there are steps: filed at once, as the exchange of one for each step takes half of the time."""


def filed(bob: Coord, clones: Clones) -> list[str]:
    """Tasks that both clones know."""
    oids = bob.tasks.add_all([NewTask(f"task {number}") for number in range(TASKS)])
    bob.remote.sync()
    sync_all(clones[:1], 1)
    return list(oids)


def settle(clones: Clones) -> None:
    """Ada's news, then Bob's, and then what became of Ada's."""
    sync_all((clones[0], clones[1], clones[0]), 1)


def one_holder(bob: Coord, clones: Clones, task: str) -> None:
    """Bob claims, too: the one of the two who has it in the end is the same everywhere."""
    try:
        bob.tasks.claim(task)
        mine = True
    except Refused:
        mine = False
    settle(clones)
    expected = f"w@{clone_id(clones[1] if mine else clones[0])}"
    assert holders(clones, task) == [("claimed", expected, False)] * 2


def test_a_task_has_one_holder_in_the_end(clones: Clones) -> None:
    with Coord.open(clones[1], as_name="w") as bob:
        left = filed(bob, clones)
        kill_at_every_step(clones[0], lambda: ["claim", left[-1]], lambda: one_holder(bob, clones, left.pop()))
    for path in (*clones, clones[0].parent / "hub.git"):
        assert "error" not in git(path, "fsck", "--strict")


def test_an_offline_claim_is_settled_for_one(clones: Clones) -> None:
    with Coord.open(clones[1], as_name="w") as bob:
        left = filed(bob, clones)

        def claimed_offline() -> list[str]:
            with Coord.open(clones[0], as_name="w") as ada:
                ada.tasks.claim(left[-1], offline=True)
            return ["sync"]

        kill_at_every_step(clones[0], claimed_offline, lambda: one_holder(bob, clones, left.pop()))


def test_a_number_is_given_once(clones: Clones) -> None:
    taken: list[int] = []
    with Coord.open(clones[1], as_name="w") as bob:
        said = kill_at_every_step(
            clones[0], lambda: ["alloc", "port"], lambda: taken.append(bob.numbers.allocate("port").number)
        )
        taken += [int(said), bob.numbers.allocate("port").number]
        sync_all(clones)
        numbers = [event.data["number"] for event in bob.events.log(kind="alloc", limit=1000)]
    assert len({*taken}) == len(taken)
    assert len({*numbers}) == len(numbers)
    assert {*taken} <= {*numbers}


def test_a_global_lock_has_one_holder(clones: Clones) -> None:
    with Coord.open(clones[1], as_name="w") as bob:

        def one_of_us() -> None:
            mine = locks(bob)
            settle(clones)
            held_by = [lock.holder for lock in list_locks(bob.clone)]
            if mine:
                assert held_by == [f"w@{bob.clone.id}"]
            else:  # Ada has it, or gave back what was not hers yet
                assert held_by in ([f"w@{clone_id(clones[0])}"], [])
                assert locks(bob) == (not held_by)
                with Coord.open(clones[0], as_name="w") as ada:
                    ada.locks.release(everything=True)
            bob.locks.release(everything=True)
            settle(clones)
            assert list_locks(bob.clone) == []

        kill_at_every_step(clones[0], lambda: ["lock", "*.py"], one_of_us)


def locks(coord: Coord) -> bool:
    try:
        coord.locks.take(["a.py"], everywhere=True)
    except Refused:
        return False
    return True
