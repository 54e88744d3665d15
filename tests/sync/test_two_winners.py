"""Claims that fence: with copies of a clone, clones that were away, and late events, one session has the task."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clones import clone_id, holders, make_met, set_clocks, sync_all
from conftest import Cli, git, make_repo

from gitcoord import Coord, Refused, RemoteError
from gitcoord.features.tasks.standing import TTL
from gitcoord.sync import leases

Two = tuple[Coord, Coord]


@pytest.fixture(params=["all or none", "one by one"])
def hub(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A remote of two clones; one kind takes row and claim in one push, the other kind cannot."""
    hub, _ = make_met(tmp_path, 2)
    git(hub, "config", "receive.advertiseAtomic", str(request.param == "all or none").lower())
    return hub


@pytest.fixture
def two(hub: Path) -> Iterator[Two]:
    """Ada's and Bob's clones, open as their sessions `w`."""
    with Coord.open(hub.parent / "ada", as_name="w") as ada, Coord.open(hub.parent / "bob", as_name="w") as bob:
        yield ada, bob


def shared_task(ada: Coord, bob: Coord) -> str:
    task = ada.tasks.add("shared").id
    ada.remote.sync()
    bob.remote.sync()
    return task


def notices(coord: Coord) -> list[str]:
    return [message.text for message in coord.inbox().messages if message.notice == "task"]


def test_who_holds_a_task_here_asks_the_remote_all_the_same(two: Two) -> None:
    """Another took the row over and was killed before its claim went out: our claim is not confirmed."""
    ada, bob = two
    task = shared_task(ada, bob)
    assert ada.tasks.claim(task).holder == ada.mailbox

    with leases.connected(bob.clone, "") as at:
        taken = leases.Lease(leases.nonce(), task, bob.mailbox, TTL, (), False, "0" * 16, ())
        leases.change(at, "tasks", lambda table: table.without(table.rows).plus(taken))
    with pytest.raises(Refused, match=f"is held by w@{bob.clone_id}"):
        ada.tasks.claim(task)


# a snapshot that was started twice


class Snapshot:
    """A clone that two machines go on from, each of which finds it at the same path: one is there at a time."""

    def __init__(self, path: Path) -> None:
        self.path, self.other = path, path.with_name("other")
        shutil.copytree(path, self.other, symlinks=True)

    def swap(self) -> None:
        aside = self.path.with_name("aside")
        self.path.rename(aside)
        self.other.rename(self.path)
        aside.rename(self.other)


def take_lock(coord: Coord, task: str) -> str:
    return coord.locks.take(["*.py"], everywhere=True).holder


def take_task(coord: Coord, task: str) -> str:
    return coord.tasks.claim(task).holder or ""


@pytest.mark.parametrize("take", [take_task, take_lock])
def test_of_two_copies_one_gets_it_and_both_are_told(hub: Path, take: Callable[[Coord, str], str]) -> None:
    ada = hub.parent / "ada"
    with Coord.open(ada, as_name="w") as coord, Coord.open(hub.parent / "bob", as_name="w") as bob:
        task = shared_task(coord, bob)
    old, snapshot = clone_id(ada), Snapshot(ada)
    with Coord.open(ada, as_name="w") as first:
        assert take(first, task) == f"w@{old}"
    snapshot.swap()
    with Coord.open(ada, as_name="w") as second:
        with pytest.raises(Refused, match=f"by w@{old}"):
            take(second, task)
        assert second.clone.id != old
        assert [m.text for m in second.inbox().messages if m.notice == "clone"]
        second.remote.sync()
    snapshot.swap()
    with Coord.open(ada, as_name="w") as first:
        first.remote.sync()
        assert first.clone.id == old
        (told,) = [m.text for m in first.inbox().messages if m.notice == "clone"]
        assert told.startswith(f"A copy of your clone was at work as {old}, too.")


def test_two_copies_are_handed_two_tasks(hub: Path) -> None:
    ada = hub.parent / "ada"
    with Coord.open(ada, as_name="w") as coord:
        coord.tasks.add("one")
        coord.tasks.add("two")
        coord.remote.sync()
    snapshot, taken = Snapshot(ada), []
    for _ in range(2):
        with Coord.open(ada, as_name="w") as copy:
            found = copy.tasks.next(claim=True)
            assert found
            taken.append(found.id)
        snapshot.swap()
    assert len({*taken}) == 2


def test_of_two_copies_each_keeps_what_it_took_before_they_met(hub: Path) -> None:
    """One goes on under another id, and so do its claims."""
    git(hub, "config", "receive.advertiseAtomic", "false")
    ada = hub.parent / "ada"
    with Coord.open(ada, as_name="w") as coord:
        one, two = coord.tasks.add("one").id, coord.tasks.add("two").id
        coord.remote.sync()
    old, snapshot = clone_id(ada), Snapshot(ada)
    away = hub.with_name("away.git")
    for task in (one, two):
        with Coord.open(ada, as_name="w") as copy:
            copy.tasks.claim(task, offline=True)
        snapshot.swap()
    assert not away.exists()
    ids = []
    for _ in range(3):
        for _ in range(2):
            with Coord.open(ada, as_name="w") as copy:
                copy.remote.sync()
                ids.append(copy.clone.id)
            snapshot.swap()
    assert len({*ids[-2:]}) == 2 and old in ids[-2:]
    found = [(copy_holder(ada, one), copy_holder(ada, two))]
    snapshot.swap()
    found.append((copy_holder(ada, one), copy_holder(ada, two)))
    assert found[0] == found[1]
    assert len({*found[0]}) == 2, found


def copy_holder(path: Path, task: str) -> str:
    with Coord.open(path, as_name="w") as coord:
        shown = coord.tasks.show(task)
        assert not shown.tentative
        at = (shown.holder or "").partition("@")[2] or coord.clone.id
        return f"w@{at}"


def test_a_copy_is_found_by_its_presence_before_it_writes_anything(hub: Path) -> None:
    ada = hub.parent / "ada"
    old, snapshot = clone_id(ada), Snapshot(ada)
    with Coord.open(ada, as_name="w") as first:
        first.sessions.focus("here")
        first.remote.sync()
        assert first.clone.id == old
    with Coord.open(ada, as_name="w") as first:
        first.remote.sync()
        assert first.clone.id == old, "nobody else is there yet"
    snapshot.swap()
    with Coord.open(ada, as_name="w") as second:
        second.remote.sync()
        assert second.clone.id != old


# a lease that was taken over


def test_a_claim_that_was_sent_too_late_is_void_and_its_author_is_told(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = two
    task = shared_task(ada, bob)
    for number in range(5):
        bob.notes.add(f"the clock goes on {number}")
    ada.tasks.claim(task)  # and the lid is closed
    with pytest.raises(Refused):
        bob.tasks.claim(task)
    wall, up = set_clocks(monkeypatch)
    wall[0] += TTL + 1
    up[0] += TTL + 1
    assert bob.tasks.claim(task).holder == f"w@{bob.clone.id}"
    bob.remote.sync()
    ada.tasks.done(task, "all of it")
    sync_all([Path(ada.clone.repo.worktree or ""), Path(bob.clone.repo.worktree or "")])
    where = [Path(each.clone.repo.worktree or "") for each in two]
    assert holders(where, task) == [("claimed", f"w@{bob.clone.id}", False)] * 2
    told = notices(ada)
    who = f"shared did not hold: w@{bob.clone.id}"
    unseen = f"Your claim of {task[:10]} {who} took it over while this clone was silent"
    seen = f"w@{bob.clone.id} took over {task[:10]} shared, which w held"
    assert told[0] in (unseen, seen)
    assert told[1:] == [f"Your done of {task[:10]} {who} claimed it"]
    assert not [text for text in notices(bob) if "did not hold" in text]
    assert [(lost.kind, lost.task) for lost in ada.tasks.lost(since=0)][-2:] in (
        [("claim", task), ("done", task)],
        [("done", task)],
    )
    sync_all(where)
    assert notices(ada) == told, "nobody is told twice"
    bob.tasks.done(task)
    sync_all(where)
    assert holders(where, task) == [("done", f"w@{bob.clone.id}", False)] * 2


@pytest.mark.parametrize("verb", ["drop", "done"])
def test_a_word_that_knew_of_no_claim_ends_none(two: Two, verb: str) -> None:
    ada, bob = two
    task = shared_task(ada, bob)
    getattr(ada.tasks, verb)(task)
    bob.tasks.claim(task)
    bob.remote.sync()
    ada.remote.sync()
    bob.remote.sync()
    where = [Path(each.clone.repo.worktree or "") for each in two]
    assert holders(where, task) == [("claimed", f"w@{bob.clone.id}", False)] * 2
    (told,) = notices(ada)
    assert told == f"Your {verb} of {task[:10]} shared did not hold: w@{bob.clone.id} claimed it"
    bob.tasks.done(task)
    sync_all(where)
    assert holders(where, task) == [("done", f"w@{bob.clone.id}", False)] * 2


def test_a_task_that_its_holder_finished_stays_finished_after_a_drop(two: Two) -> None:
    ada, bob = two
    task = shared_task(ada, bob)
    bob.tasks.claim(task)
    bob.remote.sync()
    ada.remote.sync()
    ada.tasks.drop(task)
    bob.notes.add("later")
    bob.tasks.done(task)
    where = [Path(each.clone.repo.worktree or "") for each in two]
    sync_all(where)
    assert holders(where, task) == [("done", f"w@{bob.clone.id}", False)] * 2
    assert [
        text for text in notices(ada) if f"Your drop of {task[:10]} shared did not hold: w@{bob.clone.id} finished it" in text
    ]


def test_a_table_that_the_remote_lost_is_filled_again(two: Two, hub: Path) -> None:
    ada, bob = two
    task = shared_task(ada, bob)
    ada.tasks.claim(task)
    ada.locks.take(["*.py"], everywhere=True)
    ada.remote.sync()
    for kind in ("tasks", "locks"):
        git(hub, "update-ref", "-d", f"refs/coord/lease/{kind}")
    ada.remote.sync()
    with pytest.raises(Refused, match="is held by"):
        bob.tasks.claim(task)
    with pytest.raises(Refused, match="is locked by"):
        bob.locks.take(["a.py"], everywhere=True)
    assert "task" in git(hub, "show", "-s", "--format=%B", "refs/coord/lease/tasks")


def test_a_clone_of_an_older_version_works_beside_newer_ones(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wrote rows without `event` and `replaced`, dropped those of others with each table, and claims without
    `replaces`."""
    ada, bob = two
    one, other = ada.tasks.add("one").id, ada.tasks.add("two").id
    ada.remote.sync()
    bob.remote.sync()
    ada.tasks.claim(one)
    with monkeypatch.context() as older:
        older.setattr(leases.Lease, "_asdict", lambda row: dict(zip(row._fields[:6], row, strict=False)))
        bob.tasks.claim(other)
        with pytest.raises(Refused):
            bob.tasks.claim(one)
    bob.remote.sync()
    old = ada.clone.id
    ada.remote.sync()
    with pytest.raises(Refused):
        ada.tasks.claim(other)
    assert ada.clone.id == old, "a row without an event is nobody's proof"
    ada.tasks.done(one)
    bob.tasks.done(other)
    where = [Path(each.clone.repo.worktree or "") for each in two]
    sync_all(where)
    assert [status for status, _, _ in holders(where, one) + holders(where, other)] == ["done"] * 4


# another remote


@pytest.fixture
def other(hub: Path) -> Path:
    """A second bare repository of the project."""
    git(hub.parent, "clone", "-q", "--bare", str(hub.parent / "source"), "other.git")
    return hub.parent / "other.git"


def test_a_named_remote_is_a_visit_and_claims_stay_where_they_are(two: Two, other: Path) -> None:
    ada, bob = two
    task = shared_task(ada, bob)
    for each in two:
        assert each.remote.sync(str(other)).refused == ()
        assert each.remote.connected() == "origin"
    assert ada.numbers.allocate("port").number == 1
    assert bob.numbers.allocate("port").number == 2
    ada.tasks.claim(task)
    with pytest.raises(Refused, match="is held by"):
        bob.tasks.claim(task)
    assert "lease" not in git(other, "for-each-ref", "--format=%(refname)")


def test_coordination_moves_with_the_claims_and_says_who_stays(two: Two, other: Path, cli: Cli) -> None:
    ada, bob = two
    task = shared_task(ada, bob)
    ada.tasks.claim(task)
    ran = cli(Path(ada.clone.repo.worktree or ""), "remote", "set", str(other), "--as", "w")
    assert (ran.code, ran.out) == (0, f"Coordination is at {other} now, left origin; 1 leases went along.\n"), ran
    assert f"warning: still at origin: {bob.clone.id}." in ran.err
    assert task in git(other, "show", "-s", "--format=%B", "refs/coord/lease/tasks", "--")
    bob.remote.set(str(other))
    with pytest.raises(Refused, match="is held by"):
        bob.tasks.claim(task)
    ada.tasks.done(task)
    ada.remote.sync()
    bob.remote.sync()
    assert bob.tasks.show(task).status == "done"


def test_coordination_does_not_move_to_where_another_holds_the_same(two: Two, other: Path) -> None:
    ada, bob = two
    task = shared_task(ada, bob)
    bob.remote.set(str(other))
    bob.tasks.claim(task)
    bob.remote.sync()
    ada.tasks.claim(task)
    with pytest.raises(Refused, match=f"{task[:10]} is held at .*other.git by w@{bob.clone.id}"):
        ada.remote.set(str(other))
    assert ada.remote.connected() == "origin"


def test_a_remote_that_is_out_of_reach_is_left_by_force_only(two: Two, hub: Path, other: Path) -> None:
    ada, _ = two
    hub.rename(hub.with_name("away.git"))
    with pytest.raises(RemoteError, match="which clones are there"):
        ada.remote.set(str(other))
    assert ada.remote.set(str(other), force=True).remote == str(other)


def test_sessions_in_a_repository_obey_the_leases_pushed_into_it(tmp_path: Path) -> None:
    """Bob's own repository is Ada's remote, and has sessions of its own."""
    home = make_repo(tmp_path / "bob")
    git(tmp_path, "clone", "-q", "bob", "ada")
    with Coord.open(home, as_name="b") as bob, Coord.open(tmp_path / "ada", as_name="w") as ada:
        one, two = bob.tasks.add("one").id, bob.tasks.add("two").id
        ada.remote.sync()
        ada.tasks.claim(one)
        with pytest.raises(Refused, match="is held by"):
            bob.tasks.claim(one)
        assert bob.tasks.claim(two).holder == f"b@{bob.clone.id}"
        with pytest.raises(Refused, match="is held by"):
            ada.tasks.claim(two)
        assert [ada.numbers.allocate("port").number, bob.numbers.allocate("port").number] == [1, 2]
        assert ada.numbers.allocate("port").number == 3
        assert bob.remote.connected() == ""


def test_coordination_that_was_moved_by_hand_is_noticed(tmp_path: Path, cli: Cli) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    git(tmp_path, "init", "-q", "--bare", "other.git")
    me = {"GIT_COORD_SESSION": "w"}
    task = cli(ada, "task", "add", "shared", "--json", env=me).out.split('"id": "')[1][:40]
    assert cli(ada, "task", "claim", task, env=me).code == 0
    git(ada, "config", "coord.remote", str(tmp_path / "other.git"))
    for words in (["sync"], ["task", "claim", task], ["alloc", "ports"]):
        ran = cli(ada, *words, env=me)
        assert ran.code == 2 and "the claims of this clone are at origin" in ran.err and "git coord remote set" in ran.err, ran
    assert "coord.remote was changed by hand" in cli(ada, "status", env=me).out
    assert cli(ada, "sync", str(tmp_path / "other.git"), env=me).code == 0, "a visit"
    moved = cli(ada, "remote", "set", str(tmp_path / "other.git"), env=me)
    assert moved.code == 0 and clone_id(bob) in moved.err and "1 leases went along" in moved.out, moved
    assert cli(ada, "sync", env=me).code == 0
    assert "lease/tasks" in git(tmp_path / "other.git", "for-each-ref")
