"""Two clones with a real server between them, of every kind to which git can push."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from clones import clone_id
from conftest import Cli, git, make_repo, need_git
from hosts import (
    KINDS,
    Host,
    PasswordHost,
    PathHost,
    SshHost,
    clones,
    git_bytes,
    is_one_line,
    ledger,
    make_clone,
    running,
    say,
    sync,
    texts,
    users_refs,
)
from servers import PASSWORD

from gitcoord import Coord, RemoteError
from gitcoord.errors import Refused

PATCH = bytes(range(256)) * 40


@pytest.fixture(params=KINDS, ids=[kind.kind for kind in KINDS])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with running(request.param, tmp_path / "server") as started:
        yield started


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
        (message,) = coord.messages.receive().messages
        assert message.text == "see the patch" and message.attachments == ("patch",)
        assert next(iter(coord.clone.store.read([message.id]))).kind == "commit"
        coord.messages.reply(message.id, "thank you")
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
        coord.remote.sync(quiet=True)
    assert time.monotonic() - started < 15
    assert cli(ada, "task", "claim", "--offline", task[:10]).code == 0
    assert "events to be sent" in (status := cli(ada, "status").out) and "failing: origin " in status
    host.start()
    sync(ada, bob)
    assert texts(bob) == ["written while it was away"]
    with Coord.open(bob) as coord:
        assert coord.tasks.show(task).holder.startswith("ada") and not coord.tasks.show(task).tentative


# users who are not let in


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
            told = f"error: origin denies access: {said.format(url=url, place=place, user=user)}\n"
            assert (ran.code, ran.out, ran.err) == (4, "", f"{told}hint: git ls-remote origin\n")
        for key, value in right.items():
            git(ada, "config", key, value)
        sync(ada, bob)
        assert texts(bob) == ["this waits"]


def test_a_host_that_never_answers_is_given_up(tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitcoord.store.transport.LOOK_TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        git(repo, "remote", "add", "origin", f"git://127.0.0.1:{silent.getsockname()[1]}/project.git")
        with Coord.open(repo) as coord, pytest.raises(RemoteError, match=r"origin cannot be reached: timed out after 0 s"):
            coord.remote.sync()


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
            with pytest.raises(RemoteError, match="denies access"):
                coord.remote.sync(quiet=True)
            assert not asked.exists()
            assert coord.remote.sync().refused == ()
            assert asked.exists()


@pytest.mark.parametrize("how", ["GIT_SSH", "GIT_SSH_COMMAND", "core.sshCommand"])
def test_any_program_that_speaks_ssh_will_do(how: str, tmp_path: Path, cli: Cli) -> None:
    """In the background, too, where OpenSSH is told to ask nobody, and others could not be told in its words."""
    with running(SshHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        wrapper = tmp_path / "connect"
        command = host.settings("ada")["core.sshCommand"]
        wrapper.write_text(f'#!/bin/sh\ncase $* in *BatchMode*) exit 9 ;; esac\ntouch {tmp_path}/used\nexec {command} "$@"\n')
        wrapper.chmod(0o755)
        git(ada, "config", "--unset", "core.sshCommand")
        git(ada, "config", "ssh.variant", "ssh")
        environ = {**os.environ}
        if how.startswith("GIT"):
            environ[how] = str(wrapper)
        else:
            git(ada, "config", how, str(wrapper))
        with Coord.open(ada, environ=environ) as coord:
            assert coord.remote.sync(quiet=True).sent == 1
        assert (tmp_path / "used").exists()


def test_a_large_attachment_crosses(tmp_path: Path) -> None:
    """Larger than git's buffer for one request, which is 1 MiB."""
    with running(PasswordHost, tmp_path / "server") as host:
        ada, bob = clones(tmp_path, host)
        data = random.Random(1).randbytes(3 << 20)
        say(ada, "bob", "all of it", patch=data)
        sync(ada, bob)
        with Coord.open(bob) as coord:
            (message,) = coord.messages.receive().messages
        assert git_bytes(bob, "cat-file", "blob", f"{message.id}:patch") == data


# by hand, beside us


def test_five_minutes_as_written(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/sync.md").read_text()
    block = text.partition("<!-- five minutes -->\n")[2].partition("<!-- end -->")[0]
    assert block.count("git coord sync") == 6
    script = "set -eu\n" + block
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, start_new_session=True)
    assert done.returncode == 0, done
    assert "the build is green here" in done.stdout
    last = done.stdout.splitlines()[-1]
    assert "Port the parser" in last and "ada" in last, done.stdout


def by_hand(where: Path) -> None:
    """As docs/sync.md says it is done with plain git."""
    own = clone_id(where)
    git(where, "push", "-q", "origin", f"refs/coord/log/{own}/*", f"+refs/coord/presence/{own}")
    others = "refs/coord/log/*:refs/coord/log/*", "+refs/coord/presence/*:refs/coord/presence/*"
    git(where, "fetch", "-q", "origin", *others, f"^refs/coord/log/{own}/*", f"^refs/coord/presence/{own}")


@pytest.mark.parametrize("kind", [PathHost, SshHost], ids=["path", "ssh"])
def test_plain_git_does_it_by_hand(kind: type[Host], tmp_path: Path, cli: Cli) -> None:
    with running(kind, tmp_path / "server") as host:
        ada, bob = make_clone(tmp_path, host, "ada"), make_clone(tmp_path, host, "bob")
        for where in (ada, bob, ada):
            by_hand(where)
        say(ada, "bob", "by hand", patch=PATCH)
        by_hand(ada)
        by_hand(bob)
        assert texts(bob) == ["by hand"]
        sync(bob)
        by_hand(ada)
        assert ledger(ada) == ["read"]
        say(bob, "ada", "by a program")
        sync(bob, ada)
        by_hand(ada)
        assert texts(ada) == ["by a program"]
        sync(ada, bob, ada)
        for where in (ada, bob, host.bare):
            assert git(where, "fsck", "--strict", "--no-dangling") == ""
        assert cli(ada, "sync").out == "origin: nothing new\n"


# what the user has configured

UNSETTLING = {
    "a mirror": ("remote.origin.mirror=true",),
    "pruning fetches": ("fetch.prune=true", "fetch.pruneTags=true", "remote.origin.prune=true"),
    "pruning what is ours": ("fetch.prune=true", "remote.origin.fetch=+refs/coord/*:refs/coord/*"),
    "tags that follow": ("push.followTags=true", "remote.origin.tagOpt=--tags"),
    "signed pushes": ("push.gpgSign=true", "user.signingKey=nobody", "gpg.program=false"),
    "another remote to push to": ("remote.pushDefault=nowhere", "push.default=matching"),
    "submodules": ("push.recurseSubmodules=check", "fetch.recurseSubmodules=yes", "submodule.recurse=true"),
    "refspecs": ("remote.origin.push=refs/heads/*:refs/heads/*", "remote.origin.fetch=+refs/*:refs/remotes/origin/*"),
    "nothing to fetch": ("remote.origin.fetch=^refs/heads/*",),
    "suspicion": ("transfer.fsckObjects=true", "fetch.fsckObjects=true"),
    "protocol 0": ("protocol.version=0",),
    "protocol 1": ("protocol.version=1",),
    "protocol 2": ("protocol.version=2",),
    "options": ("push.pushOption=ci.skip", "fetch.writeCommitGraph=true", "fetch.showForcedUpdates=false"),
    "upkeep": ("gc.auto=1", "maintenance.auto=true", "fetch.unpackLimit=1", "core.logAllRefUpdates=always"),
    "many at once": ("fetch.parallel=4", "fetch.all=true", "fetch.output=compact"),
    "atomic and quiet": ("push.useForceIfIncludes=true", "push.negotiate=true", "fetch.negotiationAlgorithm=skipping"),
}


def test_no_setting_of_the_user_disturbs(tmp_path: Path) -> None:
    """All on one pair, one after the other: each time a message crosses and the user's refs stay as they were."""
    with running(PathHost, tmp_path / "server") as host:
        ada, bob = clones(tmp_path, host)
        git(ada, "tag", "-a", "-m", "not to go", "mine")
        git(host.bare, "config", "transfer.fsckObjects", "true")
        for name, settings in UNSETTLING.items():
            before = [users_refs(place) for place in (ada, bob, host.bare)]
            for where in (ada, bob):
                shutil.copy(where / ".git/config", where / ".git/config.before")
                for setting in settings:
                    git(where, "config", "--add", *setting.split("=", 1))
            say(ada, "bob", name, patch=name.encode())
            sync(ada, bob)
            assert texts(bob) == [name]
            sync(bob, ada)
            assert ledger(ada) == ["read"], name
            for where in (ada, bob):
                os.replace(where / ".git/config.before", where / ".git/config")
            assert [users_refs(place) for place in (ada, bob, host.bare)] == before, name
            assert not (ada / ".git/logs/refs/coord").exists() and not (bob / ".git/FETCH_HEAD.lock").exists()


def test_hooks_and_renamed_urls(tmp_path: Path) -> None:
    with running(PathHost, tmp_path / "server") as host:
        ada, bob = clones(tmp_path, host)
        hooks = tmp_path / "hooks"
        hooks.mkdir()
        for hook in ("pre-push", "reference-transaction", "post-merge", "pre-auto-gc", "post-rewrite"):
            (hooks / hook).write_text(f"#!/bin/sh\necho {hook} >>{tmp_path}/ran\nexit 1\n")
            (hooks / hook).chmod(0o755)
        for where in (ada, bob):
            git(where, "config", "core.hooksPath", str(hooks))
            git(where, "config", f"url.{host.root}/.insteadOf", "short:")
            git(where, "config", "remote.origin.url", "short:project.git")
        say(ada, "bob", "past the hooks")
        sync(ada, bob)
        assert texts(bob) == ["past the hooks"]
        assert not (tmp_path / "ran").exists()


# every kind of repository


def test_shallow_partial_and_bare_clones(tmp_path: Path, cli: Cli) -> None:
    with running(SshHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        sync(ada)
        git(host.bare, "config", "uploadpack.allowFilter", "true")
        kinds = {"shallow": ["--depth=1"], "partial": ["--filter=blob:none", "--no-checkout"], "bare": ["--bare"]}
        ssh = {"GIT_SSH_COMMAND": host.settings("bob")["core.sshCommand"]}
        for kind, options in kinds.items():
            git(tmp_path, "clone", "-q", *options, host.url(), kind, env=ssh)
            where = tmp_path / kind
            for key, value in host.settings("bob").items():
                git(where, "config", key, value)
            me = {**os.environ, "GIT_COORD_SESSION": kind}
            with Coord.open(where, environ=me) as coord:
                coord.sessions.join()
            sync(where, ada)
            say(ada, kind, f"hello {kind}", patch=kind.encode() * 5000)
            sync(ada, where)
            with Coord.open(where, environ=me) as coord:
                (message,) = coord.messages.receive().messages
            assert git_bytes(where, "cat-file", "blob", f"{message.id}:patch") == kind.encode() * 5000
            sync(where, ada)
            assert ledger(ada) == ["read"]


@pytest.mark.parametrize("option", ["--object-format=sha256", "--ref-format=reftable"])
def test_other_formats(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.delenv("GIT_COORD_STORE", raising=False)
    if "reftable" in option:
        need_git(2, 48)
    git(tmp_path, "init", "-q", "--bare", option, "remote.git")
    pair = []
    for name in ("ada", "bob"):
        pair.append(make_repo(tmp_path / name, option))
        git(pair[-1], "remote", "add", "origin", "../remote.git")
        git(pair[-1], "config", "user.name", f"{name.capitalize()} Example")
        with Coord.open(pair[-1]) as coord:
            coord.sessions.join(name)
    ada, bob = pair
    sync(ada, bob, ada)
    say(ada, "bob", "hello", patch=PATCH)
    sync(ada, bob)
    with Coord.open(bob) as coord:
        (message,) = coord.messages.receive().messages
        assert coord.tasks.claim(coord.tasks.add("Port the parser").id).holder.startswith("bob")
    assert git_bytes(bob, "cat-file", "blob", f"{message.id}:patch") == PATCH
    sync(bob, ada)
    assert ledger(ada) == ["read"]
    for where in (ada, bob, tmp_path / "remote.git"):
        assert git(where, "fsck", "--strict", "--no-dangling") == ""


def test_fetched_from_one_place_and_pushed_to_another(tmp_path: Path) -> None:
    """A claim is decided where it is pushed to; a copy for reading, or a second place to push to, has no say."""
    with running(PathHost, tmp_path / "server") as host:
        ada, bob = clones(tmp_path, host)
        copy, second = host.make_bare("copy"), host.make_bare("second")
        git(host.bare, "push", "-q", str(copy), "main")
        git(ada, "config", "remote.origin.pushurl", str(host.bare))
        git(ada, "config", "--add", "remote.origin.pushurl", str(second))
        git(ada, "config", "remote.origin.url", str(copy))
        git(bob, "config", "--add", "remote.origin.url", str(second))
        say(ada, "bob", "in one place")
        with Coord.open(ada) as coord:
            task = coord.tasks.add("Port the parser").id
        sync(ada, bob)
        assert texts(bob) == ["in one place"]
        with Coord.open(bob) as coord:
            assert coord.tasks.claim(task).holder.startswith("bob")
        with Coord.open(ada) as coord, pytest.raises(Refused, match="is held by bob"):
            coord.tasks.claim(task)
        assert "refs/coord" not in git(copy, "for-each-ref") + git(second, "for-each-ref")


def test_a_password_in_a_url_is_not_repeated(tmp_path: Path, cli: Cli) -> None:
    with running(PasswordHost, tmp_path / "server") as host:
        ada = make_clone(tmp_path, host, "ada")
        git(ada, "config", "credential.helper", "")
        url = host.url().replace("://", f"://ada:{PASSWORD}@")
        git(ada, "config", "coord.remote", url)
        said = [cli(ada, *args) for args in (["init"], ["sync"], ["sync", "--json"], ["status"], ["status", "--json"])]
        assert [ran.code for ran in said] == [0, 0, 0, 0, 0] and f"{host.url()}: 1 sent" in said[1].out
        host.stop()
        said += [cli(ada, "sync"), cli(ada, "status")]
        assert said[-2].code == 4 and "failing" in said[-1].out
        assert not [ran for ran in said if PASSWORD in ran.out + ran.err]


# private facts never leave


def test_nothing_private_is_ever_sent(tmp_path: Path, cli: Cli) -> None:
    """After a busy day, every object at the remote is searched for what must not be there."""
    with running(PathHost, tmp_path / "server") as host:
        place = tmp_path / "private-place"
        place.mkdir()
        ada = make_clone(place, host, "ada")
        secret = "s3cret-argument"
        with Coord.open(ada) as coord:
            coord.repository.init()
            coord.sessions.focus("the parser")
            coord.state.set("plan", "first this")
            coord.notes.add("mind the gap", ["readme.txt"])
            coord.send("ada", "only-for-this-clone", local=True)
            coord.tasks.add("Port the parser")
        (ada / "readme.txt").write_text("changed\n")
        inner = f"echo {secret}-out; echo {secret}-err >&2; exit 3"
        ran = cli(ada, "run", "--name", "build", "--", "sh", "-c", inner)
        assert ran.code == 3 and f"{secret}-err" in ran.err
        detached = json.loads(cli(ada, "run", "--name", "later", "--detach", "--json", "--", "sh", "-c", inner).out)
        assert cli(ada, "wait", f"job:{detached['id']}", "--timeout", "30").code == 0
        sync(ada)
        say(ada, "ada", "and this may go")
        sync(ada)

        everything = all_objects(host.bare)
        assert b"and this may go" in everything and b"mind the gap" in everything and b"the parser" in everything
        private = [
            secret,
            "only-for-this-clone",
            str(place),
            str(ada),
            os.environ["HOME"],
            socket.gethostname(),
            detached["log"],
        ]
        process = json.loads((ada / ".git/coord/clone").read_text())
        private += [process["machine"], f'"pid":{detached["pid"]}', "refs/coord/local", "echo"]
        assert [word for word in private if word.encode() in everything] == []
        assert "local" not in git(host.bare, "for-each-ref", "--format=%(refname)")
        locally, private = all_objects(ada), (secret, "only-for-this-clone")
        assert b"and this may go" in locally, "the search finds what is there"
        assert [word for word in private if word.encode() in locally] == [], "no git command can send them"
        assert "only-for-this-clone" in cli(ada, "log").out


def all_objects(where: Path) -> bytes:
    """The contents of every object, whether a ref names it or not."""
    return git_bytes(where, "cat-file", "--batch-all-objects", "--batch", "--unordered")
