"""Writes docs/commands.md, docs/json.md, the fields of docs/format.md, the commands of the man page and the plugin's hooks
from the program.

python docs/reference.py; tests/cli/test_setup.py fails when it was forgotten.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from gitcoord import __version__
from gitcoord.agents.settings import SETTINGS
from gitcoord.cli.form.documents import FREE, KINDS, kinds_of
from gitcoord.cli.form.documents import VERBS as DOCUMENTS
from gitcoord.cli.group import cli
from gitcoord.cli.verbs import VERBS
from gitcoord.features import REGISTRY
from gitcoord.log import trust
from gitcoord.log.schemas import Schema
from gitcoord.sync.leases import SCHEMA as LEASE

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ROOT / "docs" / "commands.md"
JSON = ROOT / "docs" / "json.md"
FORMAT = ROOT / "docs" / "format.md"
_FIELDS = re.compile(r"(?<=<!-- begin fields -->\n).*(?=<!-- end fields -->\n)", re.DOTALL)
MAN = ROOT / "man" / "git-coord.1"
PLUGIN_HOOKS = ROOT / "plugin" / "hooks" / "hooks.json"
PLUGIN = ROOT / "plugin" / ".claude-plugin" / "plugin.json"
PLUGIN_COMMAND = 'moment=%s find="${CLAUDE_PLUGIN_ROOT}/hooks/find"; test ! -f "$find" || . "$find"'
_GENERATED = re.compile(r"(?<=\.\\\" begin commands\n).*(?=\.\\\" end commands\n)", re.DOTALL)

INTRODUCTION = """\
# Commands

`git coord VERB`, or `git-coord VERB`. This page is what each verb's `--help` prints; `docs/reference.py` writes it.

Exit codes: 0 done; 1 a valid question answered no; 2 usage, unknown or ambiguous name or id, nothing printed on stdout;
3 the repository or its surroundings; 4 a remote; 70 a bug of gitcoord's; 130 interrupted. Errors are one line `error: …`
and mostly one line `hint: …` with the command to run next, on stderr. A bug's line names the report to attach to an issue.
`--json` prints one document; times in it are RFC 3339 in UTC, ids are whole.
"""


def verbs() -> Iterator[tuple[str, str, click.Command]]:
    """Group, name and command of every verb, and of the commands below a verb like `task`."""
    context = click.Context(cli)
    for group, names in VERBS.items():
        for name in names:
            command = cli.get_command(context, name)
            assert command is not None, name
            yield group, name, command
            if isinstance(command, click.Group):
                for below in command.list_commands(context):
                    inner = command.get_command(context, below)
                    assert inner is not None, below
                    yield group, f"{name} {below}", inner


def help_of(name: str, command: click.Command) -> str:
    """The output of `git coord NAME --help` on a terminal of 80 columns."""
    settings: dict[str, Any] = {**cli.context_settings, "terminal_width": 78}
    parent = click.Context(cli, info_name="git coord", **settings)
    return command.get_help(click.Context(command, info_name=name, parent=parent, **settings))


def commands_page() -> str:
    parts, last = [INTRODUCTION], ""
    for group, name, command in verbs():
        if group != last:
            parts.append(f"## {group}\n")
            last = group
        parts.append(f"### {name}\n\n```\n{help_of(name, command)}\n```\n")
    return "\n".join(parts)


DOCUMENTS_INTRODUCTION = """\
# Documents

Every verb takes `--json` and then prints one document on one line; `watch` and `sync --watch` print one on each line. This
page lists the documents and their fields; `docs/reference.py` writes it, and a test compares it with what the verbs print.

`--json=FIELDS` keeps some fields, in this order: `git coord tasks --json=id,title`. With a list of documents it keeps them
in each. `--json FIELDS` does the same, except for verbs that take a text, paths or patterns: there the word is one of them.
An unknown field is refused, with the fields that there are.

Ids are whole. Names of sessions are bare in their own clone, otherwise `name@clone`. Times are RFC 3339 in UTC. Fields with
an asterisk are left out where they do not apply.

A refusal (exit code 1) prints a document, too; an error with another exit code prints none. Both say on stderr what is
wrong.
"""


def json_page() -> str:
    """docs/json.md."""
    verbs = [f"| `{verb}` | {' or '.join(_said(*kind) for kind in kinds_of(verb))} |\n" for verb in DOCUMENTS]
    parts = [DOCUMENTS_INTRODUCTION, "\n## Verbs\n\n| verb | document |\n| --- | --- |\n", *verbs]
    for kind, fields in KINDS.items():
        parts.append(f"\n## {kind}\n\n| field | value |\n| --- | --- |\n")
        parts += [
            f"| `{name}`{' *' * about.startswith('?')} | {about.removeprefix('? ')} |\n" for name, about in fields.items()
        ]
    return "".join(parts)


def _said(kind: str, is_list: bool) -> str:
    if kind in FREE:
        return FREE[kind]
    link = f"[{kind}](#{kind.replace(' ', '-')})"
    return f"list of {link}" if is_list else link


def schemas() -> dict[str, Schema]:
    """Every type of event with its schema."""
    found = {kind: schema for feature in REGISTRY.features() for kind, schema in feature.schemas.items()}
    return {**found, **trust.SCHEMAS, "lease": LEASE}


def format_page(present: str) -> str:
    """docs/format.md with its tables of fields brought up to date."""
    types: dict[str, list[str]] = {}
    for kind, schema in schemas().items():
        rows = [
            f"| `{name}`{' *' if name in schema.needed else ''} | {field.says} |\n" for name, field in schema.fields.items()
        ]
        types.setdefault("".join(rows), []).append(f"`{kind}`")
    parts = [f"{', '.join(kinds)}\n\n| field | value |\n| --- | --- |\n{rows}\n" for rows, kinds in types.items() if rows]
    return _FIELDS.sub(lambda _: "\n" + "".join(parts), present)


def man_page(present: str) -> str:
    """The man page with its list of commands brought up to date."""
    parts, last = [], ""
    for group, name, command in verbs():
        if group != last:
            parts.append(f".SS {group}\n")
            last = group
        parts.append(_man_entry(name, command))
    head = f'.TH GIT\\-COORD 1 "2026" "gitcoord {__version__}" "gitcoord"'
    return _GENERATED.sub(lambda _: "".join(parts), re.sub(r"^\.TH .*", lambda _: head, present))


def _man_entry(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    about, _, example = inspect.cleandoc(command.help or "").partition("\n\nExample: ")
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [".TP", f".B git coord {name}", _escape(usage), ".br", _escape(" ".join(about.split()))]
    for parameter in (p for p in command.params if isinstance(p, click.Option)):
        record = parameter.get_help_record(context)
        if record and parameter.name not in ("as_name", "as_json"):
            lines += [".RS", ".TP", f".B {_escape(record[0])}", _escape(record[1]), ".RE"]
    lines += [".br", f"Example: {_escape(example)}"]
    return "\n".join(lines) + "\n"


def plugin_hooks() -> str:
    """The hooks that `git coord hooks install claude` puts into the settings, as the plugin runs them."""
    hooks: dict[str, list[Any]] = {}
    for event, entry in SETTINGS["claude"].entries(lambda moment: PLUGIN_COMMAND % moment):
        hooks.setdefault(event, []).append(entry)
    about = "Mail, notes and the brief in front of the model, warnings before an edit"
    return json.dumps({"description": about, "hooks": hooks}, indent=2) + "\n"


def plugin(present: str) -> str:
    """The description of the plugin with this version."""
    return re.sub(r'(?<="version": ")[^"]*', __version__, present)


def _escape(text: str) -> str:
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"))


if __name__ == "__main__":
    COMMANDS.write_text(commands_page())
    JSON.write_text(json_page())
    MAN.write_text(man_page(MAN.read_text()))
    FORMAT.write_text(format_page(FORMAT.read_text()))
    PLUGIN_HOOKS.write_text(plugin_hooks())
    PLUGIN.write_text(plugin(PLUGIN.read_text()))
