"""Reading events costs in proportion to their number, with any content: counted, not timed.

Counted are the calls of Python, and the steps of SQLite by hundreds. `python -m bench hostile` times the same.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import make_repo

from bench.hostile import ATTACKS
from gitcoord import Coord
from gitcoord.log.index import database

SMALL, LARGE = 60, 240
MUCH = 1.6
"""The factor over proportional that is allowed."""


class Count:
    """The counts of calls and steps."""

    calls = 0
    steps = 0

    def stepped(self) -> int:
        self.steps += 1
        return 0

    def called(self, *_: object) -> None:
        self.calls += 1


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Count]:
    count, connect = Count(), database.connect

    def counted(path: str) -> sqlite3.Connection:
        db = connect(path)
        db.set_progress_handler(count.stepped, 100)
        return db

    with monkeypatch.context() as patch:
        patch.setattr(database, "connect", counted)
        sys.setprofile(count.called)
        try:
            yield count
        finally:
            sys.setprofile(None)


def look(repo: Path) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.messages.inbox()
        coord.overview.status()
        coord.overview.brief()


@pytest.mark.parametrize("name", ["renames", "edits", "shuffled", "circles", "mail", "unusable"])
def test_four_times_as_much_costs_four_times_as_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _, _, make = ATTACKS[name]
    first, again = [], []
    for number in (SMALL, LARGE):
        repo = make_repo(tmp_path / str(number))
        with Coord.open(repo, as_name="w") as coord:
            coord.sessions.join()
        make(repo, number)
        for costs in (first, again):
            with counting(monkeypatch) as count:
                look(repo)
            costs.append(count)
    for small, large in (first, again):
        times = MUCH * LARGE / SMALL
        assert large.calls <= times * small.calls, "calls"
        assert large.steps <= times * max(small.steps, 20), "steps of SQLite"


def test_what_is_counted_grows_with_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test above could not fail."""
    repo = make_repo(tmp_path / "project")
    with Coord.open(repo, as_name="w") as coord:
        coord.sessions.join()
    found: list[Count] = []

    def work(rounds: int) -> Callable[[sqlite3.Connection], None]:
        def ask(db: sqlite3.Connection) -> None:
            numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?) SELECT sum(x) FROM n"
            db.execute(numbers, (rounds,)).fetchone()

        return ask

    for rounds in (1000, 1000 * 1000):
        with counting(monkeypatch) as count, Coord.open(repo, as_name="w") as coord:
            coord.clone.read(work(rounds))
        found.append(count)
    assert found[1].steps > 50 * found[0].steps
