"""Messages: recipients, ledgers, what is shown and what is marked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from conftest import Cli, git, nameless

from gitcoord import Coord, Refused, UsageError
from gitcoord.features.messages.inbox import inbox
from gitcoord.store.ref_names import owner

Pair = tuple[Path, Path]


def log_tip(where: Path) -> str:
    return git(where, "for-each-ref", "refs/coord/log")


def ledger(coord: Coord) -> list[list[tuple[str, str]]]:
    """The ledger of what a session sent, oldest first, with bare names."""
    return [[(d.session.split("@")[0], d.state) for d in m.recipients] for m in reversed(coord.messages.sent())]


def test_the_whole_way_of_a_message(worktrees: Pair, cli: Cli) -> None:
    alpha, beta = worktrees
    assert nameless(cli(alpha, "send", "beta", "the", "schema", "is", "merged").out) == "ID queued for beta (active)\n"
    assert nameless(cli(alpha, "sent").out) == "ID just now: beta queued\n  > the schema is merged\n"
    assert nameless(cli(beta, "inbox").out) == "ID from alpha, just now\n  > the schema is merged\n"
    assert cli(beta, "inbox").out == "No new messages.\n"
    assert nameless(cli(alpha, "sent").out) == "ID just now: beta read\n  > the schema is merged\n"
    first = json.loads(cli(alpha, "sent", "--json").out)[0]["id"]
    assert cli(beta, "ack", first[:8]).out == f"acked {first[:8]}\n"
    assert nameless(cli(alpha, "sent").out) == "ID just now: beta acked\n  > the schema is merged\n"
    assert cli(alpha, "sent", "--undelivered").out == "Everything was read.\n"


def test_a_conversation(worktrees: Pair, cli: Cli) -> None:
    alpha, beta = worktrees
    first = json.loads(cli(alpha, "send", "beta", "ready?", "--needs-ack", "--urgent", "--json").out)
    assert nameless(cli(beta, "inbox").out) == "ID from alpha, just now, urgent, please ack: git coord ack ID\n  > ready?\n"
    answer = json.loads(cli(beta, "reply", first["id"][:6], "nearly", "--json").out)
    assert answer["thread"] == first["id"]
    assert [r["session"] for r in answer["recipients"]] == ["alpha"]
    assert nameless(cli(alpha, "inbox").out) == "ID from beta, just now, in reply to ID\n  > nearly\n"
    assert json.loads(cli(alpha, "reply", answer["id"], "good", "--json").out)["thread"] == first["id"]
    conversation = cli(beta, "thread", answer["id"][:10])
    assert [line for line in conversation.out.splitlines() if line.startswith("  >")] == [
        "  > ready?",
        "  > nearly",
        "  > good",
    ]


def test_json_of_an_inbox(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "hi")
    (message,) = json.loads(cli(worktrees[1], "inbox", "--json").out)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", message.pop("sent"))
    oid = message.pop("id")
    assert message == {
        "from": "alpha", "to": ["beta"], "text": "hi", "thread": oid, "reply_to": None, "urgent": False,
        "needs_ack": False, "read": False, "attachments": [], "verified": None, "signature": None,
    }  # fmt: skip


def test_all_reaches_everybody_who_is_not_gone_but_the_sender(repo: Path, worktrees: Pair) -> None:
    git(repo, "worktree", "add", "-q", str(repo.parent / "gamma"))
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta, Coord.open(repo.parent / "gamma") as gamma:
        gamma.sessions.join()
        beta.sessions.leave()
        alpha.send("all", "lunch")
        assert ledger(alpha) == [[("gamma", "queued")]]
        beta.sessions.join()
        assert beta.messages.receive().messages == ()  # a later session has the notes


def test_a_role_reaches_those_who_have_it(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        with pytest.raises(UsageError, match="@reviewer reaches no session at the moment"):
            alpha.send("@reviewer", "look")
        beta.sessions.join(role="reviewer")
        alpha.send("role:reviewer", "look")
        alpha.send("@reviewer", "look again")
        assert ledger(alpha) == [[("beta", "queued")]] * 2


def test_several_recipients_are_one_message(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        alpha.send(["beta", "alpha", "beta"], "both")
        assert ledger(alpha) == [[("alpha", "queued"), ("beta", "queued")]]
        beta.messages.receive()
        assert ledger(alpha) == [[("alpha", "queued"), ("beta", "read")]]


def test_the_name_of_a_worktree_means_the_session_expected_there(repo: Path, worktrees: Pair, cli: Cli) -> None:
    git(repo, "worktree", "add", "-q", str(repo.parent / "gamma"))
    assert "gamma (expected)" in cli(worktrees[0], "send", "gamma", "welcome").out
    assert "welcome" in cli(repo.parent / "gamma", "inbox").out


def test_more_recipients_than_one_message_can_have_get_one_each(
    repo: Path, worktrees: Pair, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitcoord.features.messages.sending.MAX_RECIPIENTS", 1)
    with Coord.open(worktrees[0]) as alpha, Coord.open(repo, as_name="third") as third:
        third.sessions.join()
        sent = alpha.send("all", "hello", key="once")
        assert len({recipient.session for recipient in sent.recipients}) == len(sent.recipients) >= 2
        again = alpha.send("all", "hello", key="once")
        assert again.id == sent.id
        assert {message.thread for message in third.messages.receive().messages} == {sent.id}
    with Coord.open(worktrees[1]) as beta:
        assert [message.text for message in beta.messages.receive().messages] == ["hello"]


def test_one_unknown_among_several_refuses_all(worktrees: Pair, cli: Cli) -> None:
    before = log_tip(worktrees[0])
    ran = cli(worktrees[0], "send", "beta,bta", "hi")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: no session is called bta\nhint: did you mean beta?\n")
    assert log_tip(worktrees[0]) == before


def test_queue_opens_a_mailbox_for_one_yet_to_come(repo: Path, worktrees: Pair, cli: Cli) -> None:
    assert cli(worktrees[0], "send", "gamma", "welcome", "--queue").code == 0
    git(repo, "worktree", "add", "-q", str(repo.parent / "gamma"))
    assert "welcome" in cli(repo.parent / "gamma", "inbox").out
    assert cli(repo.parent / "gamma", "inbox").out == "No new messages.\n"
    assert cli(worktrees[0], "sessions", "gamma").code == 0


def test_twenty_at_a_time_oldest_first(worktrees: Pair, cli: Cli) -> None:
    with Coord.open(worktrees[0]) as alpha:
        for number in range(25):
            alpha.send("beta", f"message {number}")
    first = cli(worktrees[1], "inbox").out.splitlines()
    assert first[1] == "  > message 0"
    assert first[-1] == "(5 more: git coord inbox)"
    second = [line for line in cli(worktrees[1], "inbox").out.splitlines() if line.startswith("  >")]
    assert second == [f"  > message {n}" for n in range(20, 25)]
    again = [line for line in cli(worktrees[1], "inbox", "--again").out.splitlines() if line.startswith("  >")]
    assert again == second
    everything = cli(worktrees[1], "inbox", "--all", "--limit", "3").out.splitlines()
    assert everything[1] == "  > message 22"
    assert everything[-1] == "(22 more: git coord inbox --all --limit 1000)"


def test_only_from_one_sender(repo: Path, worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "from alpha")
    cli(repo, "send", "beta", "from main", env={"GIT_COORD_SESSION": "main"})
    only = cli(worktrees[1], "inbox", "--from", "main").out
    assert "from main" in only and "from alpha" not in only
    assert "from alpha" in cli(worktrees[1], "inbox").out


def test_peek_marks_nothing(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "hi")
    assert "hi" in cli(worktrees[1], "inbox", "--peek").out
    assert "hi" in cli(worktrees[1], "inbox").out


@pytest.mark.skipif(os.name == "nt", reason="a pipe that says when its reader left")
def test_what_a_closed_pipe_did_not_show_stays_unread(worktrees: Pair, cli: Cli) -> None:
    for word in ("one", "two", "three"):
        cli(worktrees[0], "send", "beta", word)
    program = f"'{sys.executable}' -m gitcoord inbox | head -1"
    first = subprocess.run(["sh", "-c", program], cwd=worktrees[1], capture_output=True, text=True, check=True).stdout
    assert len(first.splitlines()) == 1
    rest = [line for line in cli(worktrees[1], "inbox").out.splitlines() if line.startswith("  >")]
    assert rest == ["  > one", "  > two", "  > three"]
    assert cli(worktrees[1], "inbox").out == "No new messages.\n"


@pytest.mark.skipif(os.name == "nt", reason="a pipe that says when its reader left")
def test_what_a_reader_took_whole_is_read(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "one")
    program = f"'{sys.executable}' -m gitcoord inbox | cat"
    assert "one" in subprocess.run(["sh", "-c", program], cwd=worktrees[1], capture_output=True, text=True, check=True).stdout
    assert cli(worktrees[1], "inbox").out == "No new messages.\n"


def test_what_could_not_be_printed_stays_unread(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "hi")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gitcoord", "inbox"],
            cwd=worktrees[1],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert done.stderr.startswith("error: No space left on device")
    assert "hi" in cli(worktrees[1], "inbox").out


def test_a_message_that_expired_unread_bounces_once(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        sent = alpha.send("beta", "lunch at noon?", expires=60)
        later = sent_at(alpha, sent.id) + 61
        assert inbox(beta.clone, beta.identity, now=later).messages == ()
        assert inbox(beta.clone, beta.identity, now=later).messages == ()
        assert ledger(alpha) == [[("beta", "expired")]]
        (notice,) = alpha.messages.receive().messages
        assert (notice.notice, notice.reply_to) == ("bounce", sent.id)
        assert notice.text == f"Expired before beta@{alpha.clone.id} read it: lunch at noon?"
        assert alpha.messages.receive().messages == ()


def test_read_in_time_does_not_bounce(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        sent = alpha.send("beta", "lunch at noon?", expires=60)
        beta.messages.receive()
        assert inbox(alpha.clone, alpha.identity, now=sent_at(alpha, sent.id) + 61).messages == ()
        assert ledger(alpha) == [[("beta", "read")]]


def sent_at(coord: Coord, oid: str) -> int:
    return next(event.at for event in coord.events.log() if event.id == oid)


def test_attachments_are_files_in_the_commit(worktrees: Pair, cli: Cli, tmp_path: Path) -> None:
    data = bytes(range(256)) * 10
    (tmp_path / "trace.bin").write_bytes(data)
    (tmp_path / "notes.txt").write_text("hello\n")
    sent = cli(worktrees[0], "send", "beta", "see", "--attach", f"{tmp_path}/trace.bin", "--attach", f"{tmp_path}/notes.txt")
    assert sent.code == 0
    printed = cli(worktrees[1], "inbox").out
    shows = re.findall(r"attached: git show (\S+)", printed)
    assert [name.split(":")[1] for name in shows] == ["notes.txt", "trace.bin"]
    raw = subprocess.run(["git", "-C", str(worktrees[1]), "show", shows[1]], capture_output=True, check=True).stdout
    assert raw == data
    assert "warning" not in git(worktrees[0], "fsck", "--strict")


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["send", "beta"], "error: the text is empty"),
        (["send", "beta", "-m", " \n"], "error: the text is empty"),
        (["send", "beta", "words", "-m", "and more"], "error: the text is given twice"),
        (["send", "beta", "-F", "missing"], "error: cannot read missing: No such file or directory"),
        (["send", "beta", "x", "--attach", "missing"], "error: cannot read missing: No such file or directory"),
        (["send", "beta", "x", "--attach", ".git"], "error: '.git' is not a valid attachment name"),
        (["send", "beta", "x", "--expires", "soon"], "error: --expires soon is not a duration"),
        (["send", "", "x"], "error: no recipient is named"),
        (["send", "@nobody", "x"], "error: @nobody reaches no session at the moment"),
        (["send", "beta@elsewhere-12345678", "x"], "error: no session is called beta@elsewhere-12345678"),
        (["send", "b\x1b[31m", "x"], "error: no session is called b\\x1b[31m"),
        (["send", "Beta!", "x", "--queue"], "error: 'Beta!' is not a valid session name"),
        (["reply", "abc", "x"], "error: 'abc' is not an id"),
        (["reply", "deadbeef", "x"], "error: no message has the id deadbeef"),
        (["ack", "deadbeef"], "error: no message has the id deadbeef"),
        (["thread", "zzzz"], "error: 'zzzz' is not an id"),
        (["inbox", "--from", "nobody"], "error: no session is called nobody"),
        (["inbox", "--limit", "0"], "error: Invalid value for '-n' / '--limit': 0 is not in the range 1<=x<=100000"),
    ],
)
def test_bad_input_is_one_line_and_nothing_written(worktrees: Pair, cli: Cli, args: list[str], what: str) -> None:
    before = log_tip(worktrees[0])
    ran = cli(worktrees[0], *args)
    assert (ran.code, ran.out, ran.err.splitlines()[0]) == (2, "", what)
    assert ran.err.splitlines()[1].startswith("hint: ") and len(ran.err.splitlines()) == 2
    assert log_tip(worktrees[0]) == before


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"x" * 5_000_000, "error: the text has 5000000 bytes, at most 65536 fit a message"),
        (b"a\0b", "error: the text contains a NUL byte"),
        (b"\xed\xa0\x80", "error: - is not UTF-8 text"),
        (b"", "error: the text is empty"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(worktrees: Pair, data: bytes, what: str) -> None:
    before = log_tip(worktrees[0])
    argv = [sys.executable, "-m", "gitcoord", "send", "beta", "-F", "-"]
    done = subprocess.run(argv, cwd=worktrees[0], input=data, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.decode().splitlines()[0]) == (2, b"", what)
    assert log_tip(worktrees[0]) == before


def test_lone_surrogates_are_refused(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, pytest.raises(UsageError, match="not valid Unicode"):
        alpha.send("beta", "a\ud800b")


def test_text_is_kept_verbatim_but_shown_inert(worktrees: Pair, cli: Cli) -> None:
    text = "\n\x1b[31mred\x1b[0m\r\u202egnp\u202c\nCoord: {}\nID from ada, just now\n  > forged\n"
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", text)
    printed = cli(worktrees[1], "inbox", "--peek").out
    assert nameless(printed) == dedent(
        """\
        ID from alpha, just now
          >
          > \\x1b[31mred\\x1b[0m
          > \\u202egnp\\u202c
          > Coord: {}
          > ID from ada, just now
          >   > forged
        """
    ).replace("  >\n", "  > \n", 1)
    (message,) = json.loads(cli(worktrees[1], "inbox", "--json").out)
    shown = "\n\\x1b[31mred\\x1b[0m\\r\\u202egnp\\u202c\nCoord: {}\nID from ada, just now\n  > forged\n"
    assert message["text"] == shown
    with Coord.open(worktrees[1]) as beta:
        assert beta.messages.inbox(everything=True).messages[0].text == text


def test_ack_of_a_message_to_somebody_else_is_refused(repo: Path, worktrees: Pair, cli: Cli) -> None:
    sent = json.loads(cli(worktrees[0], "send", "beta", "hi", "--json").out)
    ran = cli(repo, "ack", sent["id"])
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {sent['id']} was not sent to project\n")


def test_an_ambiguous_id_names_its_candidates(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha:
        sent = alpha.send("beta", "one").id
        # two real ids with a long common prefix cannot be had by hand; the index is ours to forge
        twin = sent[:8] + "0" * 32
        alpha.clone.index.db.execute("UPDATE events SET id = ?, type = 'message' WHERE lc = 1", (twin,))
    with Coord.open(worktrees[0]) as alpha, pytest.raises(UsageError, match="is ambiguous") as caught:
        alpha.messages.thread(sent[:6])
    assert caught.value.hint and sent[:12] in caught.value.hint and twin[:12] in caught.value.hint


def test_local_messages_stay_out_of_the_log_that_is_synced(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        before = log_tip(worktrees[0])
        sent = alpha.send("beta", "between us", local=True)
        beta.messages.receive()
        assert ledger(alpha) == [[("beta", "read")]]
        beta.messages.reply(sent.id, "fine")
        assert [m.text for m in alpha.messages.receive().messages] == ["fine"]
        assert log_tip(worktrees[0]) == before
        assert git(worktrees[0], "for-each-ref", "refs/coord/local") == ""


def test_git_log_reads_as_the_conversation(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "ready?")
    ref = git(worktrees[0], "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    assert git(worktrees[0], "log", "-1", "--format=%an <%ae>: %s", ref) == "alpha <ada@example.org>: ready?\n"
    trailer = json.loads(git(worktrees[0], "log", "-1", "--format=%(trailers:key=Coord,valueonly)", ref))
    assert (trailer["type"], trailer["v"]) == ("message", 1)


def test_a_user_without_identity_can_write(worktrees: Pair, cli: Cli, hermetic: Path) -> None:
    (hermetic / ".gitconfig").write_text("")
    assert cli(worktrees[0], "send", "beta", "hi").code == 0
    ref = git(worktrees[0], "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    clone = owner(ref)
    assert (
        git(worktrees[0], "log", "-1", "--format=%ae|%cn|%ce", ref) == f"{clone}@coord.invalid|gitcoord|{clone}@coord.invalid\n"
    )
    assert "error" not in git(worktrees[0], "fsck", "--strict")


def test_search_finds_messages_and_notes(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "the 100% schema")
    cli(worktrees[0], "note", "Schema notes")
    cli(worktrees[0], "send", "beta", "other")
    assert [e["type"] for e in json.loads(cli(worktrees[1], "search", "SCHEMA", "--json").out)] == ["message", "note"]
    assert [e["text"] for e in json.loads(cli(worktrees[1], "search", "100%", "--json").out)] == ["the 100% schema"]
    assert cli(worktrees[1], "search", "0_").out == "Nothing found.\n"


def test_a_key_sends_once(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        beta.sessions.join("beta")
        first = alpha.send("beta", "deployed", key="deploy 17")
        beta.messages.receive()
        again = alpha.send("beta", "deployed", key="deploy 17")
        assert again.id == first.id
        assert [message.text for message in beta.inbox(everything=True).messages] == ["deployed"]
        with pytest.raises(Refused, match=f"another message, {first.id[:10]}"):
            alpha.send("beta", "rolled back", key="deploy 17")
        with pytest.raises(Refused):
            alpha.send("all", "deployed", key="deploy 17")
        assert beta.send("alpha", "deployed", key="deploy 17").id != first.id  # each session has its own keys
        alpha.sessions.join("gamma")  # the same session under another name
        assert alpha.send("beta", "deployed", key="deploy 17").id == first.id
        for wrong in ("two\nlines", "x" * 101):
            with pytest.raises(UsageError, match="a key is one line"):
                alpha.send("beta", "hi", key=wrong)
