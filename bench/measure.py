"""Timing, and the rows of the table."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

IMPORTS = [sys.executable, "-c", "import click, sqlite3"]
"""The baseline of one-shot commands."""
PROGRAM = [str(Path(sys.executable).parent / "git-coord")]


class Row(NamedTuple):
    """One line of the table. `ok` is None where there is no budget, only a figure."""

    what: str
    measured: str
    baseline: str
    result: str
    budget: str
    ok: bool | None


def ratio(what: str, measured: float, baseline: float, budget: float, unit: str = "ms") -> Row:
    """A figure and its largest ratio to a baseline; both in `unit`."""
    times = measured / baseline
    return Row(what, f"{measured:.1f} {unit}", f"{baseline:.1f} {unit}", f"{times:.2f} x", f"<= {budget:g} x", times <= budget)


def at_most(what: str, measured: float, budget: float, unit: str, baseline: str = "") -> Row:
    """A figure with an upper limit of its own."""
    return Row(what, f"{measured:,.1f} {unit}", baseline, "", f"<= {budget:g} {unit}", measured <= budget)


def at_least(what: str, measured: float, budget: float, unit: str, baseline: str = "") -> Row:
    """A figure with a lower limit."""
    return Row(what, f"{measured:,.0f} {unit}", baseline, "", f">= {budget:g} {unit}", measured >= budget)


def interleaved(commands: Sequence[Sequence[str]], where: Sequence[Path], rounds: int) -> list[float]:
    """The median milliseconds of each command, run in turn, so that a busy moment of the machine hits them all."""
    times: list[list[float]] = [[] for _ in commands]
    for _ in range(rounds):
        for number, (command, cwd) in enumerate(zip(commands, where, strict=True)):
            times[number].append(_milliseconds(command, cwd))
    return [median(found) for found in times]


def _milliseconds(command: Sequence[str], cwd: Path) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    taken = (time.perf_counter() - start) * 1000
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return taken


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes, once."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def git(where: Path, *args: str, stdin: bytes | None = None) -> str:
    """Run git, and return what it prints."""
    done = subprocess.run(["git", "-C", str(where), *args], input=stdin, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"git {' '.join(args)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace")


def isolate(home: Path) -> None:
    """Keep the machine's configuration, identity and agents out of the measurement."""
    for name in list(os.environ):
        if name.startswith(("GIT_", "CLAUDE", "CODEX", "COPILOT", "GEMINI", "CURSOR", "OPENCODE", "AI_AGENT", "AGENT")):
            del os.environ[name]
    home.mkdir()
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n"
    )
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ |= {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    head = ("what", "measured", "baseline", "ratio", "budget", "")
    cells = [head, *((r.what, r.measured, r.baseline, r.result, r.budget, _mark(r.ok)) for r in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _mark(ok: bool | None) -> str:
    return "" if ok is None else ("ok" if ok else "OVER")
