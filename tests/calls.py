"""A call of every verb, in an order in which all of them work in one repository."""

from __future__ import annotations

from collections.abc import Iterator

import click

from gitcoord.cli.group import cli as program

# in this order, in one repository; {m} is a message, {t} a task, {e} an event of ours
CALLS = """
init --no-agents | join {name} | focus the schema | editing new.txt ignored.txt | whoami | sessions
send beta hello | send all hello | reply {m} yes | ack {m} | wait message --timeout 1 | inbox | sent | chat beta | overdue | day
task add one more | task claim {t} | task edit {t} --title other | task comment {t} hm | task block {t} -m why
task release {t} | task next --claim | task done {t} | task reopen {t} | task show {t} | task list | task drop {t}
tasks | board | alloc ids | worktree add ../extra | diff beta | worktree remove ../extra | work --drain -- true
note --path readme.txt read it | notes | thread {m} | show {m} | search hello | log
lock new.txt | locks | check new.txt | unlock new.txt
run -- true | run --detach --name long -- sleep 60 | jobs | job show long | job log long | job kill long
status | brief | state set k v | state get k | state show | state unset k | conflicts
sync origin | remote set origin | hooks install | hooks status | hooks uninstall | skill | trust | redact {e} | gc
hook refresh | hook worktree-added | hook pre-commit | doctor --fix | leave | purge
"""
UNTRIED = {"ui": "runs for ever", "demo": "has a repository of its own", "mcp": "calls the same", "watch": "follows for ever"}
"""Calls that are not run here."""


def calls() -> list[list[str]]:
    return [call.split() for line in CALLS.strip().splitlines() for call in line.split("|")]


def verbs() -> Iterator[str]:
    """Every verb, and every one below a verb like `task`."""
    context = click.Context(program)
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        below = command.list_commands(context) if isinstance(command, click.Group) else []
        yield from [f"{name} {verb}" for verb in below] or [name]
