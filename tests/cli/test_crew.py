"""`git coord work`: workers take tasks from the board, and what became of each is on the board."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from conftest import Cli, git
from programs import eventually

from gitcoord import Coord, crew
from gitcoord.api.types import Task

AGENT = """
case "$1" in
fails) echo cannot do it >&2; exit 3 ;;
crashes) kill -9 $$ ;;
gives*) git coord task block "$2" "no such file" ;;
*) git coord whoami >who; git add who; git commit -qm "$1"; echo "did $1" ;;
esac
"""


def test_three_workers_and_a_board(repo: Path, cli: Cli, tmp_path: Path) -> None:
    """Dependencies are kept; a failure and a crash block their tasks; each worktree stays, each session has left."""
    agent = tmp_path / "agent.sh"
    agent.write_text(AGENT)
    with Coord.open(repo) as coord:
        ids = {title: coord.tasks.add(title).id for title in ("first", "fails", "crashes", "gives up")}
        ids["second"] = coord.tasks.add("second", needs=[ids["first"]]).id
        ids["never"] = coord.tasks.add("never", needs=[ids["fails"]]).id
        ran = cli(repo, "work", "-n", "3", "--drain", "--worktrees", "../crew", "--", "sh", str(agent), "{title}", "{id}")
        assert ran.code == 1, ran.err
        found = {task.title: task for task in coord.tasks.list(everything=True)}
        assert {title: task.status for title, task in found.items()} == {
            "first": "done", "second": "done", "fails": "blocked", "crashes": "blocked", "gives up": "blocked", "never": "open",
        }  # fmt: skip
        assert re.fullmatch(r"exit 3: cannot do it \(git coord job log [0-9a-f]{10}\)", found["fails"].words)
        assert found["crashes"].words.startswith("killed by signal 9 ") and found["gives up"].words == "no such file"
        assert [s.session for s in coord.sessions.list() if s.session and s.session.startswith("worker-")] == []
    place = repo.parent / "crew" / f"worker-{ids['first'][:8]}"
    assert (place / "who").read_text().startswith(f"{place.name} of the clone ")
    assert git(place, "log", "-1", "--format=%s", place.name) == "first\n"
    lines = ran.err.splitlines()
    began = next(n for n, line in enumerate(lines) if f"takes {ids['second'][:10]} “second”" in line)
    assert any(f"{ids['first'][:10]} is done: did first" in line for line in lines[:began])


def test_ctrl_c_stops_taking_and_the_second_ends_the_workers(repo: Path, tmp_path: Path) -> None:
    with Coord.open(repo) as coord:
        one, two = coord.tasks.add("one").id, coord.tasks.add("two").id
        argv = [sys.executable, "-m", "gitcoord", "work", "--", "sh", "-c", f"echo >{tmp_path}/begun; exec sleep 300"]
        loop = subprocess.Popen(argv, cwd=repo, stderr=subprocess.PIPE, text=True, env={**os.environ, "GIT_COORD_SESSION": ""})
        try:
            assert eventually((tmp_path / "begun").exists)
            loop.send_signal(signal.SIGINT)
            assert loop.stderr and any("taking no more tasks; 1 still run" in line for line in loop.stderr)
            loop.send_signal(signal.SIGINT)
            _, said = loop.communicate(timeout=60)
        finally:
            loop.kill()
            loop.wait()
        assert loop.returncode == 0 and f"{one[:10]} is open" in said
        assert (coord.tasks.show(one).status, coord.tasks.show(two).status) == ("open", "open")


def test_words_of_a_task_are_filled_in_once() -> None:
    task = Task(*[None] * len(Task._fields))._replace(id="3f9a", title="say {id}", text="{title}")  # type: ignore[arg-type]
    assert crew.filled(["x", "{title}-{id}", "{other} {text}"], task) == ["x", "say {id}-3f9a", "{other} {title}"]
    (prompt,) = crew.filled(["{prompt}"], task)
    assert "in which you are: say {id}\n\n{title}\n" in prompt and 'git coord task block 3f9a "why"' in prompt


def test_last_words_are_one_short_line() -> None:
    assert crew.last_words(b"a\n\n b \n\xff c\nd\n") == "b \ufffd c d"
    assert len(crew.last_words(b"word " * 500)) == crew.SAID + 1
