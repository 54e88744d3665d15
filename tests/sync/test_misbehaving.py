"""Hosts that misbehave: gitcoord reports the fault, blames no clone, and continues when the host is well again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from clones import clone_id, make_clones, make_met
from conftest import Cli, git

from gitcoord import Coord, RemoteError
from gitcoord.log import incidents
from gitcoord.store import failures
from gitcoord.sync import incoming, leases
from gitcoord.system.spawn import Result


@pytest.mark.parametrize(
    ("said", "bad"),
    [
        ("error: object 12ab: badDate: invalid author\nfatal: fsck error in packed object", True),
        ("fatal: did not send all necessary objects", True),
        ("fatal: early EOF\nfatal: fetch-pack: invalid index-pack output", False),
        ("fetch-pack: unexpected disconnect while reading sideband packet\nfatal: bad pack header", False),
        ("error: RPC failed; curl 18 transfer closed\nfatal: did not receive all objects", False),
    ],
)
def test_a_connection_that_broke_is_no_word_about_anybodys_objects(said: str, bad: bool) -> None:
    result = Result(128, b"", said.encode())
    assert failures.sent_bad_objects(result) == bad
    if not bad:
        assert "the connection broke" in failures.unreachable("origin", result).what


def test_signal_141_is_never_shown() -> None:
    assert "141" not in failures.unreachable("origin", Result(141, b"", b"")).what
    assert "141" not in failures.unwritable("origin", "refs/coord/", Result(141, b"", b"")).what


def test_who_sent_bad_objects_once_is_trusted_again_when_they_are_gone(tmp_path: Path) -> None:
    _, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(ada, as_name="w") as coord:
        coord.notes.add("news")
        coord.remote.sync()
        whose = coord.clone.id
    with Coord.open(bob, as_name="w") as coord:
        incidents.note(coord.clone.repo.coord_dir, whose, incoming.BROKEN, 1.0)
        coord.remote.sync()
        assert incidents.read(coord.clone.repo.coord_dir) == []


def test_a_log_that_a_replica_had_not_yet_is_not_held_against_its_clone(tmp_path: Path) -> None:
    hub, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(ada, as_name="w") as coord:
        before = git(hub, "rev-parse", f"refs/coord/log/{coord.clone.id}/0001").strip()
        coord.notes.add("news")
        coord.remote.sync()
        ref = f"refs/coord/log/{coord.clone.id}/0001"
    now = git(hub, "rev-parse", ref).strip()
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        git(hub, "update-ref", ref, before)
        coord.remote.sync()
        assert ["was rolled back" in alarm.what for alarm in incidents.read(coord.clone.repo.coord_dir)] == [True]
        git(hub, "update-ref", ref, now)
        coord.notes.add("so that something is to be sent")
        coord.remote.sync()
        assert incidents.read(coord.clone.repo.coord_dir) == []


def test_a_restored_backup_is_said_as_that_and_once(tmp_path: Path, cli: Cli) -> None:
    hub, (ada, bob) = make_met(tmp_path, 2)
    refs = git(hub, "for-each-ref", "--format=%(refname) %(objectname)", "refs/coord").splitlines()
    for path in (ada, bob):
        with Coord.open(path, as_name="w") as coord:
            coord.notes.add("news")
    for path in (ada, bob, ada):
        assert cli(path, "sync").code == 0
    for line in refs:
        git(hub, "update-ref", *line.split())
    ran = cli(ada, "sync")
    assert ran.code == 0
    assert ran.err.count("as if a backup was restored") == 1
    with Coord.open(ada, as_name="w") as coord:
        assert incidents.read(coord.clone.repo.coord_dir) == []
    assert "backup" not in cli(ada, "sync").err


def test_refs_that_are_hidden_from_reading_are_said(tmp_path: Path, cli: Cli) -> None:
    hub, (ada, _) = make_clones(tmp_path, 2)
    git(hub, "config", "uploadpack.hideRefs", "refs/coord")
    assert cli(ada, "join", "w").code == 0
    for _ in range(2):
        ran = cli(ada, "sync")
        assert ran.code == 4
        assert "does not show it, so no clone can fetch it (uploadpack.hideRefs?)" in ran.err
    assert "failing: origin rejects coordination refs" in cli(ada, "status").out


def test_leases_that_are_not_shown_are_waited_for_and_then_said(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, (ada, bob) = make_met(tmp_path, 2)
    with Coord.open(ada, as_name="w") as coord:
        one, two = coord.tasks.add("one").id, coord.tasks.add("two").id
        coord.tasks.claim(one)
        coord.remote.sync()
    git(hub, "config", "uploadpack.hideRefs", "refs/coord/lease")
    monkeypatch.setattr(leases, "MAX_LAGS", 1)
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        said: list[str] = []
        coord.clone.tell_user = said.append
        with pytest.raises(
            RemoteError, match="does not show what it has at refs/coord/lease/tasks: it is behind its own pushes"
        ):
            coord.tasks.claim(two)
        assert said == ["origin shows older leases than it has; waiting for it to catch up"]
        assert coord.tasks.show(two).status == "open"


@contextmanager
def answering(code: int, times: int) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that answers with an error; its URL, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(code if len(asked) <= times else 404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/x.git", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("code", [429, 502, 503])
def test_a_busy_host_is_asked_once_more_and_named_with_its_code(repo: Path, cli: Cli, code: int) -> None:
    with answering(code, 99) as (url, asked):
        ran = cli(repo, "sync", url)
    assert ran.code == 4
    assert f"answers HTTP {code} (" in ran.err
    assert len(asked) == 2


def test_a_repository_of_the_other_object_format_is_named_so(repo: Path, tmp_path: Path, cli: Cli) -> None:
    git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", "other.git")
    assert cli(repo, "join", "w").code == 0
    ran = cli(repo, "sync", str(tmp_path / "other.git"))
    assert ran.code == 4
    assert "have different object formats (SHA-1 and SHA-256)" in ran.err


def test_a_first_sync_that_failed_is_in_status(repo: Path, cli: Cli) -> None:
    git(repo, "remote", "add", "origin", "../nowhere.git")
    assert cli(repo, "sync").code == 4
    assert "sync    origin, never; failing: origin is not a readable repository" in cli(repo, "status").out


def test_a_remote_that_was_renamed_is_found_by_its_url(tmp_path: Path, cli: Cli) -> None:
    _, (ada,) = make_met(tmp_path, 1)
    git(ada, "remote", "rename", "origin", "upstream")
    ran = cli(ada, "sync")
    assert (ran.code, ran.err) == (4, "error: origin is called upstream now\nhint: git coord remote set upstream\n")
    assert cli(ada, "remote", "set", "upstream").code == 0
    assert cli(ada, "sync").code == 0


def test_where_no_leases_are_kept_each_verb_has_its_own_way_out(tmp_path: Path, cli: Cli) -> None:
    hub, (ada,) = make_met(tmp_path, 1)
    hook = hub / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase $1 in refs/coord/lease/*) echo "no leases here" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    assert "hint: agree on a number by message" in cli(ada, "alloc", "port", "--as", "w").err
    assert "hint: without --global" in cli(ada, "lock", "--global", "a.py", "--as", "w").err


def test_a_full_table_says_so(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (ada,) = make_met(tmp_path, 1)
    monkeypatch.setattr(leases, "MAX_ROWS", 1)
    with Coord.open(ada, as_name="w") as coord:
        coord.tasks.claim(coord.tasks.add("one").id)
        two = coord.tasks.add("two").id
        with pytest.raises(RemoteError, match="the table of leases of tasks at the remote is full: 1 are held at once"):
            coord.tasks.claim(two)
        assert coord.tasks.show(two).status == "open"


def test_an_attachment_that_is_too_large_for_the_host_stays_behind_and_the_rest_goes(tmp_path: Path, cli: Cli) -> None:
    hub, (ada, bob) = make_met(tmp_path, 2)
    git(hub, "config", "receive.maxInputSize", "40k")
    with Coord.open(ada, as_name="w") as coord:
        box = f"w@{clone_id(bob)}"
        for number in range(2):
            coord.send(box, f"{number} {os.urandom(7000).hex()}", attachments={"small": b"goes along"})
        large = coord.send(box, "all of it", attachments={"data.bin": os.urandom(60_000)}).id
        coord.send(box, "behind it")
    ran = cli(ada, "sync")
    assert ran.code == 0
    assert f"origin rejects data.bin (pack exceeds maximum allowed size): the message {large[:10]} goes without" in ran.err
    told = f"data.bin of this message did not get past {'origin'} (pack exceeds maximum allowed size). Its text did."
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        assert [m.text for m in coord.inbox().messages][2:] == ["all of it", "behind it", told]
    with Coord.open(ada, as_name="w") as coord:
        assert told in [m.text for m in coord.inbox().messages]
        assert git(ada, "cat-file", "-s", f"{large}:data.bin") == "60000\n", "here it is still to be read"
        coord.events.redact(coord.notes.add("a later epoch"))
        coord.remote.sync()
    assert ".files" in git(hub, "ls-tree", "-r", f"refs/coord/log/{clone_id(ada)}/0003"), "what goes with it goes"
    assert "aside" not in git(hub, "for-each-ref")


def test_an_event_that_is_too_large_for_the_host_is_named(tmp_path: Path, cli: Cli) -> None:
    hub, (ada, bob) = make_met(tmp_path, 2)
    git(hub, "config", "receive.maxInputSize", "20k")
    with Coord.open(ada, as_name="w") as coord:
        large = coord.notes.add(os.urandom(25_000).hex())
        coord.send(f"w@{clone_id(bob)}", "behind it")
    ran = cli(ada, "sync")
    assert ran.code == 4
    assert f"origin rejects the note {large[:10]} of w of 50," in ran.err and "pack exceeds maximum allowed size" in ran.err
    assert "1 later event waits" in ran.err and f"hint: git coord redact {large[:10]}" in ran.err
    assert cli(ada, "redact", large[:10]).code == 0
    assert cli(ada, "sync").code == 0
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync()
        assert "behind it" in [message.text for message in coord.inbox().messages]
