"""The verbs as click's commands, built from their declarations: for help, errors, completion, and lines that are not
plain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from gitcoord.cli.command import COMPLETE, Choice, Command, IntRange, Param
from gitcoord.cli.spelling import unknown_verb
from gitcoord.cli.verbs import VERBS, find
from gitcoord.errors import UsageError
from gitcoord.lean import Any, contextmanager


class Interrupted(Exception):
    """Ctrl-C. click prints an empty line for a KeyboardInterrupt that it sees."""


@contextmanager
def _unseen_by_click() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted from None


def run(args: list[str]) -> int:
    """Run a command line by click's rules and return the exit code. Raises UsageError for a line that click refuses."""
    try:
        result = cli.main(args, prog_name="git coord", complete_var=COMPLETE, standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "git coord"
        raise UsageError(_what(error, where).rstrip("."), f"{where} --help") from error
    except click.ClickException as error:
        raise UsageError(error.format_message()) from error
    except (click.Abort, Interrupted):
        return 130
    return result if isinstance(result, int) else 0


def _what(error: click.UsageError, where: str) -> str:
    """The error in words; where a verb like `task` lacks its command, click's own words are the whole help page."""
    if error.ctx and isinstance(error.ctx.command, click.Group) and error.message == error.ctx.get_help():
        return f"{where} needs a command: {', '.join(error.ctx.command.list_commands(error.ctx))}"
    return error.format_message()


def built(name: str, command: Command) -> click.Command:
    """A declared command as click's own."""
    params = [_param(param) for param in command.params]
    settings = {"params": params, "callback": command.function, "help": command.function.__doc__, **command.settings}
    if command.below is None:
        return click.Command(name, **settings)
    return click.Group(name, commands={below: built(below, found) for below, found in command.below.items()}, **settings)


def _param(param: Param) -> click.Parameter:
    settings = dict(param.settings)
    kind, called = settings.get("type"), settings.get("callback")
    if isinstance(kind, Choice):
        settings["type"] = click.Choice(kind.choices)
    elif isinstance(kind, IntRange):
        settings["type"] = click.IntRange(kind.least, kind.most)
    if called:
        settings["callback"] = lambda ctx, param, value: called(value)
    return (click.Option if param.is_option else click.Argument)(param.spelled, **settings)


class Verbs(click.Group):
    """Loads a verb's module only when that verb is called."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _unseen_by_click():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _unseen_by_click():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for verbs in VERBS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        found = find(name)
        return built(name, found) if found else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            raise unknown_verb(args[0])
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("usage: git coord VERB [ARGS]   (every verb: --json, --as NAME, --help)\n")
        for group, verbs in VERBS.items():
            formatter.write(f"\n{group}\n")
            for verb, (_, about) in verbs.items():
                formatter.write(f"  {verb:<9} {about}\n" if about else "")
            if rest := [verb for verb, (_, about) in verbs.items() if not about]:
                formatter.write(f"  {' '.join(rest)}\n")


def names_in(args: Sequence[str]) -> list[str]:
    """The verb, the options and the fixed choices in a command line: nothing that a user made up."""
    command: click.Command = cli
    found = []
    for arg in args:
        below = command.get_command(click.Context(command), arg) if isinstance(command, click.Group) else None
        if arg == "--":
            break
        if below is not None:
            found.append(arg)
            command = below
        elif (name := arg.partition("=")[0]) in _own_words(command):
            found.append(name)
    return found


def _own_words(command: click.Command) -> set[str]:
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    kinds = (parameter.type for parameter in command.params)
    return {o for o in options if o.startswith("-")} | {str(c) for k in kinds if isinstance(k, click.Choice) for c in k.choices}


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gitcoord", prog_name="git-coord")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Messages, sessions and notes between the worktrees of one repository."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
