"""Hosts that reject our refs, or some of them: one line says so, and the rest works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from clones import clone_id
from conftest import Cli, git, make_repo
from hosts import (
    DaemonHost,
    Forbidding,
    GitoliteHost,
    Host,
    HttpHost,
    PathHost,
    ReadOnlyDaemon,
    clones,
    make_clone,
    refs_at,
    running,
    say,
    sync,
    texts,
)

from gitcoord import Coord
from gitcoord.errors import Refused

PATCH = bytes(range(256)) * 40
# hosts that reject our refs

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


class OpenToReaders(HttpHost):
    """A host like those of public repositories: everybody reads, and writing needs a login."""

    auth = """\
auth.backend = "plain"
auth.backend.plain.userfile = "{logs}/users"
$HTTP["querystring"] =~ "git-receive-pack" {{
    auth.require = ("" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
}}
"""


def test_who_may_only_read_without_a_password_is_not_told_to_go_elsewhere(tmp_path: Path, cli: Cli) -> None:
    with running(OpenToReaders, tmp_path / "server") as host:
        helper = "!f() { echo username=ada; echo password=s3cret; }; f"
        ada = make_clone(tmp_path, host, "ada", settings={**host.settings("ada"), "credential.helper": helper})
        assert cli(ada, "sync").code == 0
        git(ada, "config", "credential.helper", "")
        say(ada, "ada", "more")
        ran = cli(ada, "sync")
        assert ran.code == 4 and ran.err.startswith("error: origin denies pushes: could not read Username for "), ran
        assert ran.err.endswith("terminal prompts disabled\nhint: git push --dry-run origin\n")


def test_a_host_that_refuses_the_namespace_is_recognised(tmp_path: Path, cli: Cli) -> None:
    with running(PathHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        hidden(host)
        ran = cli(ada, "sync")
        assert (ran.code, ran.out) == (4, "")
        assert ran.err == f"error: origin rejects coordination refs: deny updating a hidden ref\n{INSTEAD}{PREFIX}\n"
        git(host.bare, "config", "--unset", "receive.hideRefs")
        branches_only(host)
        own = clone_id(ada)
        ran = cli(ada, "sync")
        assert (ran.code, ran.out) == (4, "")
        what = re.escape("error: origin rejects coordination refs: only branches are taken here, not refs/coord/")
        assert re.fullmatch(f"{what}(log/{own}/0001|sessions/{own}/ada)\n{re.escape(INSTEAD + PREFIX)}\n", ran.err), ran
        assert "origin, never; failing: origin rejects coordination refs" in cli(ada, "status").out
        assert not (ada / ".git/coord/remote").exists(), "that was no success, so nothing goes there by itself"


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
        told = f"error: origin rejects coordination refs: {said.format(url=host.url())}\n{INSTEAD}{PREFIX}\n"
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
warning: coordination is in branches of origin called claude/coord/…: git branch -r and the host's pages list \
them. Pushes to them may trigger CI
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
            coord.sessions.focus("the parser")
        ran = cli(bob, "sync")
        assert (ran.code, ran.out) == (0, "origin: 2 sent\n")
        if force:
            assert ran.err == ""
        else:
            assert ran.err == f"warning: not synced: refs/coord/presence/{clone_id(bob)}: no force here\n"
            assert "it rejects presence" in cli(bob, "status").out
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
            words = "error: origin rejects our leases: no force here\nhint: git coord task claim --offline: tentative\n"
            assert (ran.code, ran.out, ran.err) == (4, "", words)
            assert cli(ada, "task", "claim", "--offline", second[:10]).code == 0
        else:
            assert ran.code == 0, ran
        sync(ada, bob)
        with Coord.open(bob) as coord:
            held = coord.tasks.show(second)
            assert held.holder.startswith("ada") and held.tentative is not force
            coord.sessions.leave()
            coord.clone.drop_presence("bob")
        ran = cli(bob, "sync")
        assert ran.code == 0 and ("deletions are not taken here" in ran.err) is True
        assert cli(bob, "sync").err == ""
        leftovers = git(host.bare, "for-each-ref", "--format=%(refname)").splitlines()
        assert all(ref.startswith(("refs/heads/claude/coord/", "refs/heads/main")) for ref in leftovers)


def test_a_host_is_asked_again_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(PathHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        branches_only(host, force=False)
        git(ada, "config", "coord.remotePrefix", "refs/heads/coord/")
        sync(ada)
        with Coord.open(ada) as coord:
            coord.sessions.focus("the parser")
            assert [refusal.why for refusal in coord.remote.sync().refused] == ["no force here"]
            assert coord.remote.sync().refused == ()
        (host.bare / "hooks/pre-receive").unlink()
        there = git(host.bare, "rev-parse", f"refs/heads/coord/presence/{clone_id(ada)}")
        sync(ada)
        assert there == git(host.bare, "rev-parse", f"refs/heads/coord/presence/{clone_id(ada)}"), "not yet"
        monkeypatch.setattr("gitcoord.sync.rejected.REMEMBERED", 0)
        sync(ada)
        assert there != git(host.bare, "rev-parse", f"refs/heads/coord/presence/{clone_id(ada)}")


def test_where_logs_are_taken_and_leases_are_not(tmp_path: Path, cli: Cli) -> None:
    with running(GitoliteHost, tmp_path / "server") as host:
        assert isinstance(host, GitoliteHost)
        ada, bob = (make_clone(tmp_path, host, name, "leaseless") for name in ("ada", "bob"))
        sync(ada, bob, ada)
        with Coord.open(bob) as coord:
            task, other = (coord.tasks.add(title).id for title in ("Port the parser", "Test the parser"))
        ran = cli(bob, "task", "claim", task[:10])
        assert ran.code == 4
        assert ran.err.splitlines() == [
            "error: origin rejects our leases: FATAL: W refs/coord/lease/tasks leaseless bob DENIED by refs/coord/lease/",
            "hint: git coord task claim --offline: tentative",
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
        assert "it rejects leases" in cli(bob, "status").out
        host.gitolite_conf(host.gitolite_conf().replace("    -   refs/coord/lease/ = bob\n", ""))
        with Coord.open(bob) as coord:
            third = coord.tasks.add("Bench the parser").id
            assert not coord.tasks.claim(third).tentative, "who asks is not kept waiting for a day"
        assert "it rejects leases" not in cli(bob, "status").out
        sync(bob, ada)
        with Coord.open(ada) as coord:
            assert not coord.tasks.show(task).tentative, "and what was tentative is settled"


# purge --remote


def test_purge_takes_our_refs_off_a_remote(tmp_path: Path, cli: Cli) -> None:
    with running(PathHost, tmp_path / "server") as host:
        ada, bob = clones(tmp_path, host)
        mine = f"refs/coord/log/{clone_id(ada)}/0001", f"refs/coord/presence/{clone_id(ada)}"
        ran = cli(ada, "purge", "--remote", "origin")
        listed = "".join(f"would delete {ref} at origin\n" for ref in mine)
        tail = "Nothing was deleted: git coord purge --remote origin --yes\n2 refs of 1 other clone stay there.\n"
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
