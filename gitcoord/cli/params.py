"""Options that many verbs share, and the repository of a command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

from gitcoord import Coord
from gitcoord.cli.command import Choice, IntRange, argument, option
from gitcoord.cli.output import NEVER, Asked, ago, say, set_colour
from gitcoord.errors import UsageError
from gitcoord.lean import Any, TypeVar, contextmanager, re
from gitcoord.names import lives_in
from gitcoord.system.files import read_bytes
from gitcoord.system.lock import at_most
from gitcoord.system.streams import Progress, remark
from gitcoord.text import seconds_in

F = TypeVar("F", bound=Callable[..., Any])
PAGE = 20
DATES = ("relative", "iso", "local", "unix")
FORMS = {"iso": "%Y-%m-%d %H:%M:%S %z", "local": "%a %b %d %H:%M:%S %Y"}
ID_LIKE = 7
"""Hexadecimal digits from which a word with a numeral in it is taken for an id."""

_allows_secrets = False
"""Whether the running command has --allow-secret."""


def common(function: F) -> F:
    """--json and --as, which every verb has; and --allow-secret, which the help shows for verbs that take text."""
    function = option("--as", "as_name", metavar="NAME", help="Act as NAME.")(function)
    function = option("--json", "as_json", is_flag=True, callback=_ask_json, help="One JSON document.")(function)
    return option("--allow-secret", is_flag=True, hidden=True, expose_value=False, callback=_allow)(function)


def text_options(function: F) -> F:
    """Text as words, -m TEXT or -F FILE."""
    for param in vars(function)["params"]:
        if param.name == "allow_secret":
            param.settings |= {"hidden": False, "help": "Allow secrets."}
    function = option("-F", "file", metavar="FILE", help="The text, or -.")(function)
    function = option("-m", "message", metavar="TEXT", help="The text.")(function)
    return argument("words", nargs=-1)(function)


def limited(function: F) -> F:
    """-n N."""
    return option("-n", "--limit", type=IntRange(1, 100_000), default=PAGE, metavar="N", help="At most N (20).")(function)


def chosen(function: F) -> F:
    """--since, --from, -n and --date: for lists of what sessions wrote."""
    function = option("--date", "dates", type=Choice(DATES), metavar="D", default="relative", help=", ".join(DATES))(function)
    function = limited(function)
    function = option("--from", "sender", metavar="S", help="Only of this session.")(function)
    return option("--since", metavar="T", help="2h, yesterday, a date.")(function)


def date(at: int, dates: str = "relative") -> str:
    """A time (Unix seconds) as git's --date spells it; "" for no dates."""
    if dates == "relative":
        return ago(at)
    return time.strftime(FORMS[dates], time.localtime(at)) if dates in FORMS else str(at) if dates else ""


def say_end(found: int, limit: int, none: str) -> None:
    """Say that a list is empty, or that it may be longer."""
    if not found:
        say(none)
    elif found == limit:
        say(f"(only {limit} shown; -n N shows more)")


def ask_colour(when: str) -> None:
    """Follow `--color=WHEN`. Raises UsageError."""
    if when not in ("always", "auto", *NEVER):
        raise UsageError(f"--color={ascii(when)[1:-1]} is not known", "write --color=always, auto or never")
    Asked.is_settled = True
    Asked.colour = None if when == "auto" else when == "always"


def _ask_json(value: bool) -> bool:
    Asked.json = value
    return value


def _allow(value: bool) -> None:
    global _allows_secrets
    _allows_secrets = value


def the_text(words: tuple[str, ...], message: str | None, file: str | None, what: str = "") -> str:
    """The text, however it was given; "" if there is none, unless a person can write `what` in their editor. Raises
    UsageError for two texts, and for one that is not UTF-8."""
    given = [" ".join(words) if words else None, message, _read(file) if file is not None else None]
    texts = [text for text in given if text is not None]
    if len(texts) > 1:
        raise UsageError("the text is given twice", "give it as words, with -m TEXT or with -F FILE")
    if not texts and what:
        from gitcoord.cli import editor

        return editor.ask(what) if editor.can_ask() else ""
    return texts[0] if texts else ""


def ids_and_text(
    coord: Coord, first: str, words: tuple[str, ...], message: str | None, file: str | None
) -> tuple[list[str], str]:
    """The ids that a line begins with, and the text behind them. Raises UsageError for a word that may be either."""
    ids = [first]
    for word in words:
        if not _begins_text(coord, word):
            ids.append(word)
            continue
        break
    return ids, the_text(words[len(ids) - 1 :], message, file)


def text_about(coord: Coord, words: tuple[str, ...], message: str | None, file: str | None, what: str) -> str:
    """The text behind the one id that a verb takes; see `the_text`. Raises UsageError for a second id."""
    if words and not _begins_text(coord, words[0]):
        raise UsageError(f"this takes one id, and {words[0]} is a second", f"to send it as text: -m {words[0]}")
    return the_text(words, message, file, what)


def _begins_text(coord: Coord, word: str) -> bool:
    """Whether a word behind an id is text. A word that looks like an id and matches none is refused, because it was
    mistyped."""
    if not re.fullmatch(r"[0-9a-f]{4,64}", word):
        return True
    is_sure = len(word) >= ID_LIKE and not word.isalpha()
    try:
        coord.events.get(word)
    except UsageError:
        if is_sure:
            raise
        return True
    if not is_sure:
        raise UsageError(f"{word} may be an id or a word", f"for the word: -m {word}; for the id: {ID_LIKE} digits of it")
    return False


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
    seconds = seconds_in(text)
    if seconds is None:
        raise UsageError(f"{option} {ascii(text)[1:-1]} is not a duration", "write it as 30s, 15m, 2h or 1d")
    return seconds


def moment(text: str | None, option: str, now: float) -> int | None:
    """A duration back from now, an RFC 3339 time, or a date that git understands (`yesterday`), in Unix seconds. Raises
    UsageError. Call it inside a repository."""
    if text is None or re.fullmatch(r"\d+[smhdw]?", text):
        back = duration(text, option)
        return None if back is None else int(now) - back
    from datetime import datetime

    try:
        return int(datetime.fromisoformat(text).astimezone().timestamp())
    except ValueError:
        return _as_git_has_it(text, option)


def _as_git_has_it(text: str, option: str) -> int:
    """Parse a date by git. Raises UsageError for one that git does not know: git takes it for now."""
    import subprocess

    argv = ["git", "rev-parse", f"--since={text}"]
    said = subprocess.run(argv, capture_output=True, text=True, errors="replace").stdout.strip()
    number = said.removeprefix("--max-age=")
    if not number.isdigit() or (abs(time.time() - int(number)) < 5 and text.strip().lower() != "now"):
        raise UsageError(
            f"{option} {ascii(text)[1:-1]} is not a time", "write 2h, yesterday, or 2026-01-31T12:00:00Z"
        ) from None
    return int(number)


def _check_it_exists(coord: Coord, name: str) -> None:
    """Raise UsageError if --as names no session of this clone: it would create one that nobody meant."""
    if coord.identity.record is not None or coord.identity.person:
        return
    box = next(iter(coord.sessions.mailboxes(name)))
    if not lives_in(box, coord.clone_id):
        raise UsageError(f"{box} is a session of another clone", "git coord sessions")


@contextmanager
def opened(as_name: str | None = None, notice: bool = True, patience: float | None = None) -> Iterator[Coord]:
    """Open the repository here for one command; repairs are reported at the end. With `notice=False` the command looks for
    deaths itself. Waits for locks at most `patience` seconds, if given."""
    with at_most(patience or None), Coord.open(as_name=as_name, long_lived=False) as coord:
        set_colour(coord.repository.colour_setting)
        if as_name is not None:
            _check_it_exists(coord, as_name)
        mended: list[str] = []
        Progress.allowed = True
        try:
            with coord.repository.around_a_command(notice=notice, allow_secrets=_allows_secrets, tell_user=remark) as mended:
                yield coord
        finally:
            Progress.allowed = False
            for line in mended:
                remark(f"warning: {line}")
            if where := coord.elsewhere:
                remark(
                    f"note: you are {coord.identity.name}, the session of {where} (for one of this worktree: git coord join)"
                )
