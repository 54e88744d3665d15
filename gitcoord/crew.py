"""`git coord work`: workers that take tasks from the board, one in each slot, each in a worktree of its own.

A worker is an agent program, or any command, that runs without a terminal for one task. Its session holds the task and
lives with this loop, so a program that ends its own session frees nothing before the loop has noted how it went. The
loop decides nothing else: it plans nothing and writes no prompt but TEMPLATE.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gitcoord.api import Coord
from gitcoord.api.types import Job, Task
from gitcoord.errors import CoordError, Refused, UsageError
from gitcoord.sessions.identity import AGENT_MARKS, HARNESS_IDS
from gitcoord.text import one_line

TEMPLATE = """\
Do this task in the repository in which you are: {title}

{text}

Commit your work on the branch that is checked out here. Then end with one sentence about what you did.
If you cannot do it: git coord task block {id} "why"
"""
"""The prompt of a worker, for agent programs."""
AGENTS = {
    "claude": ("claude", "-p", "{prompt}", "--permission-mode", "acceptEdits", "--allowedTools", "Bash(git:*)"),
    "codex": ("codex", "exec", "{prompt}"),
    "gemini": ("gemini", "-p", "{prompt}"),
    "copilot": ("copilot", "-p", "{prompt}"),
    "opencode": ("opencode", "run", "{prompt}"),
    "cursor": ("cursor-agent", "-p", "{prompt}"),
}
"""The command of each agent program for one prompt."""
LOOP = "GIT_COORD_WORK"
"""Tells the hooks of a worker's program the pid of the loop, which ends the session."""
LOOK = 2.0
"""Seconds after which a waiting slot looks whether it is to stop."""
SAID = 300
"""Characters of a worker's last words that are kept with its task."""


class Plan(NamedTuple):
    """The command of each worker, and where the worktrees are made. `drains`: end when no task is left."""

    argv: tuple[str, ...]
    worktrees: str
    drains: bool = False


class Crew:
    """The slots of one run. `say` prints a line; it is called by one thread at a time."""

    def __init__(self, root: str, plan: Plan, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.root, self.plan, self._say = root, plan, say
        foreign = {*HARNESS_IDS, *AGENT_MARKS, "GIT_COORD_SESSION"}
        self.environ = {name: value for name, value in environ.items() if name not in foreign}
        self.stopping = threading.Event()
        self.ended = False
        self._presses: list[None] = []
        self._turn = threading.Lock()
        self._busy: dict[str, str] = {}
        self.failed = 0

    def run(self, slots: int) -> None:
        """Work in `slots` threads until `stop` is called, or, if the plan drains, until no task is left."""
        threads = [threading.Thread(target=self._slot, daemon=True) for _ in range(slots)]
        for thread in threads:
            thread.start()
        before = signal.signal(signal.SIGINT, lambda *_: self._presses.append(None))
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.2)
                self._look_at_keys()
        finally:
            signal.signal(signal.SIGINT, before)

    def _look_at_keys(self) -> None:
        """The first Ctrl-C stops taking, the second ends the workers."""
        if self._presses and not self.stopping.is_set():
            self.stopping.set()
            self._say(f"taking no more tasks; {len(self._busy)} still run (Ctrl-C again ends them)")
        if len(self._presses) > 1 and not self.ended:
            self.ended = True
            self._end_jobs()

    def _end_jobs(self) -> None:
        with Coord.open(self.root, environ=self.environ) as coord:
            for job in list(self._busy.values()):
                with suppress(CoordError):
                    coord.jobs.kill(job)

    def _slot(self) -> None:
        with Coord.open(self.root, environ={**self.environ, "GIT_COORD_SESSION": "crew"}) as board:
            while not self.stopping.is_set():
                try:
                    worker = self._take(board)
                    if worker is not None:
                        self._work(*worker)
                    elif self.plan.drains and not self._busy and board.tasks.next() is None:
                        return
                    else:
                        board.tasks.wait_next(LOOK)
                        if self._busy:
                            self.stopping.wait(LOOK / 4)
                except CoordError as error:
                    self._say(f"error: {error}")
                    self.stopping.wait(LOOK)

    def _take(self, board: Coord) -> tuple[Task, str, str] | None:
        """Claim the next ready task for a session in a worktree of its own; the task, the worktree and the session's
        name."""
        with self._turn:
            task = board.tasks.next()
            if task is None or task.id in self._busy or self.stopping.is_set():
                return None
            name = f"worker-{task.id[:8]}"
            path = os.path.join(self.plan.worktrees, name)
            if not os.path.isdir(path):
                board.sessions.add_worktree(path)
            with self._as(path, name) as worker:
                worker.sessions.join(pid=os.getpid())
                try:
                    worker.tasks.claim(task.id)
                except Refused:
                    worker.sessions.leave()
                    return None
            self._busy[task.id] = ""
            return task, path, name

    def _as(self, path: str, name: str) -> Coord:
        """The repository, as a worker's session sees it."""
        return Coord.open(path, environ={**self.environ, "GIT_COORD_SESSION": name, LOOP: str(os.getpid())})

    def _work(self, task: Task, path: str, name: str) -> None:
        """Run the command for a task to its end, and note how that went."""
        began = time.monotonic()
        self._say(f"{name} takes {task.id[:10]} “{one_line(task.title, 60)}”")
        try:
            with self._as(path, name) as worker:
                job = self._run(worker, task, name)
                self._settle(worker, task, job, time.monotonic() - began)
                worker.sessions.leave()
        finally:
            self._busy.pop(task.id, None)

    def _run(self, worker: Coord, task: Task, name: str) -> tuple[Job, str]:
        """The ended job, and its last words."""
        launched = worker.jobs.start(filled(self.plan.argv, task), name=name)
        self._busy[task.id] = launched.id
        worker.wait([f"job:{launched.id}"])
        return worker.jobs.get(launched.id), last_words(worker.jobs.log(launched.id))

    def _settle(self, worker: Coord, task: Task, ended: tuple[Job, str], seconds: float) -> None:
        """Mark the task done or blocked, unless its worker has said so itself."""
        job, words = ended
        now = worker.tasks.show(task.id)
        if now.status == "claimed" and now.holder == worker.mailbox:
            if self.ended:
                worker.tasks.release(task.id)
            elif job.failed:
                how = f"killed by signal {job.signal}" if job.signal else f"exit {job.exit}"
                worker.tasks.block(task.id, f"{how}{f': {words}' if words else ''} (git coord job log {job.id[:10]})")
            else:
                worker.tasks.done(task.id, words)
        status = worker.tasks.show(task.id).status
        self.failed += status == "blocked"
        said = f": {one_line(words, 100)}" if words else ""
        self._say(f"{job.name} ended after {seconds:.0f} s, {task.id[:10]} is {status}{said}")


def filled(argv: Sequence[str], task: Task) -> list[str]:
    """The command for a task: `{title}`, `{text}`, `{id}` and `{prompt}` replaced, once."""
    facts = {"title": task.title, "text": task.text, "id": task.id}
    facts["prompt"] = _fill(TEMPLATE, facts)
    return [_fill(word, facts) for word in argv]


def _fill(text: str, facts: Mapping[str, str]) -> str:
    return re.sub(r"\{(title|text|id|prompt)\}", lambda found: facts.get(found[1], found[0]), text)


def last_words(log: bytes) -> str:
    """The end of the output, on one line."""
    lines = [line.strip() for line in log.decode("utf-8", "replace").splitlines() if line.strip()]
    text = " ".join(" ".join(lines[-3:]).split())
    return text if len(text) <= SAID else "…" + text[-SAID:]


def planned(root: str, agent: str, argv: Sequence[str], worktrees: str | None, drains: bool) -> Plan:
    """The plan of a run. Raises UsageError for an unknown agent program."""
    if not argv and agent not in AGENTS:
        raise UsageError(f"no agent program is called {agent!a}", "one of " + ", ".join(AGENTS) + ", or: -- CMD…")
    where = worktrees or f"{root.rstrip('/')}.workers"
    return Plan(tuple(argv) or AGENTS[agent], str(Path(where).absolute()), drains)
