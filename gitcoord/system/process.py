"""Processes as evidence of life: a pid counts only with its start time, boot and pid namespace.

Linux is read from /proc directly (psutil's import costs 16 ms of every command); other systems go through psutil.
"""

from __future__ import annotations

import os
import select
import sys
import time
from functools import cache

from gitcoord.lean import NamedTuple
from gitcoord.system.files import read_bytes
from gitcoord.system.uptime import uptime as uptime

PROC = sys.platform.startswith("linux")
LOOK_EVERY = 0.2
"""Seconds between two looks at a process whose end the kernel cannot report."""


class Process(NamedTuple):
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start: str
    boot: str
    namespace: str

    def to_json(self) -> dict[str, object]:
        return self._asdict()


def from_json(data: object) -> Process | None:
    """The process in a record of ours, or None."""
    try:
        return Process(**data) if isinstance(data, dict) else None
    except TypeError:
        return None


def describe(pid: int) -> Process | None:
    """The process that has `pid` now, or None."""
    start = _start_and_parent(pid)
    return None if start is None else Process(pid, start[0], boot_id(), namespace())


def is_alive(process: Process) -> bool | None:
    """Whether the process still runs; None if that cannot be judged from here (another boot, machine or container)."""
    if (process.boot, process.namespace) != (boot_id(), namespace()):
        return None
    now = _start_and_parent(process.pid)
    return now is not None and now[0] == process.start


def end_fd(process: Process) -> int | None:
    """A descriptor that is readable once the process ended, for the caller to close; None if the kernel has none."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return None
    if (process.boot, process.namespace) != (boot_id(), namespace()):
        return None
    try:
        return os.pidfd_open(process.pid)
    except OSError:
        return None


def wait_for_end(process: Process, seconds: float | None) -> bool:
    """Sleep until the process ended, at most so long; returns whether it has."""
    deadline = None if seconds is None else time.monotonic() + seconds
    fd = end_fd(process)
    try:
        while is_alive(process):  # after end_fd, so that the descriptor cannot be that of a later process with this pid
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return False
            if fd is not None:
                select.select([fd], [], [], left)
            else:
                time.sleep(LOOK_EVERY if left is None else min(left, LOOK_EVERY))
        return True
    finally:
        if fd is not None:
            os.close(fd)


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
        words = read_bytes(f"/proc/{pid}/cmdline").split(b"\0")[:2] if PROC else []
    except OSError:
        return ""
    return " ".join(os.path.basename(os.fsdecode(word)) for word in words)


def terminal_leader() -> int | None:
    """The pid of the shell that leads our terminal, if we have one."""
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
        fields = read_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()
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
def kernel_boot_id() -> str:
    """Linux's id of this boot; empty elsewhere, and where it must not be read."""
    try:
        return read_bytes("/proc/sys/kernel/random/boot_id").decode().strip() if PROC else ""
    except OSError:
        return ""


@cache
def boot_id() -> str:
    """An id that changes with every boot; empty if there is none."""
    if PROC:
        return kernel_boot_id()
    import psutil

    return str(int(psutil.boot_time()))


@cache
def namespace() -> str:
    """The pid namespace, which differs between containers; empty on systems without them."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@cache
def machine_id() -> str:
    """An id of this machine: systemd's machine-id(5) if there is one, otherwise the host name."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            text = os.fsdecode(read_bytes(path)).strip()
        except OSError:
            continue
        if text:
            return text
    import socket

    return socket.gethostname()
