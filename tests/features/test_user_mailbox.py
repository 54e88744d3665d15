"""The user of the repository: a mailbox from the beginning, a voice of their own, never an agent's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.errors import Refused
from gitcoord.names import split_mailbox

Pair = tuple[Path, Path]


def test_the_user_can_be_written_to_before_they_ever_wrote(worktrees: Pair, cli: Cli) -> None:
    sent = cli(worktrees[0], "send", "ada-lovelace", "which one first?", "--needs-ack")
    assert sent.code == 0 and "ada-lovelace" in sent.out and "gone" not in sent.out
    with Coord.open(worktrees[1]) as coord:
        assert not [s for s in coord.sessions.list(everyone=True) if s.session == "ada-lovelace"]
        coord.speak_as(coord.sessions.user(looks_on=True))
        (message,) = coord.messages.awaiting().messages
        assert message.text == "which one first?"


def test_of_two_clones_with_the_same_user_the_bare_name_is_the_one_here(worktrees: Pair, tmp_path: Path, cli: Cli) -> None:
    remote = tmp_path / "hub.git"
    git(worktrees[0], "init", "-q", "--bare", str(remote))
    git(worktrees[0], "remote", "add", "origin", str(remote))
    git(tmp_path, "clone", "-q", str(remote), "other")
    with Coord.open(tmp_path / "other") as far:
        far.speak_as(far.sessions.user())
        far.notes.add("I was here")
        far.remote.sync()
    with Coord.open(worktrees[0]) as alpha:
        alpha.remote.sync()
        (recipient,) = alpha.send("ada-lovelace", "hello").recipients
        assert recipient.session == f"ada-lovelace@{alpha.clone_id}"


def test_what_the_user_reads_is_marked_theirs_and_registers_no_session(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "ada-lovelace", "look at this")
    with Coord.open(worktrees[1]) as coord:
        coord.speak_as(coord.sessions.user())
        coord.messages.mark_read(coord.messages.awaiting().messages)
        assert coord.messages.awaiting().messages == ()
        names = {s.session: s for s in coord.sessions.list(everyone=True) if s.session}
    assert set(names) == {"alpha", "beta", "ada-lovelace"} and names["ada-lovelace"].person
    assert "ada-lovelace read" in cli(worktrees[0], "sent").out


def test_who_looks_on_as_the_user_leaves_no_trace(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "ada-lovelace", "look at this")
    before = git(worktrees[0], "for-each-ref")
    with Coord.open(worktrees[1]) as coord:
        coord.speak_as(coord.sessions.user(looks_on=True))
        coord.messages.mark_read(coord.messages.awaiting().messages)
        assert len(coord.messages.awaiting().messages) == 1
    assert git(worktrees[0], "for-each-ref") == before


def test_what_asks_for_an_ack_waits_until_it_is_acked(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "ada-lovelace", "may I?", "--needs-ack")
    cli(worktrees[0], "send", "ada-lovelace", "by the way")
    with Coord.open(worktrees[1]) as coord:
        coord.speak_as(coord.sessions.user())
        coord.messages.mark_read(coord.messages.awaiting().messages)
        (left,) = coord.messages.awaiting().messages
        coord.messages.ack(left.id, "yes")
        assert coord.messages.awaiting().messages == ()


@pytest.mark.parametrize("mark", ["CLAUDECODE", "CODEX_THREAD_ID"])
def test_an_agent_cannot_speak_as_the_user(worktrees: Pair, mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mark, "1")
    with Coord.open(worktrees[0]) as coord, pytest.raises(Refused, match="an agent cannot be the user"):
        coord.sessions.user()


def test_nor_can_what_runs_under_a_process_that_is_bound_to_a_session(
    worktrees: Pair, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli(worktrees[0], "join", "robot", "--pid", str(os.getppid()))
    with Coord.open(worktrees[0]) as coord, pytest.raises(Refused):
        coord.sessions.user()


def test_the_conversation_of_all_has_the_ledger_of_each_message(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        for number in range(3):
            alpha.send("beta", f"number {number}")
        beta.messages.mark_read(beta.inbox(limit=1).messages)
        beta.messages.reply(beta.inbox().messages[0].id, "100% of it")
        talk = alpha.messages.recent(limit=3)
        assert [said.message.text for said in talk.said] == ["number 1", "number 2", "100% of it"] and talk.more
        assert [[(split_mailbox(d.session)[0], d.state) for d in said.ledger] for said in talk.said] == [
            [("beta", "read")],
            [("beta", "queued")],
            [("alpha", "queued")],
        ]
        assert [s.message.text for s in alpha.messages.recent(words="0% of").said] == ["100% of it"]
        assert len(alpha.messages.recent(session="alpha").said) == 4
        assert not alpha.messages.recent().more


def test_the_board_at_a_glance_says_what_waits_for_what(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha:
        first = alpha.tasks.add("first")
        then = alpha.tasks.add("then", needs=[first.id])
        alpha.tasks.claim(first.id)
        board = alpha.tasks.board()
        assert [(row.title, row.ready) for row in board.tasks] == [("first", False), ("then", False)]
        assert board.needs == {then.id: (first.id,)} and board.states == {alpha.mailbox: "active"}
        alpha.tasks.done(first.id)
        board = alpha.tasks.board()
        assert [row.title for row in board.tasks] == ["then", "first"] and board.needs == {} and board.tasks[0].ready
