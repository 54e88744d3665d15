"""Every list can be asked: of whom, since when, how many, and with which dates."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import Cli

from gitcoord import Coord


def texts(cli: Cli, where: Path, *words: str, key: str = "text") -> list[str]:
    ran = cli(where, *words, f"--json={key}")
    assert ran.code == 0, ran
    return [one[key] for one in json.loads(ran.out)]


def test_lists_of_what_sessions_wrote(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    with Coord.open(alpha) as a, Coord.open(beta) as b:
        first = a.send("beta", "the schema").id
        asked = a.send("beta", "nothing", needs_ack=True).id
        b.messages.reply(first, "schema seen")
        a.notes.add("schema note")
        b.notes.add("other note")
        a.tasks.add("merge the SCHEMA")
    assert texts(cli, alpha, "notes", "--from", "beta") == ["other note"]
    assert texts(cli, alpha, "notes", "-n", "1", "--since", "yesterday") == ["other note"]
    assert texts(cli, alpha, "notes", "--since", "2099-01-01") == []
    assert texts(cli, alpha, "search", "schema") == ["the schema", "schema seen", "schema note", "merge the SCHEMA"]
    assert texts(cli, alpha, "search", "--from=beta", "schema") == ["schema seen"]
    assert texts(cli, alpha, "search", "--type=task", "schema") == ["merge the SCHEMA"]
    assert texts(cli, alpha, "thread", first, "-n", "1") == ["schema seen"]
    assert texts(cli, alpha, "sent", "--to", "beta") == ["nothing", "the schema"]
    assert texts(cli, alpha, "sent", "--since", "1h", "-n", "1") == ["nothing"]
    assert texts(cli, alpha, "sent", "--owed") == ["nothing"]
    assert cli(beta, "ack", asked).code == 0
    assert cli(alpha, "sent", "--owed").out == "Nobody owes a receipt.\n"
    dated = cli(alpha, "search", "--date=iso", "other note").out
    assert " +0000" in dated
    assert cli(alpha, "search", "--type", "nonsense", "x").code == 2
    assert cli(alpha, "watch", "--type", "nonsense").err.startswith("error: nonsense is not a type of event\n")
    assert cli(alpha, "gc", "--dry-run", "--keep", "0").out.startswith("Would drop ")
    assert texts(cli, alpha, "notes") == ["other note", "schema note"]
    assert cli(alpha, "lock", "--wait", "7z.c").out.startswith("locked /7z.c")


def test_lists_of_what_there_is(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, beta = worktrees
    with Coord.open(alpha) as a, Coord.open(beta) as b:
        a.locks.take(["src"])
        a.locks.take(["docs"])
        b.locks.take(["lib"])
    assert texts(cli, beta, "locks", "--holder", "alpha", key="patterns") == [["/src"], ["/docs"]]
    assert texts(cli, beta, "locks", "-n", "1", key="patterns") == [["/src"]]
    assert cli(beta, "locks", "-n", "1").out.splitlines()[1] == "(2 more: -n 3)"
    assert texts(cli, beta, "sessions", "--state", "active", "-n", "1", key="session") == ["alpha"]
    assert cli(beta, "sessions", "--state", "asleep").code == 2
    assert cli(beta, "run", "--name", "one", "--", "true").code == 0
    assert cli(beta, "run", "--name", "two", "--", "true").code == 0
    assert texts(cli, alpha, "jobs", "--session", "beta", "-n", "1", key="name") == ["two"]
    assert texts(cli, alpha, "jobs", "--session", "alpha", key="name") == []
