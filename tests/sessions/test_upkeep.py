"""Coordination stays small: our objects are packed, old presence swept, refs few, and the user's gc is never set off."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import git

from gitcoord import Coord
from gitcoord.log.event import Draft
from gitcoord.sessions import housekeeping
from gitcoord.sessions.presence import PUBLISH_EVERY
from gitcoord.sessions.records import Records
from gitcoord.store import packing
from gitcoord.store.objects import Oid
from gitcoord.system.lock import file_lock

EVENTS = int(os.environ.get("GITCOORD_EVENTS", "1500"))
BEATS = int(os.environ.get("GITCOORD_BEATS", "700"))
DAY = 24 * 3600


@pytest.fixture
def coord(repo: Path) -> Iterator[Coord]:
    with Coord.open(repo, as_name="w") as opened:
        opened.sessions.join()
        yield opened


def write(coord: Coord, count: int, size: int = 200) -> None:
    """Events one by one, as so many commands would."""
    for number in range(count):
        coord.clone.append(lambda db, n=number: [Draft("note", f"{n} ".ljust(size, "x"), author="w")])


def counted(repo: Path) -> dict[str, int]:
    lines = git(repo, "count-objects", "-v").splitlines()
    return {key: int(value) for key, value in (line.split(": ") for line in lines)}


def settle(repo: Path) -> None:
    """Let no check wait for its two seconds."""
    (repo / ".git/coord/checked").unlink(missing_ok=True)


def test_thousands_of_events_never_set_off_the_users_gc(coord: Coord, repo: Path) -> None:
    git(repo, "config", "--unset-all", "--global", "gc.auto")
    most = 0
    for _ in range(EVENTS // 250):
        write(coord, 250)
        most = max(most, counted(repo)["count"])
    assert most <= 1000 + 256 * 6
    assert counted(repo)["packs"] <= 6
    before = counted(repo)
    done = subprocess.run(["git", "-C", repo, "gc", "--auto"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert counted(repo) == before
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_packs_take_only_what_is_ours(coord: Coord, repo: Path) -> None:
    (repo / "readme.txt").write_text("changed")
    mine = [git(repo, "hash-object", "-w", "readme.txt").strip(), git(repo, "commit-tree", "-m", "x", "HEAD^{tree}").strip()]
    reachable = git(repo, "rev-list", "--objects", "--no-object-names", "HEAD").split()
    write(coord, 1100)
    coord.clone.pack()
    packed = git(repo, "cat-file", "--batch-check", "--batch-all-objects", "--unordered")
    assert all(oid in packed for oid in [*mine, *reachable])
    assert all((repo / ".git/objects" / oid[:2] / oid[2:]).exists() for oid in [*mine, *reachable])
    assert counted(repo)["in-pack"] > 1000
    assert not list((repo / ".git/objects/pack").glob("*.keep"))


def test_few_packs_grow_instead_of_many(coord: Coord, repo: Path) -> None:
    for _ in range(20):
        write(coord, 10)
        coord.clone.pack()
        assert counted(repo)["packs"] <= 5
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert counted(repo)["packs"] == len(packing._load(coord.clone.repo).packs)


@pytest.mark.parametrize(
    ("counts", "limit", "first"),
    [
        ([], None, 0), ([5], None, 0), ([10, 5], None, 1), ([9, 5], None, 0), ([100, 10, 5], None, 2),
        ([100, 9, 5], None, 1), ([25, 9, 5], None, 0), ([25, 9, 5], 20, 1), ([25, 9, 5], 3, 2),
    ],
)  # fmt: skip
def test_packs_are_merged_while_they_are_out_of_proportion(counts: list[int], limit: int | None, first: int) -> None:
    assert packing._first_to_merge(counts, limit) == first


def test_a_gc_of_the_users_takes_our_packs_over(coord: Coord, repo: Path) -> None:
    write(coord, 100)
    coord.clone.pack()
    git(repo, "gc", "-q")
    assert counted(repo)["packs"] == 1
    write(coord, 10)
    coord.clone.pack()
    assert counted(repo)["packs"] == 2
    assert len(packing._load(coord.clone.repo).packs) == 1


def test_a_message_of_200_bytes_takes_less_than_500_after_gc(coord: Coord, repo: Path) -> None:
    before = counted(repo)
    for start in range(0, 2000, 200):
        texts = [os.urandom(100).hex() for _ in range(200)]
        coord.clone.append(lambda db, texts=texts: [Draft("message", t, {"to": ["w@x"]}, author="w") for t in texts])
        if start % 600 == 0:
            coord.clone.pack()
    git(repo, "gc", "-q")
    after = counted(repo)
    size = sum(path.stat().st_size for path in (repo / ".git/objects/pack").iterdir())
    assert after["in-pack"] - before["count"] >= 2000
    assert size / 2000 <= 500


def test_a_hole_met_while_packing_is_filled_from_the_journal(coord: Coord, repo: Path) -> None:
    write(coord, 30)
    oid = git(repo, "rev-parse", f"refs/coord/log/{coord.clone.id}/0001~12").strip()
    (repo / ".git/objects" / oid[:2] / oid[2:]).unlink()
    coord.clone.pack()
    coord.clone.pack()
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert counted(repo)["in-pack"] > 30


# presence


def beats(coord: Coord, count: int) -> list[Oid]:
    return [
        coord.clone.put_presence("w", {"session": "w", "state": "active", "ttl": 900, "n": n, "of": count})  # type: ignore[misc]
        for n in range(count)
    ]


def present(repo: Path, oid: str) -> bool:
    return (repo / ".git/objects" / oid[:2] / oid[2:]).exists()


def test_superseded_presence_goes_after_an_hour_and_not_before(coord: Coord, repo: Path) -> None:
    began = time.time()
    old = beats(coord, 5)
    coord.clone.clock = lambda: began + 3590
    assert coord.clone.sweep() == 0
    coord.clone.clock = lambda: began + 3610
    assert coord.clone.sweep() == 5  # the one that `join` wrote, too
    assert [present(repo, oid) for oid in old] == [False] * 4 + [True]
    assert (repo / ".git/coord/superseded").read_text() == ""
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_presence_that_a_ref_of_anybodys_names_stays(coord: Coord, repo: Path) -> None:
    old = beats(coord, 3)
    git(repo, "update-ref", "refs/heads/kept", old[0])
    coord.clone.sweep_grace = 0
    coord.clone.sweep()
    assert [present(repo, oid) for oid in old] == [True, False, True]


@pytest.mark.parametrize("options", [["--reachable"], ["--reachable", "--split"]])
def test_presence_that_a_commit_graph_names_stays(coord: Coord, repo: Path, options: list[str]) -> None:
    old = beats(coord, 2)
    git(repo, "commit-graph", "write", *options)
    later = beats(coord, 3)
    coord.clone.sweep_grace = 0
    coord.clone.sweep()
    assert [present(repo, oid) for oid in [*old, *later]] == [False, True, False, False, True]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_nothing_is_swept_while_a_gc_runs(coord: Coord, repo: Path) -> None:
    old = beats(coord, 2)
    coord.clone.sweep_grace = 0
    (repo / ".git/gc.pid").write_text(f"{os.getpid()} {os.uname().nodename}\n")
    assert coord.clone.sweep() == 0
    (repo / ".git/gc.pid").write_text(f"{os.getpid()} another-machine\n")
    assert coord.clone.sweep() == 0
    assert present(repo, old[0])
    ended = subprocess.Popen(["true"])
    ended.wait()
    (repo / ".git/gc.pid").write_text(f"{ended.pid} {os.uname().nodename}\n")
    assert coord.clone.sweep() == 2


def test_a_clock_that_jumped_back_does_not_keep_presence_for_ever(coord: Coord, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    ran = [1000.0]
    monkeypatch.setattr("gitcoord.system.clocks.uptime", lambda at: ran[0])
    coord.clone.clock = lambda: now + 1e8
    beats(coord, 3)
    coord.clone.clock = lambda: now
    assert coord.clone.sweep() == 0
    beats(coord, 1)
    coord.clone.clock = lambda: now + 3700
    ran[0] += 3700
    assert coord.clone.sweep() > 0


def test_beats_leave_few_objects_beside_a_looping_gc(coord: Coord, repo: Path) -> None:
    """GITCOORD_BEATS=100000 is the count of the budget; the clock runs so that the hour of grace is about a second."""
    before = counted(repo)
    stop, failed = threading.Event(), []

    def tidy() -> None:
        while not stop.wait(0.5):
            done = subprocess.run(["git", "-C", repo, "gc", "-q"], capture_output=True, text=True)
            with file_lock(coord.clone.path("lock")):  # fsck calls missing what is written while it looks
                fsck = ["git", "-C", str(repo), "fsck", "--strict", "--no-dangling"]
                checked = subprocess.run(fsck, capture_output=True, text=True)
            failed.extend([done.stderr] if done.returncode else [])
            failed.extend([checked.stderr + checked.stdout] if checked.returncode else [])

    scaled, began = 3600 / 1.5, time.time()
    coord.clone.clock = lambda: began + (time.time() - began) * scaled
    thread = threading.Thread(target=tidy)
    thread.start()
    try:
        beats(coord, BEATS)
    finally:
        stop.set()
        thread.join()
    lying = counted(repo)
    coord.clone.clock = lambda: began + (time.time() - began + 10) * scaled
    coord.clone.sweep()
    after = counted(repo)
    print(f"\n{BEATS} beats in {time.time() - began:.1f} s: {before} before, {lying} at the end, {after} an hour later")
    assert failed == []
    assert after["count"] + after["in-pack"] - before["count"] - before["in-pack"] < 500
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_a_session_gone_for_a_day_gives_up_its_ref_and_leaves_its_last_word(coord: Coord, repo: Path) -> None:
    ref = f"refs/coord/presence/{coord.clone.id}"
    now = time.time()
    coord.sessions.leave()
    assert housekeeping.retire(coord.clone, now + DAY - 60) == []
    assert git(repo, "for-each-ref", ref)
    assert housekeeping.retire(coord.clone, now + DAY + 60) == ["w"]
    assert git(repo, "for-each-ref", ref) == ""
    (event,) = coord.events.log(kind="presence")
    assert (event.author, event.data["session"], event.data["state"]) == ("w", "w", "gone")
    assert housekeeping.retire(coord.clone, now + DAY + 60) == []
    assert [s.session for s in coord.sessions.list()] == [None]


def test_a_session_that_is_only_silent_keeps_its_ref_for_a_day(coord: Coord, repo: Path) -> None:
    now = time.time()
    assert housekeeping.retire(coord.clone, now + DAY - 60) == []
    assert housekeeping.retire(coord.clone, now + DAY + 60) == ["w"]
    coord.sessions.join()
    assert git(repo, "for-each-ref", f"refs/coord/presence/{coord.clone.id}")


def test_presence_is_written_again_after_five_minutes_of_beats(coord: Coord, repo: Path) -> None:
    ref = f"refs/coord/presence/{coord.clone.id}"
    records = Records(coord.clone.repo.coord_dir)
    first = git(repo, "rev-parse", ref)
    record = records.get("w")
    assert record is not None
    housekeeping.refresh(coord.clone, "w", record.published + PUBLISH_EVERY - 1)
    assert git(repo, "rev-parse", ref) == first
    housekeeping.refresh(coord.clone, "w", record.published + PUBLISH_EVERY + 1)
    assert git(repo, "rev-parse", ref) != first
