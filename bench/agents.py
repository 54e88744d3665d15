"""Measure the cost of agents' hooks at every step: milliseconds beside a bare `git rev-parse`, and tokens."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.ground import grow, project, with_sessions, worktree
from bench.measure import Row, at_most, git, ratio
from gitcoord import Coord
from gitcoord.agents.install import command
from gitcoord.text import tokens

REV_PARSE = ["git", "rev-parse", "--git-dir"]
SIZES = ((1, 0), (50, 0), (500, 100_000))
"""Sessions, and events behind them."""


def hooks(where: Path, rounds: int, events: int) -> list[Row]:
    """Measure every moment with nothing new, at several sizes; then with news."""
    rows: list[Row] = []
    for sessions, behind in SIZES:
        repo = with_sessions(project(where / f"agents{sessions}"))
        if behind:
            grow(repo, min(behind, events))
        _crowd(repo, sessions)
        alpha = worktree(repo, "alpha")
        _hook(alpha, "start", source="startup")
        _hook(alpha, "tools")
        for moment in ("tools", "prompt", "stop") if sessions == 1 else ("tools",):
            base, measured = _beside(alpha, moment, rounds)
            what = (
                f"hook `{moment}`, nothing new, {sessions} session{'s' if sessions > 1 else ''}, {min(behind, events):,} events"
            )
            rows.append(ratio(what, measured, base, 2.0))
    rows += _edits(alpha, rounds)
    return [*rows, *_with_something(where, rounds)]


def _crowd(repo: Path, sessions: int) -> None:
    """Register many sessions, only in the repository's own files: one or two are real."""
    folder = repo / ".git" / "coord" / "sessions"
    record = json.loads((folder / "beta.json").read_text())
    if sessions == 1:
        with Coord.open(worktree(repo, "beta")) as coord:
            coord.clone.drop_presence("beta")
        (folder / "beta.json").unlink()
    for number in range(sessions - 2):
        name = f"crowd-{number}"
        (folder / f"{name}.json").write_text(json.dumps({**record, "name": name}))
        git(repo, "update-ref", f"refs/coord/sessions/other-{number:08x}/{name}", "HEAD") if number < 20 else None


def _edits(alpha: Path, rounds: int) -> list[Row]:
    """Measure before and after an edit of a path that no other session touches, with a large document."""
    rows = []
    for moment in ("edit", "edited"):
        base, measured = _beside(
            alpha, moment, rounds, tool_input={"file_path": str(alpha / "file1.txt"), "content": "x" * 20_000}
        )
        what = f"hook `{moment}`, nobody else has the path, 500 sessions"
        rows.append(Row(what, f"{measured:.1f} ms", f"{base:.1f} ms", f"{measured / base:.2f} x", "", None))
    return rows


def _with_something(where: Path, rounds: int) -> list[Row]:
    repo = with_sessions(project(where / "mail"))
    alpha, beta = worktree(repo, "alpha"), worktree(repo, "beta")
    start = _hook(alpha, "start", source="startup")
    idle = _hook(alpha, "tools") + _hook(alpha, "prompt")
    times, shown = [], ""
    with Coord.open(beta) as coord:
        for _ in range(rounds):
            coord.send("alpha", "the schema is merged, please rebase")
            began = time.perf_counter()
            shown = _hook(alpha, "tools")
            times.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    _hook(alpha, "start", source="startup")
    begin = (time.perf_counter() - began) * 1000
    return [
        at_most("hook `tools` that shows a message", median(times), 250, "ms"),
        at_most("hook `start`", begin, 500, "ms"),
        at_most("tokens: an idle turn", tokens(idle) if idle else 0, 0, "tokens"),
        at_most("tokens: one message, by a hook", tokens(_context(shown)), 80, "tokens"),
        at_most("tokens: the brief at a start, quiet repository", tokens(_context(start)), 400, "tokens"),
    ]


def _context(out: str) -> str:
    text: str = json.loads(out)["hookSpecificOutput"]["additionalContext"]
    return text


def _order(where: Path, moment: str, facts: dict[str, object]) -> tuple[Sequence[str], bytes]:
    document = {"session_id": "bench-1", "cwd": str(where), "hook_event_name": "PostToolBatch", **facts}
    return ["sh", "-c", command("claude", moment)], json.dumps(document).encode()


def _run(argv: Sequence[str], where: Path, stdin: bytes = b"") -> tuple[float, str]:
    """Milliseconds and output. Agent programs give their hooks a pipe, and accept that hooks do not read it."""
    environ = {**os.environ, "CLAUDE_CODE_SESSION_ID": "bench-1"}
    began = time.perf_counter()
    process = subprocess.Popen(argv, cwd=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ)
    out, _ = process.communicate(stdin)
    taken = (time.perf_counter() - began) * 1000
    if process.returncode:
        raise SystemExit(f"{shlex.join(argv)}: exit {process.returncode}")
    return taken, out.decode()


def _hook(where: Path, moment: str, **facts: object) -> str:
    return _run(*_place(where, moment, facts))[1]


def _place(where: Path, moment: str, facts: dict[str, object]) -> tuple[Sequence[str], Path, bytes]:
    argv, document = _order(where, moment, facts)
    return argv, where, document


def _beside(where: Path, moment: str, rounds: int, **facts: object) -> tuple[float, float]:
    """The medians of a bare git process and of a hook, in turn."""
    place = _place(where, moment, facts)
    base, own = [], []
    for _ in range(rounds * 3):
        base.append(_run(REV_PARSE, where)[0])
        taken, out = _run(*place)
        own.append(taken)
        if out:
            raise SystemExit(f"the hook {moment} had something to say: {out}")
    return median(base), median(own)
