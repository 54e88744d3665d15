"""redact and gc: removed events are gone, the others stay as they were, here and in other clones."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from byhand import allow, exchange, make_clones, make_key, sign_with
from clones import clone_id
from conftest import Cli, git, make_repo
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord, Refused, UsageError
from gitcoord.features import REGISTRY
from gitcoord.log import retention
from gitcoord.log.index import Index
from gitcoord.sessions import housekeeping
from gitcoord.system.lock import file_lock

DAY = 24 * 3600
SECRET = "hunter2 is the password"


def texts(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        return [note.text for note in coord.notes.list(limit=1000)]


def coord_refs(where: Path) -> list[str]:
    found = git(where, "for-each-ref", "--format=%(refname)", "refs/coord/log", "refs/coord/local").splitlines()
    return [ref.removeprefix("refs/coord/") for ref in found]


def content(index: Index) -> dict[str, list[Any]]:
    """All that is in an index, but for the order in which it came."""
    in_hand = ("intake", "newly_signed", "heard", "presence")  # the last two are no refs here
    tables = [
        name for (name,) in index.db.execute("SELECT name FROM sqlite_master WHERE type = 'table'") if name not in in_hand
    ]
    found = {}
    for name in tables:
        columns = [row[1] for row in index.db.execute(f"PRAGMA table_info({name})") if row[1] not in ("seq", "seen")]
        rows = index.db.execute(f"SELECT {', '.join(columns)} FROM {name}").fetchall()
        found[name] = sorted(rows, key=repr)
    return found


def assert_index_is_what_the_refs_say(coord: Coord) -> None:
    coord.clone.read(lambda db: None)
    with TemporaryDirectory() as elsewhere:
        anew = Index(elsewhere, REGISTRY, frozenset(), lambda: coord.clone.id)
        anew.refresh(coord.clone.store, coord.clone.store.tips())
        assert content(coord.clone.index) == content(anew)
        anew.close()


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    (ada,) = make_clones(tmp_path, "ada")
    return ada


# redact


def everything_of_git(where: Path) -> bytes:
    """Everything that can be read in the files of a repository and in its objects, packed or not."""
    files = b"".join(path.read_bytes() for path in sorted((where / ".git/coord").rglob("*")) if path.is_file())
    objects = subprocess.run(
        ["git", "-C", str(where), "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
    ).stdout
    return files + objects


def test_a_redacted_note_is_nowhere_once_git_has_pruned(ada: Path, cli: Cli) -> None:
    import base64

    with Coord.open(ada) as coord:
        before, oid, after = coord.notes.add("before"), coord.notes.add(SECRET), coord.notes.add("after")
        sent = coord.send("ada", "with a file", attachments={"keys.txt": b"attached secret"})
    assert SECRET.encode() in everything_of_git(ada)
    ran = cli(ada, "redact", oid[:8])
    assert ran.code == 0 and ran.out == (
        f"{oid[:10]} is redacted; the log continues with 4 events.\n"
        "No sync of this clone has sent it; copies may exist where it was pushed by hand or backed up.\n"
        "Its object stays in this repository until git prunes it: git gc --prune=now does so at once.\n"
    )
    assert texts(ada) == ["after", "before"]
    with Coord.open(ada) as coord:
        assert {e.id for e in coord.events.log(limit=100)} >= {before, after, sent.id}, "ids never change"
        assert_index_is_what_the_refs_say(coord)
    assert coord_refs(ada) == [f"log/{clone_id(ada)}/0002"]
    git(ada, "gc", "-q", "--prune=now")
    left = everything_of_git(ada)
    encoded = [base64.b64encode(b"x" * shift + SECRET.encode())[4:-4] for shift in range(3)]
    assert SECRET.encode() not in left and not any(piece in left for piece in encoded)
    assert b"attached secret" in left, "and what stays, stays"
    assert cli(ada, "note", "goes on").code == 0
    assert texts(ada) == ["goes on", "after", "before"]
    assert git(ada, "fsck", "--strict", "--no-dangling") == ""


def test_the_attachment_of_a_redacted_message_goes_with_it(ada: Path) -> None:
    with Coord.open(ada) as coord:
        gone = coord.send("ada", "a", attachments={"a.txt": b"only in the first", "b.txt": b"in both"})
        coord.send("ada", "b", attachments={"b.txt": b"in both"})
        coord.events.redact(gone.id)
    git(ada, "gc", "-q", "--prune=now")
    left = everything_of_git(ada)
    assert b"only in the first" not in left and b"in both" in left


def test_a_local_message_is_redacted_in_the_local_log(ada: Path, cli: Cli) -> None:
    with Coord.open(ada) as coord:
        oid = coord.send("ada", SECRET, local=True).id
    assert cli(ada, "redact", oid, "--json").out == json.dumps({"id": oid, "carried": 0, "sent": False}) + "\n"
    (left,) = (ada / ".git/coord/local").iterdir()
    assert left.name == f"{clone_id(ada)}.0002" and coord_refs(ada) == [f"log/{clone_id(ada)}/0001"]
    assert "hunter2" not in cli(ada, "log").out


def test_what_cannot_be_redacted_says_why(tmp_path: Path, cli: Cli) -> None:
    ada, bob = make_clones(tmp_path, "ada", "bob")
    with Coord.open(bob) as coord:
        theirs = coord.notes.add("bob's")
    exchange(ada, bob)
    before = git(ada, "for-each-ref")
    ran = cli(ada, "redact", theirs)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {theirs[:10]} belongs to {clone_id(bob)}\nhint: a clone redacts its own")
    assert cli(ada, "redact", "abcdef12").code == 2
    assert git(ada, "for-each-ref") == before


def test_redacting_twice_carries_on(ada: Path) -> None:
    with Coord.open(ada) as coord:
        ids = [coord.notes.add(f"note {n}") for n in range(6)]
        coord.events.redact(ids[1])
        ids.append(coord.notes.add("between"))
        coord.events.redact(ids[4])
        coord.events.redact(ids[6])
        assert [n.id for n in coord.notes.list()] == [ids[5], ids[3], ids[2], ids[0]]
        with pytest.raises(UsageError, match="no event has the id"):
            coord.events.redact(ids[1])
        assert_index_is_what_the_refs_say(coord)
    assert coord_refs(ada) == [f"log/{clone_id(ada)}/0004"]


@pytest.mark.parametrize("crash", ["after the root", "after the old ref"])
def test_a_crash_in_the_middle_leaves_it_done(
    ada: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    from gitcoord.log import rollover
    from gitcoord.log.journal import Journal

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with Coord.open(ada) as coord:
        oid = coord.notes.add(SECRET)
        coord.notes.add("after")
        with monkeypatch.context() as patched:
            patched.setattr(*((rollover, "drop_refs") if crash == "after the root" else (Journal, "note")), die)
            with pytest.raises(Killed):
                coord.events.redact(oid)
    assert texts(ada) == ["after"]
    assert cli(ada, "sync").code == 0
    assert coord_refs(tmp_path / "remote.git") == coord_refs(ada) == [f"log/{clone_id(ada)}/0002"]
    with Coord.open(ada) as coord:
        coord.notes.add("and on")
        assert [n.text for n in coord.notes.list()] == ["and on", "after"]
        assert_index_is_what_the_refs_say(coord)


def test_a_process_that_knew_the_old_epoch_does_not_bring_it_back(ada: Path) -> None:
    with Coord.open(ada) as old, Coord.open(ada) as other:
        oid = other.notes.add(SECRET)
        assert [n.text for n in old.notes.list()] == [SECRET]
        other.events.redact(oid)
        old.notes.add("from the old one")
        assert [n.text for n in old.notes.list()] == [n.text for n in other.notes.list()] == ["from the old one"]
    assert coord_refs(ada) == [f"log/{clone_id(ada)}/0002"]


WRITER = """
import sys
from gitcoord import Coord
with Coord.open(sys.argv[1]) as coord:
    for number in range(int(sys.argv[3])):
        coord.notes.add(f"{sys.argv[2]} {number}")
"""


def test_nothing_is_lost_when_others_write_meanwhile(ada: Path) -> None:
    argv = [sys.executable, "-c", WRITER, str(ada)]
    writers = [subprocess.Popen([*argv, f"w{n}", "40"]) for n in range(3)]
    try:
        with Coord.open(ada) as coord:
            gone = []
            while any(writer.poll() is None for writer in writers):
                gone.append(coord.notes.add("to go"))
                coord.events.redact(gone[-1])
                coord.repository.gc()
            assert [writer.wait() for writer in writers] == [0, 0, 0]
            expected = sorted(f"w{n} {number}" for n in range(3) for number in range(40))
            assert sorted(n.text for n in coord.notes.list(limit=1000)) == expected
            assert len(gone) > 2
            assert_index_is_what_the_refs_say(coord)
    finally:
        for writer in writers:
            writer.kill()


def test_others_drop_what_was_redacted_with_the_next_sync(tmp_path: Path, cli: Cli) -> None:
    ada, bob = make_clones(tmp_path, "ada", "bob")
    remote = tmp_path / "remote.git"
    for where in (ada, bob, ada):
        assert cli(where, "sync").code == 0
    own = clone_id(ada)
    with Coord.open(ada) as coord:
        secret = coord.send(f"bob@{clone_id(bob)}", SECRET).id
        kept = coord.send(f"bob@{clone_id(bob)}", "kept").id
        coord.clone.keeps_to_itself = True
    for where in (ada, bob):
        assert cli(where, "sync").code == 0
    assert "hunter2" in cli(bob, "inbox", "--peek").out
    ran = cli(ada, "redact", secret)
    assert "It was sent: git coord sync deletes it at the remote," in ran.out
    assert cli(ada, "sync").code == 0
    assert [ref for ref in coord_refs(remote) if own in ref] == [f"log/{own}/0002"]
    for _ in range(2):
        ran = cli(bob, "sync", "--json")
        assert ran.code == 0 and json.loads(ran.out)["refused"] == []
        assert [ref for ref in coord_refs(bob) if own in ref] == [f"log/{own}/0002"]
    ran = cli(bob, "inbox", "--json")
    assert [m["id"] for m in json.loads(ran.out)] == [kept]
    assert "trust " not in cli(bob, "status").out
    assert cli(ada, "sync").code == 0
    assert clone_id(ada) == own, "our own old epoch at a remote is no reason for a new name"
    subprocess.run(["git", "-C", str(remote), "gc", "-q", "--prune=now"], check=True)
    assert (
        b"hunter2"
        not in subprocess.run(
            ["git", "-C", str(remote), "cat-file", "--batch-all-objects", "--batch"], capture_output=True, check=True
        ).stdout
    )


def test_a_redaction_before_the_first_sync_never_leaves(tmp_path: Path, cli: Cli) -> None:
    (ada,) = make_clones(tmp_path, "ada")
    with Coord.open(ada) as coord:
        coord.events.redact(coord.notes.add(SECRET))
    assert cli(ada, "sync").code == 0
    assert (
        b"hunter2"
        not in subprocess.run(
            ["git", "-C", str(tmp_path / "remote.git"), "cat-file", "--batch-all-objects", "--batch"],
            capture_output=True,
            check=True,
        ).stdout
    )


def test_an_epoch_of_a_signer_that_nobody_signed_is_said_and_the_old_log_is_kept(tmp_path: Path, cli: Cli) -> None:
    """A remote can put an empty epoch in place of the log of a clone that signs."""
    ada, bob = make_clones(tmp_path, "ada", "bob")
    key = make_key(tmp_path, "key")
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    with Coord.open(ada) as coord:
        coord.notes.add("signed")
    for where in (ada, bob):
        assert cli(where, "sync").code == 0
    assert "trust " not in cli(bob, "status").out
    own = clone_id(ada)
    _forge_epoch(tmp_path / "remote.git", own)
    assert cli(bob, "sync").code == 0
    (line,) = [x for x in cli(bob, "status").out.splitlines() if x.startswith("trust")]
    assert f"trust   {own}: it signed with SHA256:" in line and "since then" in line and "not signed" in line
    assert f"log/{own}/0001" in coord_refs(bob)


def _forge_epoch(where: Path, own: str) -> None:
    from gitcoord.log.event import Draft, Envelope, encode
    from gitcoord.store.objects import make_object, make_tree

    envelope = Envelope(10**6, own, "m@example.org", "M <m@example.org>", 1_700_000_000)
    draft = Draft("epoch", "begins anew", {"carried": 0, "lowest": 2}, author=own)
    root = make_object("commit", encode(draft, envelope, make_tree({}, "sha1").oid, None), "sha1")
    argv = ["git", "-C", str(where), "hash-object", "-w", "-t", "commit", "--stdin"]
    subprocess.run(argv, input=root.data, check=True, capture_output=True)
    git(where, "update-ref", f"refs/coord/log/{own}/0002", root.oid)


def test_a_redacted_log_can_be_signed_and_verified(tmp_path: Path, cli: Cli) -> None:
    ada, bob = make_clones(tmp_path, "ada", "bob")
    key = make_key(tmp_path, "key")
    sign_with(ada, key)
    allow(bob, tmp_path / "allowed", ada=key)
    with Coord.open(ada) as coord:
        kept, gone = coord.notes.add("kept"), coord.notes.add(SECRET)
    for where in (ada, bob):
        assert cli(where, "sync").code == 0
    assert cli(ada, "redact", gone).code == 0
    for where in (ada, bob):
        assert cli(where, "sync").code == 0
    with Coord.open(bob) as coord:
        assert coord.trust.signatures([kept])[kept].state == "verified"
    assert "trust " not in cli(bob, "status").out


# gc


def at_time(coord: Coord, days_ago: float) -> None:
    now = time.time()
    coord.clone.clock = lambda: now - days_ago * DAY


def test_what_ended_long_ago_goes_and_the_rest_stays(ada: Path, cli: Cli) -> None:
    with Coord.open(ada) as coord:
        at_time(coord, 200)
        old_note, unread = coord.notes.add("old note"), coord.send("ada", "unread").id
        read = coord.send("ada", "read").id
        done, still = coord.tasks.add("done"), coord.tasks.add("still open")
        coord.tasks.claim(done.id)
        coord.tasks.done(done.id)
        reopened = coord.tasks.add("finished lately")
        coord.state.set("plan", "first"), coord.state.set("plan", "second"), coord.state.set("plan", "third")
        for _ in range(5):
            coord.numbers.allocate("migrations")
        coord.locks.take(["a.py"], ttl=3600)
        coord.locks.take(["b.py"], ttl=300 * DAY)
        coord.messages.receive()
        again = coord.send("ada", "unread, too").id
        at_time(coord, 1)
        coord.tasks.done(reopened.id)
        young = coord.notes.add("young note")
        found = coord.repository.gc()
        assert found.dropped > 8 and found.kept > 5
        ids = {e.id for e in coord.events.log(limit=1000)}
        assert {still.id, again, young, reopened.id} <= ids
        assert not {old_note, read, unread, done.id} & ids
        assert [t.title for t in coord.tasks.list(everything=True)] == ["still open", "finished lately"]
        assert coord.state.show()["plan"].text == "third"
        assert coord.numbers.allocate("migrations").number == 6
        assert [m.text for m in coord.messages.receive().messages] == ["unread, too"]
        assert [k.patterns for k in coord.locks.held()] == [("/b.py",)]
        assert_index_is_what_the_refs_say(coord)
    ran = cli(ada, "gc", "--json")
    assert ran.code == 0 and json.loads(ran.out)["dropped"] == 2, "the mail that was read since, the number before the last"
    assert cli(ada, "gc").out == "Nothing to drop.\n"


def test_what_we_did_to_anothers_task_and_mail_stays(tmp_path: Path, cli: Cli) -> None:
    ada, bob = make_clones(tmp_path, "ada", "bob")
    exchange(ada, bob)
    with Coord.open(bob) as coord:
        at_time(coord, 200)
        task = coord.tasks.add("bob's").id
        mail = coord.send(f"ada@{clone_id(ada)}", "hello").id
    exchange(bob, ada)
    with Coord.open(ada) as coord:
        at_time(coord, 199)
        coord.tasks.claim(task)
        coord.tasks.done(task)
        coord.messages.receive()
        coord.repository.gc()
        assert coord.tasks.show(task).status == "done"
        assert coord.messages.receive().messages == ()
        assert mail in {m.id for m in coord.messages.receive(everything=True).messages}
        assert_index_is_what_the_refs_say(coord)


# both, in any order, next to everything else


def _note(coord: Coord, n: int) -> None:
    coord.notes.add(f"note {n}")


def _send(coord: Coord, n: int) -> None:
    coord.send("w", f"message {n}", needs_ack=n % 3 == 0)


def _read(coord: Coord, n: int) -> None:
    coord.messages.receive(limit=2)


def _task(coord: Coord, n: int) -> None:
    coord.tasks.add(f"task {n}")


def _finish(coord: Coord, n: int) -> None:
    open_tasks = coord.tasks.list()
    if open_tasks:
        coord.tasks.done(open_tasks[n % len(open_tasks)].id)


def _lock(coord: Coord, n: int) -> None:
    with suppress(Refused):
        coord.locks.take([f"f{n % 3}.py"], ttl=[60, 10**6][n % 2])


def _unlock(coord: Coord, n: int) -> None:
    if coord.locks.held():
        coord.locks.release([], everything=True)


def _set(coord: Coord, n: int) -> None:
    coord.state.set(f"k{n % 2}", str(n))


def _alloc(coord: Coord, n: int) -> None:
    coord.numbers.allocate("s")


def _redact(coord: Coord, n: int) -> None:
    found = coord.events.log(kind="note", limit=100)
    if found:
        coord.events.redact(found[n % len(found)].id)


STEPS: list[Callable[[Coord, int], None]] = [
    _note, _send, _read, _task, _finish, _lock, _unlock, _set, _alloc, _redact,
]  # fmt: skip


def living_view(coord: Coord) -> dict[str, Any]:
    """The state that a gc must not change."""
    return {
        "tasks": [(t.id, t.status, t.holder, t.priority) for t in coord.tasks.list()],
        "unread": [m.id for m in coord.inbox(limit=1000).messages],
        "state": {key: value.text for key, value in coord.state.show().items()},
        "locks": sorted((k.id, k.patterns) for k in coord.locks.held()),
        "number": coord.clone.read(lambda db: db.execute("SELECT max(number) FROM allocations").fetchone()[0]),
        "sessions": sorted(str(s.session) for s in coord.sessions.list()),
    }


@given(st.lists(st.tuples(st.sampled_from([*STEPS, None]), st.integers(0, 20)), max_size=14))
@examples(25, suppress_health_check=[HealthCheck.too_slow])
def test_a_gc_at_any_time_changes_nothing_that_lives(steps: list[tuple[Callable[[Coord, int], None] | None, int]]) -> None:
    with TemporaryDirectory() as directory:
        repo = make_repo(Path(directory) / "r")
        with Coord.open(repo) as coord:
            coord.sessions.join("w")
            for step, number in steps:
                if step is not None:
                    step(coord, number)
                    continue
                before = living_view(coord)
                coord.repository.gc(keep=0)
                assert living_view(coord) == before
                assert_index_is_what_the_refs_say(coord)
            before = living_view(coord)
            coord.repository.gc(keep=-10)
            assert living_view(coord) == before
            assert_index_is_what_the_refs_say(coord)
            assert coord.repository.gc(keep=-10).dropped == 0
            with file_lock(coord.clone.path("lock")):
                assert len(git(repo, "for-each-ref", "refs/coord/log").splitlines()) == 1


def test_keep_0_drops_all_that_has_ended_and_nothing_else(repo: Path, cli: Cli) -> None:
    env = {"GIT_COORD_SESSION": "w"}
    for args in (["join"], ["note", "old"], ["task", "add", "open"], ["lock", "a.txt"], ["send", "w", "unread"]):
        assert cli(repo, *args, env=env).code == 0
    time.sleep(1.1)  # whole seconds are kept
    ran = cli(repo, "gc", "--keep", "0", env=env)
    assert ran.code == 0 and ran.out.startswith("Dropped "), ran
    assert cli(repo, "notes", env=env).out == "No notes.\n"
    assert "open" in cli(repo, "tasks", env=env).out and "a.txt" in cli(repo, "locks", env=env).out
    assert "unread" in cli(repo, "inbox", env=env).out
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_gc_runs_by_itself_where_most_of_a_log_is_over(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "WORTH_IT", 10)
    now = time.time()
    with Coord.open(ada, as_name="w") as coord:
        coord.sessions.join()
        coord.clone.clock = lambda: now - 100 * DAY
        for number in range(12):
            coord.notes.add(f"old {number}")
        coord.clone.clock = lambda: now
        coord.notes.add("new")
        before = coord_refs(ada)
        housekeeping.refresh(coord.clone, now=now)
        assert coord_refs(ada) == [f"log/{clone_id(ada)}/0002"] != before
        assert "new" in texts(ada) and "old 3" not in texts(ada)
        coord.clone.clock = lambda: now - 100 * DAY
        for number in range(30):
            coord.notes.add(f"again {number}")
        coord.clone.clock = lambda: now
        housekeeping.refresh(coord.clone, now=now + DAY)
        assert len(texts(ada)) == 31, "once a week"
        housekeeping.refresh(coord.clone, now=now + 8 * DAY)
        assert texts(ada) == ["new"]


def test_gc_by_itself_leaves_a_log_of_which_most_lives(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "WORTH_IT", 10)
    now = time.time()
    with Coord.open(ada, as_name="w") as coord:
        coord.clone.clock = lambda: now - 100 * DAY
        for number in range(30):
            coord.tasks.add(f"open since long {number}")
        for number in range(12):
            coord.notes.add(f"old {number}")
        before = coord_refs(ada)
        assert retention.gc_by_itself(coord.clone, now).dropped == 0
        assert coord_refs(ada) == before
