"""The files about jobs that stay in this clone: processes, whom to tell, logs. Never in git.

`coord/jobs/running/KEY.json` exists from before a job's first event until after its last, so that any process can find
out whether a supervisor still lives. The log is `coord/jobs/KEY.log`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from gitcoord import lean_json as json
from gitcoord.lean import Any, NamedTuple, suppress
from gitcoord.system import process as processes
from gitcoord.system.files import make_directory, names_in, read_ours, remove_ours, touch_ours
from gitcoord.system.lock import unwritable, write_whole
from gitcoord.system.own_boots import has_ended
from gitcoord.system.process import Process

KEEP_LOGS = 100
"""Logs of ended jobs that are kept; older ones are deleted when a new job starts."""


class Ending(NamedTuple):
    """The end of a command: exit code, or the number of the signal; neither if unknown. Times: Unix seconds."""

    at: float
    exit: int | None = None
    signal: int | None = None
    lost: bool = False
    tail: str = ""
    """The last lines of stderr (of all output on a terminal), as plain text."""

    @property
    def failed(self) -> bool:
        return self.lost or bool(self.exit) or self.signal is not None


class Running(NamedTuple):
    """A job whose end is not reported yet: `supervisor` supervises `command`, on the machine `machine`."""

    key: str
    supervisor: Process
    machine: str
    owner: str
    name: str
    started: float
    notify: tuple[str, ...] = ()
    publish: bool = False
    secrets: bool = False
    """Whether published text may contain what looks like a secret."""
    command: Process | None = None
    watched: bool = False
    """Whether somebody else started the command: then a kill ends only that process, not its group."""
    ending: Ending | None = None
    seen: float = 0.0
    """The time of its file: the supervisor's sign of life, for processes under other kernels."""


def watch_logs(coord_dir: str, wrote: Callable[[str], None]) -> Callable[[], None]:
    """Call `wrote`, from another thread, with the key of each job whose log changes; returns a function that stops it.
    Raises OSError."""
    from gitcoord.store.watch import watch_folder

    folder = os.path.join(coord_dir, "jobs")
    make_directory(folder)

    def see(path: str) -> None:
        key, dot, ending = os.path.basename(path).partition(".")
        if key and (dot + ending) == ".log":
            wrote(key)

    return watch_folder(folder, see)


def running_dir(coord_dir: str) -> str:
    return os.path.join(coord_dir, "jobs", "running")


def _file(coord_dir: str, key: str) -> str:
    return os.path.join(running_dir(coord_dir), f"{key}.json")


def log_path(coord_dir: str, key: str) -> str:
    """The path of the output of the job with this key."""
    return os.path.join(coord_dir, "jobs", f"{key}.log")


def keys(coord_dir: str) -> list[str]:
    """The keys of the jobs whose end is not reported; costs next to nothing without such jobs."""
    names = names_in(running_dir(coord_dir))
    return sorted(name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith("."))


def get(coord_dir: str, key: str) -> Running | None:
    """The facts of one job; None if its end is reported or its file cannot be read."""
    try:
        data: dict[str, Any] = json.loads(read_ours(_file(coord_dir, key)))
        supervisor = processes.from_json(data.pop("supervisor"))
        command, ending = processes.from_json(data.pop("command")), data.pop("ending")
        notify = tuple(data.pop("notify"))
        if supervisor is None:
            return None
        seen = os.stat(_file(coord_dir, key)).st_mtime
        facts: dict[str, Any] = {"command": command, "notify": notify, "ending": ending and Ending(**ending), "seen": seen}
        return Running(supervisor=supervisor, **facts, **data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def put(coord_dir: str, running: Running) -> Running:
    """Write the facts of a job. Raises RepositoryError."""
    try:
        make_directory(os.path.join(coord_dir, "jobs"))
        make_directory(running_dir(coord_dir))
    except OSError as error:
        raise unwritable(coord_dir, error) from error
    data = running._asdict()
    del data["seen"]
    for field in ("supervisor", "command", "ending"):
        data[field] = data[field] and data[field]._asdict()
    write_whole(_file(coord_dir, running.key), json.dumps(data) + "\n")
    return running


def give_sign(coord_dir: str, key: str) -> None:
    """Give the supervisor's sign of life, for processes under another kernel."""
    with suppress(OSError):
        if os.path.exists(_file(coord_dir, key)):  # otherwise its end has been recorded
            touch_ours(_file(coord_dir, key))


def remove(coord_dir: str, key: str) -> None:
    """Delete the file of a job whose end is reported."""
    with suppress(OSError):
        remove_ours(_file(coord_dir, key))


def prune_logs(coord_dir: str) -> None:
    """Remove the oldest logs of settled jobs beyond KEEP_LOGS."""
    unsettled = set(keys(coord_dir))
    names = [name for name in names_in(os.path.join(coord_dir, "jobs")) if name.endswith(".log")]
    with suppress(OSError):
        logs = [log_path(coord_dir, key) for name in names if (key := name.removesuffix(".log")) not in unsettled]
        logs.sort(key=lambda path: os.lstat(path).st_mtime)
        for path in logs[:-KEEP_LOGS]:
            remove_ours(path)


def is_supervised(running: Running) -> bool | None:
    """Whether its supervisor lives; None if that cannot be judged from here."""
    over = has_ended(running.supervisor, running.machine, running.seen)
    return None if over is None else not over


def is_abandoned(running: Running) -> bool:
    """Whether supervisor and command are both known to have ended."""
    if has_ended(running.supervisor, running.machine, running.seen) is not True:
        return False
    if running.command is None or running.ending is not None:
        return True
    return has_ended(running.command, running.machine, running.seen) is True
