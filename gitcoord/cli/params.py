"""Options that many verbs share, and how a verb gets at the repository."""

from __future__ import annotations

import re
import sys

from gitcoord import Coord
from gitcoord.cli.command import argument, option
from gitcoord.errors import UsageError
from gitcoord.lean import Any, Callable, Iterator, TypeVar, contextmanager
from gitcoord.system.files import read_bytes
from gitcoord.system.lock import at_most
from gitcoord.system.streams import remark

F = TypeVar("F", bound=Callable[..., Any])
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


_allows_secrets = False
"""Whether the command under way has --allow-secret."""


def common(function: F) -> F:
    """--json and --as, which every verb has; and --allow-secret, which is shown where there is much to type."""
    function = option("--as", "as_name", metavar="NAME", help="Look on as NAME.")(function)
    function = option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)
    return option("--allow-secret", is_flag=True, hidden=True, expose_value=False, callback=_allow)(function)


def text_options(function: F) -> F:
    """Text as words, -m TEXT or -F FILE."""
    for param in vars(function)["params"]:
        if param.name == "allow_secret":
            param.settings |= {"hidden": False, "help": "Send a secret."}
    function = option("-F", "file", metavar="FILE", help="The text; - is stdin.")(function)
    function = option("-m", "message", metavar="TEXT", help="The text.")(function)
    return argument("words", nargs=-1)(function)


def _allow(value: bool) -> None:
    global _allows_secrets
    _allows_secrets = value


def the_text(words: tuple[str, ...], message: str | None, file: str | None) -> str:
    """The one text given, in whichever way. Raises UsageError for none, for two, and for what is not UTF-8."""
    given = [" ".join(words) if words else None, message, _read(file) if file is not None else None]
    texts = [text for text in given if text is not None]
    if len(texts) > 1:
        raise UsageError("the text is given twice", "give it as words, with -m TEXT or with -F FILE")
    return texts[0] if texts else ""


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else read_bytes(file)
        return data.decode().removesuffix("\n")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "name a readable file, or - for standard input") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is not UTF-8 text", "send it with --attach FILE") from None


def duration(text: str | None, option: str) -> int | None:
    """`90`, `30s`, `15m`, `2h`, `1d` or `1w` in seconds. Raises UsageError."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,9})([smhdw]?)", text)
    if match is None or int(match[1]) == 0:
        raise UsageError(f"{option} {ascii(text)[1:-1]} is not a duration", "write it as 30s, 15m, 2h or 1d")
    return int(match[1]) * UNITS[match[2] or "s"]


def moment(text: str | None, option: str, now: float) -> int | None:
    """A duration back from now, or an RFC 3339 time, in Unix seconds. Raises UsageError."""
    if text is None or re.fullmatch(r"\d+[smhdw]?", text):
        back = duration(text, option)
        return None if back is None else int(now) - back
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp())
    except ValueError:
        raise UsageError(f"{option} {ascii(text)[1:-1]} is not a time", "write 2h, or 2026-01-31T12:00:00Z") from None


@contextmanager
def opened(as_name: str | None = None, notice: bool = True, patience: float | None = None) -> Iterator[Coord]:
    """The repository here, for one command; what had to be mended is said at the end. Without `notice` the command sees
    to the dead itself. No lock is waited for longer than `patience` seconds, if there are any."""
    with at_most(patience or None), Coord.open(as_name=as_name, long_lived=False) as coord:
        mended: list[str] = []
        try:
            with coord.repository.around_a_command(notice=notice, allow_secrets=_allows_secrets) as mended:
                yield coord
        finally:
            for line in mended:
                remark(f"warning: {line}")
            if where := coord.elsewhere:
                remark(f"note: you are {coord.identity.name}, the session of {where} (git coord join: one for this worktree)")
