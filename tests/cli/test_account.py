"""Receipts that are owed, talk between two sessions, and the acts of one."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import Cli, nameless
from forkserver import Program

from gitcoord import Coord

Pair = tuple[Path, Path]


def test_mail_that_was_read_and_not_acked_is_remembered(worktrees: Pair, cli: Cli) -> None:
    alpha, beta = worktrees
    with Coord.open(beta) as coord:
        ids = [coord.send("alpha", text, needs_ack=True).id for text in ("may I?", "and now?")]
        coord.send("alpha", "no answer needed")
    assert "owed" not in cli(alpha, "status").out, "unread mail is counted as unread"
    assert cli(alpha, "inbox").code == 0
    owed = "owed    2 acks by me, the oldest for mail of just now (git coord inbox --owed)\n"
    assert owed in nameless(cli(alpha, "status").out)
    assert json.loads(cli(alpha, "status", "--json=owed").out) == {"owed": {"by_me": 2, "to_me": 0}}
    brief = nameless(cli(alpha, "brief").out)
    assert "mail I have read and not acked\n  ID from beta, just now, asks for an ack\n    > may I?\n" in brief
    assert json.loads(cli(alpha, "inbox", "--owed", "--json=id").out) == [{"id": oid} for oid in ids]
    assert "owed    2 receipts by others (git coord sent --owed)\n" in cli(beta, "status").out
    assert cli(alpha, "reply", ids[0], "yes").code == 0, "an answer is an ack"
    assert cli(alpha, "ack", ids[1]).code == 0
    assert cli(alpha, "inbox", "--owed").out == "I owe no ack.\n"
    assert cli(beta, "sent", "--owed").out == "Nobody owes a receipt.\n"
    assert "owed" not in cli(alpha, "status").out + cli(beta, "status").out + cli(alpha, "brief").out


def test_what_is_overdue_is_shown_to_everybody(worktrees: Pair, repo: Path, cli: Cli) -> None:
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "please look", needs_ack=True)
        alpha.send("beta", "CI is red", urgent=True)
    assert cli(repo, "overdue").out == "Nothing is overdue.\n"
    assert nameless(cli(repo, "overdue", "--after", "0").out) == (
        "ID beta owes alpha an ack, just now\n  > please look\nID beta owes alpha to read it, just now\n  > CI is red\n"
    )
    first = json.loads(cli(repo, "overdue", "--after=0", "-n1", "--json=debtor,owes").out)
    assert first == [{"debtor": "beta", "owes": "ack"}]


def test_a_chat_has_both_sides_and_marks_what_it_shows(worktrees: Pair, cli: Cli) -> None:
    alpha, beta = worktrees
    with Coord.open(alpha) as a, Coord.open(beta) as b:
        question = a.send("beta", "tabs?").id
        b.messages.reply(question, "spaces\nplease")
        b.send("ada-lovelace", "not to alpha", queue=True)
    assert nameless(cli(alpha, "chat", "beta").out) == (
        "ID I, just now, read\n  > tabs?\nID beta, just now\n  > spaces\n  > please\n"
    )
    assert cli(alpha, "inbox").out == "No new messages.\n"
    assert [one["text"] for one in json.loads(cli(beta, "chat", "alpha", "-n", "1", "--json").out)] == ["spaces\nplease"]
    assert cli(alpha, "chat", "nobody").code == 2
    assert cli(alpha, "chat", "alpha").out == "Nothing was said.\n"


def test_a_chat_follows(worktrees: Pair) -> None:
    program = Program(["-m", "gitcoord", "chat", "beta", "-f", "--json"], worktrees[0])
    try:
        assert json.loads(program.stdout.readline()) == []
        with Coord.open(worktrees[1]) as beta, Coord.open(worktrees[0]) as alpha:
            alpha.send("beta", "to beta")
            beta.send("alpha", "to alpha")
        assert [json.loads(program.stdout.readline())["text"] for _ in range(2)] == ["to beta", "to alpha"]
    finally:
        program.kill()
        program.communicate()


def test_a_day_lists_what_a_session_did(worktrees: Pair, cli: Cli) -> None:
    with Coord.open(worktrees[0]) as alpha:
        task = alpha.tasks.add("parse").id
        alpha.tasks.claim(task)
        alpha.notes.add("a note")
    lines = cli(worktrees[1], "day", "alpha", "--since", "1h").out.splitlines()
    assert re.fullmatch(r"alpha since \w{3} \d\d \w{3} \d\d:\d\d: (1 join, )?1 task, 1 task.claim, 1 note", lines[0]), lines
    assert re.fullmatch(r"\d\d:\d\d \w{10} note     a note", lines[-1])
    assert cli(worktrees[1], "day", "--since", "2099-01-01").out.endswith(": nothing\n")
