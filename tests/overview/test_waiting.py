"""Waiting and following: nobody polls, nothing is missed, everything ends cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from conftest import Cli, git
from forkserver import Program

from gitcoord import Coord

Pair = tuple[Path, Path]


class Starter:
    """Starts the program in the background, and ends what is still running when the test is over."""

    def __init__(self) -> None:
        self.running: list[Program] = []

    def __call__(self, where: Path, *args: str) -> Program:
        process = Program(["-m", "gitcoord", *args], where)
        process.stdin.close()
        self.running.append(process)
        return process


@pytest.fixture
def start() -> Iterator[Starter]:
    starter = Starter()
    yield starter
    for process in starter.running:
        if process.poll() is None:
            process.kill()
            process.communicate()


def out(process: Program) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def asleep(process: Program) -> None:
    """Return once the process watches: it has inotify open and sleeps."""
    deadline = time.monotonic() + 60
    while not any("inotify" in link for link in opened(process)):
        assert process.poll() is None, f"it ended: {process.communicate()}"
        assert time.monotonic() < deadline, "it does not watch"


def opened(process: Program) -> list[str]:
    """The paths of its open descriptors."""
    folder = f"/proc/{process.pid}/fd"
    try:
        return [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder)]
    except FileNotFoundError:  # closed meanwhile
        return []


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks into /proc to see that a waiter sleeps")


@linux
def test_wait_prints_and_marks_what_comes(worktrees: Pair, cli: Cli, start: Starter) -> None:
    waiter = start(worktrees[1], "wait")
    asleep(waiter)
    cli(worktrees[0], "send", "beta", "wake up")
    printed, _ = waiter.communicate()
    assert printed.endswith("  > wake up\n") and waiter.returncode == 0
    assert cli(worktrees[1], "inbox").out == "No new messages.\n"


def test_what_already_holds_ends_a_wait_at_once(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "hi")
    for _ in range(2):  # a condition consumes nothing
        held = cli(worktrees[1], "wait", "message", "--json")
        assert (held.code, json.loads(held.out)["condition"], json.loads(held.out)["from"]) == (0, "message", "alpha")
    assert "hi" in cli(worktrees[1], "wait").out
    assert cli(worktrees[1], "inbox").out == "No new messages.\n"


def test_a_wait_gives_up_after_its_timeout(worktrees: Pair, cli: Cli) -> None:
    ran = cli(worktrees[0], "wait", "--timeout", "1s")
    assert (ran.code, ran.out) == (1, "Nothing happened in 1 seconds.\n")
    assert json.loads(cli(worktrees[0], "wait", "session:beta=gone", "--timeout", "1", "--json").out) == {"timeout": 1}
    waited = cli(worktrees[0], "inbox", "--wait=1")
    assert (waited.code, waited.out) == (1, "No new messages.\n")


@pytest.mark.parametrize(
    "condition", ["mail", "message:x", "session", "session:beta=dead", "session:nobody=gone", "task", "", "session:=gone"]
)
def test_what_is_no_condition_is_refused(worktrees: Pair, cli: Cli, condition: str) -> None:
    ran = cli(worktrees[0], "wait", condition)
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 2


@linux
def test_the_end_of_a_process_wakes_who_waits_for_it(worktrees: Pair, cli: Cli, start: Starter) -> None:
    worker = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    cli(worktrees[1], "join", "--pid", str(worker.pid))
    waiter = start(worktrees[0], "wait", "session:beta=gone", "message")
    asleep(waiter)
    worker.kill()
    worker.wait()
    printed, _ = waiter.communicate()
    assert (printed, waiter.returncode) == ("session:beta=gone: session beta, state gone\n", 0)


@linux
def test_the_end_of_a_job_wakes_who_waits_for_it(worktrees: Pair, cli: Cli, start: Starter) -> None:
    job = json.loads(cli(worktrees[1], "run", "--detach", "--name", "build", "--json", "--", "sleep", "600").out)
    waiter = start(worktrees[0], "wait", f"job:{job['id']}", "--json")
    asleep(waiter)
    os.kill(job["pid"], signal.SIGKILL)
    held = json.loads(waiter.communicate()[0])
    assert (held["name"], held["state"], held["exit"]) == ("build", "killed", None)


@linux
def test_who_only_waits_tells_of_the_dead(worktrees: Pair, cli: Cli, start: Starter) -> None:
    """Without any command, the waiter itself finds that the supervisor and its command are gone, and is told."""
    job = json.loads(cli(worktrees[0], "run", "--detach", "--name", "build", "--json", "--", "sleep", "600").out)
    waiter = start(worktrees[0], "wait")
    asleep(waiter)
    supervisor = int(Path(f"/proc/{job['pid']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    os.kill(job["pid"], signal.SIGKILL)
    printed, _ = waiter.communicate()
    assert "  > build was lost: it and its supervisor ended" in printed


@linux
def test_a_lock_that_ends_wakes_who_waits_for_its_path(worktrees: Pair, cli: Cli, start: Starter) -> None:
    cli(worktrees[1], "lock", "readme.txt")
    waiter = start(worktrees[0], "wait", "lock:readme.txt=free")
    asleep(waiter)
    cli(worktrees[1], "unlock", "readme.txt")
    printed, _ = waiter.communicate()
    assert (printed.split(",")[0], waiter.returncode) == ("lock:readme.txt=free: path readme.txt", 0)


@linux
def test_no_wake_up_is_lost(worktrees: Pair, start: Starter) -> None:
    """Messages sent at any moment of the waiter's start all arrive, in order, once each."""
    with Coord.open(worktrees[0]) as alpha:
        before = alpha.events.log(limit=1)[0].id
        follower = start(worktrees[1], "watch", "--json", "--type", "message", "--since", before)
        sent = [alpha.send("beta", f"message {number}").id for number in range(50)]
        git(worktrees[0], "pack-refs", "--all", "--prune")
        sent += [alpha.send("beta", f"message {number}").id for number in range(50, 60)]
    assert [json.loads(out(follower).readline())["id"] for _ in sent] == sent


@linux
def test_watch_goes_on_after_an_event(worktrees: Pair, cli: Cli, start: Starter) -> None:
    with Coord.open(worktrees[0]) as alpha:
        first, second, third = (alpha.send("beta", word).id for word in ("one", "two", "three"))
    follower = start(worktrees[0], "watch", "--since", first[:12], "--json", "--type", "message")
    assert [json.loads(out(follower).readline())["id"] for _ in range(2)] == [second, third]
    assert cli(worktrees[0], "watch", "--since", "ffffffff").code == 2


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_watch_ends_cleanly_on_a_signal(worktrees: Pair, start: Starter, number: int, code: int) -> None:
    follower = start(worktrees[0], "watch")
    asleep(follower)
    follower.send_signal(number)
    printed, complaints = follower.communicate()
    assert (follower.returncode, printed, complaints) == (code, "", "")


@linux
@pytest.mark.parametrize("verb", ["watch", "wait"])
def test_it_ends_when_its_reader_goes_away(worktrees: Pair, start: Starter, verb: str) -> None:
    follower = start(worktrees[0], verb)
    asleep(follower)
    out(follower).close()
    _, complaints = follower.communicate()
    assert complaints == ""


@linux
def test_waiting_takes_no_processor_time(worktrees: Pair, start: Starter) -> None:
    follower = start(worktrees[0], "wait")
    asleep(follower)

    def ticks() -> int:
        fields = Path(f"/proc/{follower.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    with pytest.raises(subprocess.TimeoutExpired):
        follower.wait(1)  # let it get up
    before = ticks()
    git(worktrees[0], "commit", "-q", "--allow-empty", "-m", "the user's own work wakes nobody")
    with pytest.raises(subprocess.TimeoutExpired):
        follower.wait(2)
    assert ticks() - before <= 2
