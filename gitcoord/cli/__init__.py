"""The command line: parse, call the API, print. One error boundary, commands loaded when they are called.

Without click, which costs 15 ms: what takes longer than that begins before it is loaded (`early_look`).
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import Any, NoReturn

gc.set_threshold(50_000)  # collecting while modules load finds nothing and costs 4 ms


def main(args: list[str] | None = None) -> None:
    """The program. Never a traceback for something a user can cause; docs/commands.md lists the exit codes."""
    _open_streams()
    args = sys.argv[1:] if args is None else args
    if args[:1] == ["help"]:
        args = [*args[1:2], "--help"]
    if args[:1] == ["sync"]:
        from gitcoord.sync import early_look

        early_look.begin(args[1:])
    _leave(run(args))


def _leave(code: int) -> NoReturn:
    """Without taking the interpreter apart, which costs a sixth of a command: all is written and closed by now."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _open_streams() -> None:
    """A program may be started with closed streams; a file of ours must not take the place of one."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115


def run(args: list[str]) -> int:
    """Run one command and return its exit code. Raises nothing: an error of ours that nobody expected is reported."""
    try:
        return _run(args)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _report(error, args)


def _report(error: Exception, args: list[str]) -> int:
    from gitcoord.system import reports

    words = ["git coord"]
    with suppress(Exception):  # what failed may be what is asked here
        from gitcoord.cli.group import names_in

        words += names_in(args)
    return _complain(reports.tell(error, words, _coord_dir), None, reports.EXIT_CODE)


def _coord_dir() -> str:
    from gitcoord.store.discovery import find_repository

    return find_repository().coord_dir


def _run(args: list[str]) -> int:
    """Raises what nobody expected."""
    import click

    from gitcoord.cli.group import cli
    from gitcoord.errors import CoordError

    try:
        result: Any = cli.main(args, prog_name="git coord", complete_var="_GIT_COORD_COMPLETE", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except CoordError as error:
        return _complain(error.what, error.hint, error.exit_code)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "git coord"
        return _complain(error.format_message().rstrip("."), f"{where} --help", 2)
    except click.ClickException as error:
        return _complain(error.format_message(), None, 2)
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except click.Abort:
        return 130
    except OSError as error:
        return _complain(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), "git coord doctor", 3)


def _complain(what: str, hint: str | None, code: int) -> int:
    from gitcoord.cli.output import inert

    try:
        sys.stdout.flush()
    except OSError:  # that may be what we complain about
        _silence_stdout()
    with suppress(OSError, ValueError):  # nobody reads it, or a full disk: the exit code still tells
        print(f"error: {inert(what)}", file=sys.stderr)
        if hint:
            print(f"hint: {inert(hint)}", file=sys.stderr)
    return code


def _silence_stdout() -> None:
    """The reader went away; keep the interpreter from complaining about it while it shuts down."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
