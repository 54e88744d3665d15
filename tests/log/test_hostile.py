"""Clones and remotes that lie and break things: nothing crashes, nothing of theirs is trusted, and the culprit is named.
Mallory has the rights of every collaborator, and may push everything that git takes. Half of the time the victim uses plain
git with a configuration that fetches everything by force."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from byhand import make_clones, write_object
from clones import clone_id
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.log import incidents
from gitcoord.log.clock import FREE
from gitcoord.log.event import MAX_CLOCK, Draft, Envelope, encode
from gitcoord.names import is_name
from gitcoord.store import open_store, transport
from gitcoord.store.objects import GitObject, Oid, make_object, make_tree
from gitcoord.store.ref_names import owner
from gitcoord.sync import incoming
from gitcoord.sync.link import linked

EMPTY = make_tree({}, "sha1")
MALLORY = "mallory-0badc0de"
LOG = f"refs/coord/log/{MALLORY}/0001"
EVERYTHING = "+refs/coord/*:refs/coord/*"


def event(text: str, lc: int, parent: Oid | None = None, kind: str = "note", clone: str = MALLORY, author: str = "m",
          tree: Oid = EMPTY.oid, **data: Any) -> GitObject:  # fmt: skip
    envelope = Envelope(lc, clone, "m@example.org", "M <m@example.org>", 1_700_000_000)
    return make_object("commit", encode(Draft(kind, text, data, author=author), envelope, tree, parent), "sha1")


def chain(*texts: str, first: int = 1, step: int = 1, **options: Any) -> list[GitObject]:
    found: list[GitObject] = []
    for number, text in enumerate(texts):
        found.append(event(text, first + number * step, found[-1].oid if found else None, **options))
    return found


def put(where: Path, ref: str, *objects: GitObject) -> None:
    """Write Mallory's objects, the last of them on a ref, past git's own checks."""
    raw = b""
    for number, item in enumerate((EMPTY, *objects), 1):
        if item.kind == "tree":
            git_object(where, item)
        elif item.kind == "blob":
            raw += b"blob\nmark :%d\ndata %d\n%s\n" % (number, len(item.data), item.data)
        else:
            git_object(where, item)
    if raw:
        subprocess.run(["git", "-C", str(where), "fast-import", "--quiet"], input=raw, check=True)
    git(where, "update-ref", ref, objects[-1].oid)


def git_object(where: Path, item: GitObject) -> None:
    assert write_object(where, item.kind, item.data) == item.oid


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    """A clone that has coordinated with the remote."""
    (ada,) = make_clones(tmp_path, "ada")
    with Coord.open(ada) as coord:
        coord.notes.add("ada was here")
        coord.clone.read(lambda db: None)
    git(ada, "push", "-q", "origin", f"refs/coord/log/{clone_id(ada)}/*")
    return ada


@pytest.fixture
def remote(ada: Path) -> Path:
    return ada.parent / "remote.git"


@pytest.fixture(autouse=True)
def users_git_goes_on(ada: Path) -> Iterator[None]:
    """Check that the user's own commands still work, with our refs here, without an error or a warning."""
    yield
    assert git(ada, "fsck", "--strict", "--no-dangling", "--connectivity-only") == ""
    git(ada, "gc", "-q")
    git(ada, "fetch", "-q", "origin")
    (ada / "new.txt").write_text("x")
    git(ada, "add", "new.txt")
    git(ada, "commit", "-q", "-m", "on")
    git(ada, "log", "--all", "-1")


def sync(cli: Cli, where: Path) -> dict[str, Any]:
    ran = cli(where, "sync", "--json")
    assert ran.code == 0, ran
    found: dict[str, Any] = json.loads(ran.out)
    return found


def notes(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        return [note.text for note in coord.notes.list(limit=1000)]


def lines(cli: Cli, where: Path, start: str) -> list[str]:
    """The lines of `status` that begin so."""
    ran = cli(where, "status")
    assert ran.code == 0 and ran.err == "", ran
    return [line for line in ran.out.splitlines() if line.startswith(start)]


def settle(cli: Cli, where: Path, name: str = MALLORY) -> None:
    assert cli(where, "trust", "--accept", name).code == 0
    assert lines(cli, where, "trust") == []


# logs that were changed or deleted


@pytest.mark.parametrize(("texts", "said"), [(("one",), "rolled back"), (("one", "changed", "three"), "rewritten")])
def test_a_log_changed_by_force_stays_as_it_was_seen(
    ada: Path, remote: Path, cli: Cli, texts: tuple[str, ...], said: str
) -> None:
    put(remote, LOG, *chain("one", "two", "three"))
    git(ada, "fetch", "-q", "origin", EVERYTHING)
    before = sorted(notes(ada))
    assert before == ["ada was here", "one", "three", "two"]
    put(remote, LOG, *chain(*texts))
    git(ada, "fetch", "-q", "origin", EVERYTHING)
    ran = cli(ada, "notes")
    assert ran.code == 0 and "three" in ran.out
    assert sorted(notes(ada)) == before
    assert lines(cli, ada, "trust") == [
        f"trust   {MALLORY}: its log was {said}; its fetched events are kept (git coord trust --accept {MALLORY})"
    ]
    (ada / ".git/coord/index.sqlite").unlink()
    assert sorted(notes(ada)) == before, "the ref is back, not only what the index knew"
    settle(cli, ada)


@pytest.mark.parametrize(("texts", "said"), [(("one",), "rolled back"), (("one", "changed", "three"), "rewritten")])
def test_a_sync_takes_no_log_that_does_not_go_on(ada: Path, remote: Path, cli: Cli, texts: tuple[str, ...], said: str) -> None:
    put(remote, LOG, *chain("one", "two", "three"))
    assert sync(cli, ada)["received"] == 3
    before = sorted(notes(ada))
    put(remote, LOG, *chain(*texts))
    git(ada, "config", "fetch.showForcedUpdates", "false")
    found = sync(cli, ada)
    assert [r["ref"] for r in found["refused"]] == ([LOG] if said == "rewritten" else [])
    assert sorted(notes(ada)) == before
    (line,) = lines(cli, ada, "trust")
    assert line.startswith(f"trust   {MALLORY}: its log at origin was {said}; its fetched events are kept")
    put(remote, LOG, *chain("one", "two", "three", "four"))
    assert sync(cli, ada)["received"] == 1, "and goes on when it does"


def test_what_was_lost_for_good_is_said(ada: Path, remote: Path, cli: Cli) -> None:
    put(remote, LOG, *chain("one", "two"))
    git(ada, "fetch", "-q", "origin", EVERYTHING)
    assert len(notes(ada)) == 3
    put(remote, LOG, *chain("another"))
    git(ada, "fetch", "-q", "origin", EVERYTHING)
    git(ada, "gc", "-q", "--prune=now")
    assert sorted(notes(ada)) == ["ada was here", "another"]
    assert "its log was rewritten; its fetched events are lost" in lines(cli, ada, "trust")[0]


def test_a_log_that_vanished_is_said(ada: Path, remote: Path, cli: Cli) -> None:
    put(remote, LOG, *chain("one"))
    sync(cli, ada)
    assert len(notes(ada)) == 2
    git(ada, "update-ref", "-d", LOG)
    assert notes(ada) == ["ada was here"]
    assert "its log is gone from this repository" in lines(cli, ada, "trust")[0]
    sync(cli, ada)
    assert len(notes(ada)) == 2
    assert "gone" not in cli(ada, "trust").out + cli(ada, "status").out


def test_a_log_that_comes_back_shorter_is_still_said(ada: Path, remote: Path, cli: Cli) -> None:
    commits = chain("one", "two")
    put(remote, LOG, *commits)
    sync(cli, ada)
    git(remote, "update-ref", "-d", LOG)
    git(ada, "fetch", "-q", "--prune", "origin", EVERYTHING)
    assert "its log is gone from this repository" in lines(cli, ada, "trust")[0]
    put(remote, LOG, *commits[:-1])
    sync(cli, ada)
    assert "its log is gone from this repository" in lines(cli, ada, "trust")[0]
    put(remote, LOG, *commits)
    sync(cli, ada)
    assert "gone" not in cli(ada, "trust").out


def unpack(where: Path) -> None:
    """Make all packed objects loose."""
    for pack in (where / ".git" / "objects" / "pack").glob("*.pack"):
        data = pack.read_bytes()
        for file in pack.parent.glob(f"{pack.stem}.*"):
            file.unlink()
        subprocess.run(["git", "-C", str(where), "unpack-objects", "-q"], input=data, check=True)


def test_a_commit_that_is_damaged_here_says_nothing_about_the_other_clone(ada: Path, remote: Path, cli: Cli) -> None:
    commits = chain("one", "two", "three")
    put(remote, LOG, *commits)
    sync(cli, ada)
    unpack(ada)
    (ada / ".git" / "objects" / commits[1].oid[:2] / commits[1].oid[2:]).unlink()
    with Coord.open(ada) as coord:
        tip = {LOG: commits[2].oid}
        with linked(coord.clone, transport.Remote("origin")) as link:
            assert incoming.compare(link, {LOG: commits[0].oid}, tip, tip) == []
    assert incidents.read(str(ada / ".git" / "coord")) == []
    assert cli(ada, "doctor", "--fix").code == 0


def test_a_log_that_was_turned_back_here_is_said_until_a_sync_finds_all_of_it(ada: Path, remote: Path, cli: Cli) -> None:
    put(remote, LOG, *chain("one", "two"))
    sync(cli, ada)
    git(ada, "update-ref", LOG, f"{LOG}~1")
    assert len(notes(ada)) == 3
    assert "its log was rolled back; its fetched events are kept" in lines(cli, ada, "trust")[0]
    sync(cli, ada)
    assert "rolled" not in cli(ada, "trust").out


# refs that do not name a commit


def other_objects() -> dict[str, list[GitObject]]:
    commit = chain("one", "two", "three", "four")
    tag = b"object %s\ntype commit\ntag x\ntagger M <m@example.org> 1700000000 +0000\n\nx\n" % commit[-1].oid.encode()
    head = make_object("blob", commit[-1].data, "sha1")
    return {
        "blob": [head],
        "tree": [head, make_tree({"x": head.oid}, "sha1")],
        "tag": [*commit, GitObject("tag", _tag_id(tag), tag)],  # type: ignore[arg-type]
    }


def _tag_id(data: bytes) -> Oid:
    import hashlib

    return Oid(hashlib.sha1(b"tag %d\0" % len(data) + data).hexdigest())


@pytest.mark.parametrize("what", ["blob", "tree", "tag"])
@pytest.mark.parametrize("known", [True, False])
def test_a_ref_that_names_no_commit_is_not_taken(ada: Path, remote: Path, cli: Cli, what: str, known: bool) -> None:
    if known:
        put(remote, LOG, *chain("one", "two"))
        sync(cli, ada)
    before = notes(ada)
    put(remote, LOG, *other_objects()[what])
    found = sync(cli, ada)
    assert [(r["ref"], r["why"]) for r in found["refused"]][:1] == [(LOG, "it is not a commit")]
    assert notes(ada) == before
    kinds = git(ada, "for-each-ref", "--format=%(objecttype)", "refs/coord").split()
    assert set(kinds) == {"commit"}
    assert lines(cli, ada, "trust") == [
        f"trust   {MALLORY}: its log at the remote is not a commit (git coord trust --accept {MALLORY})"
    ]
    assert cli(ada, "send", "ada", "hello").code == 0


@pytest.mark.parametrize("what", ["blob", "tree", "tag"])
def test_by_hand_git_lets_a_blob_replace_a_log_and_the_log_is_put_back(ada: Path, remote: Path, cli: Cli, what: str) -> None:
    put(remote, LOG, *chain("one", "two"))
    git(ada, "fetch", "-q", "origin", "refs/coord/log/*:refs/coord/log/*")
    before = notes(ada)
    put(remote, LOG, *other_objects()[what])
    git(ada, "fetch", "-q", "origin", f"+{LOG}:{LOG}")
    assert notes(ada) == before
    assert git(ada, "cat-file", "-t", LOG) == "commit\n"
    assert len(lines(cli, ada, "trust")) == 1


@pytest.mark.parametrize("what", ["blob", "tree", "tag"])
def test_a_presence_that_is_no_commit_is_nobody(ada: Path, remote: Path, cli: Cli, what: str) -> None:
    put(remote, f"refs/coord/sessions/{MALLORY}/m", *other_objects()[what])
    git(ada, "fetch", "-q", "origin", EVERYTHING)
    ran = cli(ada, "sessions", "--json")
    assert ran.code == 0 and MALLORY not in ran.out
    assert len(lines(cli, ada, "bad")) == 1
    git(ada, "update-ref", "-d", f"refs/coord/sessions/{MALLORY}/m")


# another clone's name


WHAT_IS_SAID = {
    "above our log": "this clone never wrote",
    "in place of our log": "restored",
    "in an epoch of ours": "this clone never wrote",
    "as our first local log": "this clone never wrote",
}


@pytest.mark.parametrize("how", list(WHAT_IS_SAID))
def test_events_under_my_clones_name_are_taken_off(ada: Path, remote: Path, cli: Cli, how: str) -> None:
    own = clone_id(ada)
    mine = f"refs/coord/log/{own}/0001"
    tip = Oid(git(ada, "rev-parse", mine).strip())
    if how == "above our log":
        put(remote, mine, event("forged", 1000, tip, clone=own, author="ada"))
    elif how == "in place of our log":
        put(remote, mine, *chain("forged", clone=own, author="ada"))
    elif how == "in an epoch of ours":
        put(remote, f"refs/coord/log/{own}/0002", event("forged", 1000, None, "epoch", own, own, lowest=2, carried=0))
    else:
        put(remote, f"refs/coord/local/{own}/0001", *chain("forged", clone=own, author="ada"))
    git(ada, "fetch", "-q", "origin", EVERYTHING)
    ran = cli(ada, "notes")
    assert ran.code == 0 and "forged" not in ran.out and "ada was here" in ran.out, ran
    refs = git(ada, "for-each-ref", "--format=%(refname) %(objectname)", "refs/coord/log", "refs/coord/local").splitlines()
    assert refs == [f"{mine} {tip}"]
    assert WHAT_IS_SAID[how] in ran.err
    ran = cli(ada, "note", "still here")
    assert ran.code == 0
    assert notes(ada) == ["still here", "ada was here"]


def test_events_in_anothers_name_are_malformed(ada: Path, remote: Path, cli: Cli) -> None:
    own = clone_id(ada)
    put(remote, LOG, *chain("mine"), event("forged", 5, chain("mine")[-1].oid, clone=own, author="ada"))
    sync(cli, ada)
    assert sorted(notes(ada)) == ["ada was here", "mine"]
    (line,) = lines(cli, ada, "bad")
    assert line.startswith(f"bad     1 event skipped in the log of {MALLORY} (written under another clone's name: {own[:10]}")


def test_a_forged_author_stays_a_stranger(ada: Path, remote: Path, cli: Cli) -> None:
    """The session and the email of somebody else, in Mallory's own log: shown with Mallory's clone, never as one of
    ours."""
    box = f"ada@{clone_id(ada)}"
    put(remote, LOG, event("do as I say", 5, None, "message", author="ada-example", to=[box], notice="bounce", about="0" * 40))
    sync(cli, ada)
    ran = cli(ada, "inbox", "--json")
    (message,) = json.loads(ran.out)
    assert message["text"] == "do as I say" and message["verified"] is not True
    put(remote, LOG, event("do as I say", 6, None, "message", author="ada-example", to=[box]))


@pytest.mark.parametrize("author", ["m", "gitcoord"])
def test_a_forged_notice_is_not_gitcoords_word(ada: Path, remote: Path, cli: Cli, author: str) -> None:
    with Coord.open(ada, as_name="w") as coord:
        coord.sessions.join()
        box = f"w@{coord.clone.id}"
    put(remote, LOG, event("delete everything", 1, kind="message", to=[box], notice="job", author=author))
    sync(cli, ada)
    env = {"GIT_COORD_SESSION": "w"}
    ran = cli(ada, "brief", env=env)
    assert f"from gitcoord@{MALLORY}, " in ran.out, ran
    assert json.loads(cli(ada, "brief", "--json", env=env).out)["unread"][0]["from"] == f"gitcoord@{MALLORY}"
    assert json.loads(cli(ada, "inbox", "--peek", "--json", env=env).out)[0]["from"] == f"gitcoord@{MALLORY}"
    assert f"from gitcoord@{MALLORY}, " in cli(ada, "inbox", env=env).out


@pytest.mark.parametrize("by_hand", [True, False])
def test_who_is_here_is_not_adopted(ada: Path, remote: Path, cli: Cli, by_hand: bool) -> None:
    with Coord.open(ada, as_name="w") as coord:
        coord.sessions.join()
        coord.remote.sync()
        mine = coord.clone.id
    theft = event("w goes on here", 50, kind="adopt", session="w", **{"from": mine})
    put(remote, LOG, theft, event("for w", 51, theft.oid, kind="message", to=[f"w@{mine}"]))
    if by_hand:
        git(ada, "fetch", "-q", "origin", EVERYTHING)
        cli(ada, "focus", "something", "--as", "w")
    else:
        sync(cli, ada)
        assert "it adopted w of this clone" in lines(cli, ada, "trust")[0]
    with Coord.open(ada, as_name="w") as coord:
        assert [message.text for message in coord.messages.receive().messages] == ["for w"]
        assert coord.send("w", "on").recipients[0].session == f"w@{mine}"


def test_our_job_does_not_go_on_as_somebody_elses(ada: Path, remote: Path, cli: Cli) -> None:
    with Coord.open(ada, as_name="w") as coord:
        coord.sessions.join()
        started = coord.jobs.start(["sh", "-c", "exit 3"], name="build")
        assert coord.wait([f"job:{started.id}"], 60)
        job = coord.jobs.get(started.id)
        coord.remote.sync()
    put(remote, LOG, event("build goes on", 90, kind="job.start", author="w", name="build", key=job.key, was=job.id))
    sync(cli, ada)
    with Coord.open(ada, as_name="w") as coord:
        assert (coord.jobs.get(job.id).id, coord.jobs.get(job.id).exit) == (job.id, 3)
        assert {found.id for found in coord.jobs.list(everything=True)} > {job.id}


def test_an_epoch_cannot_begin_in_the_middle_of_a_log(ada: Path, remote: Path, cli: Cli) -> None:
    first = chain("one")[0]
    put(remote, LOG, first, event("begins anew", 9, first.oid, "epoch", author=MALLORY, lowest=1, carried=0))
    put(remote, f"refs/coord/log/{MALLORY}/0002", event("x", 5, None, "epoch", author=MALLORY, lowest=7, carried=0))
    sync(cli, ada)
    assert "one" in notes(ada)
    assert len(lines(cli, ada, "bad")) == 1


# clocks


@pytest.mark.parametrize("top", [MAX_CLOCK, MAX_CLOCK - 5, FREE * 2])
def test_a_clock_from_the_end_of_the_range_is_not_followed(ada: Path, remote: Path, cli: Cli, top: int) -> None:
    put(remote, LOG, event("the end is near", top))
    sync(cli, ada)
    with Coord.open(ada) as coord:
        for number in range(20):
            coord.notes.add(f"note {number}")
        last = coord.events.log(kind="note", limit=2)
        assert [e.lc for e in last if e.clone == coord.clone.id] and last[1].lc < 1000
        coord.sessions.focus("presence goes on, too")
    assert lines(cli, ada, "trust") == [
        f"trust   {MALLORY}: its clock is impossibly far ahead in 1 event (git config --add coord.ignoreClone {MALLORY})"
    ]
    git(ada, "config", "--add", "coord.ignoreClone", MALLORY)
    assert lines(cli, ada, "trust") == []


def test_a_clock_that_climbs_in_the_largest_steps_cannot_use_up_the_range(ada: Path, remote: Path, cli: Cli) -> None:
    put(remote, LOG, *chain(*(f"step {n}" for n in range(999)), first=999_999, step=1_000_000))
    sync(cli, ada)
    with Coord.open(ada) as coord:
        for number in range(50):
            coord.notes.add(f"note {number}")
        own = max(e.lc for e in coord.events.log(kind="note", limit=10_000) if e.clone == coord.clone.id)
    assert own <= FREE + 1000 * 400, "nine tenths of the range are left after three times as many"


def test_an_honest_clock_far_ahead_is_followed(ada: Path, remote: Path, cli: Cli) -> None:
    put(remote, LOG, event("an old project", 700_000))
    sync(cli, ada)
    with Coord.open(ada) as coord:
        coord.notes.add("a reply")
        assert coord.events.log(kind="note", limit=1)[0].lc > 700_000


# masses and sizes


def test_ten_thousand_malformed_commits_cost_little_and_are_one_line(ada: Path, remote: Path, cli: Cli) -> None:
    stream = b""
    for number in range(10_000):
        body = b"no trailer %d\n" % number if number % 2 else b'x\n\nCoord: {"lc":"x"}\n'
        stream += b"commit %s\nmark :%d\ncommitter M <m@example.org> 5 +0000\ndata %d\n%s\n" % (
            LOG.encode(), number + 1, len(body), body
        )  # fmt: skip
    subprocess.run(["git", "-C", str(remote), "fast-import", "--quiet"], input=stream, check=True)
    sync(cli, ada)
    started = time.monotonic()
    (line,) = lines(cli, ada, "bad")
    assert time.monotonic() - started < 5
    assert line.startswith(f"bad     10000 events skipped in the log of {MALLORY} (")
    assert len(cli(ada, "status").out.splitlines()) < 12
    assert json.loads(cli(ada, "status", "--json").out)["malformed"][0]["events"] == 10_000
    ran = cli(ada, "inbox")
    assert (ran.code, ran.out, ran.err) == (0, "No new messages.\n", "")


def test_oversized_texts_are_passed_over(ada: Path, remote: Path, cli: Cli) -> None:
    box = f"ada@{clone_id(ada)}"
    found = chain("before")
    for number, size in enumerate((70_000, 600_000, 20_000_000)):
        raw = event("x", 10 + number, found[-1].oid, "message", to=[box]).data.replace(
            b"\n\nx\n\n", b"\n\n%s\n\n" % (b"x" * size)
        )
        found.append(make_object("commit", raw, "sha1"))
    found.append(event("after", 20, found[-1].oid))
    put(remote, LOG, *found)
    sync(cli, ada)
    assert sorted(notes(ada)) == ["ada was here", "after", "before"]
    assert cli(ada, "inbox").out == "No new messages.\n"
    (line,) = lines(cli, ada, "bad")
    assert line.startswith("bad     3 events skipped")


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "by a git whose dry run brings nothing"])
def test_many_clones_are_fetched_at_once_or_some_at_a_time(
    ada: Path, remote: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    asked: list[int] = []
    one_fetch = transport._fetch

    def fetch(repo: Any, at: Any, specs: list[str], quiet: bool) -> None:
        asked.append(len(specs))
        one_fetch(repo, at, specs, quiet)

    monkeypatch.setattr(transport, "AT_ONCE", 2)
    monkeypatch.setattr(transport, "_fetch", fetch)
    if not at_once:
        monkeypatch.setattr(transport, "fetch_all", lambda *args: None)
    for n in range(5):
        put(remote, f"refs/coord/log/c{n}-00000001/0001", event(f"note {n}", 2, None, clone=f"c{n}-00000001"))
    with Coord.open(ada) as coord:
        coord.remote.sync()
    assert asked == ([] if at_once else [2, 2, 1])
    assert sorted(notes(ada)) == ["ada was here", *(f"note {n}" for n in range(5))]


def test_more_refs_than_a_clone_can_have_sessions_are_not_fetched(ada: Path, remote: Path, cli: Cli) -> None:
    item = event("m is active", 2, None, "presence", session="m", state="active", ttl=900)
    put(remote, f"refs/coord/sessions/{MALLORY}/m", item)
    refs = "".join(f"create refs/coord/sessions/{MALLORY}/s{n} {item.oid}\n" for n in range(1200))
    subprocess.run(["git", "-C", str(remote), "update-ref", "--stdin"], input=refs.encode(), check=True)
    found = sync(cli, ada)
    assert len(found["refused"]) == 201
    with Coord.open(ada) as coord:
        heard = coord.clone.read(lambda db: db.execute("SELECT count(*) FROM heard").fetchone()[0])
    assert heard == 1000


def test_more_clones_than_a_remote_can_have_are_left_out_and_named(
    ada: Path, remote: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those known here go on; what is left out is said until the user has seen to it."""
    from gitcoord.sync import incoming

    put(remote, LOG, *chain("known"))
    sync(cli, ada)
    for number in range(4):
        put(remote, f"refs/coord/log/c{number}-00000001/0001", *chain("new", clone=f"c{number}-00000001"))
    put(remote, LOG, *chain("known", "goes on"))
    monkeypatch.setattr(incoming, "MAX_CLONES", 4)  # ada, mallory and two more
    with Coord.open(ada) as coord:
        found = coord.remote.sync()
    assert [refusal.ref for refusal in found.refused] == [f"refs/coord/log/c{n}-00000001/0001" for n in (2, 3)]
    assert "goes on" in notes(ada)
    left = [line for line in lines(cli, ada, "trust") if "not all of it is fetched" in line]
    assert [line.split()[1] for line in left] == ["c2-00000001:", "c3-00000001:"]
    assert "c2-00000001: not all of it is fetched" in cli(ada, "doctor").out


# objects that git fsck complains of


def test_objects_that_fsck_refuses_do_not_come_and_stop_nobody_else(ada: Path, remote: Path, cli: Cli) -> None:
    blob = make_object("blob", b"x", "sha1")
    tree = make_object("tree", b"100644 ..\0" + bytes.fromhex(blob.oid) + b"100644 .git\0" + bytes.fromhex(blob.oid), "sha1")
    put(remote, LOG, blob, tree, event("look", 5, None, "message", tree=tree.oid, to=[], attachments=["../../x"]))
    put(remote, "refs/coord/log/grace-00000001/0001", *chain("hello", clone="grace-00000001", author="g"))
    found = sync(cli, ada)
    assert found["received"] == 1 and [r["ref"] for r in found["refused"]] == [LOG]
    assert "hello" in notes(ada)
    assert git(ada, "fsck", "--strict", "--no-dangling") == ""
    assert lines(cli, ada, "trust") == [
        f"trust   {MALLORY}: it sent objects that git rejects (git coord trust --accept {MALLORY})"
    ]
    put(remote, "refs/coord/log/grace-00000001/0001", *chain("hello", "again", clone="grace-00000001", author="g"))
    assert sync(cli, ada)["received"] == 1


def test_a_commit_that_git_would_inflate_whole_does_not_come_and_stops_nobody_else(
    ada: Path, remote: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "ALLOC_LIMIT", "8m")
    put(remote, LOG, make_object("commit", event("m", 1).data + b"x" * (9 << 20), "sha1"))
    put(remote, "refs/coord/log/grace-00000001/0001", *chain("hello", clone="grace-00000001", author="g"))
    with Coord.open(ada) as coord:
        found = coord.remote.sync()
        assert (found.received, [refusal.ref for refusal in found.refused]) == (1, [LOG])
        assert "attempting to allocate" in found.refused[0].why
        assert [alarm.what for alarm in incidents.read(coord.clone.repo.coord_dir)] == ["it sent objects that git rejects"]
    assert "hello" in notes(ada)


def test_objects_that_git_rejects_under_my_clones_name_stop_no_sync(ada: Path, remote: Path, cli: Cli) -> None:
    own = clone_id(ada)
    tip = git(ada, "rev-parse", f"refs/coord/log/{own}/0001").strip()
    blob = make_object("blob", b"x", "sha1")
    tree = make_object("tree", b"100644 .git\0" + bytes.fromhex(blob.oid), "sha1")
    put(remote, f"refs/coord/log/{own}/0001", blob, tree, event("x", 9, Oid(tip), "message", own, "ada", tree.oid, to=[]))
    for _ in range(2):
        sync(cli, ada)
    assert clone_id(ada) != own, "what is there was not written here"
    assert notes(ada) == ["ada was here"]
    (new,) = git(remote, "for-each-ref", "--format=%(refname)", f"refs/coord/log/{clone_id(ada)}").split()
    assert "continues here: 2 events" in git(remote, "log", "--format=%B", new), "what is ours is sent again"


def test_a_tree_larger_than_the_events_it_says_to_carry_is_not_read(ada: Path, remote: Path, cli: Cli) -> None:
    commits = chain("one", "two")
    blobs = [make_object("blob", item.data, "sha1") for item in commits]
    tree = make_tree({item.oid: blob.oid for item, blob in zip(commits, blobs, strict=True)}, "sha1")
    put(remote, LOG, *blobs, tree, event("goes on", 9, None, "epoch", author=MALLORY, tree=tree.oid, lowest=1, carried=0))
    sync(cli, ada)
    assert notes(ada) == ["ada was here"]
    assert "is larger than 0 events need" in cli(ada, "doctor").out
    put(remote, LOG, *blobs, tree, event("goes on", 9, None, "epoch", author=MALLORY, tree=tree.oid, lowest=1, carried=2))
    git(ada, "update-ref", "-d", LOG)
    sync(cli, ada)
    assert sorted(notes(ada)) == ["ada was here", "one", "two"]


# names made to escape


NAMES = ["../../../evil", "a/../../b", "x\x1b[31m", "-rf", "con", "a" * 300, "A", "ü", "x.lock", "x@y", "0009999999999"]


def test_names_are_made_of_nothing_but_names(ada: Path, remote: Path, cli: Cli) -> None:
    """In payloads, where git checks nothing; and in refs, as far as git lets them be."""
    box = f"ada@{clone_id(ada)}"
    events = chain("fine")

    def add(text: str, kind: str, **data: Any) -> None:
        events.append(event(text, 10 + len(events), events[-1].oid, kind, **data))

    for name in NAMES:
        add("to you\x1b[2J\x1b]0;title\x07\u202e", "message", to=[box, name, f"{name}@{name}"],
            opens=[name], thread=name, reply_to=name, attachments=[name])  # fmt: skip
        add("j", "join", session=name)
        add("r", "rename", old="m", new=name)
    put(remote, LOG, *events)
    for name in NAMES:
        for ref in (f"sessions/{MALLORY}/{name}", f"log/{name}/0001", f"log/{MALLORY}/{name}"):
            argv = ["git", "-C", str(remote), "update-ref", f"refs/coord/{ref}", events[1].oid]
            subprocess.run(argv, capture_output=True)
    outside = sorted(path for path in ada.parent.rglob("*") if ".git" not in str(path))
    sync(cli, ada)
    for args in (["inbox", "--peek"], ["log"], ["sessions", "--all"], ["status"], ["trust"], ["brief"], ["notes"], ["tasks"]):
        ran = cli(ada, *args)
        assert ran.code == 0, ran
        assert not set(ran.out) & set("\x1b\x07\u202e"), args
        json.loads(cli(ada, *args, "--json").out)
    assert sorted(path for path in ada.parent.rglob("*") if ".git" not in str(path)) == outside
    named = {owner(ref) for ref in git(ada, "for-each-ref", "--format=%(refname)", "refs/coord").splitlines()}
    assert named <= {clone_id(ada), MALLORY, *(name for name in NAMES if is_name(name))}


def test_random_commits_on_a_log_change_nothing(ada: Path, remote: Path, cli: Cli) -> None:
    """A log that is the project's own history."""
    git(remote, "update-ref", LOG, "refs/heads/main")
    before = notes(ada)
    sync(cli, ada)
    assert notes(ada) == before and len(lines(cli, ada, "bad")) == 1


def test_several_clones_can_be_ignored(ada: Path, remote: Path, cli: Cli) -> None:
    for name in (MALLORY, "grace-00000001"):
        put(remote, f"refs/coord/log/{name}/0001", *chain("noise", clone=name))
    sync(cli, ada)
    for name in (MALLORY, "grace-00000001"):
        git(ada, "config", "--add", "coord.ignoreClone", name)
    assert notes(ada) == ["ada was here"]
    with Coord.open(ada, environ={**os.environ, "GIT_DIR": str(ada / ".git")}) as coord:
        assert [note.text for note in coord.notes.list()] == ["ada was here"], "by the longer way to the settings, too"


# the memory of it


def test_alarms_are_few_and_survive_damage(tmp_path: Path) -> None:
    for number in range(200):
        incidents.note(str(tmp_path), f"m-{number:08}", "did it", 1.0)
    assert len(incidents.read(str(tmp_path))) == incidents.LIMIT
    incidents.note(str(tmp_path), "../escape", "did it", 1.0)
    assert all("/" not in alarm.clone for alarm in incidents.read(str(tmp_path)))
    (tmp_path / "alarms").write_text('{"a": [1')
    assert incidents.read(str(tmp_path)) == []
    incidents.note(str(tmp_path), "m-1", "again", 2.0)
    assert [alarm.what for alarm in incidents.read(str(tmp_path))] == ["again"]


def test_both_stores_pass_over_the_same(ada: Path, remote: Path) -> None:
    put(remote, LOG, *chain("one"), *chain("one", "two")[1:])
    git(ada, "fetch", "-q", "origin", EVERYTHING)
    with Coord.open(ada) as coord:
        tip = coord.clone.store.tips().refs[LOG]
        assert [oid for oid, _ in open_store(coord.clone.repo, True).chain(tip, None)] == [
            oid for oid, _ in open_store(coord.clone.repo, False).chain(tip, None)
        ]


@pytest.mark.parametrize("what", ["blob", "tree", "tag", "no table", "rows of nonsense"])
def test_a_table_of_leases_that_is_none_stops_nobody(ada: Path, remote: Path, cli: Cli, what: str) -> None:
    for kind in ("tasks", "locks", "numbers"):
        if what == "no table":
            objects = [event("x", 5, None, "note")]
        elif what == "rows of nonsense":
            rows: Any = {"a": 1, "../x": {"holder": ["\x1b[31m"], "nonce": 5}, "b": None, "next": -1}
            objects = [event("x", 5, None, f"lease.{kind}", rows=rows, live=[1, {"x": rows}], counters=rows, next=rows)]
        else:
            objects = other_objects()[what]
        put(remote, f"refs/coord/lease/{kind}", *objects)
    with Coord.open(ada) as coord:
        task = coord.tasks.add("mine").id
    for args in (
        ["sync"],
        ["task", "claim", task],
        ["alloc", "migrations"],
        ["lock", "a.py", "--global"],
        ["status"],
        ["sync"],
    ):
        ran = cli(ada, *args)
        assert ran.code in ((0,) if args in (["sync"], ["status"]) else (0, 4)) and "Traceback" not in ran.err, (args, ran)
        if ran.code:
            assert "refs/coord/lease/" in ran.err, ran
        assert "\x1b" not in ran.out + ran.err
