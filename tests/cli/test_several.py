"""Several ids in one command, and words that may be an id or text."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import Cli, nameless
from terminals import at_a_terminal

from gitcoord import Coord


def test_several_tasks_end_with_one_text(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[0]) as coord:
        tasks = [coord.tasks.add(f"part {n}").id for n in range(3)]
        done = cli(worktrees[0], "task", "done", tasks[0][:8], tasks[1][:8], "merged", "as", "beef", "77aa12b")
        assert (done.code, done.err) == (0, "")
        assert [coord.tasks.show(oid).status for oid in tasks] == ["done", "done", "open"]
        assert {coord.tasks.show(oid).words for oid in tasks[:2]} == {"merged as beef 77aa12b"}
        assert cli(worktrees[0], "task", "reopen", *tasks[:2]).code == 0
        printed = json.loads(cli(worktrees[0], "task", "claim", *tasks, "--json").out)
        assert [one["status"] for one in printed] == ["claimed"] * 3


def test_several_messages_are_acked(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[1]) as beta:
        ids = [beta.send("alpha", f"part {n}", needs_ack=True).id for n in range(2)]
        done = cli(worktrees[0], "ack", *ids)
        assert (done.code, done.out) == (0, "".join(f"acked {oid}\n" for oid in ids))
        assert [d.state for message in beta.messages.sent() for d in message.recipients] == ["acked", "acked"]


def test_an_id_that_stands_for_nothing_keeps_all_as_they_were(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[0]) as coord:
        task = coord.tasks.add("one").id
        mistyped = cli(worktrees[0], "task", "done", task, "1234567a", "merged")
        assert (mistyped.code, mistyped.err) == (2, "error: no event has the id 1234567a\nhint: git coord log\n")
        note = coord.notes.add("not a task")
        assert cli(worktrees[0], "task", "done", task, note).code == 2
        assert coord.tasks.show(task).status == "open"


def test_a_second_id_is_no_text(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[0]) as coord:
        first, second = coord.tasks.add("one").id, coord.tasks.add("two").id
        refused = cli(worktrees[0], "task", "block", first[:8], second[:8], "waits")
        assert refused.code == 2
        assert refused.err.startswith(f"error: this takes one id, and {second[:8]} is a second\n")
        short = cli(worktrees[0], "task", "done", first, second[:5], "merged")
        assert (short.code, short.err.splitlines()[0]) == (2, f"error: {second[:5]} may be an id or a word")
        assert cli(worktrees[0], "task", "block", first, "-m", second[:8]).code == 0
        assert coord.tasks.show(first).words == second[:8]


def test_all_mail_is_marked_unseen(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[1]) as beta:
        for n in range(25):
            beta.send("alpha", f"part {n}")
        assert cli(worktrees[0], "inbox", "--mark-all", "--from", "nobody").code == 2
        assert cli(worktrees[0], "inbox", "--mark-all", "--peek").code == 2
        assert cli(worktrees[1], "inbox", "--mark-all", "--as", "alpha").code == 1
        assert cli(worktrees[0], "inbox", "--mark-all").out == "25 marked read\n"
        assert cli(worktrees[0], "inbox").out == "No new messages.\n"
        assert beta.messages.sent(undelivered=True) == []


# a text in the editor


def test_without_a_text_a_person_is_asked_in_the_editor(worktrees: tuple[Path, Path], cli: Cli) -> None:
    code, shown = at_a_terminal(
        worktrees[0], "send", "beta", GIT_EDITOR="""sh -c 'printf "one\\n\\ntwo\\n# not this\\n" >"$1"' -"""
    )
    assert (code, "queued for beta" in shown) == (0, True), shown
    with Coord.open(worktrees[1]) as beta:
        assert [message.text for message in beta.inbox().messages] == ["one\n\ntwo"]


def test_an_editor_that_is_left_without_a_text_does_nothing(worktrees: tuple[Path, Path], cli: Cli) -> None:
    code, shown = at_a_terminal(worktrees[0], "note", GIT_EDITOR="true")
    assert (code, shown.splitlines()[0]) == (2, "error: the text is empty, so nothing was done")
    assert cli(worktrees[0], "notes").out == "No notes.\n"


def test_an_agent_is_never_asked(worktrees: tuple[Path, Path]) -> None:
    code, shown = at_a_terminal(worktrees[0], "note", GIT_EDITOR="sleep 999", CLAUDECODE="1")
    assert (code, shown.splitlines()[0]) == (2, "error: the text is empty")


def test_the_log_is_asked_as_git_log_is(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        alpha.notes.add("one")
        beta.notes.add("two")
    assert nameless(cli(worktrees[0], "log", "-n", "1", "--oneline").out).startswith("ID note     beta: two\n")
    assert nameless(cli(worktrees[0], "log", "--from", "alpha", "--type", "note").out) == "ID note     alpha, just now: one\n"
    dated = cli(worktrees[0], "log", "--since", "yesterday", "--type", "note", "--date", "iso").out
    assert re.fullmatch(r"(\w{10} note     \w+, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000: \w+\n){2}", dated)
    assert cli(worktrees[0], "log", "--since", "2099-01-01").out == "Nothing happened.\n"
    for wrong in (["--since", "whenever"], ["--from", "nemo"], ["--type", "nonsense"], ["--date", "stardate"]):
        done = cli(worktrees[0], "log", *wrong)
        assert (done.code, done.out, done.err.startswith("error: ")) == (2, "", True), wrong
