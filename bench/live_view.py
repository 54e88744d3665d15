"""Measure the live view: its first paint, the time until an event is seen, memory and idle CPU, beside the libraries' own
empty start.

Each is a real process: the terminal view runs on a pseudo-terminal, whose output is read until the words are there; the web
view is asked by HTTP until the news have them.
"""

from __future__ import annotations

import fcntl
import http.client
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.ground import crowd, grow, project, with_sessions, worktree
from bench.measure import Row, at_most, ratio
from gitcoord import Coord
from gitcoord.features.tasks.file import NewTask

EMPTY_TEXTUAL = """
from textual.app import App
from textual.widgets import Static
class Empty(App):
    def compose(self):
        yield Static("Nothing needs you.")
Empty().run()
"""
EMPTY_STARLETTE = """
import sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("Nothing needs you."))])
uvicorn.run(app, port=int(sys.argv[1]), log_level="critical")
"""
VIEW = [sys.executable, "-m", "gitcoord", "ui"]


class Screen:
    """A program on a pseudo-terminal of 120 columns and 40 lines."""

    def __init__(self, argv: Sequence[str], cwd: Path) -> None:
        self.began = time.perf_counter()
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color"}
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.program = subprocess.Popen(argv, cwd=cwd, env=environ, start_new_session=True, **streams)  # type: ignore[call-overload]
        os.close(slave)
        self._master = master
        self._seen = b""

    def until(self, words: str) -> float:
        """Seconds from the start until the words were drawn."""
        while words.encode() not in self._seen:
            if not select.select([self._master], [], [], 120)[0]:
                raise SystemExit(f"{words!r} was not drawn: {self._seen[-2000:]!r}")
            self._seen = (self._seen + os.read(self._master, 65536))[-400_000:]
        return time.perf_counter() - self.began

    def drain(self, seconds: float) -> None:
        """Read what is drawn for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self._master], [], [], left)[0]:
                os.read(self._master, 65536)
        self._seen = b""

    def close(self) -> None:
        os.killpg(self.program.pid, signal.SIGKILL)
        self.program.wait()
        os.close(self._master)


@contextmanager
def on_screen(argv: Sequence[str], cwd: Path) -> Iterator[Screen]:
    found = Screen(argv, cwd)
    try:
        yield found
    finally:
        found.close()


def _memory(pid: int) -> float:
    """Resident megabytes of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def _cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def large(where: Path, events: int, sessions: int, tasks: int) -> Path:
    """A repository with many events of another clone, and many sessions and tasks of this one."""
    repo = with_sessions(grow(project(where), events))
    with Coord.open(worktree(repo, "alpha")) as alpha:
        alpha.tasks.add_all([NewTask(f"task number {number}") for number in range(tasks)])
    return crowd(repo, sessions)


def view(where: Path, rounds: int, events: int, sessions: int, tasks: int) -> list[Row]:
    """Measure all of it."""
    small = with_sessions(project(where / "view-small"))
    big = large(where / "view-big", events, sessions, tasks)
    rows = [*_paint(small, big, rounds, f"{events:,} events, {sessions} sessions, {tasks:,} tasks")]
    return [*rows, *_seen(small, rounds), *_web(small, big, rounds)]


class First(NamedTuple):
    """The time of the first paint: milliseconds on the clock, and of the processor."""

    clock: float
    cpu: float


def least(taken: Sequence[First]) -> First:
    """The shortest of several runs in turn, because other work on the machine only makes a run longer."""
    return First(min(it.clock for it in taken), min(it.cpu for it in taken))


def _first(argv: Sequence[str], cwd: Path) -> First:
    with on_screen(argv, cwd) as screen:
        return First(screen.until("Nothing needs you.") * 1000, _worked(screen.program.pid))


def _worked(pid: int) -> float:
    """Milliseconds of the processor that the threads of a process have had, to the nanosecond."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


def _paint(small: Path, big: Path, rounds: int, size: str) -> list[Row]:
    times: list[list[First]] = [[], [], []]
    for _ in range(rounds):
        for taken, (argv, cwd) in zip(
            times, (([sys.executable, "-c", EMPTY_TEXTUAL], small), (VIEW, small), (VIEW, big)), strict=True
        ):
            taken.append(_first(argv, cwd))
    textual, quiet, full = map(least, times)
    return [
        _beside("ui: first paint, empty repository", quiet.clock, textual.clock),
        _beside(f"ui: first paint, {size}", full.clock, quiet.clock),
        ratio("ui: the same, in time of the processor", full.cpu, quiet.cpu, 1.5),
    ]


def _beside(what: str, measured: float, baseline: float) -> Row:
    return Row(what, f"{measured:.0f} ms", f"{baseline:.0f} ms", f"{measured / baseline:.2f} x", "", None)


def _seen(repo: Path, rounds: int) -> list[Row]:
    """Measure the time from the start of a send until its words are drawn; then the cost of an idle view."""
    with on_screen(VIEW, repo) as screen, Coord.open(worktree(repo, "alpha")) as alpha:
        screen.until("Nothing needs you.")
        taken = []
        for number in range(rounds):
            screen.drain(0.5)
            start = time.perf_counter()
            alpha.send("ada-lovelace", f"marked {number} so", urgent=True)
            screen.until(f"marked {number} so")
            taken.append((time.perf_counter() - start) * 1000)
        screen.drain(8)
        before = _cpu(screen.program.pid)
        screen.drain(30)
        used = (_cpu(screen.program.pid) - before) / 30 * 100
        memory = _memory(screen.program.pid)
    with on_screen([sys.executable, "-c", EMPTY_TEXTUAL], repo) as screen:
        screen.until("Nothing needs you.")
        empty = _memory(screen.program.pid)
    return [
        at_most("ui: start of a send to its words on the screen", median(taken), 250, "ms"),
        at_most("ui: CPU of an idle view", used, 0.5, "%"),
        Row("ui: memory", f"{memory:.0f} MB", f"{empty:.0f} MB", f"{memory / empty:.2f} x", "", None),
    ]


def _web(small: Path, big: Path, rounds: int) -> list[Row]:
    times: list[list[First]] = [[], [], []]
    memories = []
    for _ in range(rounds):
        times[0].append(_empty_server(small))
        for taken, repo in ((times[1], small), (times[2], big)):
            spent, memory = _served(repo)
            taken.append(spent)
            memories.append(memory)
    starlette, quiet, full = map(least, times)
    return [
        _beside("ui --web: first news, empty repository", quiet.clock, starlette.clock),
        _beside("ui --web: first news, the large one", full.clock, quiet.clock),
        ratio("ui --web: the same, in time of the processor", full.cpu, quiet.cpu, 1.5),
        Row("ui --web: memory", f"{max(memories):.0f} MB", "", "", "", None),
    ]


def _empty_server(cwd: Path) -> First:
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", EMPTY_STARLETTE, "8931"], cwd=cwd) as server:
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", 8931, timeout=5)
                connection.request("GET", "/")
                connection.getresponse().read()
                break
            except OSError:
                time.sleep(0.01)
        spent = First((time.perf_counter() - start) * 1000, _worked(server.pid))
        server.kill()
    return spent


def _served(cwd: Path) -> tuple[First, float]:
    """The time of the first look, and megabytes."""
    start = time.perf_counter()
    with subprocess.Popen([*VIEW, "--web"], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        link = urlsplit(server.stdout.readline().strip())
        connection = http.client.HTTPConnection("127.0.0.1", link.port or 0, timeout=120)
        connection.request("GET", f"/enter?{link.query}")
        answer = connection.getresponse()
        answer.read()
        cookie = (answer.headers["set-cookie"] or "").partition(";")[0]
        connection.request("GET", "/news", headers={"cookie": cookie})
        news = connection.getresponse()
        while not news.readline().startswith(b"event: events"):
            pass
        spent, memory = First((time.perf_counter() - start) * 1000, _worked(server.pid)), _memory(server.pid)
        server.kill()
    return spent, memory
