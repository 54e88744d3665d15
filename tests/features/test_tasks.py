"""Tasks: filed, claimed, handed on, done; permissions, notices, readiness."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from conftest import Cli, git, nameless
from forkserver import Program

from gitcoord import Coord, Refused, UsageError
from gitcoord.features.tasks.file import NewTask, in_order, parse
from gitcoord.features.tasks.read import list_tasks
from gitcoord.sessions.liveness import GONE_AFTER, UNKNOWN_AFTER
from gitcoord.sessions.records import Records

Pair = tuple[Path, Path]


class Team:
    """A manager and two workers, each with a process that can be ended."""

    def __init__(self, repo: Path, stack: ExitStack) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.pm, self.ann, self.bob = (self._member(repo, stack, name) for name in ("pm", "ann", "bob"))

    def _member(self, repo: Path, stack: ExitStack, name: str) -> Coord:
        process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        stack.callback(self.end, name)
        self.processes[name] = process
        coord = stack.enter_context(Coord.open(repo, as_name=name))
        coord.sessions.join(pid=process.pid)
        return coord

    def end(self, name: str) -> None:
        process = self.processes[name]
        process.kill()
        process.communicate()


@pytest.fixture
def team(repo: Path) -> Iterator[Team]:
    with ExitStack() as stack:
        yield Team(repo, stack)


def mail(coord: Coord) -> list[str]:
    """The unseen messages of a session, without ids."""
    page = coord.inbox()
    from gitcoord.features.messages.ledger import mark

    if page.messages:
        mark(coord.clone, coord.identity, [m.id for m in page.messages])
    return [nameless(m.text) for m in page.messages]


def log_tip(where: Path) -> str:
    return git(where, "for-each-ref", "refs/coord/log")


# the way of a task


def test_the_whole_way_of_a_task(worktrees: Pair, cli: Cli) -> None:
    alpha, beta = worktrees
    filed = cli(alpha, "task", "add", "-p", "1", "--label", "db", "--for", "beta", "merge", "the", "schema", "-m", "all of it")
    assert nameless(filed.out) == "ID ready   p1 merge the schema  (for beta, #db)\n"
    oid = filed.out.split()[0]
    assert nameless(cli(beta, "inbox").out) == "ID from gitcoord, just now\n  > alpha assigned you ID merge the schema\n"
    claimed = "ID claimed p1 merge the schema  (beta active, #db)\n"
    assert nameless(cli(beta, "task", "next", "--claim").out) == claimed
    assert nameless(cli(beta, "task", "claim", oid).out) == claimed
    cli(alpha, "task", "comment", oid, "mind the index")
    assert "  > alpha on ID merge the schema: mind the index\n" in nameless(cli(beta, "inbox").out)
    assert nameless(cli(beta, "task", "done", oid, "on main").out) == "ID done    p1 merge the schema  (by beta, #db)\n"
    assert nameless(cli(alpha, "inbox").out).splitlines()[1] == "  > beta finished ID merge the schema: on main"
    assert cli(alpha, "tasks").out == "No tasks.\n"
    assert nameless(cli(alpha, "task", "show", oid).out) == dedent(
        """\
        task FULLID
        Title:    merge the schema
        Status:   done by beta (active), just now
        Priority: 1
        Filed:    by alpha, just now
        Assignee: beta
        Labels:   db

          > all of it

        alpha filed, just now
        beta claimed, just now
        alpha says, just now
          > mind the index
        beta finished, just now
          > on main
        """
    )


def test_json_of_a_task(worktrees: Pair, cli: Cli) -> None:
    first = json.loads(cli(worktrees[0], "task", "add", "first", "--json").out)
    cli(worktrees[0], "task", "add", "second", "-m", "text", "--label", "a", "--label", "b", "--needs", first["id"][:6])
    cli(worktrees[1], "task", "claim", first["id"])
    cli(worktrees[1], "task", "comment", first["id"], "hm")
    one, two = json.loads(cli(worktrees[0], "tasks", "--json").out)
    assert [two["history"][0].pop(key) is not None for key in ("id", "at")] == [True, True]
    assert two == {
        "id": two["id"], "title": "second", "text": "text", "status": "open", "priority": 2, "assignee": None,
        "labels": ["a", "b"], "needs": [first["id"]], "ready": False, "holder": None, "holder_state": None,
        "tentative": False, "comments": [], "history": [{"by": "alpha", "what": "filed", "text": "", "void": False}],
    }  # fmt: skip
    assert (one["holder"], one["holder_state"], one["ready"]) == ("beta", "active", False)
    assert [(c["from"], c["text"]) for c in one["comments"]] == [("beta", "hm")]
    assert [(s["by"], s["what"]) for s in one["history"]] == [("alpha", "filed"), ("beta", "claimed")]
    assert json.loads(cli(worktrees[0], "task", "show", first["id"], "--json").out) == one


def test_plain_git_reads_the_board(team: Team) -> None:
    task = team.pm.tasks.add("merge the schema", "all of it")
    team.ann.tasks.claim(task.id)
    team.ann.tasks.done(task.id, "on main")
    ref = git(team.pm.cwd, "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    lines = git(team.pm.cwd, "log", "--reverse", "--format=%an: %s", ref).splitlines()[3:]
    assert [nameless(line) for line in lines] == [
        "pm: merge the schema",
        "ann: claimed: merge the schema",
        "ann: done: merge the schema",
        "ann: ann finished ID merge the schema: on main",
    ]


def test_edits_add_up(team: Team) -> None:
    task = team.pm.tasks.add("a", "text", labels=["x", "y"], assignee="ann")
    other = team.pm.tasks.add("b")
    team.bob.tasks.edit(task.id, title="A", priority=0, labels=["z"], not_labels=["x"], needs=[other.id])
    now = team.pm.tasks.edit(task.id, text="", assignee="")
    assert (now.title, now.text, now.priority, now.labels, now.needs, now.assignee) == (
        "A",
        "",
        0,
        ("y", "z"),
        (other.id,),
        None,
    )
    assert team.pm.tasks.edit(task.id, not_needs=[other.id], assignee="bob").needs == ()
    assert mail(team.bob) == ["pm assigned you ID A"]


# claim


def test_claiming_what_one_holds_changes_nothing(team: Team) -> None:
    task = team.pm.tasks.add("a")
    team.ann.tasks.claim(task.id)
    before = log_tip(team.pm.cwd)
    assert team.ann.tasks.claim(task.id[:8]).holder == f"ann@{team.pm.clone.id}"
    assert log_tip(team.pm.cwd) == before


def test_a_claim_of_anothers_task_names_him(team: Team) -> None:
    task = team.pm.tasks.add("a").id
    team.ann.tasks.claim(task)
    with pytest.raises(Refused, match=rf"^{task[:10]} is held by ann \(active\)$"):
        team.bob.tasks.claim(task)


@pytest.mark.parametrize(("verb", "what"), [("done", "is done by ann already"), ("drop", "is dropped already")])
def test_what_is_over_cannot_be_claimed(team: Team, cli: Cli, verb: str, what: str) -> None:
    task = team.pm.tasks.add("a").id
    getattr(team.ann.tasks, verb)(task)
    before = log_tip(team.pm.cwd)
    ran = cli(team.pm.cwd, "task", "claim", task, env={"GIT_COORD_SESSION": "stranger"})
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"error: {task[:10]} {what}\nhint: git coord task reopen {task[:10]}\n"
    assert log_tip(team.pm.cwd) == before


def test_the_task_of_a_dead_holder_is_taken_over_and_told(team: Team) -> None:
    task = team.pm.tasks.add("a").id
    first = team.ann.tasks.claim(task)
    team.end("ann")
    assert [(t.ready, t.holder_state) for t in team.bob.tasks.list(ready=True)] == [(True, "gone")]
    taken = team.bob.tasks.next(claim=True)
    assert taken is not None and taken.holder == f"bob@{team.pm.clone.id}"
    assert [(s.what, s.void) for s in taken.history] == [("filed", False), ("claimed", False), ("took over", False)]
    assert team.pm.events.log(kind="task.claim")[0].data["supersedes"] == [first.history[-1].id]
    assert mail(team.pm) == mail(team.ann) == ["bob took over ID a, which ann held"]


@pytest.mark.parametrize(("silent", "state"), [(UNKNOWN_AFTER + 9, "unknown"), (GONE_AFTER + 9, "gone")])
def test_only_who_is_gone_loses_a_task(team: Team, repo: Path, silent: float, state: str) -> None:
    with Coord.open(repo, as_name="unbound") as unbound:
        task = team.pm.tasks.add("a").id
        unbound.tasks.claim(task)
        Records(str(repo / ".git" / "coord")).touch("unbound", time.time() - silent)
        assert team.pm.tasks.show(task).holder_state == state
        taken = team.bob.tasks.next(claim=True)
        assert (taken is not None) == (state == "gone")


def test_next_prefers_mine_then_nobodys_then_priority_then_age(team: Team) -> None:
    titles = [
        ("late", 2, None),
        ("bobs", 0, "bob"),
        ("urgent", 0, None),
        ("older", 1, None),
        ("younger", 1, None),
        ("mine", 4, "ann"),
    ]
    for title, priority, assignee in titles:
        team.pm.tasks.add(title, priority=priority, assignee=assignee)
    looked = team.ann.tasks.next()
    assert looked is not None and (looked.title, looked.status) == ("mine", "open")
    taken = [task.title for task in iter(lambda: team.ann.tasks.next(claim=True), None) if task]
    assert taken == ["mine", "urgent", "older", "younger", "late"]
    team.end("bob")
    last = team.ann.tasks.next(claim=True)
    assert last is not None and last.title == "bobs"


def test_next_without_any_exits_1(worktrees: Pair, cli: Cli) -> None:
    ran = cli(worktrees[0], "task", "next", "--claim")
    assert (ran.code, ran.out, ran.err) == (1, "", "No task is ready.\n")
    ran = cli(worktrees[0], "task", "next", "--wait=1s", "--json")
    assert (ran.code, ran.out, ran.err) == (1, "null\n", "")


def test_a_waiting_worker_gets_what_becomes_ready(team: Team, repo: Path) -> None:
    first = team.pm.tasks.add("first").id
    team.ann.tasks.claim(first)
    second = team.pm.tasks.add("second", needs=[first]).id
    waiter = Program(["-m", "gitcoord", "task", "next", "--claim", "--wait", "--json", "--as", "bob"], repo)
    team.ann.tasks.done(first)
    out, _ = waiter.communicate()
    assert (json.loads(out)["id"], waiter.returncode) == (second, 0)


def test_a_waiting_worker_gets_what_a_dead_one_held(team: Team, repo: Path) -> None:
    task = team.pm.tasks.add("first").id
    team.ann.tasks.claim(task)
    waiter = Program(["-m", "gitcoord", "task", "next", "--claim", "--wait", "--json", "--as", "bob"], repo)
    team.end("ann")
    out, _ = waiter.communicate()
    assert (json.loads(out)["holder"], json.loads(out)["id"]) == ("bob", task)


def test_wait_knows_when_a_task_is_done(worktrees: Pair, cli: Cli) -> None:
    with Coord.open(worktrees[0]) as alpha:
        task = alpha.tasks.add("a").id
        waiter = Program(["-m", "gitcoord", "wait", f"task:{task[:8]}=done"], worktrees[1])
        alpha.tasks.done(task)
        out, _ = waiter.communicate()
        assert out == f"task:{task[:8]}=done: task {task}, status done, holder alpha\n"
        assert cli(worktrees[1], "wait", f"task:{task}=ripe").code == 2


# end


@pytest.mark.parametrize("verb", ["done", "block", "release"])
def test_what_a_live_other_holds_needs_force(team: Team, cli: Cli, verb: str) -> None:
    task = team.pm.tasks.add("a").id
    team.ann.tasks.claim(task)
    before = log_tip(team.pm.cwd)
    reason = ["because"] if verb == "block" else []
    ran = cli(team.pm.cwd, "task", verb, task, *reason, "--as", "bob")
    hint = f"hint: git coord task {verb} {task[:10]} --force\n"
    assert (ran.code, ran.out, ran.err) == (1, "", f"error: {task[:10]} is held by ann (active)\n{hint}")
    assert log_tip(team.pm.cwd) == before
    assert cli(team.pm.cwd, "task", verb, task, *reason, "--force", "--as", "bob").code == 0
    word = {"done": "finished", "block": "blocked", "release": "released"}[verb]
    assert mail(team.ann) == mail(team.pm) == [f"bob {word} ID a{': because' if reason else ''}"]


def test_of_a_gone_holder_everything_may_be_ended_without_force(team: Team) -> None:
    task = team.pm.tasks.add("a").id
    team.ann.tasks.claim(task)
    team.end("ann")
    assert team.bob.tasks.release(task).status == "open"


def test_blocked_and_resumed_by_its_holder_or_reopened_by_anybody(team: Team) -> None:
    task = team.pm.tasks.add("a").id
    team.ann.tasks.claim(task)
    blocked = team.ann.tasks.block(task, "no key")
    assert (blocked.status, blocked.words, blocked.holder) == ("blocked", "no key", f"ann@{team.pm.clone.id}")
    with pytest.raises(Refused, match="is held by ann"):
        team.bob.tasks.claim(task)
    assert team.bob.tasks.next() is None
    assert [s.what for s in team.ann.tasks.claim(task).history][-1] == "resumed"
    team.ann.tasks.block(task, "no key")
    assert (team.pm.tasks.reopen(task).status, team.pm.tasks.show(task).holder) == ("open", None)
    assert mail(team.ann) == ["pm reopened ID a"]


def test_blocked_by_nobody_in_particular_is_claimed_by_nobody(team: Team) -> None:
    task = team.pm.tasks.add("a").id
    team.pm.tasks.block(task, "wait for the release")
    with pytest.raises(Refused, match="is blocked"):
        team.ann.tasks.claim(task)


def test_verbs_that_changed_nothing_write_nothing(team: Team) -> None:
    task = team.pm.tasks.add("a").id
    team.pm.tasks.release(task)
    team.pm.tasks.reopen(task)
    assert [s.what for s in team.pm.tasks.show(task).history] == ["filed"]
    team.ann.tasks.done(task)
    team.ann.tasks.done(task)
    assert [s.what for s in team.pm.tasks.show(task).history] == ["filed", "finished"]
    with pytest.raises(Refused, match="is done by ann already"):
        team.bob.tasks.done(task)
    with pytest.raises(Refused, match="is done by ann and cannot be blocked"):
        team.ann.tasks.block(task, "x")


# needs


def test_done_and_dropped_make_ready_and_that_is_told_once(team: Team) -> None:
    a, b = team.pm.tasks.add("a").id, team.pm.tasks.add("b").id
    team.ann.tasks.add("c", needs=[a, b], assignee="bob")
    assert [t.title for t in team.ann.tasks.list(ready=True)] == ["a", "b"]
    team.bob.tasks.done(a)
    assert (mail(team.pm), mail(team.ann), mail(team.bob)) == (["bob finished ID a"], [], ["ann assigned you ID c"])
    team.pm.tasks.drop(b)
    assert [t.title for t in team.ann.tasks.list(ready=True)] == ["c"]
    assert (mail(team.pm), mail(team.ann), mail(team.bob)) == ([], ["ready now: ID c"], ["ready now: ID c"])
    team.pm.tasks.reopen(a)
    assert [t.title for t in team.ann.tasks.list(ready=True)] == ["a"]


def test_who_filed_both_hears_of_both_in_one_message(team: Team) -> None:
    a = team.pm.tasks.add("a").id
    team.pm.tasks.add("b", needs=[a])
    team.ann.tasks.done(a, "two\nlines")
    assert mail(team.pm) == ["ann finished ID a:\ntwo\nlines\nready now: ID b"]


def test_a_cycle_is_refused(team: Team) -> None:
    a = team.pm.tasks.add("a").id
    b = team.pm.tasks.add("b", needs=[a]).id
    c = team.pm.tasks.add("c", needs=[b]).id
    before = log_tip(team.pm.cwd)
    for need in (a, b, c):
        with pytest.raises(UsageError, match=rf"{need[:10]} needs {a[:10]}"):
            team.pm.tasks.edit(a, needs=[need])
    assert log_tip(team.pm.cwd) == before


# many at once

PLAN = """\
{"id": "ui", "title": "use it", "needs": ["schema"], "assignee": "beta", "priority": 0}

{"id": "docs", "title": "write about it", "needs": ["ui", "schema"], "labels": ["docs"], "assignee": "beta"}
{"id": "schema", "title": "merge it", "text": "all of it"}
"""


def test_a_file_of_tasks_that_need_each_other(worktrees: Pair, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(PLAN)
    ran = cli(worktrees[0], "task", "add", "-F", str(tmp_path / "plan"))
    assert nameless(ran.out).splitlines() == [
        "ID open    p0 use it  (for beta, needs ID)",
        "ID open    p2 write about it  (for beta, needs ID ID, #docs)",
        "ID ready   p2 merge it",
    ]
    ui, docs, schema = (
        json.loads(cli(worktrees[0], "task", "show", line.split()[0], "--json").out) for line in ran.out.splitlines()
    )
    assert (ui["needs"], docs["needs"], schema["text"]) == ([schema["id"]], sorted([ui["id"], schema["id"]]), "all of it")
    with Coord.open(worktrees[1]) as beta:
        assert mail(beta) == ["alpha assigned you 2 tasks:\nID use it\nID write about it"]
    again = cli(
        worktrees[0], "task", "add", "-F", "-", "--json", stdin=json.dumps({"title": "more", "needs": [schema["id"][:9]]})
    )
    assert json.loads(again.out)[0]["needs"] == [schema["id"]]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "there is no task in the file"),
        ("{", "line 1 is not JSON"),
        ('{"title": "a"}\n[]', "line 2 is not a JSON object"),
        ('{"title": ""}', "line 1: the title is empty"),
        ('{"text": "a"}', "line 1: the title is empty"),
        ('{"title": "a", "need": []}', "line 1: 'need' is not a known key"),
        ('{"title": "a", "needs": "b"}', "line 1: needs is not a list of texts"),
        ('{"title": "a", "priority": true}', "line 1: priority is not a whole number"),
        ('{"title": "a", "priority": 5}', "line 1: 5 is not a priority"),
        ('{"title": "a", "labels": ["a b"]}', "line 1: 'a b' is not a label"),
        ('{"title": "a\\ud800"}', "line 1: the text is not valid Unicode"),
        ('{"id": "a", "title": "a"}\n{"id": "a", "title": "b"}', "line 2: a second task has the id 'a'"),
        ('{"id": "a", "title": "A", "needs": ["b"]}\n{"id": "b", "title": "B", "needs": ["a"]}', "'B' needs itself in a cycle"),
        ('{"id": "a", "title": "A", "needs": ["a"]}', "'A' needs itself in a cycle"),
        ('{"title": "a"}\n{"title": "b", "needs": ["deadbeef"]}', "no task has the id deadbeef"),
        ('{"title": "a"}\n{"title": "b", "assignee": "nobody"}', "no session is called nobody"),
    ],
)
def test_a_bad_file_files_nothing(repo: Path, cli: Cli, text: str, what: str) -> None:
    (repo / "plan").write_text(text)
    before = log_tip(repo)
    ran = cli(repo, "task", "add", "-F", "plan")
    assert (ran.code, ran.out, ran.err.splitlines()[0]) == (2, "", f"error: {what}")
    assert len(ran.err.splitlines()) == 2
    assert log_tip(repo) == before


def test_order_follows_needs_and_else_the_file(tmp_path: Path) -> None:
    tasks = [
        NewTask("d", local="d", needs=("b", "c")),
        NewTask("a", local="a"),
        NewTask("b", local="b"),
        NewTask("c", local="c", needs=("a",)),
    ]
    assert [tasks[place].title for place in in_order(tasks)] == ["b", "a", "c", "d"]
    chain = [NewTask(str(n), local=str(n), needs=(str(n + 1),) if n < 4999 else ()) for n in range(5000)]
    assert in_order(chain) == list(reversed(range(5000)))
    assert parse(PLAN)[0] == NewTask("use it", "", 0, (), ("schema",), "beta", "ui")


# lists


def test_lists_by_what_one_wants_to_see(team: Team) -> None:
    a, b, c = (team.pm.tasks.add(title).id for title in "abc")
    team.ann.tasks.add("d", assignee="bob")
    team.ann.tasks.claim(a)
    team.bob.tasks.done(b)
    team.pm.tasks.drop(c)

    def titles(coord: Coord, **which: Any) -> str:
        return "".join(task.title for task in coord.tasks.list(**which))

    assert titles(team.pm) == "da"  # ready tasks come first
    assert titles(team.pm, sort="age") == "ad"
    assert titles(team.pm, everything=True, sort="age") == "abcd"
    assert titles(team.pm, holder="ann") == titles(team.pm, holder=f"ann@{team.pm.clone_id}") == "a"
    assert titles(team.pm, assignee="bob") == "d"
    assert titles(team.pm, filed=True) == titles(team.ann, mine=True) == "a"
    assert titles(team.bob, mine=True) == titles(team.bob, ready=True) == "d"
    assert [titles(team.bob, status=status) for status in ("open", "claimed", "blocked", "done", "dropped")] == [
        "d",
        "a",
        "",
        "b",
        "c",
    ]
    for wrong, match in (({"status": "ripe"}, "'ripe' is not a status"), ({"sort": "luck"}, "'luck' is not an order"),
                         ({"holder": "nemo"}, "no session is called nemo")):  # fmt: skip
        with pytest.raises(UsageError, match=match):
            team.bob.tasks.list(**wrong)


def test_a_list_shows_first_what_is_worth_most(team: Team, cli: Cli) -> None:
    first = team.pm.tasks.add("p3", priority=3).id
    for title, priority, labels, needs in (("p0 waits", 0, ["db"], [first]), ("p1", 1, ["db", "ui"], []), ("p2", 2, [], [])):
        team.pm.tasks.add(title, priority=priority, labels=labels, needs=needs)
    titles = [line.split(" ", 3)[3].split("  (")[0] for line in cli(team.pm.cwd, "tasks", "-n", "3").out.splitlines()[:3]]
    assert [title.strip() for title in titles] == ["p1 p1", "p2 p2", "p3 p3"]
    assert cli(team.pm.cwd, "tasks", "-n", "3").out.splitlines()[-1] == "(1 more: -n 4)"
    assert [task.title for task in team.pm.tasks.list(labels=["db"])] == ["p1", "p0 waits"]
    assert [task.title for task in team.pm.tasks.list(labels=["db", "ui"])] == ["p1"]
    team.pm.tasks.edit(first, title="p3 again")  # often in the second in which the others were filed
    assert json.loads(cli(team.pm.cwd, "tasks", "--json", "--sort", "changed", "-n", "1").out)[0]["title"] == "p3 again"


def test_a_long_list_says_that_it_is_cut(team: Team, cli: Cli) -> None:
    team.pm.tasks.add_all([NewTask(f"task {number}") for number in range(23)])
    lines = cli(team.pm.cwd, "tasks", "--as", "pm").out.splitlines()
    assert (len(lines), lines[-1]) == (21, "(3 more: -n 23)")
    assert len(json.loads(cli(team.pm.cwd, "task", "list", "--json", "--as", "pm").out)) == 23


def test_names_are_followed_through_a_rename(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        task = alpha.tasks.add("a", assignee="beta").id
        beta.tasks.claim(task)
        beta.sessions.join("bea")
        assert [t.id for t in beta.tasks.list(mine=True)] == [task]
        seen = alpha.tasks.show(task)
        assert (seen.holder, seen.assignee, seen.holder_state) == (f"bea@{alpha.clone.id}", f"bea@{alpha.clone.id}", "active")
        assert beta.tasks.done(task).status == "done"
        assert mail(alpha) == ["bea finished ID a"]


def test_what_one_works_on_is_the_task_one_holds_unless_one_said_otherwise(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        assert alpha.sessions.get("beta").subject == "first"
        beta.tasks.claim(alpha.tasks.add("merge the schema").id)
        assert alpha.sessions.get("beta").focus == "merge the schema"
        beta.sessions.focus("lunch")
        assert alpha.sessions.get("beta").focus == "lunch"


def test_the_board_fits_the_terminal(team: Team, cli: Cli) -> None:
    a = team.pm.tasks.add("merge the schema, all of it, with its migrations and what depends on it").id
    team.pm.tasks.add("使用新的数据库架构来写文档", needs=[a])
    team.ann.tasks.claim(a)
    team.bob.tasks.done(team.pm.tasks.add("old").id)
    wide = cli(team.pm.cwd, "board", "--as", "pm", env={"COLUMNS": "100"}).out
    assert re.sub(r"\b[0-9a-f]{8}\b", "SHORT_ID", wide) == (
        "ready/open 1             claimed 1                blocked 0                done lately\n"
        "───────────────────────  ───────────────────────  ───────────────────────  ───────────────────────\n"
        "SHORT_ID p2 waits        SHORT_ID p2 ann                                   SHORT_ID p2 bob\n"
        "使用新的数据库架构来写…  merge the schema, all                             old\n"
        "                         of it, with its…\n"
    )  # fmt: skip
    for columns in ("20", "40", "72", "200"):
        shown = cli(team.pm.cwd, "board", "--as", "pm", env={"COLUMNS": columns}).out
        assert all(len(line) <= int(columns) for line in shown.splitlines())
    found = json.loads(cli(team.pm.cwd, "board", "--json", "--as", "pm").out)
    assert {name: len(column) for name, column in found.items()} == {"open": 1, "claimed": 1, "blocked": 0, "done": 1}


# bad input


@pytest.mark.parametrize(
    ("args", "code", "what"),
    [
        (["task", "add"], 2, "error: the title is empty"),
        (["task", "add", " \n"], 2, "error: the title is empty"),
        (["task", "add", "x" * 201], 2, "error: the title has 201 characters, at most 200 fit"),
        (["task", "add", "x", "--for", "bta"], 2, "error: no session is called bta"),
        (["task", "add", "x", "--needs", "deadbeef"], 2, "error: no task has the id deadbeef"),
        (["task", "add", "x", "--label", "a,b"], 2, "error: 'a,b' is not a label"),
        (["task", "add", "x", "-p", "5"], 2, "error: Invalid value for '-p': 5 is not in the range 0<=x<=4"),
        (["task", "add", "x", "-F", "plan"], 2, "error: -F takes everything from the file"),
        (["task", "add", "x", "-m", "y" * 65536], 2, "error: the text has 65539 bytes, at most 65536 fit a message"),
        (["task", "show", "zzzz"], 2, "error: 'zzzz' is not an id"),
        (["task", "claim", "deadbeef"], 2, "error: no task has the id deadbeef"),
        (["task", "block", "deadbeef"], 2, "error: the reason is missing"),
        (["task", "comment", "deadbeef"], 2, "error: the text is empty"),
        (["task", "edit", "deadbeef"], 2, "error: the command changes nothing"),
        (["task", "edit", "deadbeef", "--title", ""], 2, "error: the title is empty"),
        (["task", "next", "--wait=soon"], 2, "error: --wait soon is not a duration"),
        (["task", "frobnicate"], 2, "error: No such command 'frobnicate'"),
        (["tasks", "--status", "ripe"], 2, "error: Invalid value for '--status'"),
        (["alloc", "a b"], 2, "error: 'a b' is not a valid sequence name"),
        (["alloc", "a", "--start", "-1"], 2, "error: -1 is not a number to start with"),
        (["alloc", "a", "--start", "9" * 30], 2, f"error: {'9' * 30} is not a number to start with"),
    ],
)
def test_bad_input_is_one_line_and_nothing_written(repo: Path, cli: Cli, args: list[str], code: int, what: str) -> None:
    before = log_tip(repo)
    ran = cli(repo, *args)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith(what) and len(ran.err.splitlines()) == 2 and "\nhint: " in ran.err
    assert log_tip(repo) == before


def test_who_is_refused_is_not_registered(team: Team, cli: Cli) -> None:
    team.ann.tasks.claim(team.pm.tasks.add("a").id)
    before = git(team.pm.cwd, "for-each-ref", "refs/coord")
    assert cli(team.pm.cwd, "task", "next", "--claim", env={"GIT_COORD_SESSION": "stranger"}).code == 1
    assert git(team.pm.cwd, "for-each-ref", "refs/coord") == before


def test_text_of_others_is_shown_inert(worktrees: Pair, cli: Cli) -> None:
    ran = cli(worktrees[0], "task", "add", "a\x1b[31mred", "-m", "\x1b[2J\nTitle:    forged")
    assert "\x1b" not in ran.out and "a\\x1b[31mred" in ran.out
    shown = cli(worktrees[1], "task", "show", ran.out.split()[0]).out
    assert "  > \\x1b[2J\n  > Title:    forged\n" in shown


def test_a_claim_made_offline_is_tentative_only_beside_a_remote(team: Team) -> None:
    a, b = team.pm.tasks.add("a").id, team.pm.tasks.add("b").id
    assert team.ann.tasks.claim(a, offline=True).tentative is False
    git(team.pm.cwd, "config", "coord.remote", "origin")
    with Coord.open(team.pm.cwd, as_name="bob") as bob:
        assert bob.tasks.claim(b, offline=True).tentative is True
        assert bob.tasks.done(b).tentative is False


def test_the_clock_passed_in_is_the_clock_used(team: Team, repo: Path) -> None:
    with Coord.open(repo, as_name="unbound") as unbound:
        unbound.tasks.claim(team.pm.tasks.add("a").id)
        clone, me = team.pm.clone, team.pm.identity
        assert [t.holder_state for t in list_tasks(clone, me)] == ["active"]
        assert [t.holder_state for t in list_tasks(clone, me, now=time.time() + GONE_AFTER + 9)] == ["gone"]


# numbers


def test_numbers_of_a_sequence(worktrees: Pair, cli: Cli) -> None:
    assert [cli(worktrees[n % 2], "alloc", "migrations").out for n in range(3)] == ["1\n", "2\n", "3\n"]
    assert json.loads(cli(worktrees[0], "alloc", "ports", "--start", "8000", "--json").out) == {
        "sequence": "ports",
        "number": 8000,
    }
    assert cli(worktrees[0], "alloc", "ports").out == "8001\n"
    assert cli(worktrees[0], "alloc", "ports", "--start", "7000").out == "8002\n"
    assert cli(worktrees[0], "alloc", "ports", "--start", "9000").out == "9000\n"
    with Coord.open(worktrees[0]) as alpha:
        assert [e.text for e in alpha.events.log(kind="alloc")][-2:] == ["beta took migrations 2", "alpha took migrations 1"]
        assert alpha.numbers.allocate("last", start=10**15).number == 10**15
        with pytest.raises(Refused, match="all numbers of last are used"):
            alpha.numbers.allocate("last")


# claimed by the person, for a session


@pytest.fixture
def user(repo: Path) -> Iterator[Coord]:
    with Coord.open(repo) as coord:
        coord.speak_as(coord.sessions.user())
        yield coord


def test_the_person_claims_for_a_session_which_holds_it_and_is_told(team: Team, user: Coord) -> None:
    filed = team.pm.tasks.add("it")
    team.pm.inbox(), team.ann.inbox()
    records = Records(user.clone.repo.coord_dir)
    before = records.beat("ann")
    held = user.tasks.claim_for("ann", filed.id)
    assert (held.status, held.holder) == ("claimed", f"ann@{user.clone_id}")
    assert [(step.sender.partition("@")[0], step.text) for step in held.history[1:]] == [("ann", "ada-lovelace did it for ann")]
    assert records.beat("ann") == before  # what the person does is no sign of its life
    assert mail(team.ann) == ["ada-lovelace claimed ID it for you: you hold it"]
    assert mail(team.pm) == ["ada-lovelace claimed ID it for ann"]
    assert user.tasks.claim_for("ann", filed.id).history == held.history
    with pytest.raises(Refused, match=r"is held by ann \(active\)"):
        user.tasks.claim_for("bob", filed.id)
    assert team.ann.tasks.done(filed.id).status == "done"


def test_a_claim_for_a_session_takes_over_from_one_that_is_gone_and_is_never_for_one(team: Team, user: Coord) -> None:
    filed = team.bob.tasks.claim(team.pm.tasks.add("it").id)
    team.end("bob")
    with pytest.raises(Refused, match="bob is gone"):
        user.tasks.claim_for("bob", filed.id)
    assert user.tasks.claim_for("ann", filed.id).holder == f"ann@{user.clone_id}"


def test_only_the_person_claims_for_others(team: Team, repo: Path) -> None:
    filed = team.pm.tasks.add("it")
    count = len(team.pm.events.log())
    with pytest.raises(Refused, match="only this repository's user") as refused:
        team.pm.tasks.claim_for("ann", filed.id)
    assert refused.value.hint == f"git coord task claim {filed.id[:10]} --for ann --as ada-lovelace"
    with Coord.open(repo, environ={"CLAUDECODE": "1", "GIT_COORD_SESSION": "pm"}) as agent:
        with pytest.raises(Refused) as refused:
            agent.tasks.claim_for("ann", filed.id)
        assert refused.value.hint == f"git coord task edit {filed.id[:10]} --assignee ann"
    assert len(team.pm.events.log()) == count


def test_claim_for_on_the_command_line(team: Team, repo: Path, cli: Cli) -> None:
    filed = team.pm.tasks.add("it")
    done = cli(repo, "task", "claim", filed.id, "--for", "ann", "--as", "ada-lovelace")
    assert done.out == f"{filed.id[:10]} claimed p2 it  (ann active)\n"
    assert cli(repo, "task", "claim", filed.id, "--for", "nobody", "--as", "ada-lovelace").code == 2
