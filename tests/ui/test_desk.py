"""The desk: it keeps up to date by itself, acts as the person, and survives changes of the repository."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.errors import CoordError, Refused, UsageError
from gitcoord.ui import desk as desks
from gitcoord.ui.desk import Desk, News
from gitcoord.ui.model.screen import Screen

Pair = tuple[Path, Path]


class Seen:
    """The news of a desk, in their order."""

    def __init__(self, place: Path, read_only: bool = False) -> None:
        self.desk = Desk(str(place), read_only)
        self.desk.check()
        self.told: queue.Queue[News] = queue.Queue()
        self.wrote: queue.Queue[str] = queue.Queue()
        self.desk.start(self.told.put, self.wrote.put)

    def ask(self, kind: str, **given: Any) -> Any:
        return self.desk.ask(kind, given).result(60)

    def until(self, holds: Callable[[Screen], object], wrong: bool = False) -> News:
        """The next news in which something holds."""
        deadline = time.monotonic() + 60
        while True:
            news = self.told.get(timeout=max(0.1, deadline - time.monotonic()))
            if news.screen and holds(news.screen) and (bool(news.wrong) == wrong or not wrong):
                return news


@pytest.fixture
def seen(worktrees: Pair) -> Iterator[Seen]:
    found = Seen(worktrees[1])
    yield found
    found.desk.stop()


def test_news_come_by_themselves_and_nothing_polls(worktrees: Pair, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "TICK", 3600.0)
    seen.until(lambda screen: len(screen.sessions) == 3)
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "hello")
        seen.until(lambda screen: screen.threads and screen.threads[0].said[0].ledger[0].state == "queued")
        with Coord.open(worktrees[1]) as beta:
            beta.messages.mark_read(beta.inbox().messages)
        seen.until(lambda screen: screen.threads[0].said[0].ledger[0].state == "read")
        alpha.tasks.add("do it")
        seen.until(lambda screen: screen.board[0].rows)


def test_what_stays_the_same_is_told_once(worktrees: Pair, seen: Seen) -> None:
    seen.until(lambda screen: screen.overlaps_unknown == "")
    while not seen.told.empty():
        seen.told.get()
    seen.desk.look_again()
    with pytest.raises(queue.Empty):
        seen.told.get(timeout=0.5)


def test_the_end_of_a_process_is_seen_at_once(worktrees: Pair, cli: Cli) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as agent:
        cli(worktrees[0], "join", "robot", "--pid", str(agent.pid))
        task = cli(worktrees[0], "task", "add", "its work").out.split()[0]
        cli(worktrees[0], "task", "claim", task, env={"GIT_COORD_SESSION": "robot"})
        found = Seen(worktrees[1])
        found.until(lambda screen: [row for row in screen.sessions if row.name == "robot"])
        agent.kill()
        agent.wait()
        news = found.until(lambda screen: [need for need in screen.needs if need.kind == "died"])
        found.desk.stop()
    assert news.screen and "its work" in next(need.text for need in news.screen.needs if need.kind == "died")


def test_files_that_will_not_merge_are_seen_without_anybody_telling(worktrees: Pair, seen: Seen) -> None:
    seen.until(lambda screen: screen.overlaps_unknown == "")
    for where in worktrees:
        (where / "readme.txt").write_text(f"{where.name}\n")
    seen.desk.look_again()
    news = seen.until(lambda screen: screen.pairs)
    assert news.screen and news.screen.pairs[0].conflicts == ("readme.txt",)
    assert [row.files for row in news.screen.sessions if row.name == "alpha"] == [("readme.txt",)]


def test_the_person_acts_and_nobody_else_is_registered_or_has_read(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "ada-lovelace", "look", "--needs-ack")
    cli(worktrees[0], "send", "beta", "for beta alone")
    found = Seen(worktrees[1])
    news = found.until(lambda screen: screen.needs)
    assert news.screen
    (need,) = news.screen.needs
    for name, given in (
        ("ack", {"id": need.key, "text": "fine"}),
        ("send", {"to": "alpha, beta", "text": "all well?", "needs_ack": True}),
        ("add", {"title": "tidy up", "priority": 0, "to": "alpha"}),
    ):
        assert found.desk.act(name, given).result(60)
    found.until(lambda screen: screen.board[0].rows and not screen.needs)
    found.desk.stop()
    with Coord.open(worktrees[0]) as alpha:
        who = {event.author for event in alpha.events.log(limit=50) if event.type != "join"}
        names = {s.session for s in alpha.sessions.list(everyone=True) if s.session}
    assert who == {"alpha", "ada-lovelace"} and names == {"alpha", "beta", "ada-lovelace"}
    inbox = cli(worktrees[1], "inbox").out
    assert "for beta alone" in inbox and "all well?" in inbox and "the user of this repository" in inbox


def test_every_act_does_what_it_says(worktrees: Pair, cli: Cli, seen: Seen) -> None:
    def act(name: str, **given: Any) -> str:
        return seen.desk.act(name, given).result(60)

    with Coord.open(worktrees[0]) as alpha:
        task = alpha.tasks.add("it")
        told = alpha.send("ada-lovelace", "hello")
        act("read", ids=[told.id])
        assert alpha.messages.sent()[0].recipients[0].state == "read"
        act("reply", id=told.id, text="yes")
        assert alpha.inbox().messages[0].text == "yes"
        act("claim_for", id=task.id, to="beta")
        assert alpha.tasks.show(task.id).holder == f"beta@{alpha.clone_id}"
        act("release", id=task.id)
        act("prioritise", id=task.id, priority=1)
        act("comment", id=task.id, text="soon")
        shown = alpha.tasks.show(task.id)
        assert (shown.holder, shown.priority, shown.comments[0].text) == (None, 1, "soon")
        alpha.tasks.claim(task.id)
        act("release", id=task.id)
        act("claim", id=task.id)
        assert alpha.tasks.show(task.id).holder == f"ada-lovelace@{alpha.clone_id}"
        act("done", id=task.id)
        act("reopen", id=task.id)
        act("drop", id=task.id)
        assert alpha.tasks.show(task.id).status == "dropped"
        for pattern in ("readme.txt", "*.py", "src/", "docs/**/x y.md"):
            (lock,) = alpha.locks.take([pattern]).patterns
            act("unlock", patterns=[lock])
        assert alpha.locks.held() == []
        job = alpha.jobs.start(["sleep", "60"], name="slow")
        assert "slow" in act("kill", id=job.id)
    for name, given in (
        ("fly", {}),
        ("ack", {}),
        ("ack", {"id": 1}),
        ("ack", {"id": "abcd", "more": ""}),
        ("read", {"ids": "x"}),
    ):
        with pytest.raises(UsageError):
            seen.desk.act(name, given).result(60)
    with pytest.raises(CoordError):
        act("sync")


def test_details_are_asked_for(worktrees: Pair, seen: Seen) -> None:
    with Coord.open(worktrees[0]) as alpha:
        task = alpha.tasks.add("it", "all of it")
        alpha.tasks.comment(task.id, "half")
        alpha.send("beta", "100 % of it")
        job = alpha.jobs.start([sys.executable, "-c", r"print('a\rb\rdone')"], name="noisy")
        alpha.wait([f"job:{job.id}"], timeout=60)
    shown = seen.desk.ask("task", {"id": task.id}).result(60)
    assert shown.text == "all of it" and [step.what for step in shown.steps] == ["filed", "says"]
    assert seen.desk.ask("session", {"name": "alpha"}).result(60)[-1].kind == "join"
    assert len(seen.desk.ask("talk", {"words": "100 %"}).result(60)) == 1
    output = seen.desk.ask("job", {"id": job.id}).result(60)
    assert (output.running, output.text) == (False, "done\n")
    for kind, given in (("x", {}), ("task", {}), ("task", {"id": 1}), ("talk", {"limit": -1}), ("talk", {"limit": True})):
        with pytest.raises(UsageError):
            seen.desk.ask(kind, given).result(60)


def test_the_output_of_a_job_that_is_shown_is_told_of_once_until_it_is_read_again(worktrees: Pair, seen: Seen) -> None:
    with Coord.open(worktrees[0]) as alpha:
        os.mkfifo(worktrees[0] / "words")
        job = alpha.jobs.start(["cat", "words"], name="talker")
        with open(worktrees[0] / "words", "w") as words:
            assert seen.ask("job", id=job.id).running
            for line in ("one", "two"):
                print(line, file=words, flush=True)
                assert seen.wrote.get(timeout=20) == job.id
                assert line in seen.ask("job", id=job.id).text
            print("three", file=words, flush=True)
            assert seen.wrote.get(timeout=20) == job.id
            print("four", file=words, flush=True)
            with pytest.raises(queue.Empty):  # the face has not read on, so it does not show the job
                seen.wrote.get(timeout=0.5)


def test_more_is_read_when_it_is_asked_for(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha:
        for number in range(110):
            alpha.send("beta", f"number {number}")
    found = Seen(worktrees[1])
    news = found.until(lambda screen: screen.threads)
    assert news.screen and len(news.screen.threads) == 100 and news.screen.more_threads
    for _ in range(5):  # a wheel turns faster than anybody looks
        found.desk.more("talk")
    assert found.desk._pages["talk"] == 300
    found.until(lambda screen: len(screen.threads) == 110 and not screen.more_threads)
    found.desk.stop()


def test_who_only_looks_on_cannot_act(worktrees: Pair) -> None:
    found = Seen(worktrees[1], read_only=True)
    with pytest.raises(Refused, match="--read-only"):
        found.desk.act("sync", {})
    found.desk.stop()


def test_an_index_that_is_rebuilt_underneath_costs_nothing(worktrees: Pair, seen: Seen) -> None:
    seen.until(lambda screen: len(screen.sessions) == 3)
    common = Path(git(worktrees[0], "rev-parse", "--git-common-dir").strip())
    for name in (path for path in (common / "coord").iterdir() if path.name.startswith("index")):
        name.unlink()
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "still there?")
    seen.until(lambda screen: screen.threads and not screen.needs)


def test_a_repository_that_vanishes_and_comes_back_is_said(
    worktrees: Pair, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "RETRY", 0.05)
    seen.until(lambda screen: len(screen.sessions) == 3)
    place = worktrees[0].parent
    shutil.move(place / "project", place / "away")
    seen.desk.look_again()
    seen.until(lambda screen: True, wrong=True)
    shutil.move(place / "away", place / "project")
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "back again")
    news = seen.until(lambda screen: screen.threads)
    while news.wrong:
        news = seen.until(lambda screen: screen.threads)


def test_nothing_is_lost_when_gitcoord_is_purged_meanwhile(worktrees: Pair, seen: Seen, cli: Cli) -> None:
    seen.until(lambda screen: len(screen.sessions) == 3)
    assert cli(worktrees[0], "purge", "--yes").code == 0
    seen.until(lambda screen: True, wrong=True)
