"""The form of the output: take `--json=FIELDS` and `--color` out of a line; fields are checked against the documents."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord.cli.command import Command
from gitcoord.cli.form.documents import VERBS, fields_of
from gitcoord.cli.output import Asked
from gitcoord.cli.params import ask_colour
from gitcoord.cli.spelling import spelled_out, takes_a_word
from gitcoord.cli.verbs import find
from gitcoord.errors import UsageError

JSON = "--json"


def taken(args: Sequence[str]) -> list[str]:
    """`args`, spelled out, without the fields of `--json`, and without --color. Both are noted in `Asked`. Raises UsageError
    for unknown fields."""
    args = spelled_out(args)
    command = find(args[0])
    if command is None:
        return args
    name, words = [args[0]], args[1:]
    if command.below is not None:
        if not words or words[0] not in command.below:
            return args
        name.append(words[0])
        command, words = command.below[words[0]], words[1:]
    return [*name, *_without_fields(" ".join(name), command, words)]


def _without_fields(verb: str, command: Command, words: list[str]) -> list[str]:
    options = {word: param for param in command.params if param.is_option for word in param.spelled}
    stops = not command.settings.get("context_settings", {}).get("allow_interspersed_args", True)
    out, free = list[str](), _room(command)
    while words and words[0] != "--" and not (stops and not words[0].startswith("-")):
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--color", "--no-color"):
            ask_colour("never" if name == "--no-color" else value if equals else "always")
            continue
        if name == JSON:
            if not equals and words and _are_fields(verb, words[0], free):
                equals, value = "=", words.pop(0)
            if equals:
                _ask(verb, value)
            out.append(JSON)
            continue
        out.append(word)
        free -= not word.startswith("-")
        if words and not equals and takes_a_word(options.get(name)):
            out.append(words.pop(0))
    return out + words


def _room(command: Command) -> float:
    """The number of arguments that a command takes."""
    arguments = [param for param in command.params if not param.is_option]
    return float("inf") if any(param.is_repeated for param in arguments) else len(arguments)


def _are_fields(verb: str, word: str, free: float) -> bool:
    """Whether the word behind `--json` is a list of fields: it can be no argument, or no text and it names only fields."""
    if word.startswith("-") or free <= 0:
        return not word.startswith("-")
    return free < float("inf") and set(word.split(",")) <= fields_of(verb).keys()


def _ask(verb: str, text: str) -> None:
    known, wanted = fields_of(verb), tuple(text.split(","))
    if verb not in VERBS or not known:
        raise UsageError(f"the document of {verb} has no fields to choose", f"git coord {verb} {JSON}")
    if wrong := [name for name in wanted if name not in known]:
        raise UsageError(f"unknown field: {ascii(wrong[0])[1:-1]}", f"git coord {verb} {JSON}={','.join(known)}")
    Asked.fields = wanted
