"""One winner among clones that share a remote: tasks, numbers, locks; offline, with clocks that are off.

GITCOORD_CLONE_ROUNDS scales the race; the promise names 100 rounds of 8 clones.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from clones import at_once, clone_id, holders, make_met, set_clocks, sync_all
from conftest import Cli, git

from gitcoord import Coord, Refused, RemoteError
from gitcoord.features import numbers
from gitcoord.features.locks.take import list_locks
from gitcoord.features.messages import inbox, sending
from gitcoord.features.tasks.file import NewTask
from gitcoord.features.tasks.standing import TTL
from gitcoord.sync import leases
from gitcoord.sync.link import Link

ROUNDS = int(os.environ.get("GITCOORD_CLONE_ROUNDS", "1"))
Two = tuple[Coord, Coord]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    """Ada's and Bob's clones, open as their sessions `w`."""
    _, clones = make_met(tmp_path, 2)
    with Coord.open(clones[0], as_name="w") as ada, Coord.open(clones[1], as_name="w") as bob:
        yield ada, bob


def test_of_eight_clones_one_gets_the_task(tmp_path: Path) -> None:
    hub, clones = make_met(tmp_path, 8)
    ids = [clone_id(path) for path in clones]
    for number in range(ROUNDS):
        with Coord.open(clones[0], as_name="w") as coord:
            task = coord.tasks.add(f"task {number}").id
        sync_all(clones, 1)
        ended = at_once(clones, lambda n, task=task: ["task", "claim", task, "--as", "w"])
        assert sorted(code for code, _, _ in ended) == [0, *[1] * 7], ended
        winner = f"w@{ids[[code for code, _, _ in ended].index(0)]}"
        for (code, out, err), own in zip(ended, ids, strict=True):
            assert bool(out) == (code == 0)
            if code:
                assert err.splitlines()[0].startswith(f"error: {task[:10]} is held by {winner}"), (own, err)
        sync_all(clones)
        assert holders(clones, task) == [("claimed", winner, False)] * 8
    assert "error" not in git(hub, "fsck", "--strict")


def test_next_claim_in_several_clones_hands_out_every_task_once(tmp_path: Path) -> None:
    _, clones = make_met(tmp_path, 4)
    with Coord.open(clones[0], as_name="w") as coord:
        filed = coord.tasks.add_all([NewTask(f"task {number}") for number in range(8)])
    sync_all(clones, 1)
    taken: list[str] = []
    for _ in range(2):
        ended = at_once(clones, lambda n: ["task", "next", "--claim", "--json", "--as", "w"])
        assert [code for code, _, _ in ended] == [0] * 4, ended
        taken += [json.loads(out)["id"] for _, out, _ in ended]
    assert sorted(taken) == sorted(filed)
    assert [code for code, _, _ in at_once(clones, lambda n: ["task", "next", "--claim", "--as", "w"])] == [1] * 4


def test_numbers_are_given_once_among_clones(tmp_path: Path) -> None:
    _, clones = make_met(tmp_path, 4)
    taken = []
    for _ in range(2):
        ended = at_once(clones, lambda n: ["alloc", "migrations", "--start", "7", "--as", "w"])
        assert [code for code, _, _ in ended] == [0] * 4, ended
        taken += [int(out) for _, out, _ in ended]
    assert sorted(taken) == list(range(7, 15))


def test_a_sequence_with_gaps_asks_the_remote_once_for_many(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = two
    calls: list[str] = []
    real = leases.change

    def change(link: Link, kind: str, decide: leases.Decide) -> Link:
        calls.append(kind)
        return real(link, kind, decide)

    monkeypatch.setattr(leases, "change", change)
    taken = [coord.numbers.allocate("ids", gaps=True).number for _ in range(25) for coord in (ada, bob)]
    assert len(set(taken)) == 50 and max(taken) <= 80
    assert calls == ["numbers"] * 4
    assert ada.numbers.allocate("ids").number == 81, "who wants no gap has the next one that nobody has"
    assert bob.numbers.allocate("ids", start=200, gaps=True).number == 200


def test_a_block_of_numbers_belongs_to_one_clone_since_one_boot(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = two
    assert ada.numbers.allocate("ids", gaps=True).number == 1
    assert ada.numbers.allocate("ids", gaps=True).number == 2
    monkeypatch.setattr(numbers, "boot_id", lambda: "another")
    assert ada.numbers.allocate("ids", gaps=True).number == 21, "a copy of the disk may have the rest"
    monkeypatch.undo()
    with bob.clone.locked():
        bob.clone.append(lambda db: [numbers._draft(bob.identity, "ids", 25)])
    bob.remote.sync()
    ada.remote.sync()
    assert ada.numbers.allocate("ids", gaps=True).number > 40, "the remote has lost count of it"


def test_global_locks_exclude_each_other_across_clones(tmp_path: Path, cli: Cli) -> None:
    _, clones = make_met(tmp_path, 3)
    patterns = ["src/*.py", "src/a.py", "*.py"]
    ended = at_once(clones, lambda n: ["lock", "--global", patterns[n], "--as", "w"])
    assert sorted(code for code, _, _ in ended) == [0, 1, 1], ended
    winner = [code for code, _, _ in ended].index(0)
    other = (winner + 1) % 3
    assert f"is locked by w@{clone_id(clones[winner])}" in ended[other][2]
    waiter = at_once([clones[other]], lambda n: ["lock", "--global", "docs/readme.txt", "--as", "w"])
    assert waiter[0][0] == 0  # nothing that overlaps
    assert cli(clones[winner], "unlock", "--all", "--as", "w").code == 0
    sync_all([clones[winner]], 1)
    ran = cli(clones[other], "lock", "--global", patterns[other], "--as", "w")
    assert ran.code == 0, ran


def test_who_waits_for_a_global_lock_gets_it(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitcoord.features.locks.leased.LOOK_AGAIN", 0.2)
    ada, bob = two
    ada.locks.take(["a.py"], everywhere=True)
    with pytest.raises(Refused, match=f"is locked by w@{ada.clone.id}"):
        bob.locks.take(["a.py"], everywhere=True, wait=0.3)
    ada.locks.release(["a.py"])
    ada.remote.sync()
    assert bob.locks.take(["a.py"], everywhere=True, wait=20).holder == f"w@{bob.clone.id}"


def test_offline_a_claim_is_tentative_and_the_first_at_the_remote_wins(tmp_path: Path, cli: Cli) -> None:
    hub, clones = make_met(tmp_path, 3)
    ids = [clone_id(path) for path in clones]
    with Coord.open(clones[0], as_name="w") as coord:
        task = coord.tasks.add("shared").id
    sync_all(clones, 1)
    away = hub.rename(tmp_path / "away.git")
    ran = cli(clones[1], "task", "claim", task, "--as", "w")
    assert ran.code == 4
    assert ran.out == ""
    assert "--offline: tentative" in ran.err
    for path in clones[1:]:
        ran = cli(path, "task", "claim", task, "--offline", "--as", "w")
        assert (ran.code, "tentative" in ran.out) == (0, True), ran
    away.rename(hub)
    sync_all([clones[2]], 1)  # Bob claimed first, and has the smaller clock; Cy is the first at the remote
    sync_all([clones[1], clones[0], *clones])
    assert holders(clones, task) == [("claimed", f"w@{ids[2]}", False)] * 3
    with Coord.open(clones[1], as_name="w") as bob:
        (told,) = [message for message in bob.inbox().messages if message.notice]
        assert told.text == f"Your offline claim of {task[:10]} shared did not hold: w@{ids[2]} was first at the remote"
    with Coord.open(clones[2], as_name="w") as cy:
        assert not cy.inbox().messages


def test_a_leased_claim_beats_a_tentative_one_whatever_the_order(tmp_path: Path) -> None:
    _, clones = make_met(tmp_path, 3)
    with Coord.open(clones[0], as_name="w") as coord:
        task = coord.tasks.add("shared").id
    sync_all(clones, 1)
    with Coord.open(clones[1], as_name="w") as bob, Coord.open(clones[2], as_name="w") as cy:
        bob.tasks.claim(task, offline=True)
        for number in range(5):
            cy.notes.add(f"the clock goes on {number}")
        cy.tasks.claim(task)
        cy.tasks.done(task, "finished before Bob was back")
        cy.remote.sync()
        bob.remote.sync()
    sync_all(clones)
    assert {status for status, _, _ in holders(clones, task)} == {"done"}
    assert len({holder for _, holder, _ in holders(clones, task)}) == 1


def test_a_claim_given_back_offline_is_no_loss_to_be_told(tmp_path: Path) -> None:
    _, clones = make_met(tmp_path, 2)
    with Coord.open(clones[0], as_name="w") as ada:
        task = ada.tasks.add("shared").id
        ada.tasks.claim(task, offline=True)
        ada.tasks.release(task)
        ada.remote.sync()
        assert not ada.inbox().messages
        assert ada.tasks.show(task).status == "open"
        ada.tasks.claim(task, offline=True)
        ada.remote.sync()
        assert not ada.tasks.show(task).tentative
    with Coord.open(clones[1], as_name="w") as bob:
        bob.remote.sync()
        with pytest.raises(Refused, match="is held by"):
            bob.tasks.claim(task)


# who is there still


def test_a_gone_holder_is_replaced_and_an_unknown_one_is_not(two: Two) -> None:
    ada, bob = two
    task = ada.tasks.add("shared").id
    ada.tasks.claim(task)
    ada.remote.sync()
    bob.remote.sync()
    bob.clone.read(lambda db: db.execute("UPDATE presence SET seen = seen - 10000"))
    assert bob.sessions.get(f"w@{ada.clone.id}").state == "unknown"
    with pytest.raises(Refused, match="is held by"):
        bob.tasks.claim(task)
    ada.sessions.leave()
    ada.remote.sync()
    assert bob.tasks.claim(task).holder == f"w@{bob.clone.id}"


def test_silence_for_a_whole_lease_frees_a_task_by_the_observers_own_clock(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = two
    task = ada.tasks.add("shared").id
    ada.tasks.claim(task)
    ada.remote.sync()
    bob.remote.sync()
    with pytest.raises(Refused):
        bob.tasks.claim(task)
    wall, up = set_clocks(monkeypatch)
    wall[0] += TTL + 1  # a clock set forward, and nothing else
    with pytest.raises(Refused):
        bob.tasks.claim(task)
    up[0] += TTL + 1
    ada.sessions.focus("still here")
    ada.remote.sync()
    with pytest.raises(Refused):  # its presence changed, so it counts anew
        bob.tasks.claim(task)
    wall[0] += TTL + 1
    up[0] += TTL + 1
    assert bob.tasks.claim(task).holder == f"w@{bob.clone.id}"


@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_clock_that_is_off_by_an_hour_ends_no_lock_early_nor_keeps_it(two: Two, off: int) -> None:
    ada, bob = two
    ada.clone.clock = lambda: time.time() + off
    ada.sessions.focus("a clock of my own")
    taken = ada.locks.take(["a.py"], ttl=1800, everywhere=True)
    ada.remote.sync()
    bob.remote.sync()
    (seen,) = list_locks(bob.clone)
    assert seen.id == taken.id
    assert abs(seen.expires - time.time() - 1800) < 60


@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_message_is_over_after_its_time_by_the_readers_clock(two: Two, off: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = two
    ada.clone.clock = lambda: time.time() + off
    with monkeypatch.context() as patch:
        patch.setattr(sending, "time", SimpleNamespace(time=lambda: time.time() + off))
        ada.sessions.focus("a clock of my own")
        ada.send(f"w@{bob.clone.id}", "for half an hour", expires=1800)
    ada.remote.sync()
    bob.remote.sync()
    now = time.time()

    def read(at: float) -> list[str]:
        return [message.text for message in inbox.inbox(bob.clone, bob.identity, now=at).messages]

    assert [read(now + 60), read(now + 1700), read(now + 1900)] == [["for half an hour"], ["for half an hour"], []]


def test_a_clone_that_was_silent_for_an_hour_keeps_its_claim(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = two
    task = ada.tasks.add("shared").id
    ada.tasks.claim(task)
    ada.remote.sync()
    bob.remote.sync()
    with pytest.raises(Refused):
        bob.tasks.claim(task)
    wall, up = set_clocks(monkeypatch)
    wall[0] += 3700
    up[0] += 3700
    with pytest.raises(Refused):
        bob.tasks.claim(task)


# remotes that keep none


def test_where_no_leases_may_be_written_claims_stay_tentative(tmp_path: Path, cli: Cli) -> None:
    hub, clones = make_met(tmp_path, 2)
    hook = hub / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase $1 in refs/coord/lease/*) echo "no leases here" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    with Coord.open(clones[0], as_name="w") as ada:
        task = ada.tasks.add("shared").id
        ada.remote.sync()
    ran = cli(clones[0], "task", "claim", task, "--as", "w")
    assert (ran.code, ran.out) == (4, "")
    assert "origin rejects our leases: no leases here" in ran.err
    assert cli(clones[0], "task", "claim", task, "--offline", "--as", "w").code == 0
    sync_all(clones)
    assert [(status, tentative) for status, _, tentative in holders(clones, task)] == [("claimed", True)] * 2


def test_a_table_that_is_none_stops_claims_and_says_so(tmp_path: Path) -> None:
    hub, clones = make_met(tmp_path, 1)
    blob = git(hub, "hash-object", "-w", "--stdin", env={}).strip()
    git(hub, "update-ref", "refs/coord/lease/tasks", blob)
    with Coord.open(clones[0], as_name="w") as ada:
        task = ada.tasks.add("shared").id
        with pytest.raises(RemoteError, match="refs/coord/lease/tasks at the remote is not a table of leases"):
            ada.tasks.claim(task)
        ada.remote.sync()
        assert "error" not in git(clones[0], "fsck", "--strict")


def test_the_person_claims_for_a_session_with_its_lease_and_only_for_one_of_this_clone(two: Two) -> None:
    ada, bob = two
    filed = ada.tasks.add("it")
    ada.remote.sync(), bob.remote.sync()
    with Coord.open(ada.cwd) as user:
        user.speak_as(user.sessions.user())
        with pytest.raises(Refused, match="a session of another clone") as refused:
            user.tasks.claim_for(bob.mailbox, filed.id)
        assert refused.value.hint == f"git coord task edit {filed.id[:10]} --assignee {bob.mailbox}"
        held = user.tasks.claim_for("w", filed.id)
        assert (held.holder, held.tentative) == (ada.mailbox, False)
    with pytest.raises(Refused, match="is held by"):
        bob.tasks.claim(filed.id)


def test_what_did_not_hold_is_listed_and_what_was_refused_at_once_is_not(two: Two) -> None:
    ada, bob = two
    filed = [ada.tasks.add(title).id for title in ("offline", "refused", "dropped")]
    ada.remote.sync(), bob.remote.sync()
    bob.tasks.claim(filed[0], offline=True)
    for task in filed:
        ada.tasks.claim(task)
    with pytest.raises(Refused):
        bob.tasks.claim(filed[1])
    bob.remote.sync()
    (lost,) = bob.tasks.lost(since=0)
    assert (lost.by, lost.task, lost.kind, lost.taken) == (bob.mailbox, filed[0], "offline claim", False)
    assert bob.tasks.lost(since=int(time.time()) + 1000) == ada.tasks.lost(since=0) == []
