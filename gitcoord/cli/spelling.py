"""Correct a word: an abbreviated verb or option, or the name that another program gives a verb."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gitcoord.cli.command import Command, Param
from gitcoord.cli.verbs import VERBS, find
from gitcoord.errors import UsageError

MEANT = {
    "add": "task add", "agents": "sessions", "answer": "reply", "block": "task block", "claim": "task claim",
    "comment": "task comment", "delete": "redact", "done": "task done", "drop": "task drop", "events": "log", "find": "search",
    "finish": "task done", "grep": "search", "history": "log", "kill": "job kill", "list": "sessions", "logs": "job log",
    "ls": "sessions", "mail": "inbox", "message": "send", "messages": "inbox", "msg": "send", "name": "join",
    "next": "task next", "peers": "sessions", "ps": "sessions", "pull": "sync", "push": "sync", "read": "inbox",
    "register": "join",
    "release": "task release", "remove": "redact", "rename": "join", "reopen": "task reopen", "rm": "redact", "say": "send",
    "tell": "send", "todo": "tasks", "undo": "redact", "uninstall": "purge", "who": "sessions",
}  # fmt: skip
"""Words that users try, and the verbs that they mean."""
HELP = "--help"


def spelled_out(args: Sequence[str]) -> list[str]:
    """`args` with the verb, the command below it and the options spelled out. Raises UsageError for an ambiguous one."""
    if not args or args[0].startswith("-"):
        return list(args)
    verb = _meant(args[0], _verbs(), "git coord")
    command = find(verb)
    if command is None:
        return list(args)
    rest = list(args[1:])
    if command.below is None or not rest or rest[0].startswith("-"):
        return [verb, *_options(command, rest, f"git coord {verb}")]
    below = _meant(rest[0], command.below, f"git coord {verb}")
    if below not in command.below:
        return [verb, *rest]
    return [verb, below, *_options(command.below[below], rest[1:], f"git coord {verb} {below}")]


def unknown_verb(word: str) -> UsageError:
    """The error for an unknown verb, with the verb that was meant, by its meaning or by its letters."""
    import difflib

    near = difflib.get_close_matches(word, _verbs(), n=1, cutoff=0.6)
    meant = MEANT.get(word) or (near[0] if near else "")
    return UsageError(f"unknown verb: {ascii(word)[1:-1]}", f"git coord {meant} --help" if meant else "git coord help")


def _verbs() -> list[str]:
    return [verb for verbs in VERBS.values() for verb in verbs]


def _meant(word: str, known: Iterable[str], before: str, hint: str = "") -> str:
    """The one of `known` that begins with `word`; otherwise `word` itself."""
    names = list(known)
    near = [name for name in names if name.startswith(word)]
    if word in names or not near:
        return word
    if len(near) > 1:
        shown = ascii(word)[1:-1]
        raise UsageError(f"{shown} could be {', '.join(near[:-1])} or {near[-1]}", hint or f"{before} {near[0]}")
    return near[0]


def _options(command: Command, words: Sequence[str], before: str) -> list[str]:
    known = {word: param for param in command.params if param.is_option for word in param.spelled if word.startswith("-")}
    long = [word for word, param in known.items() if word.startswith("--") and not param.settings.get("hidden")]
    stops = not command.settings.get("context_settings", {}).get("allow_interspersed_args", True)
    out, rest = list[str](), list(words)
    while rest and rest[0] != "--" and not (stops and not rest[0].startswith("-")):
        name, equals, value = rest.pop(0).partition("=")
        if name.startswith("--") and name not in known:
            name = _meant(name, [*long, HELP], before, f"{before} {HELP}")
        out.append(name + equals + value)
        if rest and not equals and takes_a_word(known.get(name)):
            out.append(rest.pop(0))
    return out + rest


def takes_a_word(param: Param | None) -> bool:
    """Whether the word behind an option is its value."""
    return param is not None and not param.settings.get("is_flag") and "flag_value" not in param.settings
