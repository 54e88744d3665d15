"""Verbs and options that are not spelled out, words of other programs, and `git coord` alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli, nameless

from gitcoord import Coord
from gitcoord.cli.spelling import MEANT, spelled_out
from gitcoord.cli.verbs import VERBS, find
from gitcoord.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("statu --sho", "status --short"),
        ("task n --cl", "task next --claim"),
        ("search --li 2 --x", "search --limit 2 --x"),
        ("search --lim=2 x", "search --limit=2 x"),
        ("send --u b x", "send --urgent b x"),
        ("send beta -m --u", "send beta -m --u"),
        ("run --na x -- make --na", "run --name x -- make --na"),
        ("run make --na", "run make --na"),
        ("tasks --he", "tasks --he"),
        ("frobnicate --x", "frobnicate --x"),
        ("--version", "--version"),
        ("", ""),
    ],
)
def test_what_is_unambiguous_need_not_be_spelled_out(typed: str, meant: str) -> None:
    assert spelled_out(typed.split()) == (meant.split() if "--he" not in typed else ["tasks", "--help"])


@pytest.mark.parametrize(
    ("typed", "what", "hint"),
    [
        ("stat", "stat could be status or state", "git coord status"),
        ("task re", "re could be release or reopen", "git coord task release"),
        ("tasks --a", "--a could be --all or --as", "git coord tasks --help"),
    ],
)
def test_what_is_ambiguous_is_refused(typed: str, what: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        spelled_out(typed.split())
    assert (refused.value.what, refused.value.hint) == (what, hint)


def test_every_word_that_people_try_leads_to_a_command() -> None:
    verbs = [verb for group in VERBS.values() for verb in group]
    for word, meant in MEANT.items():
        assert word not in verbs
        verb, _, below = meant.partition(" ")
        command = find(verb)
        assert command is not None
        assert not below or below in (command.below or {}), meant


def test_an_unknown_verb_is_answered_by_its_meaning(repo: Path, cli: Cli) -> None:
    for word, hint in (("undo", "redact --help"), ("next", "task next --help"), ("inbx", "inbox --help"), ("xyzzy", "help")):
        done = cli(repo, word)
        assert (done.code, done.out, done.err) == (2, "", f"error: unknown verb: {word}\nhint: git coord {hint}\n")


def test_the_program_alone_is_the_status_inside_a_repository_and_the_help_outside(repo: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli(repo).out == cli(repo, "status").out
    outside = cli(tmp_path, env={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)})
    assert (outside.code, outside.out) == (0, cli(repo, "--help").out)


def test_show_prints_whatever_an_id_stands_for(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, _ = worktrees
    with Coord.open(alpha) as coord:
        message, note = coord.send("beta", "two\nlines").id, coord.notes.add("remember")
        task, job = coord.tasks.add("merge it").id, coord.jobs.start(["true"], name="check").id
    assert nameless(cli(alpha, "show", message).out) == "ID message  alpha, just now\n  > two\n  > lines\nto beta\n"
    assert nameless(cli(alpha, "show", note).out) == "ID note     alpha, just now\n  > remember\n"
    assert cli(alpha, "show", task).out == cli(alpha, "task", "show", task).out
    assert cli(alpha, "show", job).out.startswith(f"{job[:10]} check ")
    assert json.loads(cli(alpha, "show", message, "--json").out)["text"] == "two\nlines"
    assert cli(alpha, "show", "12345678").code == 2


@pytest.mark.parametrize("verb", ["task", "job", "state", "remote"])
def test_a_verb_without_its_command_names_the_commands_in_one_line(repo: Path, cli: Cli, verb: str) -> None:
    ran = cli(repo, verb)
    first, hint = ran.err.splitlines()
    assert (ran.code, hint) == (2, f"hint: git coord {verb} --help")
    assert first.startswith(f"error: git coord {verb} needs a command: ") and "Usage" not in first
