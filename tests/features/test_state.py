"""State: keys and values of a session that come back after a restart, a rename, an adoption."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
from pathlib import Path

import pytest
from conftest import Cli, git
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord, Refused, UsageError
from gitcoord.features.state import FEATURE
from gitcoord.log.event import MAX_TEXT, Event
from gitcoord.store.objects import Oid

Pair = tuple[Path, Path]


def test_a_value_is_printed_as_it_was_set(worktrees: Pair, cli: Cli) -> None:
    ran = cli(worktrees[0], "state", "set", "plan", "first", "the", "parser")
    assert (ran.code, ran.out, ran.err) == (0, "plan = first the parser\n", "")
    assert cli(worktrees[0], "state", "get", "plan").out == "first the parser\n"
    assert cli(worktrees[0], "state", "get", "plan", "--json").out == '"first the parser"\n'
    assert cli(worktrees[0], "state", "set", "plan", "-F", "-", stdin="1\n2\n").code == 0
    assert cli(worktrees[0], "state", "get", "plan").out == "1\n2\n"


def test_show_lists_what_is_set(worktrees: Pair, cli: Cli) -> None:
    assert cli(worktrees[0], "state", "show").out == "Nothing is set.\n"
    cli(worktrees[0], "state", "set", "b", "two\nlines")
    cli(worktrees[0], "state", "set", "a/x", '{"n": [1, null]}', "--type", "json")
    assert cli(worktrees[0], "state", "show").out == 'a/x = {"n": [1, null]}\nb = two lines\n'
    wanted = {"a/x": {"n": [1, None]}, "b": "two\nlines"}
    assert json.loads(cli(worktrees[0], "state", "show", "--json").out) == wanted
    assert json.loads(cli(worktrees[1], "state", "show", "--session", "alpha", "--json").out) == wanted
    assert cli(worktrees[1], "state", "show", "--json").out == "{}\n"


def test_a_key_that_is_not_set_is_exit_1(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "state", "set", "plan", "x")
    assert cli(worktrees[0], "state", "unset", "plan").out == "unset plan = x\n"
    for verb in ("get", "unset"):
        ran = cli(worktrees[0], "state", verb, "plan")
        assert (ran.code, ran.out, ran.err) == (1, "", "error: plan is not set\nhint: git coord state show\n")
    ran = cli(worktrees[0], "state", "get", "plan", "--json")
    assert (ran.code, ran.out) == (1, "null\n")
    assert cli(worktrees[0], "state", "show").out == "Nothing is set.\n"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["x y", "1"], "'x y' is not a valid key"),
        (["", "1"], "'' is not a valid key"),
        (["k" * 101, "1"], f"'{'k' * 60}' is not a valid key"),
        (["a\n", "1"], "'a\\n' is not a valid key"),
        (["plan"], "the value is missing"),
        (["plan", "{", "--type", "json"], "the value is not JSON"),
        (["plan", "NaN", "--type", "json"], "the value is not JSON"),
        (["plan", "[" * 60_000, "--type", "json"], "the value is not JSON"),
        (["plan", "-m", "", "--type", "json"], "the value is not JSON"),
    ],
)
def test_bad_input_writes_nothing(worktrees: Pair, cli: Cli, args: list[str], why: str) -> None:
    before = git(worktrees[0], "for-each-ref", "refs/coord/log")
    ran = cli(worktrees[0], "state", "set", *args)
    assert (ran.code, ran.out, ran.err.splitlines()[0]) == (2, "", f"error: {why}")
    assert git(worktrees[0], "for-each-ref", "refs/coord/log") == before


def test_a_value_holds_64_kib_and_no_nul(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as coord:
        assert coord.state.set("big", "é" * (MAX_TEXT // 2)).text == "é" * (MAX_TEXT // 2)
        with pytest.raises(UsageError, match="the value has 65537 bytes"):
            coord.state.set("big", "x" * (MAX_TEXT + 1))
        with pytest.raises(UsageError, match="the value contains a NUL byte"):
            coord.state.set("big", "\0")
        assert coord.state.set("empty", "").plain == ""


def test_every_change_is_in_the_log_and_none_that_changes_nothing(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as coord:
        for value in ("one", "one", "two"):
            coord.state.set("k", value)
        coord.state.unset("k")
        assert [(e.text, dict(e.data)) for e in coord.events.log(kind="state")] == [
            ("k is unset", {"key": "k", "unset": True}), ("two", {"key": "k"}), ("one", {"key": "k"}),
        ]  # fmt: skip


def test_the_log_names_the_key(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "state", "set", "plan", "one")
    cli(worktrees[0], "state", "unset", "plan")
    lines = cli(worktrees[0], "log", "--type", "state").out.splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == ["plan is unset", "plan = one"]


def test_state_follows_a_rename_and_ends_up_with_one_value_a_key(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "state", "set", "plan", "old")
    cli(worktrees[0], "state", "set", "other", "kept")
    cli(worktrees[0], "join", "worker")
    cli(worktrees[0], "state", "set", "plan", "new")
    cli(worktrees[0], "state", "unset", "other")
    assert cli(worktrees[0], "state", "show").out == "plan = new\n"
    assert cli(worktrees[1], "state", "show", "--session", "alpha").out == "plan = new\n"


def test_state_survives_leaving_and_the_loss_of_the_index(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "state", "set", "plan", "x")
    cli(worktrees[0], "leave")
    with Coord.open(worktrees[0]) as coord:
        for file in Path(coord.clone.repo.coord_dir).glob("index.sqlite*"):
            file.unlink()
    cli(worktrees[0], "join", "alpha")
    assert cli(worktrees[0], "state", "get", "plan").out == "x\n"


def test_state_comes_along_when_another_clone_adopts_the_session(repo: Path, worktrees: Pair, cli: Cli, tmp_path: Path) -> None:
    cli(worktrees[0], "state", "set", "plan", "x")
    cli(worktrees[0], "leave")
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(repo), str(copy)], check=True)
    with Coord.open(worktrees[0]) as coord:
        origin = coord.clone.id
    env = {"GIT_COORD_SESSION": "alpha"}
    assert cli(copy, "join", "alpha", "--from", str(origin), env=env).code == 0
    assert cli(copy, "state", "get", "plan", env=env).out == "x\n"


def test_hostile_values_of_others_are_shown_inert(worktrees: Pair, cli: Cli) -> None:
    with Coord.open(worktrees[1]) as beta:
        beta.state.set("k", "\x1b[31mred\nalpha = x")
    assert cli(worktrees[0], "state", "show", "--session", "beta").out == "k = \\x1b[31mred alpha = x\n"
    assert cli(worktrees[1], "state", "get", "k").out == "\\x1b[31mred\nalpha = x\n"


def test_the_api_refuses_what_is_not_set(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as coord, pytest.raises(Refused, match="nothing is not set"):
        coord.state.get("nothing")


def event(number: int, author: str, key: str, lc: int, unset: bool) -> Event:
    data = {"key": key, **({"unset": True} if unset else {})}
    return Event(Oid(f"{number:040x}"), "state", lc, "c-00000001", author, "e", 1, str(number), data)


@examples(100)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("kl"), st.integers(1, 4), st.booleans()), max_size=8),
    st.randoms(use_true_random=False),
)
def test_any_order_of_arrival_gives_the_same_table(facts: list[tuple[str, str, int, bool]], shuffler: random.Random) -> None:
    events = [event(n, *fact) for n, fact in enumerate(facts)]
    shuffled = shuffler.sample(events, len(events))
    tables = []
    for order in (events, shuffled):
        db = sqlite3.connect(":memory:")
        db.executescript(FEATURE.tables)
        for each in order:
            FEATURE.fold(db, each)
        tables.append(db.execute("SELECT * FROM state ORDER BY box, key").fetchall())
    assert tables[0] == tables[1]
