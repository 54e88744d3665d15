"""The brake on waking: what is gathered, and how often an idle session is woken with nobody at the keyboard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.agents.brake import FAR, FREE, LONGEST_PAUSE, NEAR, USER, Brake
from gitcoord.agents.flags import EACH, HOUR, Marks
from gitcoord.features.messages import waiting
from gitcoord.features.messages.inbox import Message
from gitcoord.store.objects import Oid

NOW = 1_800_000_000.0


def message(urgent: bool = False) -> Message:
    return Message(Oid("0" * 40), "w@c", (), "hi", 0, "0" * 40, None, urgent, False, "queued", (), "")


@pytest.fixture
def marks(repo: Path) -> Marks:
    (repo / ".git" / "coord" / "mail").mkdir(parents=True)
    return Marks(str(repo / ".git" / "coord" / "mail"), "alpha")


def brake_of(repo: Path, marks: Marks, **settings: int) -> Brake:
    for name, value in settings.items():
        git(repo, "config", f"coord.{name}", str(value))
    with Coord.open(repo) as coord:
        return Brake(marks, coord.clone.repo)


def prompt(marks: Marks, at: float) -> None:
    Path(marks.path("@prompt")).touch()
    os.utime(marks.path("@prompt"), (at, at))


def test_six_events_are_one_wake(repo: Path, marks: Marks) -> None:
    brake = brake_of(repo, marks)
    mail = [message()]
    assert brake.holds(mail, NOW) and brake.due == 10
    for second in range(1, 6):
        mail = [*mail, message()]
        assert brake.holds(mail, NOW + 2 * second), second  # one more each two seconds: it goes on
    assert brake.due == 3 and not brake.holds(mail, NOW + 13)


def test_news_that_never_ends_is_shown_after_twenty_seconds(repo: Path, marks: Marks) -> None:
    brake = brake_of(repo, marks)
    held = [second for second in range(60) if brake.holds([message()] * (second + 1), NOW + second)]
    assert held == list(range(20))


def test_what_is_urgent_waits_for_nothing(repo: Path, marks: Marks) -> None:
    brake = brake_of(repo, marks)
    assert brake.holds([message()], NOW)
    assert not brake.holds([message(urgent=True), message()], NOW + 1)


def wakes_of(brake: Brake, begin: float, seconds: int, urgent: bool = False) -> int:
    """Count the wakes of a session whose mail never ends."""
    count = 0
    for second in range(seconds):
        if not brake.holds([message(urgent)], begin + second):
            brake.woke(begin + second)
            count += 1
    return count


def test_sessions_that_thank_each_other_are_woken_less_and_less(repo: Path, marks: Marks) -> None:
    brake = brake_of(repo, marks, wakeAfter=0, wakeLimit=1000)
    assert wakes_of(brake, NOW, 60) <= FREE + 2
    assert wakes_of(brake, NOW + 60, 3600) <= 70  # about one a minute
    assert not brake.holds([message()], NOW + 3660 + 2 * LONGEST_PAUSE)


def test_after_the_limit_only_its_human_wakes_it(repo: Path, marks: Marks) -> None:
    brake = brake_of(repo, marks, wakeAfter=0, wakeLimit=5)
    prompt(marks, NOW - 100)
    assert [brake.woke(NOW + n) for n in range(5)] == [False] * 4 + [True]
    assert brake.holds([message(urgent=True)], NOW + 10_000) and brake.due is None
    prompt(marks, NOW + 4 + 10)  # the prompt by which Codex was woken: nobody's
    assert brake.holds([message()], NOW + 10_000)
    prompt(marks, NOW + 10_001)
    assert not brake.holds([message()], NOW + 10_002)


def test_settings_that_are_not_numbers_count_as_not_set(repo: Path, marks: Marks) -> None:
    git(repo, "config", "coord.wakeAfter", "soon")
    assert brake_of(repo, marks).holds([message()], NOW)


def test_a_file_of_wakes_that_cannot_be_read_counts_as_none(repo: Path, marks: Marks) -> None:
    Path(marks.path("@woken")).write_bytes(b"\xff nonsense")
    assert not brake_of(repo, marks, wakeAfter=0).holds([message()], NOW)


def test_notices_of_clean_overlaps_wake_nobody(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    lines = [f"line {n}\n" for n in range(40)]
    (alpha / "shared.txt").write_text("".join(lines))
    git(alpha, "add", "."), git(alpha, "commit", "-qm", "shared")
    git(beta, "merge", "-q", "alpha")
    assert cli(alpha, "join", "alpha").code == cli(beta, "join", "beta").code == 0
    (alpha / "shared.txt").write_text("".join(["first\n", *lines[1:]]))
    (beta / "shared.txt").write_text("".join([*lines[:-1], "last\n"]))
    for name, where in (("alpha", alpha), ("beta", beta)):
        assert cli(where, "hook", "refresh", name).code == 0
    with Coord.open(alpha) as coord:
        assert [m.text.rpartition(": ")[2] for m in waiting.waiting_mail(coord.clone, coord.identity)] == ["it merges cleanly"]
        assert waiting.waking_mail(coord.clone, coord.identity) == []
        assert cli(beta, "send", "alpha", "look at this").code == 0
        assert [m.text for m in waiting.waking_mail(coord.clone, coord.identity)] == ["look at this"]


def test_other_clones_use_up_no_wake_that_is_for_others(repo: Path, marks: Marks) -> None:
    brake = brake_of(repo, marks, wakeAfter=0, wakeLimit=10)
    while not brake.holds([message(urgent=True)], NOW, FAR):
        brake.woke(NOW)
    assert brake.due is None and not brake.holds([message(urgent=True)], NOW, NEAR)
    while not brake.holds([message(urgent=True)], NOW, NEAR):
        brake.woke(NOW)
    assert brake.due is None and not brake.holds([message()], NOW, USER), "no limit holds the user's word"


def test_a_clone_that_sends_without_end_fills_no_context(repo: Path, marks: Marks) -> None:
    room = marks.room(NOW)
    assert room("m-00000001") == EACH
    marks.show({"m-00000001": EACH - 1}, NOW)
    assert (marks.room(NOW)("m-00000001"), marks.room(NOW)("a-00000002")) == (1, EACH)
    marks.show({f"x-{number:08d}": EACH for number in range(4)}, NOW + 1)
    assert marks.room(NOW + 2)("a-00000002") < 0 and marks.room(NOW + HOUR)("m-00000001") <= 0
    assert marks.room(NOW + HOUR + 2)("m-00000001") == EACH
