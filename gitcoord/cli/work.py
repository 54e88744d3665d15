"""The verbs task …, tasks, board, alloc and work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from gitcoord import Coord
from gitcoord.cli.board import columns, say_board, say_task, task_line
from gitcoord.cli.command import Choice, IntRange, argument, command, group, option
from gitcoord.cli.output import not_signed, say, say_json
from gitcoord.cli.params import common, duration, ids_and_text, opened, text_about, text_options, the_text
from gitcoord.errors import UsageError
from gitcoord.lean import TYPE_CHECKING, Any, TypeVar
from gitcoord.overview.shapes import task_json
from gitcoord.system.streams import remark

if TYPE_CHECKING:
    from gitcoord.features.tasks.read import Task

F = TypeVar("F", bound=Callable[..., Any])
PAGE = 20
SORTS = ("worth", "age", "changed")
STATUSES = ("open", "claimed", "blocked", "done", "dropped")
task_id = argument("task_id", metavar="ID")
task_ids = argument("task_ids", metavar="ID...", nargs=-1, required=True)
force = option("--force", is_flag=True, help="Even if another live session holds it.")
offline = option("--offline", is_flag=True, help="Without the remote: tentative until the next sync.")


@group(short_help="add, claim, next, done, block, … a task")
def task() -> None:
    """Work with tasks. ID is a unique prefix of a task's id.

    Example: git coord task next --claim
    """


def _say_each(coord: Coord, ids: Sequence[str], verb: Callable[[str], Task], as_json: bool) -> None:
    """Apply a verb to several tasks; an unknown id leaves all of them unchanged."""
    if len(ids) == 1:
        _say_one(coord, verb(ids[0]), as_json)
        return
    known = [coord.tasks.show(one).id for one in ids]
    done = [verb(one) for one in dict.fromkeys(known)]
    if as_json:
        say_json([task_json(coord, one) for one in done])
    else:
        say(*(task_line(coord, one) for one in done))


def _say_one(coord: Coord, found: Task, as_json: bool) -> None:
    if as_json:
        say_json(task_json(coord, found))
    else:
        say(task_line(coord, found))


@task.command(short_help="file a task, or many")
@argument("words", metavar="TITLE", nargs=-1)
@option("-m", "text", metavar="TEXT", default="", help="What is to be done.")
@option("-p", "priority", type=IntRange(0, 4), default=2, metavar="N", help="0 (highest) to 4; 2.")
@option("--label", "labels", multiple=True, metavar="L", help="A label (repeatable).")
@option("--needs", "needs", multiple=True, metavar="ID", help="A task to be done before (repeatable).")
@option("--for", "assignee", metavar="S", help="Assign it to session S.")
@option("-F", "file", metavar="FILE", help='JSON lines {"id", "title", "needs": [ids], …}; all or none.')
@common
def add(words: tuple[str, ...], file: str | None, as_name: str | None, as_json: bool, **facts: Any) -> None:
    """File a task; with -F many, which may need each other.

    Example: git coord task add -p 1 --for worker-1 merge the schema
    """
    if file is not None:
        if words or any(value not in ("", 2, (), None) for value in facts.values()):
            raise UsageError("-F takes everything from the file", "git coord task add -F FILE")
        _add_many(file, as_name, as_json)
        return
    with opened(as_name) as coord:
        _say_one(coord, coord.tasks.add(" ".join(words), **facts), as_json)


def _add_many(file: str, as_name: str | None, as_json: bool) -> None:
    from gitcoord.features.tasks.file import parse

    new = parse(the_text((), None, file))
    with opened(as_name) as coord:
        filed = [coord.tasks.show(oid) for oid in coord.tasks.add_all(new)]
        if as_json:
            say_json([task_json(coord, found) for found in filed])
            return
        for found in filed:
            say(task_line(coord, found))


def _filters(function: F) -> F:
    for one in (
        option("--all", "everything", is_flag=True, help="Ended ones too."),
        option("-n", "--limit", type=IntRange(1, 100_000), metavar="N", help="At most N."),
        option("--sort", type=Choice(SORTS), default="worth", metavar="S", help="worth, age, changed"),
        option("--label", "labels", multiple=True, metavar="L", help="Labelled L."),
        option("--for", "assignee", default="", metavar="S", help="For S."),
        option("--holder", default="", metavar="S", help="Held by S."),
        option("--status", type=Choice(STATUSES), metavar="S", help="open, claimed, …"),
        option("--filed", is_flag=True, help="Filed by me."),
        option("--mine", is_flag=True, help="Mine."),
        option("--ready", is_flag=True, help="Ready ones."),
    ):
        function = one(function)
    return function


def _list(as_name: str | None, as_json: bool, which: dict[str, Any]) -> None:
    limit = which.pop("limit")
    with opened(as_name) as coord:
        found = coord.tasks.list(**which)
        if as_json:
            say_json([task_json(coord, one) for one in found[:limit]])
            return
        held = coord.trust.held_tasks()
        for one in found[: limit or PAGE]:
            say(task_line(coord, one) + not_signed(one.id, held))
        if not found:
            say("No tasks.")
        elif len(found) > (limit or PAGE):
            say(f"({len(found) - (limit or PAGE)} more: -n {len(found)})")


@command(short_help="the tasks that are not done")
@_filters
@common
def tasks(as_name: str | None, as_json: bool, **which: Any) -> None:
    """Tasks that are not done or dropped, ready ones first.

    Example: git coord tasks --ready
    """
    _list(as_name, as_json, which)


@task.command("list", short_help="same as `git coord tasks`")
@_filters
@common
def list_(as_name: str | None, as_json: bool, **which: Any) -> None:
    """Tasks that are not done or dropped, ready ones first.

    Example: git coord task list --mine
    """
    _list(as_name, as_json, which)


@task.command(short_help="print all about a task")
@task_id
@common
def show(task_id: str, as_name: str | None, as_json: bool) -> None:
    """Everything about a task: text, needs, comments, history.

    Example: git coord task show 3f9a1c77
    """
    with opened(as_name) as coord:
        say_whole_task(coord, task_id, as_json)


def say_whole_task(coord: Coord, task_id: str, as_json: bool) -> None:
    """Print everything about a task."""
    found = coord.tasks.show(task_id)
    if as_json:
        say_json(task_json(coord, found))
        return
    say_task(coord, found, [coord.tasks.show(need) for need in found.needs])
    unsigned = coord.trust.held_back([comment.id for comment in found.comments])
    if unsigned or found.id in coord.trust.held_tasks():
        remark("note: some of these words are not signed: git coord log")


@task.command(short_help="claim a task")
@task_ids
@option("--for", "holder", metavar="NAME", help="For this session; only the repository's user can.")
@offline
@common
def claim(task_ids: tuple[str, ...], holder: str | None, offline: bool, as_name: str | None, as_json: bool) -> None:
    """Take a task. Of several callers one gets it; the others exit 1. One whose holder is gone is taken over.

    Example: git coord task claim 3f9a1c77
    """
    with opened(as_name) as coord:
        tasks = coord.tasks
        take = partial(tasks.claim if holder is None else partial(tasks.claim_for, holder), offline=offline)
        _say_each(coord, task_ids, take, as_json)


@task.command("next", short_help="find or claim the next task")
@option("--claim", "take", is_flag=True, help="Claim it.")
@option("--wait", is_flag=False, flag_value="", metavar="[S]", help="Wait until there is one, at most S (30s, 5m).")
@offline
@common
def next_(take: bool, wait: str | None, offline: bool, as_name: str | None, as_json: bool) -> int:
    """The best task to take: mine first, then nobody's; by priority, then age. Exit 1 if none is ready.

    Example: git coord task next --claim --wait
    """
    limit = 0 if wait is None else None if wait == "" else duration(wait, "--wait")
    with opened(as_name, patience=limit) as coord:
        found = coord.tasks.wait_next(limit, claim=take, offline=offline, output=sys.stdout.fileno())
        if found is not None:
            _say_one(coord, found, as_json)
        elif as_json:
            say_json(None)
        else:
            remark("No task is ready.")
            held = coord.trust.held_tasks()
            if left := held and sum(one.id in held for one in coord.tasks.list(ready=True)):
                what = f"{left} unsigned task{'s' if left > 1 else ''}"
                remark(f"note: {what} of other clones left out (coord.requireSigned): git coord tasks")
        return 0 if found is not None else 1


@task.command(short_help="finish a task")
@task_id
@text_options
@force
@common
def done(
    task_id: str,
    words: tuple[str, ...],
    message: str | None,
    file: str | None,
    force: bool,
    as_name: str | None,
    as_json: bool,
) -> None:
    """Finish a task, or several: ID… [TEXT]. Its creator is told, and those whose tasks are ready now.

    Example: git coord task done 3f9a1c77 merged as 77aa12b
    """
    with opened(as_name) as coord:
        ids, text = ids_and_text(coord, task_id, words, message, file)
        _say_each(coord, ids, lambda one: coord.tasks.done(one, text, force=force), as_json)


@task.command(short_help="block a task, saying why")
@task_id
@text_options
@force
@common
def block(
    task_id: str,
    words: tuple[str, ...],
    message: str | None,
    file: str | None,
    force: bool,
    as_name: str | None,
    as_json: bool,
) -> None:
    """Block a task, and say why. Its holder continues with `claim`; `reopen` frees it.

    Example: git coord task block 3f9a1c77 the API key is missing
    """
    with opened(as_name) as coord:
        text = text_about(coord, words, message, file, f"Why {task_id} cannot go on.")
        _say_one(coord, coord.tasks.block(task_id, text, force=force), as_json)


@task.command(short_help="give a task back")
@task_ids
@force
@common
def release(task_ids: tuple[str, ...], force: bool, as_name: str | None, as_json: bool) -> None:
    """Give a task back: it is open again.

    Example: git coord task release 3f9a1c77
    """
    with opened(as_name) as coord:
        _say_each(coord, task_ids, lambda one: coord.tasks.release(one, force=force), as_json)


@task.command(short_help="drop a task")
@task_ids
@common
def drop(task_ids: tuple[str, ...], as_name: str | None, as_json: bool) -> None:
    """Say that a task will not be done. Tasks that need it no longer wait.

    Example: git coord task drop 3f9a1c77
    """
    with opened(as_name) as coord:
        _say_each(coord, task_ids, lambda one: coord.tasks.drop(one), as_json)


@task.command(short_help="open a task again")
@task_ids
@common
def reopen(task_ids: tuple[str, ...], as_name: str | None, as_json: bool) -> None:
    """Open a blocked, done or dropped task again.

    Example: git coord task reopen 3f9a1c77
    """
    with opened(as_name) as coord:
        _say_each(coord, task_ids, lambda one: coord.tasks.reopen(one), as_json)


@task.command(short_help="change title, text, … of a task")
@task_id
@option("--title", metavar="T")
@option("-m", "text", metavar="TEXT")
@option("-p", "priority", type=IntRange(0, 4), metavar="N", help="0 (highest) to 4.")
@option("--for", "assignee", metavar="S", help="Assign it to session S; '' for nobody.")
@option("--label", "labels", multiple=True, metavar="L")
@option("--no-label", "not_labels", multiple=True, metavar="L")
@option("--needs", multiple=True, metavar="ID")
@option("--no-needs", "not_needs", multiple=True, metavar="ID")
@common
def edit(task_id: str, as_name: str | None, as_json: bool, **changes: Any) -> None:
    """Change a task.

    Example: git coord task edit 3f9a1c77 -p 0 --needs 77aa12b
    """
    with opened(as_name) as coord:
        _say_one(coord, coord.tasks.edit(task_id, **changes), as_json)


@task.command(short_help="comment on a task")
@task_id
@text_options
@common
def comment(
    task_id: str, words: tuple[str, ...], message: str | None, file: str | None, as_name: str | None, as_json: bool
) -> None:
    """Say something about a task; its holder is told.

    Example: git coord task comment 3f9a1c77 see the note on src/db
    """
    with opened(as_name) as coord:
        text = text_about(coord, words, message, file, f"Your comment on {task_id}.")
        _say_one(coord, coord.tasks.comment(task_id, text), as_json)


@command(short_help="the tasks as columns")
@common
def board(as_name: str | None, as_json: bool) -> None:
    """The tasks as columns: ready/open, claimed, blocked, and the latest that were done.

    Example: git coord board
    """
    with opened(as_name) as coord:
        found = columns(coord.tasks.list(everything=True))
        if as_json:
            say_json({name: [task_json(coord, one) for one in column] for name, column in found.items()})
        else:
            say_board(coord, found)


@command(short_help="the next number of a sequence")
@argument("sequence")
@option("--start", type=int, metavar="N", help="Begin at N (1).")
@option("--gaps", is_flag=True, help="Take blocks: quicker, some stay unused.")
@common
def alloc(sequence: str, start: int | None, gaps: bool, as_name: str | None, as_json: bool) -> None:
    """Hand out the next number of a sequence, each exactly once.

    Example: git coord alloc migrations
    """
    with opened(as_name) as coord:
        taken = coord.numbers.allocate(sequence, start=start, gaps=gaps)
        if as_json:
            say_json({"sequence": taken.sequence, "number": taken.number})
        else:
            say(str(taken.number))


@command(short_help="workers that take tasks", context_settings={"allow_interspersed_args": False})
@argument("argv", metavar="[-- CMD…]", nargs=-1)
@option("--agent", default="claude", metavar="A", help="Its program (claude).")
@option("-n", "slots", type=IntRange(1, 100), default=1, metavar="N", help="Workers at once.")
@option("--worktrees", metavar="DIR", help="Where they work.")
@option("--drain", is_flag=True, help="End when no task is left.")
@common
def work(
    argv: tuple[str, ...], agent: str, slots: int, worktrees: str | None, drain: bool, as_name: str | None, as_json: bool
) -> int:
    """Run an agent, or CMD with {title}, {text}, {id}, for each ready task, in a worktree of its own.

    Example: git coord work -n 3 --agent codex
    """
    import os

    from gitcoord import crew

    with opened(as_name) as coord:
        root = coord.worktree or coord.cwd
    plan = crew.planned(root, agent, argv, worktrees, drain)
    found = crew.Crew(root, plan, os.environ, _say_now)
    found.run(slots)
    if as_json:
        say_json({"blocked": found.failed})
    return 1 if found.failed else 0


def _say_now(line: str) -> None:
    import time

    remark(f"{time.strftime('%H:%M:%S')} {line}")
