"""Processes as evidence of life: a pid counts only with its start time, boot and pid namespace.

Linux is read from /proc directly (psutil's import costs 16 ms of every command); other systems go through psutil.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

PROC = sys.platform.startswith("linux")


class Process(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start: str
    boot: str
    namespace: str

    def to_json(self) -> dict[str, object]:
        return self._asdict()


def from_json(data: object) -> Process | None:
    """The process in a record of ours, or None if there is none."""
    try:
        return Process(**data) if isinstance(data, dict) else None
    except TypeError:
        return None


def describe(pid: int) -> Process | None:
    """The process that has `pid` now, or None."""
    start = _start_and_parent(pid)
    return None if start is None else Process(pid, start[0], boot_id(), namespace())


def is_alive(process: Process) -> bool | None:
    """Whether it still runs; None when this cannot be judged from here (another boot, machine or container)."""
    if (process.boot, process.namespace) != (boot_id(), namespace()):
        return None
    now = _start_and_parent(process.pid)
    return now is not None and now[0] == process.start


def ancestors(pid: int | None = None) -> list[int]:
    """The pids above `pid` (ours by default), nearest first."""
    found: list[int] = []
    at = os.getppid() if pid is None else (_start_and_parent(pid) or ("", 0))[1]
    while at > 0 and at not in found and len(found) < 64:
        found.append(at)
        at = (_start_and_parent(at) or ("", 0))[1]
    return found


def command(pid: int) -> str:
    """The program of a process and its script, without directories; empty when it cannot be read."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] if PROC else []
    except OSError:
        return ""
    return " ".join(os.path.basename(os.fsdecode(word)) for word in words)


def terminal_leader() -> int | None:
    """The pid of the shell that leads our terminal, when we stand at one."""
    if not hasattr(os, "getsid") or not any(_is_tty(fd) for fd in (0, 1, 2)):
        return None
    return os.getsid(0) or None


def _is_tty(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _start_and_parent(pid: int) -> tuple[str, int] | None:
    """Start time and parent of a live process; a zombie counts as dead. Fields: proc(5), `stat`."""
    if not PROC:
        return _ask_psutil(pid)
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (fields[19].decode(), int(fields[1]))


def _ask_psutil(pid: int) -> tuple[str, int] | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return repr(process.create_time()), process.ppid() or 0
    except psutil.Error:
        return None


@cache
def boot_id() -> str:
    """What changes when the machine starts anew."""
    if PROC:
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""
    import psutil

    return str(int(psutil.boot_time()))


@cache
def namespace() -> str:
    """The pid namespace, which differs between containers; empty where there are none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
