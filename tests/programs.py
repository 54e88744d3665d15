"""The real agent programs, as tests start them: found, or skipped with a word; each with a model that is a script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from model import Model

PLACES = os.environ.get("GITCOORD_AGENTS", "")
"""Folders that programs were installed into (.ci/run), as in PATH; looked at before PATH."""


def program(name: str) -> str:
    """The path of an agent program; skips the test where it is not installed."""
    found = shutil.which(name, path=PLACES) if PLACES else None
    found = found or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: put its folder into GITCOORD_AGENTS or on PATH")
    return found


class Claude:
    """Claude Code in one worktree, without a terminal: a process that lives until `close`, prompted by `ask`."""

    TOOLS = "Read,Edit,Write,Bash"

    def __init__(self, where: Path, model: Model, home: Path) -> None:
        self.where, self.model = where, model
        self.environ = {
            **os.environ,
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": "sk-ant-not-a-key",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }
        argv = [program("claude"), "-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"]
        self.process = subprocess.Popen(
            [*argv, "--allowedTools", self.TOOLS],
            cwd=where,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, prompt: str) -> str:
        """One prompt, and what the model says at the end of its turn."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"type": "user", "message": {"role": "user", "content": prompt}}) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            event = json.loads(line)
            if event.get("type") == "result":
                return str(event.get("result"))
        raise AssertionError(f"it ended with {self.process.wait()}")

    def close(self) -> None:
        """The conversation is over."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.stdout.read()
        assert self.process.wait(60) == 0
