"""Sessions that die without a leave: the first process that notices tells the sessions concerned, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, git
from forkserver import Program

from gitcoord import Coord
from gitcoord.features.deaths import FEATURE, notice, watched
from gitcoord.log.event import Event
from gitcoord.log.schemas import objection
from gitcoord.store.objects import Oid
from gitcoord.store.watch import wait_until
from gitcoord.system import process as processes

Pair = tuple[Path, Path]
BETA = {"GIT_COORD_SESSION": "beta"}


class Body:
    """A process that a session is bound to."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)

    def die(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def body(worktrees: Pair) -> Iterator[Body]:
    """The process to which the session beta is bound."""
    found = Body()
    with Coord.open(worktrees[1]) as beta:
        beta.sessions.join(pid=found.process.pid)
    yield found
    found.die()


def told(where: Path) -> list[str]:
    """gitcoord's messages to the session of this worktree, oldest first."""
    with Coord.open(where) as coord:
        return [m.text for m in coord.messages.receive(everything=True, limit=1000).messages if m.notice]


def kinds(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        return [event.type for event in coord.events.log(limit=1000)]


def test_who_sent_urgent_mail_is_told_of_the_death(worktrees: Pair, cli: Cli, body: Body) -> None:
    with Coord.open(worktrees[0]) as alpha:
        ids = [alpha.send("beta", text, urgent=True).id for text in ("hush", "hurry")]
        alpha.send("beta", "whenever you like")
    assert told(worktrees[0]) == []
    body.die()
    out = cli(worktrees[0], "inbox").out
    lines = [line for line in out.splitlines() if line.startswith("  > ")]
    assert lines == ["  > beta is gone: its process ended.", *(f"  > It has not read your message {oid[:10]}." for oid in ids)]
    assert "from gitcoord" in out
    assert cli(worktrees[0], "inbox").out == "No new messages.\n"
    assert kinds(worktrees[0]).count("gone") == 1


def test_many_who_notice_at_once_tell_it_once(worktrees: Pair, body: Body) -> None:
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "hurry", urgent=True)
    body.die()
    crowd = [Program(["-m", "gitcoord", "sessions"], worktrees[0]) for _ in range(8)]
    for program in crowd:
        program.communicate()
    assert [program.returncode for program in crowd] == [0] * 8
    assert kinds(worktrees[0]).count("gone") == 1
    assert len(told(worktrees[0])) == 1


def test_where_nobody_is_concerned_the_death_is_only_on_the_log(worktrees: Pair, body: Body) -> None:
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "whenever you like")
        body.die()
        assert notice(alpha.clone) == ["beta"]
        assert notice(alpha.clone) == []
        (event,) = alpha.events.log(kind="gone")
    assert (event.author, event.text, event.data["session"]) == ("beta", "beta is gone: its process ended", "beta")
    assert told(worktrees[0]) == []


def test_read_is_no_ack(worktrees: Pair, body: Body) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1], environ={**os.environ, **BETA}) as beta:
        waiting = alpha.send("beta", "please ack", needs_ack=True, urgent=True).id
        acked = alpha.send("beta", "this one, too", needs_ack=True).id
        beta.messages.receive()
        beta.messages.ack(acked)
        body.die()
        assert notice(alpha.clone) == ["beta"]
    assert told(worktrees[0]) == [f"beta is gone: its process ended.\nIt has not acked your message {waiting[:10]}."]


def test_coming_back_takes_it_back_and_another_death_is_told_again(worktrees: Pair, cli: Cli, body: Body) -> None:
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "hurry", urgent=True)
        body.die()
        assert notice(alpha.clone) == ["beta"]
        assert alpha.sessions.get("beta").state == "gone"
        again = Body()
        cli(worktrees[1], "join", "--pid", str(again.process.pid))
        assert alpha.sessions.get("beta").state == "active"
        assert notice(alpha.clone) == []
        again.die()
        assert notice(alpha.clone) == ["beta"]
    assert len(told(worktrees[0])) == 2
    assert [kind for kind in reversed(kinds(worktrees[0])) if kind in ("join", "gone")] == [
        "join",
        "join",
        "gone",
        "join",
        "gone",
    ]


def test_one_who_speaks_is_not_told_of_as_dead(worktrees: Pair, cli: Cli, body: Body) -> None:
    body.die()
    assert cli(worktrees[1], "inbox").code == 0
    assert "gone" not in kinds(worktrees[0])


def test_without_a_process_nobody_is_called_dead(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha:
        assert notice(alpha.clone, now=4e9) == []


def test_leaving_is_no_death(worktrees: Pair, cli: Cli, body: Body) -> None:
    assert cli(worktrees[1], "leave", env=BETA).code == 0
    body.die()
    with Coord.open(worktrees[0]) as alpha:
        assert notice(alpha.clone) == []


def test_other_clones_see_it_published(worktrees: Pair, body: Body) -> None:
    body.die()
    with Coord.open(worktrees[0]) as alpha:
        notice(alpha.clone)
    shown = git(worktrees[0], "log", "-1", "--format=%(trailers:key=Coord,valueonly)", "--glob=refs/coord/presence")
    assert json.loads(shown)["sessions"]["beta"]["state"] == "gone"


def test_noticed_by_one_that_was_killed_meanwhile(worktrees: Pair, body: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the event, before the record."""
    body.die()
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "hurry", urgent=True)
        with monkeypatch.context() as patch:
            patch.setattr("gitcoord.sessions.records.Records.put", _killed)
            with pytest.raises(KeyboardInterrupt):
                notice(alpha.clone)
        assert notice(alpha.clone) == []
    assert kinds(worktrees[0]).count("gone") == 1
    assert len(told(worktrees[0])) == 1


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_waiter_knows_whose_end_to_wait_for(worktrees: Pair, body: Body) -> None:
    with Coord.open(worktrees[0]) as alpha:
        assert [process.pid for process in watched(alpha.clone)] == [body.process.pid]
        job = alpha.jobs.start(["sh", "-c", "read x < /dev/null; exec tail -f /dev/null"], name="tail")
        supervisor, command = watched(alpha.clone)[1:]
        assert command.pid == job.pid
        alpha.jobs.kill("tail")
        assert processes.wait_for_end(supervisor, 60)
        assert [process.pid for process in watched(alpha.clone)] == [body.process.pid]
        body.die()
        assert watched(alpha.clone) == []


def test_it_costs_nothing_where_nothing_can_have_died(repo: Path, worktrees: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    with Coord.open(worktrees[0]) as alpha:
        monkeypatch.setattr("gitcoord.log.clone.Clone.read", _killed)
        monkeypatch.setattr("gitcoord.log.clone.Clone.locked", _killed)
        assert notice(alpha.clone) == []


def test_a_nameless_death_is_malformed() -> None:
    assert objection(FEATURE.schemas["gone"], Event(Oid("1" * 40), "gone", 2, "a", "beta", "", 5, "", {}))


def test_who_filed_its_tasks_and_who_waits_for_its_locks_is_told(worktrees: Pair, cli: Cli, body: Body) -> None:
    task = cli(worktrees[0], "task", "add", "parser").out.split()[0]
    assert cli(worktrees[1], "task", "claim", task, env=BETA).code == 0
    assert cli(worktrees[1], "lock", "src/*.py", env=BETA).code == 0
    waiter = Program(["-m", "gitcoord", "lock", "--wait=60", "src/a.py"], worktrees[0])
    with Coord.open(worktrees[0]) as alpha:
        wait_until(alpha.clone.repo, lambda: alpha.events.log(kind="lock.wait") or None, 60)
        body.die()
        notice(alpha.clone)
    out, err = waiter.communicate()
    assert (waiter.returncode, err) == (0, ""), out
    assert kinds(worktrees[0]).count("gone") == 1
    (text,) = [text for text in told(worktrees[0]) if "is gone" in text]
    head, *lines = text.split("\n")
    assert head == "beta is gone: its process ended."
    assert any(line.startswith("It held your task ") and "parser" in line for line in lines)


# a worktree that is removed


def test_the_session_of_a_removed_worktree_is_gone_at_once(repo: Path, worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    assert cli(alpha, "task", "add", "build it").code == 0
    assert cli(alpha, "task", "next", "--claim").code == 0
    assert cli(alpha, "lock", "readme.txt", "--ttl", "24h").code == 0
    assert cli(beta, "send", "alpha", "stop", "--urgent").code == 0
    waiter = subprocess.Popen(
        [sys.executable, "-m", "gitcoord", "wait", "session:alpha=gone", "--timeout", "60"],
        cwd=beta,
        stdout=subprocess.PIPE,
        text=True,
    )
    git(repo, "worktree", "remove", "--force", str(alpha))
    assert cli(beta, "sessions", "alpha").code == 1
    assert "It has not read your message" in (said := cli(beta, "inbox").out) and "its worktree was removed" in said
    assert cli(beta, "task", "next", "--claim").code == 0
    assert cli(beta, "lock", "readme.txt").code == 0
    assert "alpha (gone" in cli(beta, "send", "alpha", "still there?").out
    out, _ = waiter.communicate()
    assert (waiter.returncode, out.partition(":")[0]) == (0, "session")


def test_a_worktree_that_comes_again_has_a_session_of_its_name(repo: Path, worktrees: tuple[Path, Path], cli: Cli) -> None:
    git(repo, "worktree", "remove", "--force", str(worktrees[0]))
    assert cli(worktrees[1], "inbox").code == 0
    git(repo, "worktree", "add", "-q", "-f", str(worktrees[0]), "alpha")
    assert json.loads(cli(worktrees[1], "sessions", "alpha", "--json").out)["state"] == "gone"
    assert cli(repo, "init", "--no-hooks").code == 0
    assert json.loads(cli(worktrees[1], "sessions", "alpha", "--json").out)["state"] == "expected"
    assert cli(worktrees[0], "join").out == "joined as alpha\n"


# sessions that say that they end


def test_who_was_owed_something_is_told_that_a_session_has_left(worktrees: Pair, cli: Cli) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        task = alpha.tasks.add("merge the schema").id
        asked = alpha.send("beta", "please look", needs_ack=True).id
        beta.tasks.claim(task)
        beta.locks.take(["schema.sql"])
        waits = Program(["-m", "gitcoord", "lock", "schema.sql", "--wait"], worktrees[0], os.environ)
        assert wait_until(beta.clone.repo, lambda: "lock.wait" in kinds(worktrees[0]) or None, 60)
        beta.jobs.start(["sleep", "60"], name="build", notify=["alpha"])
        beta.sessions.leave()
        assert waits.wait() == 0
        beta.jobs.kill("build")
    assert told(worktrees[0])[0].splitlines() == [
        "beta has ended its session.",
        f"It has not read your message {asked[:10]}.",
        f"It held your task {task[:10]}, “merge the schema”: any session may take it over now"
        f" (git coord task claim {task[:10]}).",
        "Its lock on /schema.sql has ended.",
        "Its job build still runs (git coord job show build).",
    ]


def test_a_session_that_owes_nothing_leaves_without_a_word(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        alpha.send("beta", "no answer needed")
        beta.messages.receive()
        beta.tasks.claim(beta.tasks.add("its own").id)
        beta.sessions.leave()
        beta.sessions.join()
    assert told(worktrees[0]) == []
