"""Secrets do not leave: text that looks like one stays in the clone, unless the user allows it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from clones import at_rest, clone_id
from conftest import Cli, git

from gitcoord import Coord, Refused
from gitcoord.log import secrets

TOKEN = "ghp_" + "a1B2c3D4e5F6" * 3
A = "Ab3" * 20
EXAMPLES = {
    "-----BEGIN OPENSSH PRIVATE KEY-----": "a private key",
    "-----BEGIN PRIVATE KEY-----": "a private key",
    "AKIAIOSFODNN7EXAMPLE": "an AWS access key",
    f"aws_secret_key = '{A[:40]}'": "an AWS secret key",
    f"AccountKey={(A * 2)[:88]}": "an Azure storage key",
    f"M{A[:23]}.{A[:6]}.{A[:27]}": "a Discord token",
    f"my token is {TOKEN}.": "a GitHub token",
    f"github_pat_{A}": "a GitHub token",
    f"glpat-{A[:20]}": "a GitLab token",
    f"eyJ{A[:20]}.eyJ{A[:20]}.{A[:20]}": "a JSON Web Token",
    f"//registry.npmjs.org/:_authToken=npm_{A[:36]}": "an npm token",
    f"sk-proj-{A[:20]}T3BlbkFJ{A[:20]}": "an OpenAI key",
    f"sk-ant-api03-{A}": "an Anthropic key",
    f"pypi-AgEIcHlwaS5vcmc{(A * 2)[:80]}": "a PyPI token",
    f"SG.{A[:22]}.{A[:43]}": "a SendGrid key",
    "xoxb-123456789012-abcdef": "a Slack token",
    f"sk_live_{A[:24]}": "a Stripe key",
    f"12345678:{A[:35]}": "a Telegram token",
    "https://me:hunter22@example.org/x": "a password in a URL",
}  # fmt: skip
HARMLESS = [
    "see commit 3f9a1c77d0e1b2c3a4f5968778695a4b3c2d1e0f, ratio 12:30, node-us1, sk-learn, https://example.org/a:b@c",
    "ssh://git@example.org/r and git@example.org:r; BEGIN PUBLIC KEY; the private key is rotated; ghp_ is the prefix",
    "\n".join(f"def f{n}(a: int) -> str:  # e.g. x.y.z AC SK" for n in range(200)),
]


@pytest.mark.parametrize(("text", "kind"), EXAMPLES.items())
def test_well_known_forms_are_found(text: str, kind: str) -> None:
    assert secrets.find(text) == kind
    assert secrets.find(f"log:\n  export X={text}\n") or kind == "an Artifactory credential"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_people_write_is_no_secret(text: str) -> None:
    assert secrets.find(text) == ""


def test_a_large_attachment_takes_no_longer_than_its_size() -> None:
    for unit in ("a", "a1", "AC", "1234567890:", "M.", "-us", "aws ", "://a:", "eyJ", "//:_authToken"):
        began = time.process_time()
        secrets.find(unit * (1_000_000 // len(unit)))
        assert time.process_time() - began < 10, unit


def test_a_message_with_a_secret_stays_in_the_clone_and_says_so(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, _ = worktrees
    ran = cli(alpha, "send", "beta", f"use {TOKEN}")
    assert ran.code == 0
    assert (
        ran.err
        == "kept in this clone, as it has what looks like a GitHub token; to let other clones see it, add --allow-secret\n"
    )
    said = json.loads(cli(alpha, "send", "beta", "--json", f"use {TOKEN}").out)
    assert said["kept_local"] == "it has what looks like a GitHub token"
    assert cli(alpha, "send", "beta", "--allow-secret", f"really {TOKEN}").err == ""
    logs = git(alpha, "log", "--format=%B", "--glob=refs/coord/log/*")
    assert f"really {TOKEN}" in logs and f"use {TOKEN}" not in logs
    with Coord.open(alpha.parent / "beta") as coord:
        assert len(coord.inbox().messages) == 3


def test_an_attachment_is_looked_at(worktrees: tuple[Path, Path], tmp_path: Path, cli: Cli) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"\xff\n-----BEGIN RSA PRIVATE KEY-----\n")
    ran = cli(worktrees[0], "send", "beta", "--attach", str(key), "my key")
    assert ran.code == 0 and "looks like a private key" in ran.err


@pytest.mark.parametrize(
    "command",
    [
        ["note"],
        ["task", "add"],
        ["state", "set", "k"],
        ["lock", "readme.txt", "-m"],
        ["focus"],
        ["join", "w", "--focus"],
    ],
)
def test_other_texts_are_refused_and_nothing_is_written(repo: Path, cli: Cli, command: list[str]) -> None:
    ran = cli(repo, *command, f"use {TOKEN}")
    assert ran.code == 1 and "what looks like a GitHub token: nothing was written" in ran.err, ran
    assert TOKEN not in git(repo, "log", "--format=%B", "--all")


def test_words_about_a_task_whose_title_was_allowed_are_not_refused(repo: Path, cli: Cli) -> None:
    assert cli(repo, "task", "add", "--allow-secret", f"rotate {TOKEN}").code == 0
    with Coord.open(repo) as coord:
        (task,) = coord.tasks.list()
    assert cli(repo, "task", "claim", task.id).code == 0
    assert cli(repo, "task", "comment", task.id, "on it").code == 0
    assert cli(repo, "task", "comment", task.id, f"the new one is {TOKEN}").code == 1


def test_a_secret_for_another_clone_is_refused(tmp_path: Path) -> None:
    ada, bob = at_rest(tmp_path)
    with Coord.open(ada, as_name="w") as coord, pytest.raises(Refused, match="nothing was written"):
        coord.send(f"w@{clone_id(bob)}", f"use {TOKEN}")


def test_published_output_with_a_secret_stays_here(repo: Path, cli: Cli) -> None:
    assert (
        cli(
            repo, "run", "--publish", "--", "sh", "-c", "printf 'ghp_%s\\n' a1B2c3D4e5F6a1B2c3D4e5F6a1B2c3D4e5F6 >&2; false"
        ).code
        == 1
    )
    logs = git(repo, "log", "--format=%B", "--glob=refs/coord/log/*")
    assert "ghp_a1B2" not in logs and "the output stays in its clone, as it has what looks like a GitHub token" in logs
    ran = cli(repo, "run", "--publish", "--", "echo", TOKEN)
    assert ran.code == 1 or ran.code == 125, ran
    assert "what looks like a GitHub token: it was neither run nor published" in ran.err
    assert "add --allow-secret" in ran.err
    assert cli(repo, "run", "--name", TOKEN, "--", "true").code == 125


@pytest.mark.parametrize("how", ["in the foreground", "detached"])
def test_published_output_with_a_secret_leaves_where_that_is_allowed(repo: Path, cli: Cli, how: str) -> None:
    command = ["sh", "-c", f"echo {TOKEN} >&2; false"]
    detach = ["--detach"] if how == "detached" else []
    ran = cli(repo, "run", "--publish", "--allow-secret", "--name", "leak", *detach, "--", *command)
    assert ran.code == (0 if detach else 1), ran
    assert cli(repo, "wait", "job:leak", "--timeout", "30").code == 0
    logs = git(repo, "log", "--format=%B", "--glob=refs/coord/log/*")
    assert logs.count(TOKEN) >= 2 and "the output stays in its clone" not in logs


def test_the_name_of_an_ignored_file_is_in_no_note_and_no_overlap(worktrees: tuple[Path, Path], cli: Cli) -> None:
    for where in worktrees:
        (where / ".gitignore").write_text(".env\n")
        (where / ".env").write_text(f"{where.name}\n")
        assert cli(where, "editing", ".env").code == 0
    alpha, _ = worktrees
    ran = cli(alpha, "note", "--path", ".env", "needs a port")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "error: git ignores .env: its name would leave this clone; nothing was written\n"
        "hint: leave out --path, or add --allow-secret\n"
    )
    assert ".env" not in git(alpha, "log", "--format=%B", "--glob=refs/coord/*")
    assert cli(alpha, "note", "--path", ".", "about all").code == 0
    assert cli(alpha, "note", "--path", "not/there.txt", "about one to come").code == 0
    assert cli(alpha, "note", "--path", ".env", "--allow-secret", "needs a port").code == 0


def test_the_names_of_ignored_files_are_not_published(repo: Path, cli: Cli) -> None:
    (repo / ".gitignore").write_text(".env\n")
    (repo / ".env").write_text("x\n")
    assert cli(repo, "join", "one").code == 0
    assert cli(repo, "editing", ".env", "readme.txt").code == 0
    logs = git(repo, "log", "--format=%B", "--glob=refs/coord/*")
    assert "readme.txt" in logs and ".env" not in logs


def test_a_label_with_a_secret_is_refused(repo: Path, cli: Cli) -> None:
    ran = cli(repo, "task", "add", "a task", "--label", TOKEN)
    assert ran.code == 1 and "what looks like a GitHub token: nothing was written" in ran.err, ran


def _with_ignored(repo: Path) -> None:
    """A worktree in which git ignores `.env` files and the folder `build`, with a program in it."""
    (repo / ".gitignore").write_text(".env*\nbuild/\n")
    (repo / "build").mkdir()
    (repo / "build" / "customer.sh").write_text("#!/bin/sh\nexit 3\n")
    (repo / "build" / "customer.sh").chmod(0o755)


def _published(repo: Path) -> str:
    return git(repo, "log", "--format=%B", "--glob=refs/coord/log/*", "--glob=refs/coord/presence/*")


@pytest.mark.parametrize(
    "pattern", [".env.customer", "build/customer.txt", "build/*.txt", "build/", ".env.?", r":/build/\[a\]"]
)
def test_a_lock_that_names_an_ignored_file_holds_in_this_clone_alone(repo: Path, cli: Cli, pattern: str) -> None:
    _with_ignored(repo)
    ran = cli(repo, "lock", "readme.txt", pattern, "-m", "mine")
    assert ran.code == 0 and "other clones do not see this lock (--allow-secret publishes it)" in ran.err, ran
    assert " (only in this clone)" in cli(repo, "locks").out
    with Coord.open(repo, as_name="other") as other:
        other.sessions.join()
    assert cli(repo, "lock", pattern, "--as", "other").code == 1, "it holds here"
    assert cli(repo, "unlock", "--force", pattern, "readme.txt", "--as", "other").code == 0
    assert cli(repo, "locks").out == "No locks.\n"
    assert "ended your lock on" in cli(repo, "inbox").out, "the holder is told here"
    logs = _published(repo)
    assert not any(word in logs for word in (".env", "build", "readme.txt", "mine")), logs


def test_a_lock_of_what_git_ignores_is_published_where_that_is_allowed(repo: Path, cli: Cli) -> None:
    _with_ignored(repo)
    assert cli(repo, "lock", "--global", ".env.customer").err == (
        "error: git ignores /.env.customer: its name would leave this clone; nothing was written\n"
        "hint: leave out --global, or add --allow-secret\n"
    )
    assert cli(repo, "lock", ".env.customer", "--allow-secret").err == ""
    assert ".env.customer" in _published(repo)


def test_a_local_lock_in_place_of_a_public_one_ends_that_for_all(tmp_path: Path) -> None:
    ada, bob = at_rest(tmp_path)
    with Coord.open(ada, as_name="w") as coord:
        coord.locks.take(["*.key"])
        coord.remote.sync("origin")
        (ada / ".gitignore").write_text("*.key\n")
        assert coord.locks.take(["*.key"]).local
        assert [(lock.patterns, lock.local) for lock in coord.locks.held()] == [(("*.key",), True)]
        coord.remote.sync("origin")
    with Coord.open(bob, as_name="w") as coord:
        coord.remote.sync("origin")
        assert coord.locks.held() == []


def test_who_waits_for_a_local_lock_gets_it_and_is_told_no_name_in_public(repo: Path, cli: Cli) -> None:
    _with_ignored(repo)
    with Coord.open(repo, as_name="one") as one:
        one.sessions.join()
    assert cli(repo, "lock", ".env.customer", "--as", "one").code == 0
    with Coord.open(repo, as_name="two") as coord:
        with pytest.raises(Refused, match="is locked by one"):
            coord.locks.take([".env.customer"], wait=0.05)
        assert cli(repo, "leave", "--as", "one").code == 0
        assert coord.locks.take([".env.customer"], wait=30).local
    assert ".env" not in _published(repo)


def test_a_job_is_not_called_by_a_program_that_git_ignores(repo: Path, cli: Cli) -> None:
    _with_ignored(repo)
    assert cli(repo, "run", "--", "build/customer.sh").code == 3
    assert "customer.sh failed with exit code 3" in cli(repo, "jobs").out
    assert "customer.sh failed" in cli(repo, "job", "show", "customer.sh").out
    assert cli(repo, "wait", "job:customer.sh", "--timeout", "30").code == 0
    assert "customer.sh failed" in cli(repo, "inbox").out
    logs = _published(repo)
    assert "job failed with exit code 3" in logs and "customer" not in logs
    ran = cli(repo, "run", "--publish", "--", "sh", "build/customer.sh")
    assert ran.code == 125 and "git ignores build/customer.sh" in ran.err and "leave out --publish" in ran.err, ran
    assert cli(repo, "run", "--name", "customer", "--", "build/customer.sh").code == 3
    assert "customer failed" in _published(repo), "the user chose that name"


def test_a_job_is_not_called_by_a_program_with_a_token_in_its_name(repo: Path, cli: Cli) -> None:
    token = "ghp_" + "a1B2c3D4e5F6" * 3
    assert cli(repo, "run", "--", f"./{token}").code == 127
    assert f"{token} failed" in cli(repo, "jobs").out
    assert "job failed with exit code 127" in _published(repo) and token not in _published(repo)


def test_an_attachment_that_git_ignores_is_sent_in_this_clone_alone(worktrees: tuple[Path, Path], cli: Cli) -> None:
    alpha, _ = worktrees
    _with_ignored(alpha)
    ran = cli(alpha, "send", "beta", "--attach", "build/customer.sh", "the script")
    assert (ran.code, ran.out) == (1, "")
    assert "error: git ignores build/customer.sh" in ran.err and "hint: add --local, or add --allow-secret" in ran.err
    assert cli(alpha, "send", "beta", "--local", "--attach", "build/customer.sh", "the script").code == 0
    (alpha / "link.txt").symlink_to("build/customer.sh")
    assert cli(alpha, "send", "beta", "--attach", "link.txt", "by a name that is known").code == 0
    assert "customer" not in _published(alpha)
