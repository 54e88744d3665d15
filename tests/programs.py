"""The real agent programs, for tests: each with a scripted model; a test is skipped if its program is missing."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from model import Model, Tool

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

    TOOLS = "Read,Edit,Write,Bash,mcp__coord,mcp__plugin_git-coord_coord"

    def __init__(self, where: Path, model: Model, home: Path, *options: str) -> None:
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
            [*argv, "--allowedTools", self.TOOLS, *options],
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


def eventually(holds: Callable[[], object], seconds: float = 60) -> bool:
    """Wait for a condition that no event reports; returns whether it came true."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


_DRAWING = re.compile(rb"\x1b\[[0-9;:?<=>]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\s")
"""The sequences that move and colour a cursor, and the blanks that some programs draw that way."""


class AtTerminal:
    """A program at a terminal, where it can sit idle. What it draws there is thrown away but for its end.

    `ready` is what it shows when it takes a prompt.
    """

    def __init__(self, argv: list[str], where: Path, environ: dict[str, str], ready: str) -> None:
        self.ready = ready
        self.master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        self.process = subprocess.Popen(
            argv,
            cwd=where,
            env={**environ, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.screen = b""
        self.drain = threading.Thread(target=self._drain, daemon=True)
        self.drain.start()

    def _drain(self) -> None:
        with suppress(OSError):
            while data := os.read(self.master, 65536):
                self.screen = (self.screen + data)[-20_000:]
                for asked, answer in ((b"\x1b[6n", b"\x1b[1;1R"), (b"\x1b[c", b"\x1b[?62c")):  # where, and what, are you
                    if asked in data:
                        os.write(self.master, answer)

    def type(self, text: str) -> None:
        """Type at the terminal."""
        os.write(self.master, text.encode())

    def shows(self, text: str, seconds: float = 60) -> bool:
        """Whether that comes on the screen."""
        wanted = _DRAWING.sub(b"", text.encode())
        return eventually(lambda: wanted in _DRAWING.sub(b"", self.screen), seconds)

    def await_text(self, text: str) -> None:
        """Wait until that is on the screen."""
        assert self.shows(text), f"no {text!r} in {self.screen.decode(errors='replace')[-3000:]}"

    def prompt(self, text: str) -> None:
        """As its user begins a turn."""
        self.await_text(self.ready)
        self.type(text)
        if not self.shows(text, 15):
            self.type(text)  # what came before a program had set up its terminal is thrown away
        self.await_text(text)
        self.type("\r")

    def close(self) -> None:
        """Hang up; some programs are started by a script, which would not tell them."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
        os.close(self.master)
        self.drain.join(10)


class ClaudeAttended:
    """Claude Code for somebody at a terminal, who has set it up before."""

    name = "claude"
    asks = "Do you want to proceed?"

    def __init__(self, where: Path, model: Model, home: Path) -> None:
        key = "sk-ant-not-a-key"
        known = {
            "hasCompletedOnboarding": True,
            "customApiKeyResponses": {"approved": [key[-20:]], "rejected": []},
            "projects": {str(where): {"hasTrustDialogAccepted": True}},
        }
        (home / ".claude.json").write_text(json.dumps(known))
        self.where = where
        self.argv = [program(self.name), "--permission-mode", "default"]
        self.environ = {
            **os.environ,
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": model.url,
            "ANTHROPIC_API_KEY": key,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        }

    def at_terminal(self) -> AtTerminal:
        return AtTerminal(self.argv, self.where, self.environ, "? for shortcuts")

    def asking(self, command: str) -> Tool:
        return Tool("Bash", {"command": command})

    def helper(self, prompt: str) -> Tool:
        return Tool("Agent", {"description": "help", "prompt": prompt, "subagent_type": "general-purpose"})


class OneShot:
    """A program that is started for one prompt in one worktree, and ends with its turn. Subclasses say how."""

    name = ""
    """As `git coord hooks install` knows it."""
    alone: tuple[str, ...] = ()
    """The options for one prompt without asking for permissions."""
    ready = asks = ""
    """The words that it shows at a terminal when it takes a prompt, and when it asks for a permission."""
    server: tuple[str, str, dict[str, Any]]
    """The file below HOME that names MCP servers, under which key, and ours as it is named there (docs/mcp.md)."""
    served = ""
    """The prefix of the names of that server's tools."""

    def __init__(self, where: Path, model: Model, home: Path) -> None:
        self.where, self.model, self.home = where, model, home
        self.argv, environ = self.set_up(program(self.name))
        self.environ = {**os.environ, "HOME": str(home), "PWD": str(where), **environ}  # opencode believes PWD

    def set_up(self, path: str) -> tuple[list[str], dict[str, str]]:
        """The command to run, and its environment."""
        raise NotImplementedError

    def ask(self, prompt: str) -> str:
        """One whole conversation; what it printed."""
        done = subprocess.run(
            [*self.argv, *self.alone, prompt],
            cwd=self.where,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def at_terminal(self) -> AtTerminal:
        return AtTerminal(self.argv, self.where, self.environ, self.ready)

    def add_server(self) -> None:
        """Have it start our MCP server."""
        path, key, ours = self.server
        settings = self.home / path
        known = json.loads(settings.read_text()) if settings.exists() else {}
        settings.write_text(json.dumps({**known, key: {"coord": ours}}))

    def shell(self, command: str) -> Tool:
        raise NotImplementedError

    def asking(self, command: str) -> Tool:
        """The same, for which it asks at a terminal."""
        return self.shell(command)

    def file(self) -> str:
        return str(self.where / "readme.txt")


class Gemini(OneShot):
    name = "gemini"
    alone = ("--yolo", "-p")
    ready, asks = "Type your message", "Allow execution of"
    server = (".gemini/settings.json", "mcpServers", {"command": "git", "args": ["coord", "mcp"]})
    served = "mcp_coord_"

    def set_up(self, path: str) -> tuple[list[str], dict[str, str]]:
        settings = self.home / ".gemini" / "settings.json"
        settings.parent.mkdir(exist_ok=True)
        if not settings.exists():
            settings.write_text('{"security": {"auth": {"selectedType": "gemini-api-key"}}}\n')
        environ = {"GOOGLE_GEMINI_BASE_URL": self.model.url, "GEMINI_API_KEY": "x", "GEMINI_CLI_TRUST_WORKSPACE": "true"}
        return [path, "-m", "gemini-2.5-flash"], environ

    def read(self) -> Tool:
        return Tool("read_file", {"file_path": self.file()})

    def edit(self, old: str, new: str) -> Tool:
        return Tool("replace", {"file_path": self.file(), "instruction": "", "old_string": old, "new_string": new})

    def shell(self, command: str) -> Tool:
        return Tool("run_shell_command", {"command": command})


class Copilot(OneShot):
    name = "copilot"
    alone = ("--allow-all-tools", "-p")
    ready, asks = "? help", "Do you want to run this command?"
    server = (
        ".copilot/mcp-config.json", "mcpServers", {"type": "local", "command": "git", "args": ["coord", "mcp"], "tools": ["*"]}
    )  # fmt: skip
    served = "coord-"

    def set_up(self, path: str) -> tuple[list[str], dict[str, str]]:
        environ = {
            "COPILOT_OFFLINE": "true",
            "COPILOT_PROVIDER_BASE_URL": f"{self.model.url}/v1",
            "COPILOT_PROVIDER_API_KEY": "x",
            "COPILOT_MODEL": "mock",
        }
        settings = self.home / ".copilot" / "config.json"
        settings.parent.mkdir(exist_ok=True)
        settings.write_text(json.dumps({"trusted_folders": [str(self.where)]}))
        return [path], environ

    def read(self) -> Tool:
        return Tool("view", {"path": self.file()})

    def edit(self, old: str, new: str) -> Tool:
        return Tool("edit", {"path": self.file(), "old_str": old, "new_str": new})

    def shell(self, command: str) -> Tool:
        return Tool("bash", {"command": command, "description": "a command"})


class Opencode(OneShot):
    name = "opencode"
    alone = ("run", "--auto")
    ready, asks = "Ask anything", "Permission required"
    server = (".config/opencode/opencode.json", "mcp", {"type": "local", "command": ["git", "coord", "mcp"]})
    served = "coord_"

    def set_up(self, path: str) -> tuple[list[str], dict[str, str]]:
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "options": {"baseURL": f"{self.model.url}/v1", "apiKey": "x"},
            "models": {"mock": {}},
        }
        settings = self.home / ".config" / "opencode" / "opencode.json"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps({"provider": {"mock": provider}, "model": "mock/mock"}))
        return [path], {"OPENCODE_DISABLE_MODELS_FETCH": "1"}

    def at_terminal(self) -> AtTerminal:
        self.environ["OPENCODE_PERMISSION"] = '{"bash": "ask"}'
        return super().at_terminal()

    def read(self) -> Tool:
        return Tool("read", {"filePath": self.file()})

    def edit(self, old: str, new: str) -> Tool:
        return Tool("edit", {"filePath": self.file(), "oldString": old, "newString": new})

    def shell(self, command: str) -> Tool:
        return Tool("bash", {"command": command, "description": "a command"})

    def helper(self, prompt: str) -> Tool:
        return Tool("task", {"description": "help", "prompt": prompt, "subagent_type": "general"})


class Codex:
    """Codex without a terminal, in one worktree; each `ask` is a process that takes the conversation up again."""

    name = "codex"
    asks = "Would you like to run the following command?"

    def __init__(self, where: Path, model: Model, home: Path, sandbox: str = "danger-full-access") -> None:
        self.where, self.model, self.sandbox = where, model, sandbox
        self.program = program("codex")
        self.begun = False
        self.settings = home / ".codex" / "config.toml"
        self.environ = {**os.environ, "HOME": str(home), "NOT_A_KEY": "none", "CODEX_HOME": str(self.settings.parent)}
        self.settings.parent.mkdir(exist_ok=True)
        if not self.settings.exists():
            self.settings.write_text(
                'model = "gpt-5.5"\nmodel_provider = "script"\n[features]\nenable_request_compression = false\n'
                f'[model_providers.script]\nname = "script"\nbase_url = "{model.url}/v1"\nwire_api = "responses"\n'
                'env_key = "NOT_A_KEY"\n'
            )

    def trust(self) -> None:
        """As its user does with /hooks: note the hash of every hook in the settings."""
        from gitcoord.agents.codex_trust import _answer

        found = _answer(self.program, self.environ)
        lines = [
            f'[hooks.state."{h["key"]}"]\ntrusted_hash = "{h["currentHash"]}"\n' for p in found["data"] for h in p["hooks"]
        ]
        self.settings.write_text(self.settings.read_text() + "".join(lines))

    def ask(self, prompt: str, *options: str) -> str:
        """One prompt, and what the model says at the end of its turn."""
        more = ["resume", "--last"] if self.begun else []
        self.begun = True
        argv = [self.program, "exec", "-s", self.sandbox, *options, "-C", str(self.where), *more, prompt]
        done = subprocess.run(
            argv, cwd=self.where, env=self.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
            check=False, start_new_session=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def at_terminal(self) -> AtTerminal:
        """The same, where it can sit idle; without the server in the background, which would outlive the test."""
        trusted = f'[projects."{self.where}"]\ntrust_level = "trusted"\n'
        self.settings.write_text(self.settings.read_text() + trusted)
        argv = [self.program, "-m", "gpt-6-sol", "--disable", "daemon_auto_start", "-C", str(self.where)]
        return AtTerminal(argv, self.where, self.environ, "? for shortcuts")

    def asking(self, command: str) -> Tool:
        """One that is to run outside of the sandbox; the model that it has at a terminal calls tools by a script."""
        outside = {"cmd": command, "sandbox_permissions": "require_escalated", "justification": "it must"}
        return Tool("exec", f"await tools.exec_command({json.dumps(outside)})")


class OpencodeServer(Opencode):
    """opencode without its terminal, but as it is behind that: sessions that can sit idle."""

    def __init__(self, where: Path, model: Model, home: Path) -> None:
        super().__init__(where, model, home)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        argv = [program(self.name), "serve", "--port", str(self.port)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, cwd=where, env=self.environ, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout and any("listening" in line for line in self.process.stdout)
        self.session = self._post("/session", {})["id"]

    def ask(self, prompt: str) -> str:
        """One prompt, and what the model says at the end of its turn."""
        answer = self._post(f"/session/{self.session}/message", {"parts": [{"type": "text", "text": prompt}]})
        return "".join(part.get("text", "") for part in answer["parts"])

    def compact(self) -> None:
        """As /compact does."""
        self._post(f"/session/{self.session}/summarize", {"providerID": "mock", "modelID": "mock"})

    def _post(self, path: str, body: Any) -> Any:
        url, headers = f"http://127.0.0.1:{self.port}{path}", {"content-type": "application/json"}
        request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=100) as answer:
            return json.load(answer)

    def close(self) -> None:
        """The program ends."""
        with self.process:
            self.process.terminate()
