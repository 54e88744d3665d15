"""A day of a project manager and three workers, with real worktrees and processes: the acceptance of the desk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from conftest import Cli, Ran, git

WORKERS = ("worker-1", "worker-2", "worker-3")
PLAN = [
    {"id": "setup", "title": "set up", "priority": 0, "text": '{"lock": "setup.txt", "edit": ["setup.txt"]}'},
    {"id": "a", "title": "part A", "needs": ["setup"], "text": '{"lock": "a/", "edit": ["a.txt"]}'},
    {"id": "b", "title": "part B", "needs": ["setup"], "text": '{"lock": "b/", "edit": ["b.txt"]}'},
    {"id": "c", "title": "part C", "needs": ["setup"], "text": '{"lock": "c.txt", "edit": ["c.txt"], "die": true}'},
    {"id": "l", "title": "left", "needs": ["a", "b", "c"], "text": '{"lock": "l", "edit": ["l", "shared"], "meet": true}'},
    {"id": "r", "title": "right", "needs": ["a", "b", "c"], "text": '{"lock": "r", "edit": ["r", "shared"], "meet": true}'},
    {"id": "merge", "title": "join left and right", "needs": ["l", "r"], "text": '{"lock": "m", "edit": ["m"]}'},
    {"id": "docs", "title": "docs", "needs": ["setup"], "priority": 3, "text": '{"lock": "*.md", "edit": ["guide.md"]}'},
    {"id": "tests", "title": "tests", "needs": ["a"], "text": '{"lock": "t.txt", "edit": ["t.txt"]}'},
    {"id": "out", "title": "release", "needs": ["merge", "docs", "tests"], "text": '{"lock": "out", "edit": ["out"]}'},
]
MANAGER = {"GIT_COORD_SESSION": "manager"}


@contextmanager
def workers(repo: Path, diary: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Three worktrees with a process at work in each; ended with the block."""
    script = Path(__file__).parents[1] / "day_worker.py"
    running = {}
    try:
        for name in WORKERS:
            where = repo.parent / name
            git(repo, "worktree", "add", "-q", str(where))
            argv = [sys.executable, str(script), str(where), name, str(diary)]
            running[name] = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        yield running
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.communicate()


def hear_until(manager: Path, cli: Cli, word: str) -> str:
    """The texts that the manager gets without asking, until `word` is in them."""
    heard = ""
    while word not in heard:
        ran = cli(manager, "wait", "--timeout", "120", env=MANAGER)
        assert ran.code == 0, f"{ran}\n{heard}"
        heard += ran.out
    return heard


def test_a_day_of_a_manager_and_three_workers(repo: Path, tmp_path: Path, cli: Cli) -> None:
    (repo / "shared").write_text("the common text\n")
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "shared")
    assert cli(repo, "init", env=MANAGER).code == 0
    diary = tmp_path / "diary" / "all"
    diary.parent.mkdir()
    with workers(repo, diary) as running:
        plan = "".join(json.dumps(line) + "\n" for line in PLAN)
        filed = cli(repo, "task", "add", "-F", "-", "--json", stdin=plan, env=MANAGER)
        assert filed.code == 0, filed
        heard = hear_until(repo, cli, "finished " + finishing(json.loads(filed.out), "release"))
        tasks = {t["title"]: t for t in json.loads(cli(repo, "tasks", "--all", "--json", env=MANAGER).out)}
        collisions = cli(repo, "conflicts", "--json", env=MANAGER)
        board = cli(repo, "board", env=MANAGER)
        brief = cli(repo, "brief", env=MANAGER)
        events = json.loads(cli(repo, "log", "--type", "message", "--limit", "1000", "--json", env=MANAGER).out)
        told = sorted(line for line in diary.read_text().splitlines() if line.startswith("TOLD"))
        dead = [name for name, process in running.items() if process.poll() is not None]
    print(diary.read_text(), heard, board.out, brief.out, sep="\n")  # for a person: pytest -s

    assert [tasks[line["title"]]["status"] for line in PLAN] == ["done"] * 10
    finished = re.findall(r"(worker-\d) finished [0-9a-f]{10} ([^:]+): on (worker-\d)", heard)
    assert sorted(title for _, title, _ in finished) == sorted(str(line["title"]) for line in PLAN)
    assert all(who == where == tasks[title]["holder"] for who, title, where in finished)
    order = [title for _, title, _ in finished]
    local = {str(line["id"]): str(line["title"]) for line in PLAN}
    for line in PLAN:
        for need in line.get("needs", []):  # type: ignore[attr-defined]
            assert order.index(local[need]) < order.index(str(line["title"]))

    (victim,) = dead
    assert (running[victim].returncode, cli(repo, "sessions", victim).code) == (-9, 1)
    assert re.search(rf"worker-\d took over [0-9a-f]{{10}} part C, which {victim} held", heard)
    assert tasks["part C"]["holder"] != victim

    both = sorted(name for name in WORKERS if name != victim)
    assert told == [f"TOLD {name} shared" for name in both]
    notices = [e for e in events if "changed what you changed: shared" in e["text"]]
    committed = git(repo, "log", "--format=%cI", "--date-order", "--all", "-2", "--", "shared").split()
    assert max(e["at"] for e in notices) <= min(utc(time) for time in committed), "told before either committed"
    assert collisions.code == 1
    assert [(c["path"], c["kind"]) for c in json.loads(collisions.out) if c["path"] == "shared"] == [("shared", "conflict")]

    for name in both:
        assert git(repo.parent / name, "status", "--porcelain") == ""
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""
    assert no_locks_are_left(cli(repo, "locks", "--json"))


def finishing(filed: list[dict[str, str]], title: str) -> str:
    """The name of the task with this title in a notice."""
    return next(f"{task['id'][:10]} {title}" for task in filed if task["title"] == title)


def utc(time: str) -> str:
    """A time as git prints it, as --json does."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def no_locks_are_left(ran: Ran) -> bool:
    return bool(json.loads(ran.out) == [])
