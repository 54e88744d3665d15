"""coord.notify: it runs for urgent news, with facts that cannot be abused, and gitcoord never waits for it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.sessions.presence import register

Pair = tuple[Path, Path]


@pytest.fixture
def bell(worktrees: Pair, tmp_path: Path) -> Path:
    """A fifo that coord.notify writes to: the line, then the JSON. Reading it waits for the bell."""
    fifo, script = tmp_path / "bell", tmp_path / "ring it"
    os.mkfifo(fifo)
    script.write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$1"; cat; }} >"{fifo}"\n')
    script.chmod(0o755)
    git(worktrees[0], "config", "coord.notify", f"'{script}'")
    return fifo


def rung(bell: Path) -> tuple[str, dict[str, Any]]:
    line, document = bell.read_text().splitlines()
    return line, json.loads(document)


@pytest.fixture
def ada(repo: Path) -> None:
    """The person whose repository it is has been here."""
    with Coord.open(repo) as coord:
        register(coord.clone, coord.identity._replace(name="ada-lovelace", person=True, record=None))


@pytest.mark.usefixtures("ada")
def test_urgent_mail_to_a_person_rings(worktrees: Pair, cli: Cli, bell: Path) -> None:
    text = "$(touch pwned) `touch pwned`; touch pwned\n\x1b[31mred"
    with Coord.open(worktrees[0]) as alpha:
        alpha.send("beta", "not to a person", urgent=True)
        alpha.send("ada-lovelace", "not urgent")
        sent = alpha.send("ada-lovelace", text, urgent=True)
        line, facts = rung(bell)
        assert line == "alpha: $(touch pwned) `touch pwned`; touch pwned [31mred"
        assert facts == {
            "kind": "message", "id": sent.id, "from": f"alpha@{alpha.clone.id}", "text": text, "line": line,
        }  # fmt: skip
    assert not [path for path in worktrees if (path / "pwned").exists()]


def test_a_failed_job_rings_once(worktrees: Pair, cli: Cli, bell: Path) -> None:
    assert cli(worktrees[0], "run", "--name", "good", "true").code == 0
    assert cli(worktrees[0], "run", "--name", "bad", "--", "sh", "-c", "echo why >&2; exit 3").code == 3
    line, facts = rung(bell)
    assert line.startswith("bad failed with exit code 3 after ")
    assert (facts["kind"], facts["name"], facts["exit"], facts["stderr_tail"]) == ("job", "bad", 3, "why")


def test_a_session_that_waits_for_its_human_rings(worktrees: Pair, bell: Path) -> None:
    with Coord.open(worktrees[0]) as alpha:
        register(alpha.clone, alpha.identity, waiting=True)
        assert rung(bell)[0] == "alpha waits for you"
        register(alpha.clone, alpha.identity, waiting=True)  # no second time: the next bell is another's
    with Coord.open(worktrees[1]) as beta:
        register(beta.clone, beta.identity, waiting=True)
    assert rung(bell)[1]["session"] == "beta"


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("command", ["no-such-program", "exit 1", "((", ""])
def test_one_that_fails_harms_nothing(worktrees: Pair, cli: Cli, command: str) -> None:
    git(worktrees[0], "config", "coord.notify", command)
    ran = cli(worktrees[0], "send", "ada-lovelace", "hi", "--urgent")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.usefixtures("ada")
def test_nobody_waits_for_a_slow_one(worktrees: Pair, cli: Cli, bell: Path) -> None:
    """It blocks until we read its fifo, which we do only after the command is over."""
    ran = cli(worktrees[0], "send", "ada-lovelace", "hi", "--urgent")
    assert (ran.code, ran.err) == (0, "")
    assert rung(bell)[0] == "alpha: hi"
