"""The documents of `--json` are those of docs/json.md; fields can be chosen; a refusal is a document."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from calls import UNTRIED, calls, verbs
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.cli.form.documents import FREE, KINDS, VERBS, kinds_of


def faults(verb: str, said: str) -> Iterator[str]:
    """The differences between the output of a verb and its page."""
    document = json.loads(said)
    kinds = kinds_of(verb)
    if not any(_is_a(document, kind, is_list) for kind, is_list in kinds):
        yield f"{verb}: {said[:300]}"


def _is_a(document: Any, kind: str, is_list: bool) -> bool:
    if kind in FREE:
        return document is None if kind == "null" else True
    if is_list:
        return isinstance(document, list) and all(_is_a(one, kind, False) for one in document)
    if not isinstance(document, dict):
        return False
    always = {name for name, about in KINDS[kind].items() if not about.startswith("?")}
    return always <= document.keys() <= KINDS[kind].keys()


def test_every_verb_has_its_documents() -> None:
    assert set(verbs()) == VERBS.keys()
    assert [verb for verb in VERBS for kind, _ in kinds_of(verb) if kind not in KINDS and kind not in FREE] == []
    used = {kind for verb in VERBS for kind, _ in kinds_of(verb)}
    assert KINDS.keys() - used == {"refusal"}


def test_every_verb_prints_what_its_page_says(
    repo: Path, worktrees: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from gitcoord.cli import run

    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "hub.git"))
    (worktrees[0] / "new.txt").write_text("x")
    with Coord.open(worktrees[1], as_name="beta") as beta:
        message = beta.send("alpha", "may I?", needs_ack=True).id
        task = beta.tasks.add("a task").id
    with Coord.open(worktrees[0], as_name="alpha") as alpha:
        event = alpha.send("beta", "a word too many").id
    monkeypatch.chdir(worktrees[0])
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    wrong = list[str]()
    for call in [*calls(), ["status", "--short"], ["inbox", "--mark-all"], ["wait", "lock:new.txt=free"], ["sessions", "beta"]]:
        words = [word.format(m=message, t=task, e=event, name="gamma") for word in call]
        at = words.index("--") if "--" in words else len(words)
        code = run([*words[:at], "--json", *words[at:]])
        out, err = capfd.readouterr()
        verb = " ".join(words[:2]) if " ".join(words[:2]) in VERBS else words[0]
        if (verb == "run" and "--detach" not in words) or words[0] == "hook":
            continue
        if code not in (0, 1) or not out:
            wrong.append(f"{words}: exit {code} {out} {err}")
        elif verb != "leave" or code == 0:  # the tests' own process has left with the first rename
            wrong += faults(verb, out)
    assert not wrong, "\n".join(wrong)
    assert UNTRIED.keys() >= {"ui", "demo", "mcp", "watch"}


def test_fields_are_chosen(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[0]) as coord:
        task = coord.tasks.add("parse it", priority=1).id
    for words in (["tasks", "--json=priority,title"], ["tasks", "--json", "priority,title"], ["tasks", "--js=priority,title"]):
        assert cli(worktrees[0], *words).out == '[{"priority": 1, "title": "parse it"}]\n', words
    assert cli(worktrees[0], "task", "show", task, "--json", "status").out == '{"status": "open"}\n'
    assert json.loads(cli(worktrees[0], "sessions", "--json", "session,branch").out)[1] == {
        "session": "alpha",
        "branch": "alpha",
    }


def test_a_word_behind_json_that_is_an_argument_stays_one(worktrees: tuple[Path, Path], cli: Cli) -> None:
    assert cli(worktrees[0], "send", "beta", "--json", "id,thread").code == 0
    assert json.loads(cli(worktrees[1], "inbox", "--peek", "--json=text").out) == [{"text": "id,thread"}]
    assert json.loads(cli(worktrees[0], "sessions", "--json", "beta").out)["session"] == "beta"
    assert json.loads(cli(worktrees[0], "sessions", "--json=session", "beta").out) == {"session": "beta"}
    assert cli(worktrees[0], "run", "--", "echo", "--json=x").out == "--json=x\n"
    assert cli(worktrees[0], "note", "-m", "--json=x").code == 0
    assert json.loads(cli(worktrees[0], "notes", "--json=text").out) == [{"text": "--json=x"}]


def test_an_unknown_field_is_refused_with_those_that_there_are(worktrees: tuple[Path, Path], cli: Cli) -> None:
    wrong = cli(worktrees[0], "locks", "--json", "id,holder")
    known = ",".join(KINDS["lock"])
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err == f"error: unknown field: holder\nhint: git coord locks --json={known}\n"
    assert cli(worktrees[0], *wrong.err.split("git coord ")[1].split()).code == 0
    assert cli(worktrees[0], "state", "show", "--json=x").err.startswith("error: the document of state show has no fields")


def test_a_refusal_is_a_document(worktrees: tuple[Path, Path], cli: Cli) -> None:
    with Coord.open(worktrees[1]) as beta:
        task = beta.tasks.add("mine").id
        beta.tasks.claim(task)
        beta.locks.take(["src"])
    claimed = cli(worktrees[0], "task", "claim", task, "--json=id")
    assert claimed.code == 1 and json.loads(claimed.out)["refused"] in claimed.err
    locked = json.loads(cli(worktrees[0], "lock", "src", "--json").out)
    assert [held["session"] for held in locked["locks"]] == ["beta"] and locked["hint"]
    unset = cli(worktrees[0], "state", "unset", "plan", "--json")
    assert json.loads(unset.out) == {"refused": "plan is not set", "hint": "git coord state show"}
    assert cli(worktrees[0], "task", "claim", task).out == ""
