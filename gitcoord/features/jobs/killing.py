"""End the command of a job with all that it started, and nothing else."""

from __future__ import annotations

import os
import sys
import time

from gitcoord.errors import Refused
from gitcoord.features.jobs.files import Running
from gitcoord.lean import signal, suppress
from gitcoord.system.process import is_alive, wait_for_end

assert sys.platform != "win32"  # jobs do not start on Windows


def end_command(running: Running, grace: float) -> None:
    """Send SIGTERM, after `grace` seconds SIGKILL, to the process group; only to the process if somebody else started it.

    Returns when the command has ended. Raises Refused if it cannot be reached from here or is not ours to end.
    """
    command = running.command
    if command is None or is_alive(command) is None:
        raise Refused(f"{running.name} runs in another container or machine", "end it there")
    if not is_alive(command):
        return
    send = os.kill if running.watched else os.killpg
    deadline = time.monotonic() + grace
    try:
        send(command.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise Refused(f"{running.name} is another user's process", "ask that user to end it") from None
    if not wait_for_end(command, grace):
        _kill(send, command.pid)
        wait_for_end(command, None)
    elif not running.watched:
        _end_rest(command.pid, deadline)


def _end_rest(group: int, deadline: float) -> None:
    """End the rest of the group after its leader. While the group has a member, no other process gets its number."""
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):
            return
        time.sleep(0.02)  # no kernel reports the end of a group
    _kill(os.killpg, group)


def _kill(send: object, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(number, signal.SIGKILL)  # type: ignore[operator]
