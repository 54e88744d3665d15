"""The report of an unexpected error: a file to attach to an issue.

It says which versions ran, which command, and where it failed. It leaves out everything that could be private: the
words of the error, the values of arguments, and paths. Reports are in `coord/reports/`; if that cannot be written, in a
folder of the user's in the temporary directory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from traceback import walk_tb
from types import FrameType

from gitcoord.lean import NamedTuple, suppress
from gitcoord.system.files import make_directory, names_in, remove_ours, replace_ours

EXIT_CODE = 70
"""The exit code of the command line after a bug (EX_SOFTWARE of sysexits.h)."""
KEPT = 20
"""Reports that are kept in a folder; the oldest goes first."""
SHOWN_FOR = 7 * 86400
"""Seconds for which `doctor` shows a report."""
FIRST_FRAMES, LAST_FRAMES = 10, 30
"""Calls that are shown of a traceback: so many from its beginning and from its end."""
ERRORS = 8
"""Errors that are shown of a chain or a group."""


class TracebackStep(NamedTuple):
    """A call in a traceback; only our own `source` is shown."""

    module: str
    line: int
    function: str
    source: str


def tell(error: BaseException, words: Iterable[str], find_coord: Callable[[], str]) -> str:
    """Write the report of `error` and return the line that tells the user. Never raises.

    `words` are the verb and its options, without values; `find_coord` finds the folder `coord/` and may fail.
    """
    try:
        text = "\n".join([f"command: {' '.join(words)}", "", *_told(error), ""])
        name = f"{type(error).__name__}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"
        path = _write(name, f"{_versions()}\n{text}".encode("utf-8", "backslashreplace"), find_coord)
        then = f"please attach {path} to an issue"
    except Exception as why:
        then = f"its report could not be written ({type(why).__name__})"
    return f"{type(error).__name__} in {_place(error)}: a bug of gitcoord's; {then}"


def _write(name: str, data: bytes, find_coord: Callable[[], str]) -> str:
    """The path of the report, which replaces an earlier one of the same error. Raises OSError."""
    try:
        folder = os.path.join(find_coord(), "reports")
        make_directory(folder)
        replace_ours(os.path.join(folder, name), data)
    except Exception:  # no repository, not writable, or the search for it is what fails
        folder = _own_temporary()
        replace_ours(os.path.join(folder, name), data)
    with suppress(OSError):
        _drop_oldest(folder)
    return os.path.join(folder, name)


def _own_temporary() -> str:
    """A folder of this user's in the temporary directory. Raises OSError if another user made it."""
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else ""
    folder = os.path.join(tempfile.gettempdir(), f"gitcoord-{user}".rstrip("-"))
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or (user != "" and (found.st_uid != user or found.st_mode & 0o022)):
        raise PermissionError(f"{folder} belongs to another user")
    return folder


def _drop_oldest(folder: str) -> None:
    paths = [os.path.join(folder, name) for name in names_in(folder)]
    for path in sorted(paths, key=lambda path: os.lstat(path).st_mtime)[:-KEPT]:
        remove_ours(path)


def lately(coord_dir: str) -> list[str]:
    """The reports of the last week, the newest first."""
    folder = os.path.join(coord_dir, "reports")
    times = {}
    for path in (os.path.join(folder, name) for name in names_in(folder)):
        with suppress(OSError):
            times[path] = os.lstat(path).st_mtime
    return [path for path in sorted(times, key=lambda path: -times[path]) if times[path] > time.time() - SHOWN_FOR]


def _versions() -> str:
    """The versions of programs and packages; those that cannot be found are left out."""
    from importlib.metadata import version

    from gitcoord.system.spawn import run

    said = [f"Python {sys.version.split()[0]} on {sys.platform}"]
    with suppress(Exception):
        said.append(run(["git", "version"], os.environ).out.decode().strip())
    for package in ("pygit2", "click", "mcp", "gitcoord"):
        with suppress(Exception):
            said.insert(0, f"{package} {version(package)}")
    return ", ".join(said)


# the traceback, without private words


def _place(error: BaseException) -> str:
    """The last call of ours in a traceback."""
    steps = [step for shown in _errors(error) for step in _steps(shown)]
    ours = [step for step in steps if step.module.startswith("gitcoord")] or steps
    return f"{ours[-1].module}, line {ours[-1].line}" if ours else "an unknown place"


def _told(error: BaseException) -> Iterator[str]:
    """The traceback of an error, its causes and the errors of a group, without their words."""
    for shown in _errors(error):
        yield f"{type(shown).__module__}.{type(shown).__qualname__}{_code(shown)}".removeprefix("builtins.")
        steps = [f"  {step.module}, line {step.line}, in {step.function}: {step.source}".rstrip(": ") for step in _steps(shown)]
        if len(steps) > FIRST_FRAMES + LAST_FRAMES:
            steps[FIRST_FRAMES:-LAST_FRAMES] = [f"  … {len(steps) - FIRST_FRAMES - LAST_FRAMES} calls left out …"]
        yield from steps


def _errors(error: BaseException) -> list[BaseException]:
    """An error, the errors of its group, its cause and its context."""
    found: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left and len(found) < ERRORS:
        shown = left.pop(0)
        if shown is None or any(shown is known for known in found):
            continue
        found.append(shown)
        if isinstance(shown, BaseExceptionGroup):
            left += shown.exceptions
        left.append(shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__))
    return found


def _code(error: BaseException) -> str:
    """The name of the system's or SQLite's error."""
    import errno

    name = getattr(error, "sqlite_errorname", None) or errno.errorcode.get(getattr(error, "errno", None) or 0)
    return f" ({name})" if name else ""


def _steps(error: BaseException) -> list[TracebackStep]:
    return [_step(frame, line) for frame, line in walk_tb(error.__traceback__)]


def _step(frame: FrameType, line: int) -> TracebackStep:
    import linecache

    code, module = frame.f_code, str(frame.f_globals.get("__name__", "?"))
    source = linecache.getline(code.co_filename, line).strip() if module.partition(".")[0] == "gitcoord" else ""
    return TracebackStep(module, line, code.co_qualname, source)
