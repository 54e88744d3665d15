"""Locks: taking, waiting, notices and ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Cli, git, nameless
from forkserver import Program
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord, Refused
from gitcoord.features.locks.fold import FEATURE
from gitcoord.features.locks.read import LockHeld
from gitcoord.features.locks.take import list_locks
from gitcoord.log.event import Event
from gitcoord.sessions.mailboxes import FEATURE as MAILBOXES
from gitcoord.store.objects import Oid
from gitcoord.store.watch import wait_until

ROUNDS = int(os.environ.get("GITCOORD_ROUNDS", "60"))

Locker = Callable[[str], Program]


@pytest.fixture
def locker(repo: Path) -> Iterator[Locker]:
    """Start processes that lock: `locker("beta")`."""
    started: list[Program] = []

    def start(name: str) -> Program:
        process = Program([str(Path(__file__).parents[1] / "locker.py"), str(repo), name], repo)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.close()


def tell(process: Program, line: str) -> None:
    process.stdin.write(line + "\n")
    process.stdin.flush()


def answer(process: Program) -> str:
    return process.stdout.readline().strip()


# events

IDS = [f"{n:040x}" for n in range(6)]
PATTERNS = st.lists(st.sampled_from(["a", "/b", "c/*"]), min_size=1, max_size=3)
EVENTS = st.one_of(
    st.fixed_dictionaries({"patterns": PATTERNS, "ttl": st.sampled_from([1, 60])}).map(lambda d: ("lock", d)),
    st.fixed_dictionaries({"patterns": PATTERNS, "supersedes": st.lists(st.sampled_from(IDS))}).map(lambda d: ("lock", d)),
    st.fixed_dictionaries({"patterns": PATTERNS}).map(lambda d: ("lock.wait", d)),
    st.dictionaries(st.sampled_from(IDS), st.lists(st.sampled_from(["a", "/b"]))).map(lambda d: ("unlock", {"locks": d})),
)


def tables(events: list[Event]) -> list[list[tuple[object, ...]]]:
    db = sqlite3.connect(":memory:")
    db.executescript(FEATURE.tables + MAILBOXES.tables)
    for event in events:
        FEATURE.fold(db, event)
    return [sorted(db.execute(f"SELECT * FROM {name}").fetchall()) for name in ("locks", "held", "lock_ends")]


@examples(200)
@given(st.lists(EVENTS, max_size=6), st.randoms())
def test_any_order_of_arrival_gives_the_same_locks(found: list[tuple[str, dict[str, object]]], random: object) -> None:
    events = [Event(Oid(IDS[n]), kind, n + 1, "c-00000000", "alpha", "", 100, "", data) for n, (kind, data) in enumerate(found)]
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tables(events) == tables(shuffled)


# taking


def test_a_lock_is_taken_shown_refused_and_given_back(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    taken = cli(alpha, "lock", "src/a.py", "*.sql", "-m", "new  schema")
    assert (taken.code, nameless(taken.out)) == (0, "locked src/a.py, *.sql, just now, for another 2 h, “new schema”\n")
    refused = cli(beta, "lock", "src")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: src/a.py, *.sql is locked by alpha (for ")
    assert refused.err.splitlines()[0].endswith("2 h left): new schema")
    (shown,) = json.loads(cli(beta, "locks", "--json").out)
    assert (shown["patterns"], shown["session"], shown["reason"]) == (["src/a.py", "*.sql"], "alpha", "new schema")
    assert shown["shared"] is shown["tentative"] is False and shown["expires"] > shown["since"]
    assert json.loads(cli(beta, "lock", "src", "--json").out)["locks"] == [shown]
    assert cli(alpha, "unlock", "src/a.py").out.startswith("unlocked src/a.py, ")
    assert cli(beta, "lock", "src/a.py").code == 0
    assert cli(alpha, "unlock", "--all").out.startswith("unlocked *.sql, ")
    assert nameless(cli(beta, "locks").out) == "src/a.py, just now, for another 2 h\n"
    assert cli(beta, "unlock", "--all").code == 0 and cli(beta, "locks").out == "No locks.\n"


def test_what_one_holds_can_be_locked_again(worktrees: tuple[Path, Path], cli: Cli) -> None:
    first = json.loads(cli(worktrees[0], "lock", "a", "--json").out)
    again = json.loads(cli(worktrees[0], "lock", "a", "--ttl", "1d", "--json").out)
    assert again[0]["expires"] > first[0]["expires"]
    assert json.loads(cli(worktrees[0], "locks", "--json").out) == again
    assert cli(worktrees[0], "inbox").out == "No new messages.\n"


def test_shared_locks_go_together_and_exclude_an_exclusive_one(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    assert cli(alpha, "lock", "a", "--shared").code == cli(beta, "lock", "a", "--shared").code == 0
    assert cli(beta, "lock", "a").code == 1
    assert cli(alpha, "unlock", "a").code == cli(beta, "lock", "a").code == 0


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("lock", "../x"), 2), (("lock", "/etc/passwd"), 2), (("lock", "a[*"), 2), (("lock", "!a"), 2), (("lock",), 2),
        (("lock", "a", "--ttl", "soon"), 2), (("lock", "a", "--ttl", "500d"), 2), (("unlock",), 2), (("unlock", "a"), 1),
        (("check", "../../x"), 2), (("lock", *(f"p{n}" for n in range(101))), 2), (("unlock", "--all"), 0), (("locks",), 0),
    ],
)  # fmt: skip
def test_bad_input_is_refused_and_nothing_is_written(repo: Path, cli: Cli, args: tuple[str, ...], code: int) -> None:
    ran = cli(repo, *args, env={"GIT_COORD_SESSION": "alpha"})
    assert ran.code == code, ran
    if code == 2:
        assert ran.out == "" and ran.err.startswith("error: ") and "Traceback" not in ran.err
        assert git(repo, "for-each-ref", "refs/coord/log") == ""


def test_another_s_lock_ends_only_by_force_and_the_holder_is_told(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    cli(alpha, "lock", "a.py")
    refused = cli(beta, "unlock", "a.py")
    assert refused.code == 1 and "--force ends it" in refused.err
    assert cli(beta, "unlock", "a.py", "--force").out.startswith("unlocked /a.py by alpha, ")
    (message,) = json.loads(cli(alpha, "inbox", "--json").out)
    assert (message["from"], message["text"]) == (None, "beta ended your lock on /a.py")


def test_a_session_that_leaves_gives_its_locks_back(worktrees: tuple[Path, Path], cli: Cli) -> None:
    cli(worktrees[0], "lock", "a")
    cli(worktrees[0], "leave")
    assert cli(worktrees[1], "locks").out == "No locks.\n"
    cli(worktrees[0], "join")
    assert cli(worktrees[1], "locks").out == "No locks.\n"


def test_an_expired_lock_ends_and_its_holder_is_told_once(worktrees: tuple[Path, Path]) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        alpha.locks.take(["a"], ttl=60)
        assert len(list_locks(beta.clone, time.time() + 30)) == 1
        assert list_locks(beta.clone, time.time() + 61) == list_locks(beta.clone, time.time() + 62) == []
        assert [(m.text, m.notice) for m in alpha.messages.receive().messages] == [("Your lock on /a has expired", "lock")]
        assert not Path(alpha.clone.path("guard")).exists()


def test_a_lock_in_place_of_an_expired_one_names_it(worktrees: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with Coord.open(worktrees[0]) as alpha, Coord.open(worktrees[1]) as beta:
        old = alpha.locks.take(["src/*"], ttl=1)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 5)
        beta.locks.take(["src/a.py"])
        event = next(e for e in beta.events.log(kind="lock"))
        assert event.data["supersedes"] == [old.id]
        assert [m.text for m in alpha.messages.receive().messages] == ["beta took over your lock on src/*, which had expired"]


def test_the_lock_of_a_dead_process_can_be_overtaken(worktrees: tuple[Path, Path], cli: Cli) -> None:
    holder = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    cli(worktrees[0], "join", "--pid", str(holder.pid))
    cli(worktrees[0], "lock", "a", "--as", "alpha")
    assert cli(worktrees[1], "lock", "a").code == 1
    holder.communicate()
    assert cli(worktrees[1], "lock", "a").code == 0
    (message,) = json.loads(cli(worktrees[0], "inbox", "--peek", "--json", "--as", "alpha").out)
    assert message["text"] == "beta took over your lock on /a, which you held while you were gone"


def test_two_processes_lock_overlapping_patterns_at_once_and_one_wins(repo: Path, locker: Locker) -> None:
    one, two = locker("one"), locker("two")
    for number in range(ROUNDS):
        tell(one, f"lock r{number}/*.py")
        tell(two, f"lock r{number}/a*")
        answers = [answer(one), answer(two)]
        assert sorted(a == "done" for a in answers) == [False, True], answers
        loser = next(a for a in answers if a != "done")
        assert f"is locked by {'one' if answers[0] == 'done' else 'two'} " in loser
    with Coord.open(repo) as coord:
        assert len(coord.locks.held()) == ROUNDS


# waiting


def queued(coord: Coord) -> int:
    return len(coord.events.log(kind="lock.wait", limit=1000))


def test_waiters_are_served_in_the_order_in_which_they_came(repo: Path, locker: Locker) -> None:
    names = ["w1", "w2", "w3", "w4"]
    with Coord.open(repo, as_name="holder") as coord:
        coord.locks.take(["a"])
        waiters = {}
        for number, name in enumerate(names, 1):
            waiters[name] = locker(name)
            tell(waiters[name], "wait a")
            wait_until(coord.clone.repo, lambda number=number: queued(coord) >= number or None, 60)  # type: ignore[misc]
        with pytest.raises(LockHeld, match="is locked by holder"):
            Coord.open(repo, as_name="barger").locks.take(["a"])
        coord.locks.release(everything=True)
        for name in names:
            assert answer(waiters[name]) == "done"
            assert [lock.holder.partition("@")[0] for lock in coord.locks.held()] == [name]
            with pytest.raises(LockHeld):
                coord.locks.take(["a"])
            tell(waiters[name], "unlock")
            assert answer(waiters[name]) == "done"
        assert coord.locks.take(["a"])


def test_a_waiter_that_was_killed_is_passed_over(repo: Path, locker: Locker) -> None:
    with Coord.open(repo, as_name="holder") as coord:
        coord.locks.take(["a"])
        for number, name in enumerate(["dead", "next"], 1):
            process = locker(name)
            tell(process, "wait a")
            wait_until(coord.clone.repo, lambda number=number: queued(coord) >= number or None, 60)  # type: ignore[misc]
            if name == "dead":
                process.send_signal(signal.SIGKILL)
                process.wait()
        coord.locks.release(everything=True)
        assert answer(process) == "done"


def test_a_wait_that_times_out_says_who_has_it_and_leaves_the_queue(worktrees: tuple[Path, Path], cli: Cli) -> None:
    cli(worktrees[0], "lock", "a")
    assert cli(worktrees[0], "lock", "--wait", "b").code == 0  # not a number, so it is a path to lock
    ran = cli(worktrees[1], "lock", "a", "--wait=1")
    assert ran.code == 1 and "/a is locked by alpha" in ran.err
    cli(worktrees[0], "unlock", "a")
    assert cli(worktrees[0], "lock", "a").code == 0
    assert list((Path(git(worktrees[0], "rev-parse", "--git-common-dir").strip()) / "coord" / "waiters").iterdir()) == []


def test_two_who_would_wait_for_each_other_are_not_let(repo: Path, locker: Locker) -> None:
    one = locker("one")
    with Coord.open(repo, as_name="two") as two:
        two.locks.take(["b"])
        tell(one, "lock a")
        assert answer(one) == "done"
        tell(one, "wait b")
        wait_until(two.clone.repo, lambda: queued(two) or None, 60)
        with pytest.raises(LockHeld, match="each would wait for the other"):
            two.locks.take(["a"], wait=None)
        two.locks.release(everything=True)
        assert answer(one) == "done"


# check


def checked(cli: Cli, where: Path, path: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
    ran = cli(where, "check", path, "--json", env=env)
    return ran.code, json.loads(ran.out)[0]


def test_check_judges_the_path_wherever_it_lies(worktrees: tuple[Path, Path], repo: Path, cli: Cli) -> None:
    alpha, beta = worktrees
    assert cli(beta, "check", "readme.txt").out == "readme.txt: free\n"
    code, found = checked(cli, beta, str(alpha / "readme.txt"))
    assert code == 1 and found["path"] == "readme.txt" and found["worktree"] == str(alpha)
    assert (found["occupied_by"], found["locks"]) == (["alpha"], [])
    assert checked(cli, beta, str(repo / "readme.txt"))[0] == 0  # nobody works there
    cli(alpha, "lock", "*.txt", "-m", "mine")
    code, found = checked(cli, beta, "readme.txt")
    assert code == 1 and [lock["session"] for lock in found["locks"]] == ["alpha"]  # type: ignore[attr-defined]
    assert checked(cli, beta, ".")[0] == 1
    assert checked(cli, alpha, "readme.txt")[0] == 0
    cli(alpha, "leave")
    assert checked(cli, beta, str(alpha / "readme.txt"))[0] == 0


def test_check_tells_of_edits_and_notes_without_refusing(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    (alpha / "readme.txt").write_text("changed\n")
    os.utime(alpha / "readme.txt", (time.time() + 5, time.time() + 5))
    cli(alpha, "note", "--path", "readme.txt", "keep it short")
    code, found = checked(cli, beta, "readme.txt")
    assert code == 0
    assert [touch["session"] for touch in found["touched_by"]] == ["alpha"]  # type: ignore[attr-defined]
    assert [note["text"] for note in found["notes"]] == ["keep it short"]  # type: ignore[attr-defined]
    shown = cli(beta, "check", "readme.txt").out.splitlines()
    assert (
        shown[0] == "readme.txt: free"
        and nameless(shown[1]) == "  alpha changed it just now"
        and shown[3] == "    > keep it short"
    )


# guard


def commit(where: Path, name: str, *args: str) -> subprocess.CompletedProcess[str]:
    (where / name).write_text(f"{time.time_ns()}\n")
    git(where, "add", name)
    argv = ["git", "-C", str(where), "commit", "-q", "-m", "x", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_guard_warns_or_blocks_or_is_off(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    assert cli(beta, "init").code == 0
    cli(alpha, "lock", "*.txt", "-m", "mine")
    warned = commit(beta, "readme.txt")
    assert (warned.returncode, warned.stderr) == (0, "warning: readme.txt is locked by alpha for another 2 h: mine\n")
    git(beta, "config", "coord.guard", "block")
    blocked = commit(beta, "readme.txt")
    assert blocked.returncode == 1
    assert blocked.stderr.splitlines()[0] == "error: readme.txt is locked by alpha for another 2 h: mine"
    assert commit(beta, "other", "other").returncode == 0  # a partial commit: readme.txt stays staged
    assert commit(alpha, "readme.txt").returncode == 0  # the holder's own
    assert commit(beta, "readme.txt", "--no-verify").returncode == 0
    git(beta, "config", "coord.guard", "off")
    off = commit(beta, "readme.txt")
    assert (off.returncode, off.stderr) == (0, "")


def test_the_guard_lets_pass_what_it_cannot_judge(
    worktrees: tuple[Path, Path], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli(worktrees[1], "init")
    git(worktrees[1], "config", "coord.guard", "block")
    cli(worktrees[0], "lock", "*.txt")
    assert commit(worktrees[1], "readme.txt").returncode == 1
    monkeypatch.setenv("GIT_COORD_STORE", "nonsense")
    done = commit(worktrees[1], "readme.txt")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_merge_that_brings_others_files_along_is_not_guarded(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    cli(beta, "init")
    git(beta, "config", "coord.guard", "block")
    commit(alpha, "theirs.txt")
    commit(alpha, "readme.txt")
    commit(beta, "readme.txt")
    cli(alpha, "lock", "theirs.txt")
    git(beta, "merge", "-q", "alpha", check=False)
    done = commit(beta, "readme.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert (beta / "theirs.txt").exists()


def test_the_marker_that_wakes_the_guard_is_there_only_while_locks_are(worktrees: tuple[Path, Path]) -> None:
    with Coord.open(worktrees[0]) as coord:
        marker = Path(coord.clone.path("guard"))
        coord.locks.take(["a"])
        assert marker.exists()
        coord.locks.release(["a"])
        assert not marker.exists()
        with pytest.raises(Refused):
            coord.locks.release(["a"])
