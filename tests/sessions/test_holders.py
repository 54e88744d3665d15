"""One name, one holder: processes that start at the same moment, by every door that makes a session.

GITCOORD_HOLDER_ROUNDS scales the proof; the promise names 200 rounds of 16.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Cli, git, make_repo

from gitcoord import Coord
from gitcoord.sessions.records import Records

ROUNDS = int(os.environ.get("GITCOORD_HOLDER_ROUNDS", "1"))
CLAIMANTS = 16 if "GITCOORD_HOLDER_ROUNDS" in os.environ else 6
pytestmark = pytest.mark.timeout(300 + 30 * ROUNDS)
CLAIMANT = Path(__file__).parents[1] / "claimant.py"


@contextmanager
def claimants(door: str) -> Iterator[Callable[[Path], list[str]]]:
    """Start processes; all get a worktree at once, and each prints the name of its session there."""
    runs = [
        subprocess.Popen(
            [sys.executable, str(CLAIMANT), door, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for number in range(CLAIMANTS)
    ]

    def answers() -> list[str]:
        return [run.stdout.readline().strip() for run in runs if run.stdout]

    def ask(where: Path) -> list[str]:
        for run in runs:
            assert run.stdin
            run.stdin.write(f"{where}\n")
            run.stdin.flush()
        return answers()

    try:
        assert answers() == ["ready"] * CLAIMANTS
        yield ask
    finally:
        for run in runs:
            run.communicate()


@pytest.mark.parametrize("placeholder", [True, False], ids=["expected", "nobody"])
@pytest.mark.parametrize("door", ["hook", "command", "mcp"])
def test_agents_that_start_at_once_are_as_many_sessions(tmp_path: Path, door: str, placeholder: bool) -> None:
    with claimants(door) as ask:
        for number in range(ROUNDS):
            repo = make_repo(tmp_path / f"r{number}")
            git(repo, "worktree", "add", "-q", "../w", "-b", "w") if placeholder else None
            where = tmp_path / "w" if placeholder else repo
            with Coord.open(repo) as coord:
                coord.repository.init(hooks=False)
            names = ask(where)
            assert sorted(names) == sorted({where.name, *(f"{where.name}-{n}" for n in range(2, CLAIMANTS + 1))})
            found = {r.harness_id: r.name for r in Records(str(repo / ".git" / "coord")).all() if r.harness_id}
            assert found == {f"thread-{n}": name for n, name in enumerate(names)}
            if placeholder:
                git(repo, "worktree", "remove", "--force", str(where))


def test_a_name_that_many_processes_join_at_once_is_one_ones(tmp_path: Path) -> None:
    with claimants("join") as ask:
        for number in range(ROUNDS):
            repo = make_repo(tmp_path / f"r{number}")
            answers = ask(repo)
            assert answers.count(repo.name) == 1
            refused = [a for a in answers if a != repo.name]
            assert set(refused) == {f"refused: {repo.name} is the name of another session, which is active"}


def test_first_commands_of_agents_at_once_have_as_many_names(repo: Path, cli: Cli) -> None:
    assert cli(repo, "join").code == 0
    argv = [sys.executable, "-m", "gitcoord", "note", "hello", "--json"]
    runs = [
        subprocess.Popen(argv, cwd=repo, env={**os.environ, "CODEX_THREAD_ID": f"t-{n}"}, stdout=subprocess.DEVNULL)
        for n in range(6)
    ]
    assert [run.wait() for run in runs] == [0] * 6
    held = {r.name: r.harness_id for r in Records(str(repo / ".git" / "coord")).all()}
    assert set(held) == {"project", *(f"project-{n}" for n in range(2, 7))}
    assert sorted(held.values()) == [f"t-{n}" for n in range(6)]
