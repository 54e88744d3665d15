"""The rules of identity in their order, on made-up surroundings and on real processes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord, UsageError
from gitcoord.sessions.identity import Identity, Surroundings, person_name, who_am_i
from gitcoord.sessions.records import Record, Records
from gitcoord.store.repository import Repository
from gitcoord.system import process as processes
from gitcoord.system.process import Process

NOW = 1_000_000.0
DEAD = Process(2**22 + 1, "1", processes.boot_id(), processes.namespace())
ELSEWHERE = Process(1, "1", "another boot", "another namespace")


def around(*records: Record, terminal: int | None = None, ancestors: tuple[int, ...] = (), **environ: str) -> Surroundings:
    """Standing in the linked worktree `/r/alpha` of a repository whose user is Ada."""
    repo = Repository("/r/.git/worktrees/alpha", "/r/.git", "/r/alpha", "sha1", environ)
    repo.__dict__["config"] = {"user.name": "Ada Lovelace"}
    return Surroundings(repo, records, ancestors, terminal, NOW, {r.name: NOW for r in records})


def here(name: str, **facts: object) -> Record:
    return Record(name, git_dir="/r/.git/worktrees/alpha", worktree="/r/alpha")._replace(**facts)  # type: ignore[arg-type]


def rule(identity: Identity) -> tuple[str, str]:
    return identity.name, identity.rule


@pytest.fixture
def child() -> Iterator[int]:
    """The pid of a process that lives as long as the test."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


def test_as_wins_over_everything() -> None:
    assert rule(who_am_i(around(here("alpha"), GIT_COORD_SESSION="w1"), "w2")) == ("w2", "--as")


def test_the_variable_wins_over_the_harness() -> None:
    assert rule(who_am_i(around(here("alpha"), GIT_COORD_SESSION="w1", CODEX_THREAD_ID="t"))) == ("w1", "GIT_COORD_SESSION")


def test_a_harness_session_is_known_by_its_id_in_any_worktree() -> None:
    known = Record("w1", git_dir="/r/.git/worktrees/other", harness="claude", harness_id="s1")
    assert rule(who_am_i(around(here("alpha"), known, CLAUDE_CODE_SESSION_ID="s1"))) == ("w1", "harness")


def test_a_new_harness_session_adopts_the_expected_one() -> None:
    me = who_am_i(around(here("alpha", expected=True), CODEX_THREAD_ID="t1"))
    assert (me.name, me.harness, me.harness_id) == ("alpha", "codex", "t1")


def test_a_new_harness_session_adopts_an_unbound_one() -> None:
    assert who_am_i(around(here("alpha"), CODEX_THREAD_ID="t1")).name == "alpha"


def test_a_new_harness_session_beside_a_live_one_gets_a_number(child: int) -> None:
    taken = here("alpha", process=processes.describe(child), harness="claude", harness_id="s1")
    assert who_am_i(around(taken, CODEX_THREAD_ID="t1")).name == "alpha-2"


def test_a_new_harness_session_takes_a_dead_ones_place() -> None:
    dead = here("alpha", process=DEAD, harness="claude", harness_id="s1")
    assert who_am_i(around(dead, CLAUDE_CODE_SESSION_ID="s2")).name == "alpha"


def test_after_a_clear_the_same_process_keeps_its_session(child: int) -> None:
    before = here("w1", process=processes.describe(child), harness="claude", harness_id="s1")
    me = who_am_i(around(before, here("alpha"), ancestors=(child,), CLAUDE_CODE_SESSION_ID="s2"))
    assert (me.name, me.harness_id) == ("w1", "s2")


def test_a_program_started_inside_a_session_is_not_that_session(child: int) -> None:
    outer = here("w1", process=processes.describe(os.getpid()), harness="claude", harness_id="s1")
    inside = (child, os.getpid())
    me = who_am_i(around(outer, ancestors=inside, CLAUDE_CODE_SESSION_ID="s2"))
    assert (me.name, me.record) == ("alpha", None)
    named = {"CLAUDE_PID": str(child), "CLAUDE_CODE_SESSION_ID": "s2", "GIT_COORD_SESSION": "w1"}
    assert rule(who_am_i(around(outer, ancestors=inside, **named))) == ("alpha", "harness")
    assert rule(who_am_i(around(outer, ancestors=inside, **{**named, "CLAUDE_PID": str(os.getpid())}))) == (
        "w1",
        "GIT_COORD_SESSION",
    )


def test_a_program_that_says_no_id_is_not_the_one_it_was_started_in(child: int) -> None:
    outer = here("outer", process=processes.describe(os.getpid()), harness="claude", harness_id="s1")
    inner = here("inner", process=processes.describe(child), harness="gemini", harness_id="g1")
    environ = {"CLAUDE_CODE_SESSION_ID": "s1", "CLAUDE_PID": str(os.getpid())}
    assert who_am_i(around(outer, inner, ancestors=(child, os.getpid()), **environ)).name == "inner"
    assert who_am_i(around(outer, inner, ancestors=(os.getpid(), child), **environ)).name == "outer"


def test_of_nested_harnesses_the_nearest_ancestor_is_meant(child: int) -> None:
    outer = here("outer", process=processes.describe(os.getpid()), harness="claude", harness_id="s1")
    inner = here("inner", process=processes.describe(child), harness="codex", harness_id="t1")
    both = {"CLAUDE_CODE_SESSION_ID": "s1", "CODEX_THREAD_ID": "t1"}
    assert who_am_i(around(outer, inner, ancestors=(child, os.getpid()), **both)).name == "inner"
    assert who_am_i(around(outer, inner, ancestors=(os.getpid(), child), **both)).name == "outer"


def test_the_nearest_bound_ancestor_process_speaks(child: int) -> None:
    bound = here("w1", process=processes.describe(child))
    assert rule(who_am_i(around(here("alpha"), bound, ancestors=(child, 1)))) == ("w1", "process")


def test_a_terminal_speaks_for_the_worktree_it_stands_in(child: int) -> None:
    elsewhere = Record("w1", git_dir="/r/.git/worktrees/other", process=processes.describe(child))
    at_terminal = {"terminal": child, "ancestors": (child,)}
    assert rule(who_am_i(around(elsewhere, here("alpha"), **at_terminal))) == ("alpha", "worktree")  # type: ignore[arg-type]
    assert rule(who_am_i(around(elsewhere, **at_terminal))) == ("w1", "process")  # type: ignore[arg-type]
    both = here("alpha", process=processes.describe(child))
    assert rule(who_am_i(around(both, elsewhere, **at_terminal))) == ("alpha", "process")  # type: ignore[arg-type]
    agent = elsewhere._replace(harness="claude", harness_id="s1")
    assert rule(who_am_i(around(agent, here("alpha"), **at_terminal))) == ("w1", "process")  # type: ignore[arg-type]


def test_a_recycled_pid_is_not_the_process_that_was_bound(child: int) -> None:
    real = processes.describe(child)
    assert real is not None
    recycled = here("w1", process=real._replace(start="1"))
    assert rule(who_am_i(around(recycled, ancestors=(child,)))) == ("w1", "worktree")  # dead, so it may be taken over


def test_the_worktrees_session_speaks_when_nobody_else_is_bound_to_it() -> None:
    assert rule(who_am_i(around(here("alpha"), terminal=7))) == ("alpha", "worktree")


def test_a_session_bound_to_another_live_process_is_left_alone(child: int) -> None:
    bound = here("alpha", process=processes.describe(child))
    assert rule(who_am_i(around(bound, terminal=7))) == ("ada-lovelace", "terminal")
    assert rule(who_am_i(around(bound))) == ("alpha-2", "worktree")


def test_a_session_bound_where_we_cannot_look_is_only_peeked_at() -> None:
    me = who_am_i(around(here("alpha", process=ELSEWHERE)))
    assert rule(me) == ("alpha", "worktree")
    assert me.shared


def test_at_a_terminal_without_a_session_it_is_the_person() -> None:
    me = who_am_i(around(terminal=7))
    assert rule(me) == ("ada-lovelace", "terminal")
    assert me.person


def test_an_agent_at_a_terminal_is_not_the_person() -> None:
    assert rule(who_am_i(around(terminal=7, CLAUDECODE="1"))) == ("alpha", "worktree")


def test_a_name_is_given_back_by_leaving() -> None:
    assert who_am_i(around(here("alpha", left=NOW - 5))).name == "alpha"


def test_an_agent_cannot_speak_for_a_person() -> None:
    for place in (around(CODEX_CI="1"), around(Record("ada-lovelace", person=True), AI_AGENT="x")):
        with pytest.raises(UsageError, match="ada-lovelace is a person"):
            who_am_i(place, "ada-lovelace")


@pytest.mark.parametrize(
    "name",
    ["", "Alpha", "a b", "a/b", "x.lock", "a..b", "-x", "é", "a\nb", "<x>", "con", "a" * 41, "all", "gitcoord"],
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a valid session name"):
        who_am_i(around(), name)


@pytest.mark.parametrize("folder", ["all", "gitcoord", "Nobody"])
def test_a_name_that_is_ours_is_nobodys_whatever_the_folder_is_called(repo: Path, cli: Cli, folder: str) -> None:
    where = repo.parent / folder
    git(repo, "worktree", "add", "-q", str(where), "-b", "x")
    assert cli(repo, "init", "--no-hooks").code == 0
    assert cli(repo, "send", f"{folder.lower()}-1", "hello").code == 0
    assert cli(where, "inbox", "--json", env={"CODEX_THREAD_ID": "t"}).out.count('"hello"') == 1
    assert cli(where, "join", "--role", "all").code == 2
    git(repo, "config", "user.name", folder)
    with Coord.open(repo) as coord:
        assert person_name(coord.clone.repo) == f"{folder.lower()}-1"


# real processes


def test_pure_reads_register_nothing(repo: Path, cli: Cli) -> None:
    for verb in (["inbox"], ["sessions"], ["whoami"], ["log"], ["notes"], ["sent"], ["search", "x"]):
        assert cli(repo, *verb).code == 0
    assert not (repo / ".git" / "coord").exists()
    assert git(repo, "for-each-ref", "refs/coord") == ""


def test_a_command_under_a_new_name_registers_it(worktrees: tuple[Path, Path], cli: Cli) -> None:
    assert cli(worktrees[0], "send", "beta", "hi", env={"GIT_COORD_SESSION": "w1"}).code == 0
    assert cli(worktrees[1], "sessions", "w1").code == 0


def test_as_does_not_make_a_name_the_worktrees_session(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[0], as_name="guest") as guest:
        guest.sessions.join()
    assert cli(worktrees[0], "send", "beta", "hi", "--as", "guest").code == 0
    assert json.loads(cli(worktrees[0], "whoami", "--json").out)["session"] == "alpha"


@pytest.mark.parametrize("words", [["note", "x"], ["join", "new"], ["tasks"], ["inbox"]])
def test_as_names_only_sessions_that_there_are(worktrees: tuple[Path, Path], cli: Cli, words: list[str]) -> None:
    before = git(worktrees[0], "for-each-ref", "refs/coord")
    ran = cli(worktrees[0], *words, "--as", "alpah")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: no session is called alpah\nhint: did you mean alpha?\n")
    assert git(worktrees[0], "for-each-ref", "refs/coord") == before


def test_a_former_name_speaks_for_the_session_that_had_it(worktrees: tuple[Path, Path], cli: Cli) -> None:
    env = {"GIT_COORD_SESSION": "old"}
    assert cli(worktrees[0], "join", env=env).out == "joined as old\n"
    assert cli(worktrees[0], "join", "new", env=env).out == "joined as new\n"
    assert json.loads(cli(worktrees[0], "whoami", "--json", env=env).out)["session"] == "new"
    assert cli(worktrees[0], "note", "mine", env=env).code == 0
    assert json.loads(cli(worktrees[0], "notes", "--json=from").out) == [{"from": "new"}]
    assert json.loads(cli(worktrees[0], "whoami", "--json", "--as", "old").out)["session"] == "new"


def test_looking_on_with_as_marks_nothing_read(worktrees: tuple[Path, Path], cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "hi")
    assert "hi" in cli(worktrees[0], "inbox", "--as", "beta").out
    assert "hi" in cli(worktrees[1], "inbox").out
    assert cli(worktrees[1], "inbox").out == "No new messages.\n"


def test_join_pid_binds_and_death_is_seen(worktrees: tuple[Path, Path], cli: Cli) -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert cli(worktrees[0], "join", "--pid", str(process.pid)).code == 0
    assert json.loads(cli(worktrees[1], "sessions", "alpha", "--json").out)["state"] == "active"
    process.communicate()
    gone = cli(worktrees[1], "sessions", "alpha", "--json")
    assert (gone.code, json.loads(gone.out)["state"]) == (1, "gone")


def test_a_session_is_bound_to_one_live_process(worktrees: tuple[Path, Path], cli: Cli, child: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    env = {"GIT_COORD_SESSION": "alpha"}
    assert cli(worktrees[0], "join", "--pid", str(process.pid), env=env).code == 0
    assert cli(worktrees[0], "join", "--pid", str(process.pid), env=env).code == 0
    ran = cli(worktrees[0], "join", "--pid", str(child), env=env)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: alpha is bound to another process, {process.pid}\n")
    process.communicate()
    assert cli(worktrees[0], "join", "--pid", str(child), env=env).code == 0


def test_join_refuses_a_pid_that_is_none(worktrees: tuple[Path, Path], cli: Cli) -> None:
    ran = cli(worktrees[0], "join", "--pid", str(2**22 + 1))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: no process has the pid")


def test_a_rename_keeps_mail_and_the_old_name_as_an_alias(worktrees: tuple[Path, Path], cli: Cli) -> None:
    cli(worktrees[1], "send", "alpha", "one")
    assert cli(worktrees[0], "join", "builder").out == "joined as builder\n"
    cli(worktrees[1], "send", "alpha", "two")
    page = json.loads(cli(worktrees[0], "inbox", "--json").out)
    assert [(m["text"], m["to"]) for m in page] == [("one", ["alpha"]), ("two", ["builder"])]
    states = [m["recipients"] for m in json.loads(cli(worktrees[1], "sent", "--json").out)]
    assert [(r["session"], r["state"]) for (r,) in states] == [("builder", "read"), ("alpha", "read")]
    shown = git(worktrees[0], "log", "-1", "--format=%(trailers:key=Coord,valueonly)", "--glob=refs/coord/presence")
    assert sorted(json.loads(shown)["sessions"]) == ["beta", "builder"]


def test_a_live_sessions_name_cannot_be_taken(worktrees: tuple[Path, Path], cli: Cli) -> None:
    before = git(worktrees[0], "for-each-ref")
    ran = cli(worktrees[0], "join", "beta")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[0] == "error: beta is the name of another session, which is active"
    assert git(worktrees[0], "for-each-ref") == before


def test_who_takes_over_a_name_inherits_its_mail(worktrees: tuple[Path, Path], cli: Cli) -> None:
    cli(worktrees[1], "leave")
    assert "beta (gone" in cli(worktrees[0], "send", "beta", "for whoever comes").out
    assert cli(worktrees[0], "join", "beta").code == 0
    assert "for whoever comes" in cli(worktrees[0], "inbox").out


def test_one_terminal_in_two_worktrees_speaks_for_the_one_it_stands_in(worktrees: tuple[Path, Path], repo: Path) -> None:
    git(repo, "worktree", "add", "-q", "../gamma")
    program = f"{sys.executable} -m gitcoord"
    lines = [
        f"cd {worktrees[0]}; {program} note from-alpha",
        f"cd {worktrees[1]}; {program} note from-beta",
        f"cd {repo.parent / 'gamma'}; {program} note from-gamma; {program} join; {program} note once-more",
        f"cd {worktrees[0]}; {program} note back",
    ]
    output: list[bytes] = []

    def read(fd: int) -> bytes:
        output.append(os.read(fd, 65536))
        return output[-1]

    pty.spawn(["/bin/sh", "-c", "; ".join(["export COLUMNS=1000", *lines, ":"])], read, lambda fd: b"")
    with Coord.open(repo) as coord:
        said = {note.text: note.sender.partition("@")[0] for note in coord.notes.list()}
        records = {r.name: r.git_dir for r in Records(coord.clone.repo.coord_dir).all()}
    told = [line for line in b"".join(output).decode().splitlines() if line.startswith("note: you are ")]
    assert len(told) == 1 and told[0].startswith(f"note: you are {said['from-gamma']}, the session of {repo.parent}")
    assert said["from-gamma"] in ("alpha", "beta")
    assert said == {**said, "from-alpha": "alpha", "from-beta": "beta", "once-more": "gamma", "back": "alpha"}
    assert {name: Path(at).name for name, at in records.items()} == {name: name for name in ("alpha", "beta", "gamma")}


def at_a_terminal(where: Path, *args: str) -> str:
    """Run the program with a terminal of its own, as a shell there would."""
    output: list[bytes] = []

    def read(fd: int) -> bytes:
        output.append(os.read(fd, 65536))
        return output[-1]

    before = Path.cwd()
    os.chdir(where)
    try:
        pty.spawn([sys.executable, "-m", "gitcoord", *args], read, lambda fd: b"")
    finally:
        os.chdir(before)
    return b"".join(output).decode()


def test_at_a_terminal_a_person_speaks_and_is_never_gone(repo: Path, capfd: pytest.CaptureFixture[str]) -> None:
    at_a_terminal(repo, "note", "hello")
    with Coord.open(repo) as coord:
        (me,) = [s for s in coord.sessions.list() if s.person]
        assert (me.session, me.state) == ("ada-lovelace", "active")
        Records(coord.clone.repo.coord_dir).touch("ada-lovelace", 1.0)
        (me,) = [s for s in coord.sessions.list() if s.person]
        assert me.state == "unknown"
