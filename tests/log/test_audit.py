"""The audit of docs/trust.md: for sentences that no other test tries to break, one attempt each.

Events are raw commits, as in test_trust_attacks. The sentence that is tried is quoted or told in the first line.
"""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest
from clones import at_rest, clone_id
from conftest import Cli, git
from test_trust_attacks import MALLORY, Mallory, box_of, clones, log, mallory, shown, sync, table

from gitcoord import Coord

__all__ = ["clones", "mallory"]
TOKEN = "ghp_" + "a1B2c3D4e5F6" * 3


# what leaves this machine


@pytest.mark.parametrize("command", ["alloc {}", "join {}", "join w --role {}", "state set {} v", "task add t --label {}"])
def test_whatever_is_typed_is_searched_before_it_can_leave(tmp_path: Path, cli: Cli, command: str) -> None:
    """gitcoord searches all that you type. A name has lower-case letters alone, so this one is a Mailchimp key."""
    ada, bob = at_rest(tmp_path)
    secret = "0123456789abcdef0123456789abcdef-us12" if "join" in command else TOKEN
    ran = cli(ada, *command.format(secret).split(), "--as", "w")
    assert ran.code == 1 and "what looks like" in ran.err and ran.out == "", ran
    sync(ada)
    sync(bob)
    hub = ada.parent / "hub.git"
    refs = git(hub, "for-each-ref", "--format=%(refname)", "refs/coord").split()
    assert refs and secret not in "".join(refs) + "".join(git(hub, "log", "--format=%B", ref) for ref in refs)


def test_nothing_leaves_before_the_first_sync(tmp_path: Path, cli: Cli) -> None:
    from byhand import make_clones

    (ada,) = make_clones(tmp_path, "ada")
    for words in ("init --no-agents", "join w", "note x", "task add t", "task next --claim", "lock a.py", "alloc n", "brief"):
        assert cli(ada, *words.split()).code == 0, words
    assert git(tmp_path / "remote.git", "for-each-ref", "refs/coord") == ""
    assert "Nothing was sent" in cli(ada, "sync", "--dry-run").out


def test_paths_hosts_processes_and_command_lines_never_leave(tmp_path: Path, cli: Cli) -> None:
    ada, bob = at_rest(tmp_path)
    (ada / "changed.txt").write_text("x\n")
    assert cli(ada, "run", "--name", "build", "--", "sh", "-c", "echo 'a line of output' >&2; exit 3").code == 3
    with Coord.open(ada, as_name="other") as other:
        other.sessions.join()
    assert cli(ada, "send", "w", "--as", "other", "--local", "a local word").code == 0
    assert cli(ada, "editing", "changed.txt", "--as", "w").code == 0
    assert cli(ada, "leave", "--as", "other").code == 0
    sync(ada)
    sync(bob)
    hub = ada.parent / "hub.git"
    refs = git(hub, "for-each-ref", "--format=%(refname)", "refs/coord").split()
    sent = "".join(git(hub, "log", "--format=raw", ref) for ref in refs)
    assert "build failed with exit code 3" in sent and "changed.txt" in sent
    for private in (str(tmp_path), "a line of output", "a local word", "exit 3", '"pid"', '"cwd"', f'"{socket.gethostname()}"'):
        assert private not in sent, private


# signatures


def test_where_signing_fails_all_is_sent_and_the_next_signature_covers_it(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli
) -> None:
    ada, bob = clones
    key = git(ada, "config", "user.signingKey").strip()
    git(ada, "config", "user.signingKey", "/nowhere/key")
    assert cli(ada, "note", "without a key").code == 0
    ran = cli(ada, "sync")
    assert ran.code == 0 and "cannot sign" in ran.err, ran
    sync(bob)
    assert "without a key" in cli(bob, "notes").out and "not signed" in cli(bob, "log").out
    git(ada, "config", "user.signingKey", key)
    assert cli(ada, "note", "with it").code == 0
    sync(ada)
    sync(bob)
    assert "not signed" not in cli(bob, "log").out


def test_events_of_the_own_clone_are_never_marked_and_others_are(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    _, bob = clones
    assert cli(bob, "note", "of bob").code == 0
    mallory.chain(log(MALLORY), MALLORY, [("m", "note", "of m", {})], lc=50)
    sync(bob)
    lines = {line.rpartition(": ")[2]: line for line in cli(bob, "log").out.splitlines()}
    assert "signed" not in lines["of bob"] and "not signed" in lines["of m"]


def test_what_is_held_back_is_shown_where_it_is_asked_for(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    """The last column of the table about coord.requireSigned."""
    _, bob = clones
    git(bob, "config", "coord.requireSigned", "true")
    held = [
        ("m", "message", "held mail", {"to": [box_of(bob, "bob")]}),
        ("m", "note", "held note", {"paths": ["a.py"]}),
        ("m", "task", "held task", {}),
    ]
    mallory.chain(log(MALLORY), MALLORY, held, lc=50)
    sync(bob)
    brief = cli(bob, "brief").out + cli(bob, "inbox").out
    assert not any(word in brief for word in ("held mail", "held note", "held task")), brief
    assert shown(cli, bob, "held mail") is not None
    assert "held note" in cli(bob, "notes").out
    assert "held task" in cli(bob, "tasks").out and "not signed" in cli(bob, "tasks").out
    ran = cli(bob, "task", "next", "--claim")
    assert ran.code == 1 and ran.err.startswith("No task is ready.\nnote: 1 unsigned task of other clones left out"), ran


def test_an_unsigned_number_is_taken_all_the_same(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    """ "An unsigned number still counts as taken, because leaving it out harms nobody.\""""
    _, bob = clones
    git(bob, "config", "coord.requireSigned", "true")
    mallory.chain(log(MALLORY), MALLORY, [("m", "alloc", "m took n 7", {"sequence": "n", "number": 7})], lc=50)
    sync(bob)
    assert cli(bob, "alloc", "n").out == "8\n"


# what a clone can do


def test_a_clone_that_is_ignored_is_ignored_in_everything(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    """`coord.ignoreClone` ignores a log, its presence and its adoptions; its mail and tasks."""
    _, bob = clones
    git(bob, "config", "--add", "coord.ignoreClone", MALLORY)
    said = [
        ("m", "join", "m joined", {"session": "m"}),
        ("m", "message", "loud mail", {"to": [box_of(bob, "bob")], "urgent": True}),
        ("m", "task", "loud task", {}),
        ("bob", "adopt", "bob goes on here", {"session": "bob", "from": clone_id(bob)}),
    ]
    mallory.chain(log(MALLORY), MALLORY, said, lc=50)
    here = mallory.commit(MALLORY, "m", "presence", 60, "m is active", {"session": "m", "state": "active", "ttl": 900})
    mallory.put(f"refs/coord/sessions/{MALLORY}/m", here)
    sync(bob)
    git(bob, "fetch", "-q", "origin", "+refs/coord/*:refs/coord/*")
    for words in ("inbox", "tasks", "sessions --all", "log", "brief", "status", "trust"):
        out = cli(bob, *words.split()).out
        assert "loud" not in out and f"@{MALLORY}" not in out, (words, out)


def test_no_row_of_leases_makes_a_session_that_is_not_there(clones: tuple[Path, Path], mallory: Mallory, cli: Cli) -> None:
    _, bob = clones
    table(mallory, "locks", rows=[{"nonce": "1" * 16, "key": "lock", "holder": "x\nEVIL@y", "ttl": 60, "patterns": ["*"]}])
    ran = cli(bob, "lock", "--global", "a.py")
    assert ran.code == 4 and "not a table of leases" in ran.err, ran


# what a remote can do


def test_a_remote_that_takes_a_signature_off_makes_nothing_look_signed(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli
) -> None:
    """It cannot change a log that was fetched, nor make unsigned events look signed."""
    ada, bob = clones
    own = clone_id(ada)
    sync(bob)
    before = git(bob, "rev-parse", log(own))
    raw = mallory.raw(mallory.tip(log(own)))
    head, _, rest = raw.partition(b"\ngpgsig ")
    bare = head + b"\n\n" + rest.partition(b"\n\n")[2]
    argv = ["git", "-C", str(mallory.remote), "hash-object", "-w", "--literally", "-t", "commit", "--stdin"]
    oid = subprocess.run(argv, input=bare, capture_output=True, check=True).stdout.decode().strip()
    mallory.put(log(own), oid)
    sync(bob)
    assert git(bob, "rev-parse", log(own)) == before
    assert json.loads(cli(bob, "log", "--json").out)[0]["id"] != oid
    assert "rolled back" in cli(bob, "status").out + cli(bob, "trust").out or "rewritten" in cli(bob, "trust").out


# what reaches a model


def test_a_clone_that_sends_without_end_keeps_nobodys_mail_waiting(
    clones: tuple[Path, Path], mallory: Mallory, cli: Cli
) -> None:
    """Hooks show at most 50 items of another clone in an hour; further ones are counted, and stay unread."""
    from gitcoord.overview import surfacing

    ada, bob = clones
    mallory.chain(log(MALLORY), MALLORY, [("m", "message", f"flood {n}", {"to": [box_of(bob, "bob")], "urgent": True})
                                          for n in range(60)])  # fmt: skip
    assert cli(ada, "send", box_of(bob, "bob"), "genuine", "--urgent").code == 0
    assert cli(bob, "send", "bob", "from here", "--urgent", env={"GIT_COORD_SESSION": "w"}).code == 0
    sync(ada)
    sync(bob)
    with Coord.open(bob, as_name="bob") as coord:
        clone, me = coord.clone, coord.identity
        heads = [line for line in surfacing.gather(clone, me).text.splitlines() if line.startswith("  > ")]
        assert heads[0] == "  > from here" and "  > genuine" in heads[:3], "ours first, then the clones in turn"
        with clone.locked():
            news = surfacing.gather(clone, me, room=lambda other: 1)
            surfacing.mark_surfaced(clone, me, news)
        assert news.text.count("  > flood") == 1 and "more of clones that sent many this hour" in news.text
        assert set(news.others.values()) == {1} and surfacing.tokens(news.text) <= surfacing.BUDGET
        unread = [message.text for message in coord.messages.inbox(limit=100).messages]
        assert unread[0].startswith("flood") and len(unread) == 59, "they are not lost"
