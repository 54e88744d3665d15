"""Unexpected errors: one line, exit 70, and a report without anything private; in a verb, in git's hooks, in an agent's.

The server's are in tests/mcp/test_mcp.py.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import Cli, Ran, git

from gitcoord.agents.install import FOLDER
from gitcoord.system import reports

SECRET = "the plan is xyzzy"
LINE = re.compile(r"error: LookupError in (\S+), line \d+: a bug of gitcoord's; please attach (\S+) to an issue\n")


BUG = f"""\
import os, runpy, sys
import gitcoord.agents.handlers, gitcoord.features.locks.guard, gitcoord.features.messages.sending
import gitcoord.sessions.housekeeping

def bug(*args, **kwargs):
    raise LookupError(args, kwargs, {SECRET!r})

gitcoord.agents.handlers.run = gitcoord.features.locks.guard.pre_commit = bug
gitcoord.features.messages.sending.send = gitcoord.sessions.housekeeping.worktree_added = bug
"""
RUN = """
at = sys.argv.index("-m") + 1
sys.argv[:] = sys.argv[at:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A Python in which sending, the guard, agents' hooks and registering a worktree raise an error with what they got."""
    return broken_python(tmp_path, BUG)


def broken_python(tmp_path: Path, bug: str) -> Path:
    (tmp_path / "broken.py").write_text(bug + RUN)
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{tmp_path}/broken.py' \"$@\"\n")
    path.chmod(0o755)
    return path


def run(python: Path, where: Path, *args: str, env: Mapping[str, str] | None = None) -> Ran:
    argv = [str(python), "-m", "gitcoord", *args]
    done = subprocess.run(argv, cwd=where, capture_output=True, text=True, env={**os.environ, **(env or {})})
    return Ran(done.returncode, done.stdout, done.stderr)


def kept(repo: Path) -> list[Path]:
    return sorted((repo / ".git" / "coord" / "reports").glob("*"))


def test_a_bug_in_a_verb_is_exit_70_and_a_report_without_a_word_of_the_message(
    worktrees: tuple[Path, Path], repo: Path, broken: Path, cli: Cli
) -> None:
    said = run(broken, worktrees[0], "send", "beta", "--urgent", f"-m{SECRET}", "--expires=2h", "--json")
    found = LINE.fullmatch(said.err)
    assert (said.code, said.out) == (70, "") and found, said
    (report,) = kept(repo)
    text = report.read_text()
    assert (found[1], found[2]) == ("gitcoord.api.messages", str(report))
    assert "command: git coord send --urgent --expires --json\n" in text
    assert text.startswith("gitcoord ") and "git version " in text and "\nLookupError\n" in text
    assert "in Messages.send" in text and "sending.send(" in text
    assert not re.search("xyzzy|beta|2h", text.lower()) and str(repo) not in text
    assert run(broken, worktrees[0], "send", "beta", "--urgent", "-manother", "--expires=3h", "--json").code == 70
    assert kept(repo) == [report], "the same bug has one report"
    told = cli(repo, "doctor")
    assert told.code == 1 and f"please attach {report} to an issue" in told.out
    os.utime(report, (1, 1))
    assert "bug" not in cli(repo, "doctor").out


def test_the_report_lies_in_the_temporary_directory_where_there_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    env = {"TMPDIR": str(tmp_path / "tmp")}
    find = "gitcoord.store.discovery.find_repository"
    broken = broken_python(tmp_path, f"import runpy, sys, gitcoord.store.discovery\n{find} = lambda *a, **k: {{}}['x']\n")
    said = run(broken, tmp_path, "whoami", env=env)
    assert said.code == 70, said
    (report,) = (tmp_path / "tmp").glob("gitcoord*/*")
    assert str(report) in said.err and report.parent.stat().st_mode & 0o777 == 0o700
    assert "command: git coord whoami\n" in report.read_text()
    report.parent.chmod(0o777)
    report.unlink()
    said = run(broken, tmp_path, "whoami", env=env)
    assert said.code == 70 and "its report could not be written (PermissionError)" in said.err
    assert list(report.parent.iterdir()) == []


def test_a_bug_in_git_s_hooks_stops_no_commit_and_leaves_a_report(
    worktrees: tuple[Path, Path], repo: Path, broken: Path, cli: Cli
) -> None:
    alpha, beta = worktrees
    git(repo, "config", "coord.guard", "block")
    script = repo / ".git" / "hooks" / "pre-commit"
    assert cli(repo, "hooks", "install").code == 0
    script.write_text(script.read_text().replace(sys.executable, str(broken)))
    assert str(broken) in script.read_text()
    assert cli(alpha, "lock", "new.txt").code == 0
    (beta / "new.txt").write_text("x\n")
    git(beta, "add", "new.txt")
    done = subprocess.run(["git", "-C", str(beta), "commit", "-q", "-m", "x"], capture_output=True, text=True)
    assert done.returncode == 0 and LINE.fullmatch(done.stderr), done
    assert "command: git coord hook" in kept(repo)[0].read_text()
    assert run(broken, beta, "hook", "pre-commit").code == 70
    assert run(broken, beta, "hook", "worktree-added").code == 70
    assert len(kept(repo)) == 2


def test_a_bug_in_an_agent_s_hook_leaves_the_agent_alone_and_a_report(
    worktrees: tuple[Path, Path], repo: Path, broken: Path, cli: Cli
) -> None:
    environ = {**os.environ, "python": str(broken)}
    document = json.dumps({"session_id": "s-1", "cwd": str(worktrees[0]), "prompt": SECRET})
    argv = ["sh", f"{FOLDER}/agent-hook", "claude", "start"]
    done = subprocess.run(argv, cwd=worktrees[0], input=document, capture_output=True, text=True, env=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (report,) = kept(repo)
    text = report.read_text()
    assert "command: hook claude start\n" in text and "xyzzy" not in text.lower() and "s-1" not in text
    told = cli(repo, "hooks", "status").err
    assert "note: an agent's hook 'claude start' failed just now" in told and f"please attach {report} to an issue" in told


def caught(depth: int = 0) -> Exception:
    """An error of a call so deep, raised while another was handled."""

    def fall(left: int) -> None:
        if left:
            fall(left - 1)
        raise KeyError(SECRET)

    try:
        try:
            fall(depth)
        except KeyError as error:
            raise ExceptionGroup(SECRET, [ValueError(SECRET), OSError(28, SECRET)]) from error
    except ExceptionGroup as group:
        return group


def test_reports_are_few_short_and_written_through_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coord = tmp_path / "coord"
    coord.mkdir()
    monkeypatch.setattr(reports, "KEPT", 3)
    for number in range(6):
        assert "please attach" in reports.tell(caught(number), [f"verb{number}"], lambda: str(coord))
        for path in (coord / "reports").iterdir():
            os.utime(path, (path.stat().st_mtime - 10,) * 2)
    found = [path.read_text() for path in (coord / "reports").iterdir()]
    assert sorted(re.findall("verb.", "".join(found))) == ["verb3", "verb4", "verb5"]
    assert all(f"\n{what}\n" in found[0] for what in ("ExceptionGroup", "ValueError", "OSError (ENOSPC)", "KeyError"))
    assert "xyzzy" not in "".join(found)

    reports.tell(caught(900), ["deep"], lambda: str(coord))
    (deep,) = [text for path in (coord / "reports").iterdir() if "deep" in (text := path.read_text())]
    assert "calls left out" in deep and len(deep.splitlines()) < 60

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (coord / "reports").iterdir():
        path.unlink()
    (coord / "reports").rmdir()
    (coord / "reports").symlink_to(elsewhere)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert f"attach {tmp_path}/gitcoord-" in reports.tell(caught(), [], lambda: str(coord))
    assert list(elsewhere.iterdir()) == []


def test_a_full_disk_takes_the_line_but_not_the_exit_code(worktrees: tuple[Path, Path], broken: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    with open("/dev/full", "w") as full:
        argv = [str(broken), "-m", "gitcoord", "send", "beta", "hi"]
        assert subprocess.run(argv, cwd=worktrees[0], stderr=full).returncode == 70
        argv = [sys.executable, "-m", "gitcoord", "send", "nobody", "hi"]
        assert subprocess.run(argv, cwd=worktrees[0], stderr=full).returncode == 2
