"""Note which boots were this system's own: this proves later that a process of an earlier one is gone.

Another boot id alone proves nothing: a virtual machine that shares the repository, and often the machine id and the home
folder, runs another kernel beside ours. So a process that starts something to be judged later notes the boot in a folder
that survives a reboot and is not shared. A missing note never makes anything count as gone.
"""

from __future__ import annotations

import os
import stat
import time

from gitcoord.lean import suppress
from gitcoord.system.process import Process, boot_id, is_alive, machine_id
from gitcoord.system.uptime import uptime

PLACE = "/var/tmp"  # unlike /tmp, it is kept over a reboot (file-hierarchy(7))
KEPT = 100
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def _file() -> str:
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return os.path.join(_place(), f"gitcoord-boots-{user}")


def _place() -> str:
    if os.path.isdir(PLACE):
        return PLACE
    import tempfile  # takes 10 ms; only for systems without that folder

    return tempfile.gettempdir()


def note() -> None:
    """Note the running boot. If that fails, processes of this boot can never be called gone."""
    known, here = _read(), boot_id()
    if here and here not in known:
        with suppress(OSError):
            fd = os.open(_file(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | _SAFELY, 0o600)
            try:
                if _is_ours(fd):
                    if len(known) >= KEPT:
                        os.ftruncate(fd, 0)
                    os.write(fd, f"{here}\n".encode())
            finally:
                os.close(fd)


def is_own(boot: str) -> bool:
    """Whether an earlier boot was this system's."""
    return boot in _read()


def _read() -> list[str]:
    try:
        fd = os.open(_file(), os.O_RDONLY | _SAFELY)
    except OSError:
        return []
    try:
        return os.read(fd, 1 << 16).decode("ascii", "replace").split() if _is_ours(fd) else []
    finally:
        os.close(fd)


def _is_ours(fd: int) -> bool:
    """Whether only we could have written the file: everybody may make files in that folder."""
    found = os.fstat(fd)
    mine = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
    return stat.S_ISREG(found.st_mode) and mine


def has_ended(process: Process, machine: str, seen: float) -> bool | None:
    """Whether a process has ended, also by a reboot of `machine`, where it ran; None if that cannot be judged from here.
    `seen` is the time of its last sign of life (Unix seconds)."""
    alive = is_alive(process)
    if alive is not None:
        return not alive
    if machine != machine_id() or process.boot == boot_id() or not is_own(process.boot):
        return None
    return True if seen < time.time() - uptime() else None
