"""Count what noise does not touch, for the quickest commands, and compare it with `bench/allowed.json`. A command that
loads a module, starts a process, opens a file, runs SQL or writes an object more than allowed fails `python -m bench
--quick`. If that is meant, `python -m bench --quick --allow` writes the new numbers, for a commit to show."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bench.ground import project, with_sessions, worktree
from bench.measure import PROGRAM, Row, git

ALLOWED = Path(__file__).with_name("allowed.json")
SLACK = {"system calls": 0.1, "files opened": 0.1, "calls": 0.1}
"""The share by which these counts may be exceeded: they depend on git's version, the file system and Python's path."""
HEAVY = (
    "asyncio click contextlib ctypes dataclasses datetime enum hashlib importlib.metadata inspect json pathlib pathspec pygit2"
    " re shutil sqlite3.dbapi2 ssl subprocess tempfile threading typing watchdog"
).split()
"""Modules that a quick command may load only if they are allowed."""

COUNT = """
import _sqlite3, json, os, sys
sql, calls, connect, leave = [], [0], _sqlite3.connect, os._exit
def traced(*args, **kwargs):
    db = connect(*args, **kwargs)
    db.set_trace_callback(sql.append)
    return db
def called(frame, event, arg):
    calls[0] += event == "call"
def told(code):
    sys.setprofile(None)
    os._exit = leave
    loaded = [name for name in sys.modules if name not in before]
    with open(sys.argv[1], "w") as found:
        json.dump({"loaded": loaded, "calls": calls[0], "sql": len(sql)}, found)
    leave(code)
_sqlite3.connect, os._exit, before = traced, told, set(sys.modules)
del sys.modules["json"], sys.modules["json.decoder"], sys.modules["json.scanner"], sys.modules["json.encoder"]
before -= {"json"}
from gitcoord.cli import main
sys.setprofile(called)
main(sys.argv[2:])
"""
"""A program that runs a command as `git-coord` would and prints the counts; Python's own start is not counted."""


class Command(NamedTuple):
    """A command to count, its directory, and the preparation of its repository."""

    name: str
    words: tuple[str, ...]
    where: Path
    ready: Callable[[], object] = lambda: None


def commands(repo: Path) -> Iterator[Command]:
    """The commands that people and agents run most."""
    alpha, beta = worktree(repo, "alpha"), worktree(repo, "beta")
    run = _runner(beta)
    run("send", "alpha", "hello")
    asked = json.loads(_runner(alpha)("inbox", "--json"))[0]["id"]
    yield Command("inbox", ("inbox",), alpha)
    yield Command("check", ("check", "README"), alpha)
    yield Command("status --short", ("status", "--short"), alpha)
    yield Command("send", ("send", "alpha", "hello"), beta)
    yield Command("reply", ("reply", asked, "done"), alpha)
    yield Command("note", ("note", "hello"), beta)
    yield Command("lock", ("lock", "src"), beta, lambda: run("unlock", "--all"))
    yield Command("task next --claim", ("task", "next", "--claim"), beta, lambda: run("task", "add", "work"))
    yield Command("run -- true", ("run", "--", "true"), beta)


def _runner(where: Path) -> Callable[..., str]:
    def run(*words: str) -> str:
        done = subprocess.run([*PROGRAM, *words], cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise SystemExit(f"git coord {' '.join(words)}: {done.stderr}")
        return done.stdout

    return run


Counted = dict[str, int | list[str]]


def count(command: Command, scratch: Path) -> Counted:
    """The counts of a command: the least of two runs, because one write in 256 has more to do."""
    one, other = _count(command, scratch), _count(command, scratch)
    return {what: min(value, other[what], key=_much) for what, value in one.items()}


def _much(value: int | list[str]) -> int:
    return len(value) if isinstance(value, list) else value


def _count(command: Command, scratch: Path) -> Counted:
    command.ready()
    _runner(command.where)(*command.words)  # a session's first command has more to do
    command.ready()
    before = _objects(command.where)
    subprocess.run(
        [sys.executable, "-E", "-P", "-c", COUNT, str(scratch), *command.words],
        cwd=command.where, stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    told = json.loads(scratch.read_text())
    found: Counted = {
        "modules": sum(name.startswith("gitcoord") for name in told["loaded"]),
        "heavy": [name for name in HEAVY if name in told["loaded"]],
        "calls": told["calls"],
        "SQL statements": told["sql"],
        "objects written": _objects(command.where) - before,
    }
    command.ready()
    return found | (_traced(command, scratch) if shutil.which("strace") else {})


def _objects(where: Path) -> int:
    found = dict(line.split(": ") for line in git(where, "count-objects", "-v").splitlines())
    return int(found["count"]) + int(found["in-pack"])


def _traced(command: Command, scratch: Path) -> Counted:
    """The system calls, less those of an empty Python."""
    ours = _calls([*PROGRAM, *command.words], command.where, scratch)
    none = _calls([sys.executable, "-E", "-P", "-c", "pass"], command.where, scratch)
    opened = sum(map(_is_opened, ours)) - sum(map(_is_opened, none))
    started = sum("execve" in line and line.endswith(" = 0") for line in ours)
    asked = sum("resumed>" not in line for line in ours) - sum("resumed>" not in line for line in none)
    return {"processes": started, "files opened": opened, "system calls": asked}


def _is_opened(line: str) -> bool:
    return "openat" in line and " = -1 " not in line and "unfinished" not in line


def _calls(argv: list[str], where: Path, scratch: Path) -> list[str]:
    git_alone = {**os.environ, "PATH": os.path.dirname(shutil.which("git") or "")}
    subprocess.run(
        ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(scratch), *argv],
        cwd=where, env=git_alone, stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    return scratch.read_text(errors="replace").splitlines()


def quick(where: Path, allow: bool = False) -> list[Row]:
    """A row for each thing counted; with `allow` the counts become the allowed ones."""
    repo = with_sessions(project(where / "counted", files=20))
    found = {c.name: count(c, where / "count") for c in commands(repo)}
    if allow:
        ALLOWED.write_text(json.dumps(found, indent=1) + "\n")
    allowed = json.loads(ALLOWED.read_text())
    return [_row(name, what, value, allowed[name].get(what)) for name, kinds in found.items() for what, value in kinds.items()]


def _row(name: str, what: str, value: int | list[str], limit: int | list[str] | None) -> Row:
    if isinstance(value, list):
        unasked = sorted(set(value) - set(limit if isinstance(limit, list) else ()))
        return Row(f"{name}: {what}", ", ".join(value) or "none", "", ", ".join(unasked), "no more", not unasked)
    most = limit if isinstance(limit, int) else 0
    ok = value <= most + most * SLACK.get(what, 0)
    return Row(f"{name}: {what}", str(value), "", f"{value - most:+}" if value != most else "", f"<= {most}", ok)
