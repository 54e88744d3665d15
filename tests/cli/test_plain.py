"""A plain command line gives the same call as with click; all other lines are left to click."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord.cli.command import Command, Irregular
from gitcoord.cli.group import built
from gitcoord.cli.plain import parse
from gitcoord.cli.verbs import HIDDEN, VERBS, find


def commands() -> Iterator[tuple[str, Command]]:
    """Every declared command that is no group."""
    for name in (*(verb for verbs in VERBS.values() for verb in verbs), *HIDDEN):
        found = find(name)
        assert found is not None
        below = found.below if found.below is not None else {"": found}
        yield from ((f"{name} {inner}".strip(), command) for inner, command in below.items())


COMMANDS = dict(commands())
WORDS = (
    "",
    "-",
    "--",
    "a b",
    "src/x",
    "3",
    "0",
    "99999",
    "-1",
    "+1",
    "1_0",
    "٣",
    "open",
    "status",
    "json",
    "2h",
    "=",
    "--=x",
    "-mx",
)


def recording(command: Command) -> tuple[Command, list[dict[str, Any]]]:
    """The command with a function that only notes its arguments."""
    calls: list[dict[str, Any]] = []

    def note(**values: Any) -> None:
        calls.append(values)

    twin = Command(note, command.settings)
    twin.params = command.params
    return twin, calls


@examples(400)
@given(st.data())
def test_a_plain_line_means_what_it_means_to_click(data: st.DataObject) -> None:
    command, calls = recording(COMMANDS[data.draw(st.sampled_from(sorted(COMMANDS)))])
    options = [word for param in command.params for word in param.spelled if word.startswith("-")]
    word = st.sampled_from([*WORDS, *options, *(f"{name}={value}" for name in options for value in ("", "3", "x"))])
    line = data.draw(st.lists(word, max_size=6))
    try:
        parse(command, line)()
    except Irregular:
        return
    context = {"help_option_names": ["-h", "--help"], **command.settings.get("context_settings", {})}
    by_click = built("verb", command)
    by_click.context_settings = context
    by_click.main(list(line), prog_name="git coord", standalone_mode=False)
    ours, clicks = calls
    assert ours == clicks
    assert {name: type(value) for name, value in ours.items()} == {name: type(value) for name, value in clicks.items()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_example_of_a_verb_is_a_plain_line_or_says_why_not(name: str) -> None:
    """The examples are what people and agents type most: they must not pay for click."""
    command, calls = recording(COMMANDS[name])
    example = (COMMANDS[name].function.__doc__ or "").partition("Example: ")[2].strip()
    if not example or "--wait" in example:  # whether the word behind --wait is its value, click decides
        return
    import shlex

    words = shlex.split(example.partition(" >> ")[0])[2 + len(name.split()) :]
    parse(command, words)()
    assert len(calls) == 1


@pytest.mark.parametrize(
    "line",
    [["--help"], ["-h"], ["--json=1"], ["--lim", "3"], ["--limit", "0"], ["--limit", "-1"], ["--limit"], ["x"], ["--wait"]],
)
def test_what_click_has_to_look_at_is_left_to_it(line: list[str]) -> None:
    with pytest.raises(Irregular):
        parse(COMMANDS["inbox"], line)


def test_a_declared_command_is_clicks_own_with_all_its_settings() -> None:
    made = built("inbox", COMMANDS["inbox"])
    limit = next(param for param in made.params if param.name == "limit")
    assert isinstance(limit.type, click.IntRange) and limit.type.max == 100_000
    assert made.short_help and made.callback is COMMANDS["inbox"].function
