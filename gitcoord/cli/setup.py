"""The verbs init, hooks, purge, doctor and demo; and hook, which the hooks run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from gitcoord import Coord
from gitcoord.agents import HARNESSES, check_names
from gitcoord.cli.command import Choice, argument, command, option
from gitcoord.cli.output import ago, inert, say, say_json
from gitcoord.cli.params import common, opened
from gitcoord.errors import CoordError, UsageError
from gitcoord.lean import TYPE_CHECKING, Any, suppress
from gitcoord.system import background
from gitcoord.system.background import REFUSED
from gitcoord.system.streams import remark
from gitcoord.text import shell_word

if TYPE_CHECKING:
    from gitcoord.agents.install import Installed
    from gitcoord.features.locks.guard import CommitVerdict
    from gitcoord.setup import Traces
    from gitcoord.store.hooks import Hook
    from gitcoord.sync.purge_remote import RemoteRefs

LEAVES = """\
{where}: messages, notes, names of
sessions, branches and changed files. Never: local messages, paths on disk, host names, processes."""


@command(short_help="install git hooks, register the worktrees")
@option("--no-hooks", is_flag=True, help="Install no git hooks.")
@option("--agents", metavar="A,…", help="Install hooks for agent programs, in your own settings.")
@option("--no-agents", is_flag=True, help="Do not offer them.")
@common
def init(no_hooks: bool, agents: str | None, no_agents: bool, as_name: str | None, as_json: bool) -> None:
    """Install the git hooks and expect a session in each linked worktree. May be run again.

    Example: git coord init --agents claude
    """
    names = [name for name in (agents or "").split(",") if name]
    check_names(names)
    with opened(as_name) as coord:
        done = coord.repository.init(hooks=not no_hooks)
        if as_json:
            found = [_agent_json(agent_hooks("install", name)) for name in names]
            hooks = [_hook_json(hook) for hook in done.hooks]
            say_json(
                {
                    "clone": done.clone,
                    "expected": list(done.expected),
                    "hooks": hooks,
                    "agents": found,
                    "remote": done.remote or None,
                }
            )
            return
        say(f"This clone is {done.clone}.")
        if done.expected:
            say(f"Expected in their worktrees: {', '.join(done.expected)}.")
        if no_hooks:
            say("Hooks: none installed (git coord hooks install).")
        else:
            _say_hooks(coord, done.hooks)
        for name in names or ([] if no_agents else _wanted_agents()):
            _say_agent_hooks("install", agent_hooks("install", name, _extras(name)))
        if done.remote:
            named = "" if done.remote_is_set else f" {done.remote}"
            say(inert(f"Coordination with other clones is at {done.remote}: git coord sync{named}"))
        say("", *_leaves(coord).split("\n"), "", "Try:", "  git coord sessions", f"  {_example(coord)}")


def _leaves(coord: Coord) -> str:
    """Say what can leave the machine, and where it goes already."""
    name = coord.remote.connected()
    if not name:
        return LEAVES.format(where="Nothing leaves this machine until you name a remote for it. What would be sent then")
    return LEAVES.format(where=inert(f"What is sent to {name} (git coord sync --dry-run)"))


def _wanted_agents() -> list[str]:
    """Programs found here that have no hooks of ours: a person is asked, an agent is told what to run."""
    from gitcoord.agents.install import found_here

    found = [at for name in found_here(os.environ) if not (at := agent_hooks("status", name)).moments]
    if not found:
        return []
    titles, names = ", ".join(at.title for at in found), [at.harness for at in found]
    if sys.stdin.isatty() and sys.stdout.isatty():
        question = f"Install hooks for {titles} in your own settings ({', '.join(at.path for at in found)})?"
        return names if _confirms(question) else []
    say(f"No hooks for {titles}: git coord init --agents {','.join(names)}")
    return []


def _confirms(question: str) -> bool:
    """Ask a person. Raises KeyboardInterrupt if they interrupt the question or close the terminal."""
    import click

    try:
        return click.confirm(question)
    except click.Abort:
        raise KeyboardInterrupt from None


def _example(coord: Coord) -> str:
    """A command that works here: a message to a session that can receive it."""
    others = [s.session for s in coord.sessions.list() if s.session and s.session != coord.identity.name]
    return f"git coord send {others[0]} hello" if others else "git coord note gitcoord is here now"


@command(short_help="install, remove or show hooks")
@argument("action", type=Choice(["install", "uninstall", "status"]), default="status")
@argument("programs", metavar="[git|claude|codex|…]", nargs=-1)
@option("--allow", is_flag=True, help="Claude may run git coord without asking.")
@option("--status-line", "status", is_flag=True, help="Claude's status line shows my status.")
@common
def hooks(action: str, programs: tuple[str, ...], allow: bool, status: bool, as_name: str | None, as_json: bool) -> None:
    """Install git's hooks or those of an agent program (in your own settings), remove them without a trace, or show them.

    Example: git coord hooks install claude
    """
    agents = [program for program in programs if program != "git"]
    check_names(agents)
    documents: list[Any] = []
    if "git" in programs or not programs:
        with opened(as_name) as coord:
            found = coord.repository.hooks(action)
            documents += [_hook_json(hook) for hook in found]
            if not as_json:
                _say_git_hooks(coord, action, found)
                _say_last_error(coord)
    if not programs and action == "status":
        agents = [name for name in HARNESSES if (at := agent_hooks("status", name)).found or at.moments]
    if not programs and action == "uninstall" and not as_json:
        _say_what_stays()
    for name in agents:
        at = agent_hooks(action, name, _extras(name, allow, status) if action == "install" else ())
        documents.append(_agent_json(at))
        if not as_json:
            _say_agent_hooks(action, at)
    if as_json:
        say_json(documents)


def _say_what_stays() -> None:
    """Say that agent programs' hooks stay, because they belong to the user and not to this repository."""
    from gitcoord.agents.install import with_ours

    if stay := with_ours(os.environ):
        say(f"Hooks of agent programs stay, as all your repositories use them: git coord hooks uninstall {' '.join(stay)}")


def agent_hooks(action: str, name: str, more: Sequence[str] = ()) -> Installed:
    """Install, remove or look at the hooks of one agent program; `more` are extras to install."""
    from gitcoord.agents import install

    if action == "install":
        return install.install(name, os.environ, more)
    return {"uninstall": install.uninstall, "status": install.status}[action](name, os.environ)


def _extras(name: str, allow: bool = False, status: bool = False) -> list[str]:
    """The extras that the user wants for a program; a person at a terminal is asked about those that the line does not
    name."""
    if name != "claude":
        return []
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not (allow or status)
    allow = allow or (asks and _confirms("Let Claude Code run git coord without asking each time (Bash(git coord:*))?"))
    status = status or (asks and _confirms("Show unread mail and peers in Claude Code's status line?"))
    return [word for word, wanted in (("allow", allow), ("status", status)) if wanted]


def _agent_json(at: Installed) -> dict[str, Any]:
    return {
        "agent": at.harness,
        "where": at.path,
        "moments": list(at.moments),
        "program": at.program or None,
        "runs": at.runs,
        "why_not": at.why or None,
        "skill": at.skill or None,
    }


def _say_agent_hooks(action: str, at: Installed) -> None:
    if action == "uninstall":
        say(inert(f"{at.title}: removed from {at.path}." if at.moments else f"{at.title}: no hooks were installed."))
    elif at.runs:
        say(inert(f"{at.title}: hooks installed in {at.path}, they run {at.program}"))
    else:
        say(inert(f"{at.title}: hooks do not run: {at.why}"))
        say(f"  {'git coord hooks install ' + at.harness if not at.moments else at.path}")
    if at.skill and action != "uninstall":
        say(inert(f"  and a skill that teaches it git coord: {at.skill}"))


def _say_last_error(coord: Coord) -> None:
    """Print the last failure of an agent's hook, which does not print it itself."""
    found = coord.repository.last_hook_error()
    if found is None:
        return
    with suppress(ValueError, IndexError):
        lines = found[0].splitlines()
        at, _, what = lines[0].partition(" ")
        remark(f"note: an agent's hook '{what}' failed {ago(float(at))}: {lines[-1]}")
        remark(f"  {found[1]}")


def _say_git_hooks(coord: Coord, action: str, found: Sequence[Hook]) -> None:
    if action == "uninstall":
        say(f"Removed: {', '.join(_where(hook) for hook in found)}." if found else "No hooks were installed.")
    else:
        _say_hooks(coord, found)


def _hook_json(hook: Hook) -> dict[str, Any]:
    return {
        "event": hook.event,
        "how": hook.how,
        "where": hook.where or None,
        "program": hook.program or None,
        "runs": hook.runs,
        "why_not": hook.why or None,
        "add": hook.line or None,
    }


def _where(hook: Hook) -> str:
    return hook.where if hook.how in ("config", "file") else f"gitcoord's lines in {hook.where}"


def _say_hooks(coord: Coord, found: Sequence[Hook]) -> None:
    """Print the hooks that run in one line for each place, and every other one with its problem and what to do."""
    running = [hook for hook in found if hook.runs]
    by_program: dict[str, list[Hook]] = {}
    for hook in running:
        by_program.setdefault(hook.program, []).append(hook)
    for program, mine in by_program.items():
        say(inert(f"Hooks installed, they run {program}:"))
        for hook in mine:
            how = {"config": "in the configuration", "block": "beside yours,", "line": "by your line,"}.get(hook.how, "in")
            say(inert(f"  {hook.event:<13} {how} {hook.where}"))
    for hook in found:
        if not hook.runs:
            say(inert(f"{hook.event} does not run: {hook.why}"))
            say(inert(f"  {hook.line or 'git coord hooks install'}"))
    if about_lfs := coord.repository.lfs_remark():
        say(about_lfs)


@command(short_help="remove every trace of gitcoord")
@option("--everyone", is_flag=True, help="The refs of other clones, too.")
@option("--remote", metavar="R", help="Only this clone's refs at a remote.")
@option("--yes", is_flag=True, help="Remove it; without --yes it is only listed.")
@common
def purge(everyone: bool, remote: str | None, yes: bool, as_name: str | None, as_json: bool) -> None:
    """Remove this clone's coordination refs, our files, hooks and settings. Without --yes, only list them.

    Example: git coord purge --everyone
    """
    if remote is not None and everyone:
        raise UsageError("you can delete only your own refs at a remote", f"git coord purge --remote {shell_word(remote)}")
    with opened(as_name) as coord:
        if remote is not None:
            _say_withdrawn(coord.remote.withdraw(remote, really=yes), remote, yes, as_json)
            return
        found = coord.repository.purge(everyone=everyone) if yes else coord.repository.traces(everyone=everyone)
        if as_json:
            say_json(_traces_json(found, yes))
            return
        lines = _traces_lines(found)
        for line in lines:
            say(inert(f"{'removed' if yes else 'would remove'} {line}"))
        if not lines:
            say("There is nothing of gitcoord here.")
        elif yes:
            say("The objects go with git's next gc.")
        else:
            say(f"Nothing was removed: git coord purge {'--everyone ' if everyone else ''}--yes")


def _say_withdrawn(found: RemoteRefs, remote: str, yes: bool, as_json: bool) -> None:
    if as_json:
        say_json({"removed": yes, **found._asdict(), "refs": list(found.refs)})
        return
    for ref in found.refs:
        say(inert(f"{'deleted' if yes else 'would delete'} {ref} at {found.remote}"))
    if not found.refs:
        say(inert(f"There is nothing of this clone at {found.remote}."))
    elif not yes:
        say(inert(f"Nothing was deleted: git coord purge --remote {remote} --yes"))
    else:
        say(inert(f"Others keep what they fetched. Nothing is sent there until: git coord sync {shell_word(remote)}"))
    if found.others:
        refs, clones = sum(found.others.values()), len(found.others)
        say(f"{refs} ref{'s' * (refs != 1)} of {clones} other clone{'s' * (clones != 1)} stay there.")


def _traces_json(found: Traces, removed: bool) -> dict[str, Any]:
    return {
        "removed": removed,
        "refs": [*found.refs, *found.broken],
        "hooks": [hook.where for hook in found.hooks],
        "settings": list(found.settings),
        "files": found.files or None,
    }


def _traces_lines(found: Traces) -> list[str]:
    lines = [f"the ref {ref}" for ref in (*found.refs, *found.broken)]
    lines += [f"the hook {_where(hook)}" for hook in found.hooks]
    lines += [f"the setting {key}" for key in found.settings]
    return lines + ([f"the files in {found.files}"] if found.files else [])


@command(short_help="what is well, what is not")
@option("--fix", is_flag=True, help="First repair refs, objects, index.")
@common
def doctor(fix: bool, as_name: str | None, as_json: bool) -> int:
    """Look at git, refs, index, hooks and sync; exit 1 if something is not well.

    Example: git coord doctor --fix
    """
    with opened(as_name) as coord:
        found = coord.repository.doctor(fix=fix)
        if as_json:
            say_json([finding._asdict() for finding in found])
        for finding in [] if as_json else found:
            say(inert(f"{'ok ' if finding.well else 'BAD'} {finding.what:<8} {finding.said}"))
            if finding.hint:
                say(inert(f"             {finding.hint}"))
        return 0 if all(finding.well for finding in found) else 1


@command(short_help="a guided run in a throw-away repository")
@option("--keep", is_flag=True, help="Keep the repository and say where it is.")
@common
def demo(keep: bool, as_name: str | None, as_json: bool) -> int:
    """Two sessions in two worktrees of a throw-away repository talk to each other; you see every command.

    Example: git coord demo --keep
    """
    from gitcoord.demo import Demo

    return Demo(keep, as_json).run()


PRE_COMMIT = 5.0
"""Seconds for which a commit waits for our lock; without it the commit only loses a warning."""


@command(hidden=True)
@argument("event")
@argument("args", nargs=-1)
@common
def hook(event: str, args: tuple[str, ...], as_name: str | None, as_json: bool) -> int:
    """Run an action of a git hook; fails only for a bug of ours, and never with exit code 1.

    Example: git coord hook refresh
    """
    if event == "pre-commit":
        if (said := os.environ.pop("GIT_COORD_SAY", "")).isdigit():
            os.dup2(int(said), 2)  # the script hides the words of a Python that cannot start
        with suppress(CoordError, OSError), opened(patience=PRE_COMMIT) as coord:
            return _say_verdict(coord.locks.guard())
        return 0
    if event == "job" and sys.platform != "win32":
        from gitcoord.features.jobs.launch import serve
        from gitcoord.opening import open_clone

        serve(lambda cwd: open_clone(cwd, long_lived=False))
        return 0
    background.let_go()
    with suppress(CoordError, OSError), opened() as coord:
        coord.repository.in_background(event, args, moves=True)
    return 0


def _say_verdict(verdict: CommitVerdict) -> int:
    for line in verdict.lines:
        remark(line.encode("utf-8", "replace").decode())
    sys.stderr.flush()
    return REFUSED if verdict.refused else 0
