"""The journal restores lost objects byte for byte, each time with one line that says so."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, Ran, git, make_repo

from gitcoord import Coord
from gitcoord.log import archive
from gitcoord.log.journal import HUGE, KEEP_SECONDS, MAX_SIZE, Journal, JournalPlace
from gitcoord.store.objects import Oid, make_object

Damage = Callable[[Path, str], None]


def sends(repo: Path, *texts: str) -> str:
    """Send from `a` to itself; returns our log's ref."""
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        for text in texts:
            coord.send("a", text)
        return f"refs/coord/log/{coord.clone.id}/0001"


def say(cli: Cli, repo: Path, text: str) -> Ran:
    """Send as `a`, in a process of its own."""
    return cli(repo, "send", "a", text, env={"GIT_COORD_SESSION": "a"})


def tip(repo: Path, ref: str) -> str:
    return git(repo, "rev-parse", ref).strip()


def prune(repo: Path) -> None:
    git(repo, "-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now")


def delete(repo: Path, ref: str) -> None:
    git(repo, "update-ref", "-d", ref)


def delete_and_prune(repo: Path, ref: str) -> None:
    delete(repo, ref)
    prune(repo)


def prune_every_coordination_ref(repo: Path, ref: str) -> None:
    for name in git(repo, "for-each-ref", "--format=%(refname)", "refs/coord").split():
        git(repo, "update-ref", "-d", name)
    prune(repo)


def force_an_older_copy(repo: Path, ref: str) -> None:
    older = make_repo(repo.with_name("older"))
    git(repo, "push", "-q", str(older), f"{ref}~2:{ref}")
    git(repo, "fetch", "-q", str(older), "+refs/coord/*:refs/coord/*")


def force_an_older_copy_and_prune(repo: Path, ref: str) -> None:
    force_an_older_copy(repo, ref)
    prune(repo)


def force_somebody_elses_history(repo: Path, ref: str) -> None:
    git(repo, "update-ref", ref, "HEAD")


def fetch_pruning(repo: Path, ref: str) -> None:
    git(repo, "remote", "add", "empty", str(make_repo(repo.with_name("empty"))))
    git(repo, "config", "--add", "remote.empty.fetch", "+refs/coord/*:refs/coord/*")
    git(repo, "fetch", "-q", "--prune", "empty")
    assert git(repo, "for-each-ref", "refs/coord") == ""


def truncate(repo: Path, ref: str) -> None:
    (repo / ".git" / ref).write_bytes(b"")


def garble(repo: Path, ref: str) -> None:
    (repo / ".git" / ref).write_bytes(b"\0" * 41)


def point_at_nothing(repo: Path, ref: str) -> None:
    (repo / ".git" / ref).write_text("1" * 40 + "\n")


def point_at_a_blob(repo: Path, ref: str) -> None:
    blob = git(repo, "hash-object", "-w", "readme.txt").strip()
    (repo / ".git" / ref).write_text(blob + "\n")


def make_symbolic(repo: Path, ref: str) -> None:
    git(repo, "symbolic-ref", ref, "refs/coord/nowhere")


def empty_the_newest_object(repo: Path, ref: str) -> None:
    oid = tip(repo, ref)
    path = repo / ".git/objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(b"")
    (repo / ".git/coord/checked").unlink(missing_ok=True)


DAMAGES = [
    delete, delete_and_prune, prune_every_coordination_ref, force_an_older_copy, force_an_older_copy_and_prune,
    force_somebody_elses_history, fetch_pruning, truncate, garble, point_at_nothing, point_at_a_blob, make_symbolic,
    empty_the_newest_object,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", ["send", "log"])
def test_the_next_command_restores_our_log(repo: Path, cli: Cli, damage: Damage, command: str) -> None:
    if command == "log" and damage is empty_the_newest_object:
        pytest.skip("a read with nothing new opens no object")
    ref = sends(repo, "one", "two", "three")
    before = tip(repo, ref)
    damage(repo, ref)
    ran = say(cli, repo, "four") if command == "send" else cli(repo, "log", "--type", "message")
    assert ran.code == 0, ran
    assert tip(repo, f"{ref}~1" if command == "send" else ref) == before
    assert any(line.startswith("warning: restored ") for line in ran.err.splitlines()), ran
    assert git(repo, "log", "--reverse", "--format=%s", ref).split()[2:5] == ["one", "two", "three"]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert cli(repo, "log", "--type", "message").err == ""


def test_an_object_pruned_beside_a_writer_comes_back(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one", "two", "three")
    for oid in tip(repo, ref), tip(repo, f"{ref}~1"):
        (repo / ".git/objects" / oid[:2] / oid[2:]).unlink()
    assert subprocess.run(["git", "-C", repo, "gc", "-q"], capture_output=True).returncode != 0
    (repo / ".git/coord/checked").unlink(missing_ok=True)
    ran = say(cli, repo, "four")
    assert (ran.code, ran.err) == (0, "warning: restored 2 objects\n")
    git(repo, "gc", "-q")
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_a_log_ahead_of_its_journal_is_left_as_it_is(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one", "two")
    journal = repo / ".git/coord/journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]))  # the writer died between the ref and the note
    before = tip(repo, ref)
    ran = say(cli, repo, "three")
    assert (ran.code, ran.err) == (0, "")
    assert tip(repo, f"{ref}~1") == before


def test_without_a_journal_the_index_knows_where_the_log_was(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one", "two")
    before = tip(repo, ref)
    (repo / ".git/coord/journal").unlink()
    delete(repo, ref)
    ran = say(cli, repo, "three")
    assert ran.code == 0
    assert tip(repo, f"{ref}~1") == before


def test_a_torn_journal_restores_what_is_whole(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one", "two")
    with (repo / ".git/coord/journal").open("ab") as file:
        file.write(b"o commit 0123")
    ref = sends(repo, "three")
    before = tip(repo, ref)
    delete_and_prune(repo, ref)
    assert say(cli, repo, "four").code == 0
    assert tip(repo, f"{ref}~1") == before


def test_a_journal_full_of_rubbish_harms_nothing(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one")
    before = tip(repo, ref)
    rubbish = b"\0" * 300 + b"\nt x=y refs/coord/log/a/b=0\no commit 00 !!\no tree " + b"0" * 40 + b" aGVsbG8=\n"
    (repo / ".git/coord/journal").write_bytes(rubbish + os.urandom(2000))
    ran = say(cli, repo, "two")
    assert ran.code == 0, ran
    assert tip(repo, f"{ref}~1") == before


def test_a_corrupt_line_of_the_journal_is_never_written_to_git(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one", "two")
    journal = repo / ".git/coord/journal"
    journal.write_bytes(journal.read_bytes().replace(b"o commit", b"o blob", 3))
    (repo / ".git/coord/index.sqlite").unlink()
    before = tip(repo, ref)
    delete_and_prune(repo, ref)
    ran = say(cli, repo, "three")
    assert ran.code == 0
    assert before not in git(repo, "rev-list", ref)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


@pytest.mark.parametrize("began", [b"1000000000", b"9000000000"], ids=["long ago", "before the clock jumped back"])
def test_the_journal_begins_anew_after_a_day_and_still_restores(repo: Path, cli: Cli, began: bytes) -> None:
    ref = sends(repo, "one")
    journal = repo / ".git/coord/journal"
    journal.write_bytes(b"journal 1 " + began + b"\n" + journal.read_bytes().split(b"\n", 1)[1])
    sends(repo, "two")
    assert not journal.read_bytes().startswith(b"journal 1 " + began)
    before = tip(repo, ref)
    delete_and_prune(repo, ref)
    assert say(cli, repo, "three").code == 0
    assert tip(repo, f"{ref}~1") == before


def test_ids_after_a_place_are_those_added_since(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    first, second = (make_object("blob", text, "sha1") for text in (b"1", b"2"))
    journal.add([first])
    _, end = journal.ids_after(None)
    journal.add([second])
    journal.note({"refs/coord/log/a/0001": Oid("0" * 40)})
    found, _ = journal.ids_after(end)
    assert [oid for _, oid in found] == [second.oid]
    assert [item.oid for item in journal.objects(end)] == [second.oid]
    assert [oid for _, oid in journal.ids_after(JournalPlace(0, 99))[0]] == [first.oid, second.oid]


TIPS = {"refs/coord/log/a/0001": Oid("0" * 40)}


def begin_at(journal: Journal, at: int) -> None:
    """Let the newest file have begun at `at` (Unix seconds)."""
    file = Path(journal.path)
    _, rest = file.read_bytes().split(b"\n", 1)
    file.write_bytes(b"journal 1 %d\n" % at + rest)


def test_a_rotated_journal_keeps_the_last_day(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    items = [make_object("blob", b"%d" % n, "sha1") for n in range(3)]
    began = 1_000_000
    for number, item in enumerate(items):
        journal.add([item])
        journal.note(TIPS)
        begin_at(journal, began + number * KEEP_SECONDS)
        assert journal.rotate(began + (number + 1) * KEEP_SECONDS) is False
        assert journal.rotate(began + (number + 1) * KEEP_SECONDS + 1) is True
        assert journal.tips() == TIPS
        assert [kept.oid for kept in journal.objects()] == [item.oid]


def fill(journal: Journal, size: int, seed: int = 0) -> list[Oid]:
    """Objects that make so many bytes of the newest file."""
    oids = []
    while not os.path.exists(journal.path) or os.path.getsize(journal.path) <= size:
        item = make_object("commit", b"%d %d " % (seed, len(oids)) + b"word " * 400, "sha1")
        journal.add([item])
        oids.append(item.oid)
    journal.note(TIPS)
    return oids


def test_a_large_journal_is_archived_up_to_what_is_packed_and_takes_a_tenth_then(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    oids = fill(journal, MAX_SIZE)
    places = {oid: place for place, oid in journal.ids_after(None)[0]}
    assert journal.rotate(time.time()) is False
    assert journal.rotate(time.time(), lambda: JournalPlace(places[oids[5]].serial, places[oids[5]].offset)) is False
    packed = places[oids[-11]]
    assert journal.rotate(time.time(), lambda: packed) is True
    assert os.path.getsize(journal.old_path) < MAX_SIZE / 10
    assert journal.tips() == TIPS
    assert [item.oid for item in journal.objects()] == oids
    assert all(make_object(item.kind, item.data, "sha1").oid == item.oid for item in journal.objects())
    assert [oid for _, oid in journal.ids_after(packed)[0]] == oids[-10:]
    assert [item.oid for item in journal.objects(packed)] == oids[-10:]
    assert [oid for _, oid in journal.ids_after(places[oids[-20]])[0]] == oids[-19:]
    assert journal.has(oids)
    assert journal.written([oids[0], oids[-1], Oid("1" * 40)]) == {oids[0], oids[-1]}


def test_nothing_is_waited_for_when_the_journal_is_huge(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.add([make_object("blob", os.urandom(HUGE), "sha1")])
    assert journal.rotate(time.time()) is True
    assert os.path.getsize(journal.path) < 1000


def test_what_was_redacted_is_in_no_part_of_the_journal(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    old = fill(journal, HUGE)
    assert journal.rotate(time.time())
    new = fill(journal, 10_000, seed=1)
    journal.scrub([old[3], new[1]])
    assert [item.oid for item in journal.objects()] == [oid for oid in [*old, *new] if oid not in (old[3], new[1])]
    assert journal.tips() == TIPS


@pytest.mark.parametrize("end", [0, 1, 20, 60, 900, -200, -1])
def test_a_torn_archive_gives_what_is_whole_and_is_written_anew(tmp_path: Path, end: int) -> None:
    journal = Journal(str(tmp_path))
    for seed in range(2):
        fill(journal, HUGE, seed)
        assert journal.rotate(time.time())
    path = Path(journal.old_path)
    path.write_bytes(path.read_bytes()[:end] if end else b"\0" * 5000)
    whole = [item.oid for item in journal.objects()]
    oids = fill(journal, HUGE, 2)
    assert journal.rotate(time.time())
    assert [item.oid for item in journal.objects()] == [*whole, *oids]
    assert archive.read(journal.old_path)[1]


def test_a_writer_that_is_killed_between_archive_and_new_file_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(str(tmp_path))
    oids = fill(journal, HUGE)
    monkeypatch.setattr(journal, "_begin", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        journal.rotate(time.time())
    again = Journal(str(tmp_path))
    assert {item.oid for item in again.objects()} == set(oids)
    assert again.rotate(time.time())
    assert again.tips() == TIPS
    assert {item.oid for item in again.objects()} == set(oids)


def test_events_of_a_large_journal_come_back_after_a_fetch_that_prunes(repo: Path, cli: Cli) -> None:
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        for number in range(5):
            coord.send("a", f"with file {number}", attachments={"file.txt": os.urandom(1_000_000)})
        ref = f"refs/coord/log/{coord.clone.id}/0001"
        assert os.path.exists(coord.clone.journal.old_path)
    before = tip(repo, ref)
    (repo / ".git/coord/index.sqlite").unlink()
    delete_and_prune(repo, ref)
    assert say(cli, repo, "after").code == 0
    assert tip(repo, f"{ref}~1") == before
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


# a hole that nothing can fill


def lose(repo: Path, oid: str) -> None:
    """Remove an object from git that is older than the journal."""
    (repo / ".git/objects" / oid[:2] / oid[2:]).unlink()
    for name in ("journal", "index.sqlite"):
        (repo / ".git/coord" / name).unlink()


@pytest.mark.parametrize("command", ["send", "search"])
def test_over_a_hole_that_nothing_can_fill_the_log_goes_on_in_a_new_epoch(repo: Path, cli: Cli, command: str) -> None:
    ref = sends(repo, "one", "two", "three")
    with Coord.open(repo, as_name="a") as coord:
        coord.send("a", "four", attachments={"file.txt": b"data"})
    ids = git(repo, "log", "-3", "--format=%H", ref).split()
    lose(repo, tip(repo, f"{ref}~3"))  # "one"
    ran = say(cli, repo, "five") if command == "send" else cli(repo, "search", "o")
    assert ran.code == 0, ran
    assert "3 events were carried into a new epoch" in ran.err
    with Coord.open(repo, as_name="a") as coord:
        expected = ["two", "three", "four", *(["five"] if command == "send" else [])]
        assert [event.text for event in reversed(coord.events.log(kind="message"))] == expected
        assert [event.id for event in coord.events.log(kind="message")][-3:] == ids
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split() == [ref[:-1] + "2"]
    git(repo, "gc", "-q", "--prune=now")
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert git(repo, "show", f"{ref[:-1]}2^{{/The log continues}}:{ids[0]}.files/file.txt") == "data"
    (repo / ".git/coord/index.sqlite").unlink()
    again = say(cli, repo, "six")
    assert (again.code, again.err) == (0, "")
    with Coord.open(repo, as_name="a") as coord:
        assert [event.text for event in reversed(coord.events.log(kind="message"))] == [*expected, "six"]


def test_a_log_that_is_gone_for_good_begins_again(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one", "two")
    journal = repo / ".git/coord/journal"
    note = journal.read_bytes().splitlines(keepends=True)[-1]
    journal.write_bytes(b"journal 1 1000000000\n" + note)
    (repo / ".git/coord/index.sqlite").unlink()
    delete_and_prune(repo, ref)
    ran = cli(repo, "log")
    assert (ran.code, ran.err) == (0, f"warning: {ref} is lost for good: git has none of its events any more\n")
    assert journal.read_bytes().endswith(b"t \n")
    assert say(cli, repo, "three").code == 0
    with Coord.open(repo, as_name="a") as coord:
        assert [event.text for event in coord.events.log(kind="message")] == ["three"]
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_after_a_power_loss_what_the_journal_lost_is_still_ours(repo: Path) -> None:
    """The ref and the objects came to the disk, the end of the journal did not."""
    with Coord.open(repo) as coord:
        coord.sessions.join("a")
        coord.notes.add("one")
        journal = Path(coord.clone.journal.path)
        kept = journal.read_bytes()
        coord.notes.add("two")
    journal.write_bytes(kept)
    with Coord.open(repo) as coord:
        assert [note.text for note in coord.notes.list()] == ["two", "one"]
        coord.notes.add("three")
        assert [note.text for note in coord.notes.list()] == ["three", "two", "one"]
        assert coord.clone.mended == []


def test_a_clock_that_is_set_wrong_and_right_again_drops_nothing(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its clock alone the journal was old each time, and of two rotations the second drops what the first put aside."""
    real = time.time
    for step in (0, -90_000, 0, -90_000, 0, 7200):
        monkeypatch.setattr(time, "time", lambda step=step: real() + step)
        with Coord.open(repo, as_name="w") as coord:
            coord.notes.add(f"at {step}")
    with Coord.open(repo, as_name="w") as coord:
        kept = {item.oid for item in coord.clone.journal.objects()}
        assert {event.id for event in coord.events.log(kind="note", limit=99)} <= kept
