"""Two clones and a real server between them: whatever git can push to will do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, git
from hosts import KINDS, DaemonHost, GitoliteHost, Host, HttpHost, PasswordHost, SshHost, make_clone, running

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


def is_one_line(ran: object, start: str, code: int = 4) -> None:
    """An error as they all are: what, and what to do."""
    assert ran.code == code and ran.out == "", ran  # type: ignore[attr-defined]
    print(host_words := ran.err)
    lines = ran.err.splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 2 and lines[0].startswith(start) and lines[1].startswith("hint: "), ran
    assert "\x1b" not in lines[0] and len(lines[0]) < 250
