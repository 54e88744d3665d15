"""Options that lists share, and the dates in them."""

from __future__ import annotations

import time
from collections.abc import Callable

from gitcoord.cli.command import Choice, IntRange, option
from gitcoord.cli.output import ago, say
from gitcoord.lean import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
PAGE = 20
DATES = ("relative", "iso", "local", "unix")
FORMS = {"iso": "%Y-%m-%d %H:%M:%S %z", "local": "%a %b %d %H:%M:%S %Y"}


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
