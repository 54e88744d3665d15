"""One winner: tasks and numbers under many processes at once.

GITCOORD_ROUNDS, GITCOORD_CLI_ROUNDS, GITCOORD_RACERS and GITCOORD_NUMBERS scale the proofs; the promise names 1000
rounds of 8, and 32 processes that take 100 numbers each.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import git
from forkserver import Program

from gitcoord import Coord
from gitcoord.features.tasks.file import NewTask

ROUNDS = int(os.environ.get("GITCOORD_ROUNDS", "30"))
CLI_ROUNDS = int(os.environ.get("GITCOORD_CLI_ROUNDS", "4"))
RACERS = int(os.environ.get("GITCOORD_RACERS", "12"))
NUMBERS = int(os.environ.get("GITCOORD_NUMBERS", "25"))
RACER = Path(__file__).parents[1] / "racer.py"
Ask = Callable[[str], list[str]]


@contextmanager
def racers(repo: Path, count: int) -> Iterator[Ask]:
    """Start sessions, each a process; a question goes to all of them at once."""
    runs = [Program([str(RACER), str(repo), f"w{number}"], repo) for number in range(count)]

    def answers() -> list[str]:
        return [run.stdout.readline().strip() for run in runs]

    def ask(line: str) -> list[str]:
        for run in runs:
            run.stdin.write(line + "\n")
            run.stdin.flush()
        return answers()

    try:
        assert answers() == ["ready"] * count
        yield ask
    finally:
        for run in runs:
            run.communicate()
    assert [run.returncode for run in runs] == [0] * count


def test_a_task_claimed_by_eight_at_once_has_one_winner(repo: Path) -> None:
    with Coord.open(repo, as_name="pm") as pm, racers(repo, 8) as ask:
        for number in range(ROUNDS):
            task = pm.tasks.add(f"task {number}").id
            answers = ask(f"claim {task}")
            holder = pm.tasks.show(task).holder or ""
            winner = holder.split("@")[0]
            assert [name for name, said in zip(NAMES, answers, strict=False) if said == f"won {task}"] == [winner]
            losers = [said for said in answers if not said.startswith("won")]
            assert losers == [f"lost {task[:10]} is held by {winner} (active)"] * 7
    assert "error" not in git(repo, "fsck", "--strict")


NAMES = [f"w{number}" for number in range(100)]


def test_eight_commands_at_once_exit_0_once_and_1_seven_times(repo: Path) -> None:
    with Coord.open(repo, as_name="pm") as pm:
        for number in range(CLI_ROUNDS):
            task = pm.tasks.add(f"task {number}").id
            runs = [
                Program(["-m", "gitcoord", "task", "claim", task], repo, {**os.environ, "GIT_COORD_SESSION": name})
                for name in NAMES[:8]
            ]
            ended = [(run.communicate(), run.returncode) for run in runs]
            assert sorted(code for _, code in ended) == [0, *[1] * 7]
            winner = NAMES[[code for _, code in ended].index(0)]
            assert (pm.tasks.show(task).holder or "").startswith(winner + "@")
            for (out, err), code in ended:
                assert bool(out) == (code == 0)
                if code:
                    assert err.splitlines()[0] == f"error: {task[:10]} is held by {winner} (active)"


def test_next_claim_hands_out_every_task_once(repo: Path) -> None:
    with Coord.open(repo, as_name="pm") as pm:
        filed = pm.tasks.add_all([NewTask(f"task {number}", priority=number % 5) for number in range(100)])
        with racers(repo, RACERS) as ask:
            taken = [answer.split() for answer in ask("drain")]
        assert sorted(oid for mine in taken for oid in mine) == sorted(filed)
        holders = {task.id: task.holder for task in pm.tasks.list()}
        for name, mine in zip(NAMES, taken, strict=False):
            assert {holders[oid] for oid in mine} <= {f"{name}@{pm.clone.id}"}
        assert sum(len(task.history) for task in pm.tasks.list()) == 200


def test_numbers_are_handed_out_exactly_once(repo: Path) -> None:
    with racers(repo, RACERS) as ask:
        taken = [[int(word) for word in answer.split()] for answer in ask(f"alloc migrations {NUMBERS}")]
    assert sorted(number for mine in taken for number in mine) == list(range(1, RACERS * NUMBERS + 1))
    assert all(mine == sorted(mine) for mine in taken)
    with Coord.open(repo, as_name="pm") as pm:
        events = pm.events.log(kind="alloc", limit=10_000)
        assert {(event.author, event.data["number"]) for event in events} == {
            (name, number) for name, mine in zip(NAMES, taken, strict=False) for number in mine
        }
