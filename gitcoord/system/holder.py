"""Find out which process holds a file lock. Imported only by a process that has waited for one for seconds."""

from __future__ import annotations

import os
import time

from gitcoord.lean import suppress
from gitcoord.system import process as processes
from gitcoord.system.files import read_bytes
from gitcoord.text import inert

_STATES = {"T": "is stopped", "t": "is stopped by a debugger", "D": "waits for the disk"}


def described(path: str) -> tuple[str, str]:
    """Words about the holder of the lock on `path`, to follow the lock's name, and a hint how to end the wait."""
    noted, since = _noted(path)
    holders = _holders(path)
    pid = noted if noted in holders or not holders else holders[0]
    held = f" for {max(1, int(time.time() - since))} s" if since else ""
    if not pid:
        return f"which another process has held{held}", "end that process"
    state = _STATES.get(_state(pid), "")
    if pid != noted and noted:
        state = " and ".join(filter(None, (f"inherited it from process {noted}, which has ended", state)))
    words = f"which process {pid}{_called(pid)} has held{held}" + (f"; it {state}" if state else "")
    return words, f"kill -CONT {pid}" if state.endswith("stopped") else f"look at it: ps -fp {pid}"


def _noted(path: str) -> tuple[int, float]:
    """The pid that the last holder wrote into the file, and the time; zeros if it wrote none."""
    try:
        pid = int(read_bytes(path)[:20] or b"0")
        return pid, os.stat(path).st_mtime if pid else 0.0
    except (OSError, ValueError):
        return 0, 0.0


def _holders(path: str) -> list[int]:
    """The pids that have the lock, as far as Linux shows them; processes that wait for it have the file open, too."""
    found = []
    with suppress(OSError):
        wanted = os.stat(path)
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid() and _has_lock(name, wanted):
                found.append(int(name))
    return found


def _has_lock(pid: str, wanted: os.stat_result) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                seen = os.stat(f"/proc/{pid}/fd/{fd}")
                if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return b"FLOCK" in read_bytes(f"/proc/{pid}/fdinfo/{fd}")
    except OSError:
        pass  # it ended, or belongs to another user
    return False


def _state(pid: int) -> str:
    try:
        return read_bytes(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


def _called(pid: int) -> str:
    words = inert(processes.command(pid))[:60]
    return f" ({words})" if words else ""
