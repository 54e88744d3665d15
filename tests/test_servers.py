"""Two clones and a real server between them: whatever git can push to will do."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, Ran, git, make_repo
from hosts import (
    KINDS,
    DaemonHost,
    Forbidding,
    GitoliteHost,
    Host,
    HttpHost,
    PasswordHost,
    PathHost,
    ReadOnlyDaemon,
    SshHost,
    make_clone,
    running,
)
from servers import PASSWORD

from gitcoord import Coord, RemoteError
from gitcoord.errors import Refused

PATCH = bytes(range(256)) * 40


@pytest.fixture(params=KINDS, ids=[kind.kind for kind in KINDS])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with running(request.param, tmp_path / "server") as started:
        yield started


def clones(tmp_path: Path, host: Host) -> tuple[Path, Path]:
    """Clones of ada and bob, which have met."""
    pair = make_clone(tmp_path, host, "ada"), make_clone(tmp_path, host, "bob")
    sync(*pair, pair[0])
    return pair


def sync(*places: Path) -> None:
    for where in places:
        with Coord.open(where) as coord:
            assert coord.sync().refused == ()


def say(where: Path, to: str, text: str, **attachments: bytes) -> None:
    with Coord.open(where) as coord:
        coord.send(to, text, attachments=attachments)


def texts(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        return [message.text for message in coord.inbox().messages]


def ledger(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        return [delivery.state for delivery in coord.sent()[0].recipients]


# every host


def test_two_clones_with_a_server_between_them(host: Host, tmp_path: Path, cli: Cli) -> None:
    ada, bob = clones(tmp_path, host)
    everything_crosses_and_a_claim_has_one_winner(host, ada, bob)
    a_dead_server_costs_nothing_but_time(host, ada, bob, cli)


def everything_crosses_and_a_claim_has_one_winner(host: Host, ada: Path, bob: Path) -> None:
    say(ada, "bob", "see the patch", patch=PATCH)
    with Coord.open(ada) as coord:
        task = coord.tasks.add("Port the parser").id
    sync(ada, bob)
    with Coord.open(bob) as coord:
        (message,) = coord.inbox().messages
        assert message.text == "see the patch" and message.attachments == ("patch",)
        assert next(iter(coord.clone.store.read([message.id]))).kind == "commit"
        coord.reply(message.id, "thank you")
        assert coord.tasks.claim(task).holder.startswith("bob")
    assert git_bytes(bob, "cat-file", "blob", f"{message.id}:patch") == PATCH
    with Coord.open(ada) as coord, pytest.raises(Refused, match="is held by bob"):
        coord.tasks.claim(task)
    sync(bob, ada)
    assert ledger(ada) == ["read"] and texts(ada) == ["thank you"]
    sync(bob, ada, bob)

    before = host.connections()
    sync(ada, bob)
    assert host.connections() - before == 2, "one connection each when nothing changed"


def git_bytes(where: Path, *args: str) -> bytes:
    import subprocess

    return subprocess.run(["git", "-C", str(where), *args], capture_output=True, check=True).stdout


def a_dead_server_costs_nothing_but_time(host: Host, ada: Path, bob: Path, cli: Cli) -> None:
    host.stop()
    say(ada, "bob", "written while it was away")
    started = time.monotonic()
    is_one_line(cli(ada, "sync"), "error: origin ")
    with Coord.open(ada) as coord:
        task = coord.tasks.add("Port the parser").id
    ran = cli(ada, "task", "claim", task[:10])
    is_one_line(ran, "error: origin ")
    assert "--offline" in ran.err
    with Coord.open(ada) as coord, pytest.raises(RemoteError):
        coord.sync(quiet=True)
    assert time.monotonic() - started < 15
    assert cli(ada, "task", "claim", "--offline", task[:10]).code == 0
    assert "events to be sent" in (status := cli(ada, "status").out) and "failing: origin " in status
    host.start()
    sync(ada, bob)
    assert texts(bob) == ["written while it was away"]
    with Coord.open(bob) as coord:
        assert coord.tasks.show(task).holder.startswith("ada") and not coord.tasks.show(task).tentative


def is_one_line(ran: Ran, start: str, code: int = 4) -> None:
    """An error as they all are: what, and what to do."""
    assert ran.code == code and ran.out == "", ran
    lines = ran.err.splitlines()
    assert len(lines) == 2 and lines[0].startswith(start) and lines[1].startswith("hint: "), ran
    assert "\x1b" not in lines[0] and len(lines[0]) < 250


# who is not let in


@pytest.mark.parametrize("kind", [PasswordHost, SshHost], ids=["http with a password", "ssh"])
def test_who_is_not_let_in_is_told_and_not_asked(kind: type[PasswordHost | SshHost], tmp_path: Path, cli: Cli) -> None:
    with running(kind, tmp_path / "server") as host:
        ada, bob = clones(tmp_path, host)
        say(ada, "bob", "this waits")
        right = host.settings("ada")
        if isinstance(host, PasswordHost):
            wrong = host.settings("ada", "guessed"), {"credential.helper": ""}
            words = ("Authentication failed for '{url}/'", "could not read Username for '{place}': terminal prompts disabled")
        else:
            stranger, own = host.settings("stranger"), f"{host.place}/known_hosts"
            wrong = stranger, {key: value.replace(own, f"{own}-none") for key, value in right.items()}
            words = ("{user}@127.0.0.1: Permission denied (publickey).", "Host key verification failed.")
        url = host.url()
        place, user = url.partition("/git")[0], url[len("ssh://") :].partition("@")[0]
        for settings, said in zip(wrong, words, strict=True):
            for key, value in settings.items():
                git(ada, "config", key, value)
            ran = cli(ada, "sync")
            told = f"error: origin does not let us in: {said.format(url=url, place=place, user=user)}\n"
            assert (ran.code, ran.out, ran.err) == (4, "", f"{told}hint: git ls-remote origin\n")
        for key, value in right.items():
            git(ada, "config", key, value)
        sync(ada, bob)
        assert texts(bob) == ["this waits"]


def test_a_host_that_never_answers_is_given_up(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitcoord.store.transport.LOOK_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        git(repo, "remote", "add", "origin", f"git://127.0.0.1:{silent.getsockname()[1]}/project.git")
        with Coord.open(repo) as coord, pytest.raises(RemoteError, match=r"origin is out of reach: timed out after 0 s"):
            coord.sync()


def test_windows_and_terminals_ask_for_nothing_in_the_background(tmp_path: Path) -> None:
    with running(PasswordHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        git(ada, "config", "credential.helper", "")
        asked = tmp_path / "asked"
        script = tmp_path / "ask"
        script.write_text(f"#!/bin/sh\ntouch {asked}\necho {PASSWORD}\n")
        script.chmod(0o755)
        git(ada, "remote", "set-url", "origin", host.url().replace("://", "://ada@"))
        with Coord.open(ada, environ={**os.environ, "GIT_ASKPASS": str(script)}) as coord:
            with pytest.raises(RemoteError, match="does not let us in"):
                coord.sync(quiet=True)
            assert not asked.exists()
            assert coord.sync().refused == ()
            assert asked.exists()


# hosts that will not have our refs

BRANCHES_ONLY = """\
#!/bin/sh
while read old new ref; do
    case $ref in refs/heads/*) ;; *) echo "only branches are taken here, not $ref" >&2; exit 1 ;; esac
    case $new in *[!0]*) ;; *) echo "deletions are not taken here" >&2; exit 1 ;; esac
    [ "$NO_FORCE" ] || continue
    case $old in *[!0]*) git merge-base --is-ancestor $old $new || { echo "no force here" >&2; exit 1; } ;; esac
done
"""
INSTEAD = "hint: use a repository of its own: git config coord.remote URL"
PREFIX = "; or, where only branches can be pushed: git config coord.remotePrefix refs/heads/coord/"


def hidden(host: Host) -> None:
    git(host.bare, "config", "receive.hideRefs", "refs/coord")


def branches_only(host: Host, force: bool = True) -> None:
    hook = host.bare / "hooks/pre-receive"
    hook.write_text(BRANCHES_ONLY if force else BRANCHES_ONLY.replace("$NO_FORCE", "never"))
    hook.chmod(0o755)


def test_a_host_that_refuses_the_namespace_is_recognised(tmp_path: Path, cli: Cli) -> None:
    with running(PathHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        hidden(host)
        ran = cli(ada, "sync")
        assert (ran.code, ran.out) == (4, "")
        assert ran.err == f"error: origin refuses coordination refs: deny updating a hidden ref\n{INSTEAD}{PREFIX}\n"
        git(host.bare, "config", "--unset", "receive.hideRefs")
        branches_only(host)
        own = clone_id(ada)
        ran = cli(ada, "sync")
        assert (ran.code, ran.out) == (4, "")
        what = re.escape("error: origin refuses coordination refs: only branches are taken here, not refs/coord/")
        assert re.fullmatch(f"{what}(log/{own}/0001|sessions/{own}/ada)\n{re.escape(INSTEAD + PREFIX)}\n", ran.err), ran
        assert cli(ada, "status").out.count("sync") == 0, "that was no success, so nothing goes there by itself"


def clone_id(where: Path) -> str:
    with Coord.open(where) as coord:
        return coord.clone.id or ""


READ_ONLY = {
    "proxy": (Forbidding, "'{url}/': The requested URL returned error: 403"),
    "http": (HttpHost, "'{url}/': The requested URL returned error: 403"),
    "daemon": (ReadOnlyDaemon, "service not enabled: /project.git"),
    "gitolite": (GitoliteHost, "W any readonly bob DENIED by fallthru"),
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_where_we_may_only_read(name: str, tmp_path: Path, cli: Cli) -> None:
    kind, said = READ_ONLY[name]
    with running(kind, tmp_path / "server") as host:
        if name == "gitolite":
            make_clone(tmp_path, host, "ada", "readonly")
            bob = make_clone(tmp_path, host, "bob", "readonly")
        else:
            git(make_repo(tmp_path / "seed"), "push", "-q", str(host.bare), "main")
            if name == "http":
                git(host.bare, "config", "http.receivepack", "false")
            bob = make_clone(tmp_path, host, "bob")
        ran = cli(bob, "sync")
        told = f"error: origin refuses coordination refs: {said.format(url=host.url())}\n{INSTEAD}{PREFIX}\n"
        assert (ran.code, ran.out, ran.err) == (4, "", told)


# and what to do about it


def test_a_repository_of_its_own(tmp_path: Path, cli: Cli) -> None:
    with running(DaemonHost, tmp_path / "server") as host:
        ada, bob = make_clone(tmp_path, host, "ada"), make_clone(tmp_path, host, "bob")
        hidden(host)
        host.make_bare("coordination")
        for where in (ada, bob):
            git(where, "config", "coord.remote", host.url("coordination"))
            assert f"is at {host.url('coordination')}: git coord sync" in cli(where, "init").out
        sync(ada, bob, ada)
        say(ada, "bob", "here we are")
        sync(ada, bob)
        assert texts(bob) == ["here we are"]
        assert "refs/coord" not in git(host.bare, "for-each-ref")
        assert git(ada, "for-each-ref", "refs/remotes") == git(bob, "for-each-ref", "refs/remotes")


IN_BRANCHES = """\
warning: coordination is in branches of origin called claude/coord/…: who fetches sees them in git branch -r, the host \
shows them on its pages, and a push to them may start what runs for every branch
"""


@pytest.mark.parametrize("force", [True, False], ids=["no deletions", "no force and no deletions"])
def test_in_branches_as_far_as_the_host_lets_us(force: bool, tmp_path: Path, cli: Cli) -> None:
    with running(PathHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        branches_only(host, force)
        git(ada, "config", "coord.remotePrefix", "refs/heads/claude/coord/")
        ran = cli(ada, "sync")
        assert (ran.code, ran.out, ran.err) == (0, "origin: 1 sent\n", IN_BRANCHES)
        assert cli(ada, "sync").err == ""

        bob = make_clone(tmp_path, host, "bob")
        assert "is at origin: git coord sync origin" in cli(bob, "init").out, "found in what the user fetched"
        ran = cli(bob, "sync")
        assert (ran.code, ran.out, ran.err) == (0, "origin: 1 sent, 1 received\n", IN_BRANCHES)
        assert git(bob, "config", "--local", "--get-regexp", "^coord", check=False) == "", "joined without a setting"
        sync(ada)
        say(bob, "ada", "found you", patch=PATCH)
        with Coord.open(bob) as coord:
            task = coord.tasks.add("Port the parser").id
            coord.focus("the parser")
        ran = cli(bob, "sync")
        assert (ran.code, ran.out) == (0, "origin: 2 sent\n")
        if force:
            assert ran.err == ""
        else:
            assert ran.err == f"warning: refs/coord/sessions/{clone_id(bob)}/bob did not cross: no force here\n"
            assert "it takes no presence" in cli(bob, "status").out
            assert cli(bob, "sync").err == "", "said once"
        sync(ada)
        assert texts(ada) == ["found you"]
        with Coord.open(ada) as coord:
            assert coord.tasks.claim(task).holder.startswith("ada")
            second = coord.tasks.add("Test the parser").id
        with Coord.open(bob) as coord, pytest.raises(Refused, match="is held by ada"):
            coord.tasks.claim(task)
        ran = cli(ada, "task", "claim", second[:10])
        if not force:
            words = "error: origin keeps no leases for us: no force here\nhint: task claim --offline: tentative only\n"
            assert (ran.code, ran.out, ran.err) == (4, "", words)
            assert cli(ada, "task", "claim", "--offline", second[:10]).code == 0
        else:
            assert ran.code == 0, ran
        sync(ada, bob)
        with Coord.open(bob) as coord:
            held = coord.tasks.show(second)
            assert held.holder.startswith("ada") and held.tentative is not force
            coord.leave()
            coord.clone.drop_presence("bob")
        ran = cli(bob, "sync")
        assert ran.code == 0 and ("deletions are not taken here" in ran.err) is True
        assert cli(bob, "sync").err == ""
        leftovers = git(host.bare, "for-each-ref", "--format=%(refname)").splitlines()
        assert all(ref.startswith(("refs/heads/claude/coord/", "refs/heads/main")) for ref in leftovers)


def test_where_logs_are_taken_and_leases_are_not(tmp_path: Path, cli: Cli) -> None:
    with running(GitoliteHost, tmp_path / "server") as host:
        ada, bob = (make_clone(tmp_path, host, name, "leaseless") for name in ("ada", "bob"))
        sync(ada, bob, ada)
        with Coord.open(bob) as coord:
            task, other = (coord.tasks.add(title).id for title in ("Port the parser", "Test the parser"))
        ran = cli(bob, "task", "claim", task[:10])
        assert ran.code == 4
        assert ran.err.splitlines() == [
            "error: origin keeps no leases for us: FATAL: W refs/coord/lease/tasks leaseless bob DENIED by refs/coord/lease/",
            "hint: task claim --offline: tentative only",
        ]
        assert cli(bob, "task", "claim", "--offline", task[:10]).code == 0
        sync(bob, ada)
        with Coord.open(ada) as coord:
            assert coord.tasks.show(task).tentative
            assert not coord.tasks.claim(other).tentative
        sync(ada, bob, ada)
        for where in (ada, bob):
            with Coord.open(where) as coord:
                assert coord.tasks.show(task).holder.startswith("bob") and coord.tasks.show(task).tentative
                assert coord.tasks.show(other).holder.startswith("ada") and not coord.tasks.show(other).tentative


# purge --remote


def test_purge_takes_our_refs_off_a_remote(tmp_path: Path, cli: Cli) -> None:
    with running(PathHost, tmp_path / "server") as host:
        ada, bob = clones(tmp_path, host)
        mine = f"refs/coord/log/{clone_id(ada)}/0001", f"refs/coord/sessions/{clone_id(ada)}/ada"
        ran = cli(ada, "purge", "--remote", "origin")
        listed = "".join(f"would delete {ref} at origin\n" for ref in mine)
        tail = "Nothing was deleted: git coord purge --remote origin --yes\n2 refs of 1 other clones stay there.\n"
        assert (ran.code, ran.out) == (0, listed + tail)
        assert refs_at(host, clone_id(ada)) == list(mine)
        found = json.loads(cli(ada, "purge", "--remote", "origin", "--yes", "--json").out)
        assert found == {"removed": True, "remote": "origin", "refs": [*mine], "others": {clone_id(bob): 2}}
        assert refs_at(host, clone_id(ada)) == [] and len(refs_at(host, clone_id(bob))) == 2
        assert cli(ada, "purge", "--remote", "origin").out.startswith("There is nothing of this clone at origin.\n")
        assert cli(ada, "purge", "--remote", "origin", "--everyone").code == 2
        say(ada, "bob", "not there yet")
        assert not (ada / ".git/coord/remote").exists(), "nothing goes there by itself any more"
        sync(ada, bob)
        assert texts(bob) == ["not there yet"]


def refs_at(host: Host, clone: str) -> list[str]:
    return [ref for ref in git(host.bare, "for-each-ref", "--format=%(refname)", "refs/coord").splitlines() if clone in ref]
