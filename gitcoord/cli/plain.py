"""Read a plain command line from the record of its command, without click.

A plain line has known options, spelled out, with values that fit. In all other cases `parse` raises Irregular, and
click reads the line.
"""

from __future__ import annotations

from gitcoord.cli.command import Command, Irregular, Param

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def parse(command: Command, words: Sequence[str]) -> Callable[[], Any]:
    """The function call of a plain command line. Raises Irregular for any other line."""
    if command.below is not None:
        if not words or words[0] not in command.below:
            raise Irregular
        return parse(command.below[words[0]], words[1:])
    found: dict[Param, list[Any]] = {}
    given = _read_options(command, list(words), found)
    _share_out(given, [param for param in command.params if not param.is_option], found)
    values = {}
    for param in command.params:
        value = found.get(param)
        meant = param.default() if value is None else tuple(value) if param.is_repeated else value[-1]
        if "callback" in param.settings:
            meant = param.settings["callback"](meant)
        if param.settings.get("expose_value", True):
            values[param.name] = meant
    return lambda: command.function(**values)


def _read_options(command: Command, words: list[str], found: dict[Param, list[Any]]) -> list[str]:
    """Take the options out of `words`; returns the arguments."""
    options = {word: param for param in command.params if param.is_option for word in param.spelled}
    given = []
    while words:
        word = words.pop(0)
        if word == "--":
            break
        if word == "-" or not word.startswith("-"):
            given.append(word)
            if not command.settings.get("context_settings", {}).get("allow_interspersed_args", True):
                break
            continue
        name, equals, value = word.partition("=")
        param = options.get(name)
        if param is None or (equals and not name.startswith("--")):
            raise Irregular
        found.setdefault(param, []).append(_value_of(param, value if equals else None, words))
    return given + words


def _value_of(param: Param, value: str | None, words: list[str]) -> Any:
    """The value of an option: behind `=`, the next word, or the value of a flag."""
    if param.settings.get("is_flag"):
        if value is not None:
            raise Irregular
        return True
    if value is None and ("flag_value" in param.settings or not words):  # click decides whether the next word is its value
        raise Irregular
    return param.value(words.pop(0) if value is None else value)


def _share_out(given: list[str], arguments: Sequence[Param], found: dict[Param, list[Any]]) -> None:
    """Give every argument its word, and the last one all that are left if it takes several."""
    for param in arguments:
        taken, given = (given, []) if param.is_repeated else (given[:1], given[1:])
        if taken:
            found[param] = [param.value(word) for word in taken]
        elif param.settings.get("required", not param.is_repeated and "default" not in param.settings):
            raise Irregular
    if given:
        raise Irregular
