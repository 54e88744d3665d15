"""Wake-ups: by gitcoord, by plain git, after pack-refs removed the directories."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import git

from gitcoord import Coord
from gitcoord.store.discovery import find_repository
from gitcoord.store.watch import RefWatch, wait_until, watch_folder

FOR_EVER = 60.0


@pytest.fixture(params=["inotify", "watchdog"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of watches; on Linux the second is used only if the first is refused."""
    if request.param == "watchdog":
        monkeypatch.setattr(RefWatch, "_by_inotify", lambda self, folders: None)
    elif not sys.platform.startswith("linux"):
        pytest.skip("there is no inotify here")
    return str(request.param)


def test_a_message_wakes_its_waiter(worktrees: tuple[Path, Path]) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        sender = threading.Timer(0.1, lambda: Coord.open(worktrees[0]).send("beta", "wake up"))
        sender.start()
        page = wait_until(beta.clone.repo, lambda: beta.messages.receive().messages or None, FOR_EVER)
        sender.join()
        assert page is not None and page[0].text == "wake up"
        assert alpha.messages.sent()[0].recipients[0].state == "read"


def test_plain_git_wakes_too_also_after_pack_refs(worktrees: tuple[Path, Path]) -> None:
    ref = git(worktrees[0], "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    tip = git(worktrees[0], "rev-parse", ref).strip()
    with RefWatch(find_repository(worktrees[0])) as watch:
        for _ in range(3):
            git(worktrees[0], "pack-refs", "--all", "--prune")
            while watch.wait(0.2):
                pass
            git(worktrees[0], "update-ref", ref + "9", tip)
            assert watch.wait(FOR_EVER)
            git(worktrees[0], "update-ref", "-d", ref + "9")
            assert watch.wait(FOR_EVER)


def test_what_does_not_concern_us_does_not_wake(worktrees: tuple[Path, Path]) -> None:
    with RefWatch(find_repository(worktrees[0])) as watch:
        git(worktrees[0], "branch", "other")
        assert not watch.wait(0.3)


def test_giving_up_after_the_timeout(repo: Path) -> None:
    assert wait_until(find_repository(repo), lambda: None, 0.05) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs inotify")
def test_folders_that_go_and_come_again_leave_a_waiter_hearing_and_silent(repo: Path, worktrees: tuple[Path, Path]) -> None:
    """`git pack-refs` takes our folders away whenever it runs; each write makes them anew."""
    waiter = subprocess.Popen(
        [sys.executable, "-m", "gitcoord", "watch", "--type", "note"], cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 6
    with Coord.open(worktrees[0]) as coord:
        time.sleep(1)
        while time.monotonic() < until:
            git(repo, "pack-refs", "--all", "--prune", check=False)
            coord.sessions.focus(str(time.monotonic()))
            coord.send("beta", "more")
        began = time.monotonic()
        coord.notes.add("the last")
        assert waiter.stdout and waiter.stdout.readline()
        assert time.monotonic() - began < 8  # LOOK_ANYWAY, at which a deaf one would look
    waiter.terminate()
    assert waiter.communicate()[1] == b""


def test_a_refused_watch_is_made_by_the_other_way(repo: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    if way == "inotify":
        monkeypatch.setattr("gitcoord.store.inotify.Inotify.__init__", refuse)
    with RefWatch(find_repository(repo)) as watch:
        git(repo, "update-ref", "refs/coord/log/x-00000000/0001", "HEAD")
        assert watch.wait(FOR_EVER)
    seen: queue.Queue[str] = queue.Queue()
    stop = watch_folder(str(repo), seen.put)
    (repo / "fresh").write_text("x")
    while not seen.get(timeout=FOR_EVER).endswith("fresh"):
        pass
    stop()
