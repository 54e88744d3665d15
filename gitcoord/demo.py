"""`git coord demo`: two sessions in real worktrees of a throw-away repository, every command shown before it runs.

The commands are real processes with an environment of their own: the demo neither needs nor touches the user's
repository, identity or git configuration.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from gitcoord.errors import RepositoryError
from gitcoord.sessions.identity import AGENT_MARKS, HARNESS_IDS

PAUSE = 0.8
"""Seconds between two commands, for a person who watches."""
PATIENCE = 20.0
"""Seconds the demo waits for the hook that git starts in the background."""

GIT_CONFIG = (
    "[user]\n\tname = Demo\n\temail = demo@example.org\n[init]\n\tdefaultBranch = main\n[advice]\n\tdetachedHead = false\n"
)


class Demo:
    """One run. With `as_json` nothing is narrated: one document lists the commands and how they ended."""

    def __init__(self, keep: bool = False, as_json: bool = False) -> None:
        self.keep = keep
        self.as_json = as_json
        self.steps: list[dict[str, Any]] = []
        self.root = Path()
        self.receipt = ""
        """The task that is claimed twice."""

    def run(self) -> int:
        """Build, show, clean up, also when interrupted. Raises RepositoryError if one of its commands failed."""
        self.root = Path(tempfile.mkdtemp(prefix="gitcoord-demo-")).resolve()
        try:
            self._prepare()
            self._show()
        finally:
            if not self.keep:
                self._clean_up()
        if self.as_json:
            print(json.dumps({"directory": str(self.root) if self.keep else None, "commands": self.steps}))
        elif self.keep:
            self._say(f"\nThe repository and its worktrees stay in {self.root}")
        else:
            self._say(
                f"\nThat was it; {self.root} was removed. In a repository of yours: git coord init, and git coord ui to watch"
            )
        return 0

    def _prepare(self) -> None:
        """Our own git configuration, and a `git-coord` on PATH that is the one that runs now."""
        (self.root / "gitconfig").write_text(GIT_CONFIG)
        program = self.root / "bin" / "git-coord"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -E -P -m gitcoord "$@"\n')
        program.chmod(0o755)
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") and k not in (*AGENT_MARKS, *HARNESS_IDS)}
        self.env |= {
            "GIT_CONFIG_GLOBAL": str(self.root / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PAGER": "cat",
            "PATH": os.pathsep.join([str(program.parent), self.env.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[1]), self.env.get("PYTHONPATH")])),
        }

    def _show(self) -> None:
        self._show_arrival()
        self._show_talk()
        self._show_work()
        self._show_collisions()
        self._show_memory()
        self._show_sync()
        self._show_git()

    def _show_arrival(self) -> None:
        self._heading("A repository, and gitcoord is installed in it")
        self._git_run(self.root, "git init --quiet shop")
        (self.root / "shop" / "prices.py").write_text("def total(items):\n    return sum(items)\n")
        self._git_run("shop", "git add .", "git commit --quiet -m 'Add prices'", "git coord init")
        self._heading("One worktree per agent; the hook notices each of them")
        self._git_run("shop", "git worktree add --quiet -b api ../api", "git worktree add --quiet -b web ../web")
        self._await_session("api", "web")
        self._git_run("shop", "git coord sessions")

    def _show_talk(self) -> None:
        self._heading("In the worktree api, an agent says what it does and writes to the other one")
        (self.root / "api" / "prices.py").write_text("def total(items, vat):\n    return sum(items) * (1 + vat)\n")
        self._git_run(
            "api",
            "git coord join --focus 'prices with VAT'",
            "git coord send web --needs-ack 'total() takes the VAT rate now; please pass it'",
        )
        self._heading("In the worktree web, the other one reads and answers")
        question = self._git_run("web", "git coord inbox").split()[0]
        self._git_run("web", f"git coord ack {question} 'on it, after lunch'")
        self._git_run("web", "git coord note --path prices.py 'VAT is a fraction: 0.19, not 19'")
        self._heading("Back in api: the answer, and proof that the message arrived")
        self._git_run("api", "git coord inbox", "git coord sent", "git coord sessions", "git coord notes")

    def _show_work(self) -> None:
        self._heading("Shared work: api files two tasks, web claims the one that is ready, and says when it is done")
        first = self._git_run("api", "git coord task add -p 1 'Charge VAT in the basket'").split()[0]
        added = self._git_run("api", f"git coord task add --needs {first} 'Show VAT on the receipt'")
        self.receipt = added.split()[0]
        self._git_run("api", "git coord tasks")
        self._git_run("web", "git coord task next --claim", f"git coord task done {first} 'on my branch'")
        self._git_run("api", "git coord inbox", "git coord board")

    def _show_collisions(self) -> None:
        self._heading("api locks a file; web checks before it edits, edits all the same, and both are told")
        self._git_run("api", "git coord lock prices.py -m 'VAT everywhere'")
        self._git_run("web", "git coord check prices.py", answer=1)
        (self.root / "web" / "prices.py").write_text("def total(items, discount):\n    return sum(items) - discount\n")
        self._git_run("web", "git coord editing prices.py", "git coord inbox")
        self._git_run("api", "git coord conflicts", answer=1)

    def _show_memory(self) -> None:
        self._heading("A failed test run is reported to the session that ran it; state is kept for the next start")
        self._git_run("api", "git coord run --name tests -- sh -c 'echo 2 of 7 tests failed >&2; exit 3'", answer=3)
        self._git_run("api", "git coord state set plan 'rounding first, then the receipt'", "git coord brief")
        self._git_run("api", "git coord alloc migrations")
        self._git_run("web", "git coord alloc migrations")

    def _show_sync(self) -> None:
        self._heading("Another machine: a second clone shares everything through any git remote, here a bare repository")
        self._git_run(self.root, "git clone --quiet --bare shop shop.git")
        self._git_run("shop", "git remote add origin ../shop.git")
        self._git_run("api", "git coord sync")
        self._git_run(self.root, "git clone --quiet shop.git laptop")
        self._git_run(
            "laptop", "git config user.name Grace", "git coord sync", "git coord tasks", "git coord task next --claim"
        )
        self._heading("Only one clone can claim a task; api is too late")
        self._git_run("api", f"git coord task claim {self.receipt}", answer=1)
        self._heading("Mail goes there, and its state comes back")
        self._git_run("laptop", "git coord send api 'the receipt is mine; shall it round?'", "git coord sync")
        self._git_run("api", "git coord sync", "git coord inbox", "git coord sync")
        self._git_run("laptop", "git coord sync", "git coord sent")

    def _show_git(self) -> None:
        self._heading("All of it is plain git: commits below refs/coord/, beside the code and not in it")
        self._git_run(
            "shop",
            "git for-each-ref refs/coord --format='%(refname) %(contents:subject)'",
            "git log --glob='refs/coord/log/*' --format='%h %<(4)%an %s'",
            "git log --exclude='refs/coord/*' --all --oneline",
            "git fsck --strict --no-dangling",
            "git status --short",
        )

    def _git_run(self, where: str | Path, *commands: str, answer: int = 0) -> str:
        """Show and run commands in one of the directories; returns the output of the last one.

        `answer` is the expected exit code: some of the commands shown are answered no.
        """
        out = ""
        for command in commands:
            self._say(f"{'' if where == self.root else where}$ {command}")
            done = self._start(command, self.root / where)
            self.steps.append({"where": str(where), "command": command, "exit": done.returncode, "output": done.stdout})
            self._say(done.stdout.rstrip("\n"))
            if done.returncode != answer:
                raise RepositoryError(f"the demo's command '{command}' ended with {done.returncode}", "git --version")
            out = done.stdout
            if not self.as_json and sys.stdout.isatty():
                time.sleep(PAUSE)
        return out

    def _start(self, command: str, where: Path) -> subprocess.CompletedProcess[str]:
        """Run away from our terminal: at one, both sessions would be taken for the person who sits there."""
        return subprocess.run(
            shlex.split(command), cwd=where, env=self.env, text=True, errors="replace", check=False, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _await_session(self, *names: str) -> None:
        """Wait for the hook, which works in the background so that it does not delay `git worktree add`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            known = json.loads(self._start("git coord sessions --json", self.root / "shop").stdout)
            if {*names} <= {session["session"] for session in known}:
                return
            time.sleep(0.05)
        raise RepositoryError(f"the hook did not register {' and '.join(names)}", "git coord hooks status")

    def _clean_up(self) -> None:
        """Remove the repository; a hook that is still running may write meanwhile, so try until nothing is left."""
        deadline = time.monotonic() + PATIENCE
        while self.root.exists() and time.monotonic() < deadline:
            with suppress(OSError):
                shutil.rmtree(self.root)
            if self.root.exists():
                time.sleep(0.05)

    def _heading(self, text: str) -> None:
        bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._say(f"\n\x1b[1m# {text}\x1b[0m" if bold else f"\n# {text}")

    def _say(self, text: str) -> None:
        if text and not self.as_json:
            print(text, flush=True)
