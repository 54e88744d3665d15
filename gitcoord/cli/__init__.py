"""The command line: parse, call the API, print. One error boundary; a command's module is loaded when it is called.

This room may use `api` and the rooms below. Begin with `verbs` (the table), then `talk`; `command` declares a command.
This module does not import click, which costs 15 ms. Work that takes longer than that starts before click is loaded
(`early_look`).
"""

from __future__ import annotations

import sys
from os import environ, pathsep
from os.path import abspath

if not sys.flags.ignore_environment and environ.get("PYTHONPATH"):
    # Put our packages first: gitcoord was not made with the click or json of another project.
    _theirs = {abspath(place) for place in environ["PYTHONPATH"].split(pathsep)} - {abspath(f"{__file__}/../../..")}
    sys.path.sort(key=lambda place: abspath(place) in _theirs)

import gc
import os

from gitcoord.cli.command import COMPLETE
from gitcoord.lean import TYPE_CHECKING, NoReturn, signal, suppress
from gitcoord.system import streams

if TYPE_CHECKING:
    from gitcoord.errors import Refused

gc.set_threshold(50_000)  # while modules load, a collection finds no garbage and costs 4 ms


PRINTS = frozenset(
    """
    chat overdue day
    inbox sent wait tasks board notes thread show search log watch locks check sessions whoami jobs status brief conflicts skill
    trust doctor help task:show task:list state:get state:show job:show job:log hooks:status
    """.split()
)
"""Verbs that fail if their output cannot be written, because it is all they do. Other verbs have done their work."""


def main(args: list[str] | None = None) -> None:
    """Run the program. A user's error never shows a traceback; docs/commands.md lists the exit codes."""
    _quietly_until_it_runs()
    args = sys.argv[1:] if args is None else args
    streams.open_streams()
    if args[:1] == ["help"]:
        args = [*args[1:2], "--help"]
    if not args and COMPLETE not in environ and _is_in_a_repository():
        args = ["status"]
    if args[:1] == ["sync"]:
        from gitcoord.sync import early_look

        early_look.begin(args[1:])
    if sys.stdout.isatty() and sys.stdin.isatty():
        _leave(_paged(args), args)
    _leave(run(args), args)


def _paged(args: list[str]) -> int:
    """Run one command for a person at a terminal; the pager that may show it outlives the command."""
    from gitcoord.cli.form import pager

    if not pager.is_wanted(args):
        return run(args)
    pager.start()
    code = run(args)
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        code = _lost(error, code, args)
    with suppress(KeyboardInterrupt):
        pager.finish()
    return code


def _is_in_a_repository() -> bool:
    """Whether `git coord` alone has a state to show; elsewhere it shows the help."""
    from gitcoord.errors import CoordError
    from gitcoord.store.discovery import find_repository

    try:
        find_repository()
    except (CoordError, OSError):
        return False
    return True


def _quietly_until_it_runs() -> None:
    """Let Ctrl-C end us at once while modules load, because there is nothing to clean up yet."""
    if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))


def _leave(code: int, args: list[str]) -> NoReturn:
    """Exit without taking the interpreter apart, which costs a sixth of a command. All is written and closed by now."""
    with suppress(OSError, ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        code = _lost(error, code, args)
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def _lost(error: Exception, code: int, args: list[str]) -> int:
    """The exit code if output could not be written; the work itself is done."""
    _silence_stdout()
    words = [arg for arg in args if not arg.startswith("-")][:2]
    if code or not {":".join(words), *words[:1]} & PRINTS:
        return code
    if isinstance(error, BrokenPipeError):
        return 141
    return _complain(f"cannot write the output: {getattr(error, 'strerror', None) or error}", None, 3)


def run(args: list[str]) -> int:
    """Run one command and return its exit code; a bug of ours is reported."""
    try:
        return _run(args)
    except KeyboardInterrupt:
        return 130
    except SystemExit:
        if "PacifyFlush" in type(sys.stdout).__name__:  # click puts that there when the reader is gone
            return _lost(BrokenPipeError(), 0, args)
        raise
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "gitcoord":
            return _report(error, args)
        return _complain(f"gitcoord's installation is incomplete: {error}", f"install it again for {sys.executable}", 3)
    except MemoryError:
        return _complain("the memory that this process may use is not enough", "ulimit -S -v unlimited", 3)
    except Exception as error:
        return _report(error, args)


def _report(error: Exception, args: list[str]) -> int:
    from gitcoord.system import reports

    words = ["git coord"]
    with suppress(Exception):  # the failure may be in what is called here
        from gitcoord.cli.group import names_in

        words += names_in(args)
    return _complain(reports.tell(error, words, _coord_dir), None, reports.EXIT_CODE)


def _coord_dir() -> str:
    from gitcoord.store.discovery import find_repository

    return find_repository().coord_dir


def _run(args: list[str]) -> int:
    """Run one command; only bugs raise."""
    from gitcoord.errors import CoordError, Refused

    try:
        if signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return _call(args)
    except CoordError as error:
        if isinstance(error, Refused):
            _say_refusal(error)
        return _complain(error.what, error.hint, error.exit_code)
    except BrokenPipeError as error:
        return _lost(error, 0, args)
    except OSError as error:
        return _complain(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), "git coord doctor", 3)


def _say_refusal(error: Refused) -> None:
    """Print the document of a refusal, where the line asks for a document."""
    from gitcoord.cli.output import Asked, say_json

    if Asked.json:
        Asked.fields = ()
        with suppress(OSError, ValueError):  # the exit code and stderr say it, too
            say_json({"refused": error.what, "hint": error.hint, **(error.more or {})})


def _may_ask_for_a_form(args: list[str]) -> bool:
    """Whether a word like `--json=id,title`, `--json id` or `--color` is in the line."""
    return any(
        (word.startswith("--j") and ("=" in word or behind[:1] not in ("", "-"))) or word.startswith(("--color", "--no-c"))
        for word, behind in zip(args, [*args[1:], ""], strict=False)
    )


def _call(args: list[str]) -> int:
    """Run a plain line without click, which costs as much as the rest of a command; click reads all other lines."""
    from gitcoord.cli.command import Irregular
    from gitcoord.cli.plain import parse
    from gitcoord.cli.verbs import find

    if _may_ask_for_a_form(args):
        from gitcoord.cli.form.fields import taken

        args = taken(args)
    command = find(args[0]) if args and COMPLETE not in environ else None
    call = None
    with suppress(Irregular):
        call = parse(command, args[1:]) if command else None
    if call is None:
        from gitcoord.cli import group
        from gitcoord.cli.spelling import spelled_out

        return group.run(args if COMPLETE in environ else spelled_out(args))
    result = call()
    return result if isinstance(result, int) else 0


def _complain(what: str, hint: str | None, code: int) -> int:
    from gitcoord.text import inert

    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # the stream may be what failed
        _silence_stdout()
    with suppress(OSError, ValueError):  # no reader, or a full disk: the exit code still tells
        streams.remark(f"error: {what}")
        if hint:
            print(f"hint: {inert(hint)}", file=sys.stderr)
        sys.stderr.flush()
    return code


def _silence_stdout() -> None:
    """Keep the interpreter from reporting at its end that the reader is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
