"""Being woken: by us, by plain git, after pack-refs took the directories away."""

from __future__ import annotations

import threading
from pathlib import Path

from conftest import git

from gitcoord import Coord
from gitcoord.store.discovery import find_repository
from gitcoord.store.watch import RefWatch, wait_until

FOR_EVER = 60.0


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
