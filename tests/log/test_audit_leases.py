"""Attacks on leases by rewriting their table at the remote, which is signed only if that is required."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clones import clone_id, set_clocks
from conftest import Cli
from test_trust_attacks import MALLORY, Mallory, box_of, clones, mallory, sync, table

from gitcoord import Coord

__all__ = ["clones", "mallory"]
LEASES = "refs/coord/lease/tasks"


def held(where: Path, task: str) -> tuple[str, str | None]:
    with Coord.open(where) as coord:
        found = coord.tasks.show(task)
        return found.status, found.holder


@pytest.fixture
def claimed(clones: tuple[Path, Path], cli: Cli) -> str:
    """A task that Ada holds, with a lease, as both clones know."""
    ada, _ = clones
    task: str = json.loads(cli(ada, "task", "add", "a task", "--json").out)["id"]
    assert cli(ada, "task", "claim", task).code == 0
    for where in clones:
        sync(where)
    return task


def row(task: str, nonce: str = "1" * 16, holder: str = f"m@{MALLORY}", **more: Any) -> dict[str, Any]:
    return {"nonce": nonce, "key": task, "holder": holder, "ttl": 43200, **more}


def test_a_lease_that_is_taken_off_frees_nothing_and_comes_back(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli, claimed: str
) -> None:
    ada, bob = clones
    table(mallory, "tasks")
    ran = cli(bob, "task", "claim", claimed)
    assert ran.code == 1 and "is held by ada" in ran.err, "the claim itself is in the log of Ada"
    sync(ada)
    assert claimed in mallory.raw(mallory.tip(LEASES)).decode()
    assert held(bob, claimed) == ("claimed", box_of(ada, "ada"))


def test_a_lease_in_place_of_a_holders_is_told_to_the_holder_by_name(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli, claimed: str
) -> None:
    ada, _ = clones
    table(mallory, "tasks", rows=[row(claimed)])
    sync(ada)
    inbox = cli(ada, "inbox").out
    assert "did not hold" in inbox and f"m@{MALLORY} was first at the remote" in inbox, inbox
    assert held(ada, claimed)[0] == "open", "as any clone may release or take over any task"


def test_a_lease_of_a_free_task_blocks_it_for_one_lease_at_most(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = clones
    task = json.loads(cli(ada, "task", "add", "a task", "--json").out)["id"]
    sync(ada)
    table(mallory, "tasks", rows=[row(task, ttl=366 * 86400)])
    sync(bob)
    ran = cli(bob, "task", "claim", task)
    assert ran.code == 1 and f"is held by m@{MALLORY}" in ran.err, ran
    wall, up = set_clocks(monkeypatch)
    for clock in (wall, up):
        clock[0] += 13 * 3600
    with Coord.open(bob) as coord:
        coord.tasks.claim(task)
    assert held(bob, task) == ("claimed", box_of(bob, "bob"))


def test_a_lease_in_my_name_that_i_never_took_is_not_mine(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    """It looks like a copy of this clone at work: this one continues under a new id, and has what it had."""
    ada, _ = clones
    own = clone_id(ada)
    task = json.loads(cli(ada, "task", "add", "a task", "--json").out)["id"]
    sync(ada)
    table(mallory, "tasks", rows=[row(task, holder=f"ada@{own}", event="f" * 16)])
    assert cli(ada, "task", "claim", task).code in (0, 1)
    sync(ada)
    assert clone_id(ada) != own
    assert "claims of " + own + " that were not written here" in cli(ada, "inbox", "--all").out
    assert held(ada, task)[1] != box_of(ada, "m")


def test_a_full_table_stops_claims_and_names_the_way_out(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    ada, _ = clones
    task = json.loads(cli(ada, "task", "add", "a task", "--json").out)["id"]
    table(mallory, "tasks", rows=[row(f"{n:040x}", f"{n:016x}") for n in range(1800)])
    ran = cli(ada, "task", "claim", task)
    assert ran.code == 4 and "the table of leases of tasks at the remote is full" in ran.err, ran
    assert cli(ada, "task", "claim", task, "--offline").code == 0, "tentative, in this clone"
