"""Commands as data: `command`, `group`, `argument` and `option` are spelled like click's decorators, and only record.

`plain` reads a simple command line from the record. `group` builds click's own command from it for help, errors and all
else. So both mean the same, and only lines that need click pay for importing it, which takes as long as a whole
command.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

COMPLETE = "_GIT_COORD_COMPLETE"
"""The variable by which a shell asks for completions."""
NUMBERS = frozenset("0123456789")
DIGITS = 9
"""Longer numbers are left to click."""


class Irregular(Exception):
    """A command line that is left to click."""


class Choice:
    """One of some words."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = choices

    def read(self, word: str) -> str:
        """The word, if it is one of them."""
        if word not in self.choices:
            raise Irregular
        return word


class IntRange:
    """A whole number from `least` to `most`."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    def read(self, word: str) -> int:
        """The number, if it is within."""
        number = _read_int(word)
        if not self.least <= number <= self.most:
            raise Irregular
        return number


def _read_int(word: str) -> int:
    if not NUMBERS.issuperset(word) or not 0 < len(word) <= DIGITS:
        raise Irregular
    return int(word)


class Param:
    """An argument or an option: how it is spelled, and click's settings for it."""

    def __init__(self, is_option: bool, spelled: tuple[str, ...], settings: dict[str, Any]) -> None:
        self.is_option = is_option
        self.spelled = spelled
        self.settings = settings

    @property
    def name(self) -> str:
        """The function's parameter: the name without dashes, otherwise the longest option's."""
        plain = [word for word in self.spelled if not word.startswith("-")]
        return plain[0] if plain else max(self.spelled, key=len).lstrip("-").replace("-", "_")

    @property
    def is_repeated(self) -> bool:
        """Whether the function gets a tuple."""
        return self.settings.get("multiple", False) or self.settings.get("nargs") == -1

    def default(self) -> Any:
        """The value that the function gets if the line does not have the parameter."""
        return self.settings.get("default", () if self.is_repeated else False if self.settings.get("is_flag") else None)

    def value(self, word: str) -> Any:
        """The value of a word. Raises Irregular if click has to say what is wrong with it."""
        kind = self.settings.get("type", str)
        if kind is str:
            return word
        return _read_int(word) if kind is int else kind.read(word)


class Command:
    """A verb: its parameters, the function to call with them, and for a group the commands below it."""

    def __init__(self, function: Callable[..., Any], settings: dict[str, Any], below: dict[str, Command] | None = None) -> None:
        self.function = function
        self.settings = settings
        self.params: list[Param] = vars(function).pop("params", [])[::-1]
        self.below = below

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Callable[..., Any]], Command]:
        """Declare a command of this group."""

        def record(function: Callable[..., Any]) -> Command:
            assert self.below is not None
            made = self.below[name or function.__name__] = Command(function, settings)
            return made

        return record


def command(**settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a verb."""
    return lambda function: Command(function, settings)


def group(**settings: Any) -> Callable[[Callable[..., Any]], Command]:
    """Declare a verb that has commands below it."""
    return lambda function: Command(function, settings, {})


def argument(*spelled: str, **settings: Any) -> Callable[[F], F]:
    """Declare an argument of a command."""
    return _param(False, spelled, settings)


def option(*spelled: str, **settings: Any) -> Callable[[F], F]:
    """Declare an option of a command. A `callback` is called with the value alone."""
    return _param(True, spelled, settings)


def _param(is_option: bool, spelled: tuple[str, ...], settings: dict[str, Any]) -> Callable[[F], F]:
    def record(function: F) -> F:
        vars(function).setdefault("params", []).append(Param(is_option, spelled, settings))
        return function

    return record
