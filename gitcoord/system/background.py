"""Start a program detached from its starter, or become such a program.

A process in the background keeps nothing of its starter: no lock or pipe on an open descriptor, no folder that could
then not be removed, no umask of a cron job, none of the variables that git sets for a hook. The scripts of the hooks
start this module, which waits a moment for further events and then becomes `git-coord hook ACTION`: a shell cannot
close descriptors above 9.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Collection, Mapping

from gitcoord.lean import suppress

ISOLATED = ("-E", "-P")
"""Options for a Python of ours: nothing of the environment or of the working directory decides what it imports."""
REFUSED = 77
"""The exit code with which gitcoord refuses: the scripts of the hooks look for it, and a Python that fails by itself never
ends with it."""
MOMENT = 1.0
"""Seconds that a refresh waits, so that one refresh follows a rebase, not each of its steps."""


def start(argv: list[str], environ: Mapping[str, str], collect: bool) -> None:
    """Start `argv` in a session of its own, with no standard streams. `collect`: the caller keeps running, so the child has
    to be collected when it ends, which subprocess does."""
    if sys.platform != "win32" and not collect and hasattr(os, "posix_spawn"):
        actions: list[tuple[int, ...]] = [(os.POSIX_SPAWN_CLOSE, fd) for fd in inherited()]
        null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        try:
            os.posix_spawn(argv[0], argv, environ, file_actions=[*null, *actions], setsid=True)
            return
        except NotImplementedError:
            pass  # macOS before 10.15 has no setsid here
    import subprocess

    null_fd = subprocess.DEVNULL
    subprocess.Popen(argv, env=environ, stdin=null_fd, stdout=null_fd, stderr=null_fd, start_new_session=True)


def inherited() -> list[int]:
    """The descriptors, besides the standard streams, that we inherited and that our children would inherit, too."""
    try:
        names = os.listdir("/proc/self/fd" if sys.platform.startswith("linux") else "/dev/fd")
    except OSError:
        names = [str(fd) for fd in range(3, 256)]
    return [fd for name in names if name.isdigit() and (fd := int(name)) > 2 and _is_inheritable(fd)]


def _is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:  # the descriptor that listed them
        return False


def let_go(environ: Collection[str] = ()) -> None:
    """Drop what we have from our starter: its descriptors, its session, and its variables named in `environ`."""
    for fd in inherited():
        with suppress(OSError):
            os.close(fd)
    if sys.platform != "win32":
        with suppress(OSError):
            os.setsid()
    for name in environ:
        os.environ.pop(name, None)


def move_into(folder: str) -> None:
    """Change to `folder`, a folder of ours that nobody removes meanwhile, and set a umask that gives files its
    permissions."""
    with suppress(OSError):
        os.chdir(folder)
        os.umask(0o777 & ~stat.S_IMODE(os.stat(folder).st_mode))


def main(argv: list[str]) -> None:
    """`python -m gitcoord.system.background MARKER ACTION…`: wait a moment, remove the marker, become the action."""
    from gitcoord.system.files import remove_ours

    let_go()
    marker, *action = argv
    time.sleep(MOMENT)
    with suppress(OSError):
        remove_ours(marker)
    os.execv(sys.executable, [sys.executable, *ISOLATED, "-m", "gitcoord", "hook", *action])


if __name__ == "__main__":
    main(sys.argv[1:])
