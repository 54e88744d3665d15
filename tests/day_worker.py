"""A worker of tests/cli/test_day.py: pulls tasks, locks and edits what they name, commits, reports. A process of its own.

    python day_worker.py WORKTREE NAME DIARY

The text of a task is JSON: `lock` and `edit` are paths; `die` kills the first holder; `meet` means that another worker will
edit the same file, and that the worker commits only after gitcoord has told it so.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from forkserver import Program


class Worker:
    def __init__(self, where: Path, name: str, diary: Path) -> None:
        self.where, self.name, self.diary = where, name, diary
        self.coord("join", name, "--pid", str(os.getpid()))

    def run(self, *argv: str) -> str:
        """Run git in the worktree."""
        done = subprocess.run(argv, cwd=self.where, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return self.note(" ".join(argv), done.returncode, done.stdout, done.stderr)

    def coord(self, *args: str) -> str:
        program = Program(["-m", "gitcoord", *args], self.where)
        out, err = program.communicate()
        return self.note(f"git coord {' '.join(args)}", program.wait(), out, err)

    def note(self, command: str, code: int, out: str, err: str) -> str:
        """Write a command into the diary, with its output; returns what it printed."""
        said = f"{self.name}$ {command}\n{out}{err}"
        with self.diary.open("a") as file:
            file.write(said)
        if code:
            raise SystemExit(said)
        return out

    def work(self) -> None:
        """Until somebody ends this process."""
        while True:
            task = json.loads(self.coord("task", "next", "--claim", "--wait", "120", "--json"))
            self.do(task["id"], task["title"], json.loads(task["text"]))

    def do(self, oid: str, title: str, plan: dict[str, Any]) -> None:
        self.coord("state", "set", "task", title)
        self.coord("lock", plan["lock"], "-m", title, "--wait", "60")
        died = self.diary.with_name("died")
        if plan.get("die") and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        for path in plan["edit"]:
            (self.where / path).write_text(f"{title}, by {self.name}\n")
        self.coord("editing", *plan["edit"])
        if plan.get("meet"):
            self.await_notice(plan["edit"][-1])
        self.run("git", "add", "--all")
        self.run("git", "commit", "-q", "-m", title)
        self.coord("unlock", "--all")
        self.coord("task", "done", oid, f"on {self.name}")

    def await_notice(self, path: str) -> None:
        """Sleep until gitcoord says that somebody else edits the same file."""
        heard = ""
        while f"changed what you changed: {path}" not in heard.replace("\n  > ", " "):
            heard = self.coord("wait", "--timeout", "120")
        with self.diary.open("a") as file:
            file.write(f"TOLD {self.name} {path}\n")


if __name__ == "__main__":
    Worker(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])).work()
