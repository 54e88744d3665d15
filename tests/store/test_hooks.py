"""The git hooks: installed beside whatever is there, quiet, and removable without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import programs
import pytest
from conftest import Cli, git, make_repo

from gitcoord import Coord
from gitcoord.store import hooks
from gitcoord.store.discovery import find_repository
from gitcoord.store.hooks import EVENTS, Hook

NEW_GIT = os.environ.get("GITCOORD_NEW_GIT", "")
"""A git that takes hooks from its configuration (2.54 or newer), where PATH has an older one."""


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder with its mode and content."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, b"" if path.is_dir() else path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


def install(where: Path) -> dict[str, Hook]:
    return {hook.event: hook for hook in hooks.install(find_repository(where))}


def uninstall(where: Path) -> list[Hook]:
    return hooks.uninstall(find_repository(where))


def status(where: Path) -> dict[str, Hook]:
    return {hook.event: hook for hook in hooks.status(find_repository(where))}


def write_hook(repo: Path, event: str, content: str, mode: int = 0o755) -> Path:
    path = repo / ".git" / "hooks" / event
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return path


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Ask until it holds: the hooks work in a process of their own that nobody can wait for."""
    assert programs.eventually(condition), f"never happened: {what}"


@pytest.fixture
def old_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that takes no hooks from its configuration, whatever this machine has."""
    monkeypatch.setattr(hooks, "CONFIG_HOOKS", (999, 0))


@pytest.fixture
def new_git(monkeypatch: pytest.MonkeyPatch) -> None:
    if NEW_GIT:
        monkeypatch.setenv("PATH", f"{Path(NEW_GIT).parent}{os.pathsep}{os.environ['PATH']}")
    found = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout.split()[2]
    if tuple(map(int, found.split(".")[:2])) < hooks.CONFIG_HOOKS:
        pytest.skip(f"needs git 2.54 for hooks in the configuration, this is {found} (GITCOORD_NEW_GIT names one)")


# installing and removing


@pytest.mark.usefixtures("old_git")
def test_without_hooks_each_event_gets_a_file_of_its_own_and_loses_it_again(repo: Path) -> None:
    before = files_of(repo / ".git")
    found = install(repo)
    assert [(hook.event, hook.how, hook.runs) for hook in found.values()] == [(event, "file", True) for event in EVENTS]
    assert install(repo) == found
    assert {Path(hook.where).stat().st_mode & 0o111 for hook in found.values()} == {0o111}
    uninstall(repo)
    assert files_of(repo / ".git") == before


@pytest.mark.usefixtures("old_git")
def test_a_hooks_folder_that_was_missing_is_missing_again(repo: Path) -> None:
    for path in (repo / ".git" / "hooks").iterdir():
        path.unlink()
    (repo / ".git" / "hooks").rmdir()
    install(repo)
    uninstall(repo)
    assert not (repo / ".git" / "hooks").exists()


@pytest.mark.usefixtures("old_git")
@pytest.mark.parametrize(
    "content",
    [
        "#!/bin/sh\necho mine\nexit 3\n",
        "#!/usr/bin/env bash\nset -euo pipefail\nexec false",
        "#!/bin/sh",
        "echo no first line, which git runs with sh\n",
        "",
    ],
)
def test_a_shell_hook_gets_marked_lines_and_its_bytes_and_mode_back(repo: Path, content: str) -> None:
    path = write_hook(repo, "post-commit", content, 0o750)
    hook = install(repo)["post-commit"]
    assert (hook.how, hook.runs, hook.where) == ("block", True, str(path))
    assert path.read_text() != content
    install(repo)
    assert path.read_text().count("# >>> gitcoord") == 1
    uninstall(repo)
    assert (path.read_text(), path.stat().st_mode & 0o777) == (content, 0o750)


@pytest.mark.usefixtures("old_git")
def test_what_was_written_around_our_lines_meanwhile_stays(repo: Path) -> None:
    own = Path(install(repo)["post-merge"].where)
    own.write_text(own.read_text() + "echo added later\n")
    uninstall(repo)
    assert own.read_text() == "#!/bin/sh\necho added later\n"


@pytest.mark.usefixtures("old_git")
@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        ("#!/usr/bin/env python3\nprint('mine')\n", 0o755, "is not a shell script; make it run"),
        ("#!/bin/sh\ncall_lefthook run post-commit\n", 0o755, "lefthook owns it; add a command to post-commit in lefthook.yml"),
        ("#!/bin/sh\necho switched off\n", 0o644, "exists but is not executable; add to it"),
    ],
)
def test_a_hook_that_is_not_ours_to_touch_is_left_and_the_line_is_printed(
    repo: Path, content: str, mode: int, why: str
) -> None:
    path = write_hook(repo, "post-commit", content, mode)
    found = install(repo)
    assert (path.read_text(), path.stat().st_mode & 0o777) == (content, mode)
    assert found["post-commit"].why.endswith(why)
    assert [event for event in EVENTS if not found[event].runs] == ["post-commit"]
    assert 'coord/hook; test ! -f "$f" || sh "$f" post-commit' in found["post-commit"].line


@pytest.mark.usefixtures("old_git")
def test_the_printed_line_works_when_it_is_added_by_hand(repo: Path) -> None:
    (repo / ".husky" / "_").mkdir(parents=True)
    git(repo, "config", "core.hooksPath", ".husky/_")
    with Coord.open(repo) as coord:
        found = {hook.event: hook for hook in coord.repository.init().hooks}
    assert {hook.how for hook in found.values()} == {"none"}
    assert found["post-checkout"].why == "core.hooksPath is .husky/_; add to .husky/post-checkout"
    script = repo / ".husky" / "_" / "post-checkout"
    script.write_text(f"#!/bin/sh -e\n{found['post-checkout'].line}\n")
    script.chmod(0o755)
    git(repo, "config", "core.hooksPath", str(repo / ".husky" / "_"))  # a linked worktree has no .husky/_ of its own
    git(repo, "worktree", "add", "-q", "../gamma")
    eventually(lambda: "gamma" in names(repo), "the placeholder by the line added by hand")
    assert git(repo, "config", "core.hooksPath").strip() == str(repo / ".husky" / "_")


@pytest.mark.usefixtures("old_git")
@pytest.mark.parametrize("manager", ["husky", "lefthook"])
def test_the_line_that_was_added_by_hand_is_recognised(repo: Path, manager: str, cli: Cli) -> None:
    if manager == "husky":
        (repo / ".husky" / "_").mkdir(parents=True)
        git(repo, "config", "core.hooksPath", ".husky/_")
    else:
        for event in EVENTS:
            write_hook(repo, event, "#!/bin/sh\ncall_lefthook run\n")
    lines = {event: hook.line for event, hook in install(repo).items()}
    assert all(lines.values())
    for event in EVENTS:
        if manager == "husky":
            (repo / ".husky" / event).write_text(f"npm test\n{lines[event]}\n")
        else:
            with (repo / "lefthook.yml").open("a") as file:
                file.write(f"{event}:\n  commands:\n    gitcoord:\n      {lines[event]}\n")
    found = status(repo)
    assert {(hook.how, hook.runs) for hook in found.values()} == {("line", True)}
    assert "does not run" not in cli(repo, "hooks", "status").out
    assert "hooks      post-checkout" in cli(repo, "doctor").out or "post-checkout, " in cli(repo, "doctor").out
    commented = repo / (".husky/post-commit" if manager == "husky" else "lefthook.yml")
    commented.write_text("".join(f"# {line}\n" for line in commented.read_text().splitlines()))
    assert not status(repo)["post-commit"].runs
    (repo / ".git" / "coord" / "hook").unlink()
    if manager == "husky":
        assert status(repo)["post-merge"].why == "the file that the line runs is gone"
        assert install(repo)["post-merge"].runs


@pytest.mark.usefixtures("old_git")
def test_git_lfs_is_explained_and_its_own_advice_does_us_no_lasting_harm(repo: Path, cli: Cli) -> None:
    lfs = '#!/bin/sh\ncommand -v git-lfs >/dev/null 2>&1 || exit 0\ngit lfs post-merge "$@"\n'
    write_hook(repo, "post-merge", lfs)
    git(repo, "config", "filter.lfs.process", "git-lfs filter-process")
    assert {hook.how for hook in install(repo).values()} == {"file", "block"}
    said = cli(repo, "hooks", "status").out
    assert "git-lfs: its lines are missing in post-checkout, post-commit; see git lfs update --manual." in said
    assert "Its --force overwrites gitcoord's hooks; git coord hooks install restores them" in said
    write_hook(repo, "post-checkout", lfs.replace("post-merge", "post-checkout"))  # git lfs update --force
    assert status(repo)["post-checkout"].why == "not installed"
    assert install(repo)["post-checkout"].how == "block"
    git(repo, "config", "--unset", "filter.lfs.process")
    assert "git-lfs" not in cli(repo, "hooks", "status").out


@pytest.mark.usefixtures("old_git")
def test_a_folder_shared_by_other_repositories_is_left_alone(repo: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared-hooks"
    shared.mkdir()
    git(repo, "config", "--global", "core.hooksPath", str(shared))
    found = install(repo)
    assert list(shared.iterdir()) == []
    assert found["pre-commit"].why == f"core.hooksPath is {shared}; add to {shared}/pre-commit"


@pytest.mark.usefixtures("old_git")
def test_beside_pre_commit_ours_is_the_legacy_hook_that_it_runs(repo: Path) -> None:
    manager = write_hook(
        repo,
        "pre-commit",
        '#!/usr/bin/env bash\n# File generated by pre-commit: https://pre-commit.com\n"$0.legacy" "$@" || exit\necho managed\n',
    )
    before = files_of(repo / ".git" / "hooks")
    hook = install(repo)["pre-commit"]
    assert (hook.how, hook.runs, hook.where) == ("file", True, f"{manager}.legacy")
    assert manager.read_bytes() == before["pre-commit"][1]
    assert git(repo, "commit", "-q", "--allow-empty", "-m", "both run") == ""
    uninstall(repo)
    assert files_of(repo / ".git" / "hooks") == before


@pytest.mark.usefixtures("old_git")
def test_a_manager_that_came_later_and_pushed_us_aside_is_seen_and_still_undone(repo: Path) -> None:
    before = files_of(repo / ".git" / "hooks")
    path = Path(install(repo)["post-commit"].where)
    path.rename(f"{path}.old")
    write_hook(repo, "post-commit", "#!/bin/sh\necho somebody else\n")
    assert status(repo)["post-commit"].why == "another hook took its place"
    assert install(repo)["post-commit"].how == "block"
    write_hook(repo, "post-commit", "#!/bin/sh\ncall_lefthook\n")
    assert status(repo)["post-commit"].why == "lefthook owns it; add a command to post-commit in lefthook.yml"
    assert install(repo)["post-commit"].line.startswith("run: f=")
    assert (repo / ".git" / "coord" / "hook").exists()
    uninstall(repo)
    path.unlink()
    assert files_of(repo / ".git" / "hooks") == before


@pytest.mark.usefixtures("new_git")
def test_a_newer_git_takes_them_from_its_configuration_and_no_file_changes(repo: Path) -> None:
    write_hook(repo, "post-commit", "#!/usr/bin/env python3\n")
    before = files_of(repo / ".git")
    found = install(repo)
    assert [(hook.how, hook.runs) for hook in found.values()] == [("config", True)] * len(EVENTS)
    assert install(repo) == found
    changed = files_of(repo / ".git")
    assert {name for name in changed if changed[name] != before.get(name)} == {"config", "coord"}
    assert "gitcoord-post-commit" in git(repo, "hook", "list", "post-commit")
    uninstall(repo)
    assert files_of(repo / ".git") == before


@pytest.mark.usefixtures("new_git")
def test_hooks_in_the_configuration_work_whatever_the_hooks_path_says(repo: Path) -> None:
    git(repo, "config", "core.hooksPath", os.devnull)
    with Coord.open(repo) as coord:
        coord.repository.init()
    git(repo, "worktree", "add", "-q", "../gamma")
    eventually(lambda: "gamma" in names(repo), "the placeholder by the configured hook")


def test_the_commands_say_what_is_installed_and_what_was_removed(repo: Path, cli: Cli) -> None:
    assert cli(repo, "hooks").out.startswith("post-checkout does not run: not installed\n  git coord hooks install\n")
    installed = cli(repo, "hooks", "install", "--json")
    assert '"event": "post-checkout", "how": ' in installed.out
    assert cli(repo, "hooks", "status", "git", "--json").out == installed.out
    assert cli(repo, "hooks").out.startswith(f"Hooks installed, they run {sys.executable}:\n")
    assert cli(repo, "hooks", "uninstall").out.startswith("Removed: ")
    assert cli(repo, "hooks", "uninstall").out == "No hooks were installed.\n"


def test_a_configuration_that_cannot_be_written_is_said_in_one_line(repo: Path, cli: Cli) -> None:
    (repo / ".git" / "hooks" / "post-commit").mkdir(parents=True)
    (repo / ".git" / "config.lock").touch()
    ran = cli(repo, "hooks", "install")
    assert "Traceback" not in ran.err
    assert ran.code in (0, 3)


# the work of the hooks


def names(where: Path) -> set[str | None]:
    with Coord.open(where) as coord:
        return {session.session for session in coord.sessions.list(everyone=True)}


def published(where: Path, name: str) -> str:
    shown = git(where, "log", "-1", "--format=%(trailers:key=Coord,valueonly)", "--glob=refs/coord/presence")
    return json.dumps(json.loads(shown)["sessions"][name])


def test_adding_a_worktree_registers_a_placeholder(repo: Path) -> None:
    with Coord.open(repo) as coord:
        coord.repository.init()
    git(repo, "worktree", "add", "-q", "../gamma")
    eventually(lambda: "gamma" in names(repo), "the placeholder")
    eventually(lambda: '"gamma"' in git(repo, "log", "--format=%B", "--glob=refs/coord/presence"), "its presence")
    with Coord.open(repo) as coord:
        assert coord.sessions.get("gamma").state == "expected"
        assert len(coord.sessions.list()) == 2


def test_a_commit_and_a_branch_show_in_the_presence_of_the_worktrees_session(worktrees: tuple[Path, Path]) -> None:
    alpha = worktrees[0]
    with Coord.open(alpha) as coord:
        coord.repository.init()
    (alpha / "new.txt").write_text("new\n")
    git(alpha, "add", "new.txt")
    git(alpha, "commit", "-q", "-m", "work")
    head = git(alpha, "rev-parse", "HEAD").strip()
    eventually(lambda: head in published(alpha, "alpha"), "the new head in the presence")
    git(alpha, "checkout", "-q", "-b", "topic")
    eventually(lambda: '"branch": "topic"' in published(alpha, "alpha"), "the new branch in the presence")


def test_a_refresh_with_nothing_new_writes_nothing(worktrees: tuple[Path, Path], cli: Cli) -> None:
    cli(worktrees[0], "hook", "refresh")
    before = git(worktrees[0], "for-each-ref", "refs/coord")
    assert cli(worktrees[0], "hook", "refresh").code == 0
    assert git(worktrees[0], "for-each-ref", "refs/coord") == before


def test_a_whole_rebase_ends_in_the_rewritten_head(worktrees: tuple[Path, Path]) -> None:
    alpha = worktrees[0]
    with Coord.open(alpha) as coord:
        coord.repository.init()
    for number in range(4):
        git(alpha, "commit", "-q", "--allow-empty", "-m", f"step {number}")
    git(alpha, "rebase", "-q", "--force-rebase", "--root")
    head = git(alpha, "rev-parse", "HEAD").strip()
    eventually(lambda: head in published(alpha, "alpha"), "the rewritten head in the presence")


@pytest.mark.usefixtures("old_git")
def test_a_foreign_hook_keeps_its_exit_status_and_arguments(repo: Path) -> None:
    write_hook(repo, "pre-commit", '#!/bin/sh\necho "$#" > ran\nexit 7\n')
    with Coord.open(repo) as coord:
        coord.repository.init()
    assert git(repo, "commit", "-q", "--allow-empty", "-m", "refused", check=False) == ""
    assert git(repo, "log", "--oneline").count("\n") == 1
    assert (repo / "ran").read_text() == "0\n"


SCRIPT = hooks.SCRIPT


def run_hook(repo: Path, event: str, *args: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    argv = ["sh", "-c", f"python={python} event={event}; . {SCRIPT}", "hook", *args]
    return subprocess.run(argv, cwd=repo, capture_output=True, text=True, check=False)


def test_once_the_program_is_gone_commits_go_on_in_silence(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "venv" / "gitcoord" / "hooks" / "git-hook"
    monkeypatch.setattr(hooks, "SCRIPT", gone)
    with Coord.open(repo) as coord:
        coord.repository.init()
    assert {hook.why for hook in status(repo).values()} == {"the gitcoord that installed it is gone"}
    done = subprocess.run(["git", "commit", "--allow-empty", "-qm", "x"], cwd=repo, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    ran = run_hook(repo, "post-commit", python=str(tmp_path / "no-python"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_installing_again_repairs_the_path_of_a_program_that_moved(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(hooks, "SCRIPT", repo / "gone" / "git-hook")
        install(repo)
        assert not status(repo)["post-commit"].runs
    assert all(hook.runs for hook in install(repo).values())


def test_refreshes_of_a_worktree_that_pile_up_become_one(repo: Path) -> None:
    with Coord.open(repo) as coord:
        coord.repository.init()
    marker = repo / ".git" / "coord" / "refresh-main"
    marker.touch()
    waiting = marker.stat()
    assert run_hook(repo, "post-commit").returncode == 0
    assert marker.stat().st_mtime_ns == waiting.st_mtime_ns
    os.utime(marker, (time.time() - 300,) * 2)
    run_hook(repo, "post-commit")
    eventually(lambda: not marker.exists(), "the stale marker taken over")


def test_a_repository_that_gitcoord_left_sees_nothing_of_a_hook(repo: Path) -> None:
    before = files_of(repo / ".git")
    assert run_hook(repo, "post-commit").returncode == 0
    assert run_hook(repo, "post-checkout", "0" * 40, "HEAD", "1").returncode == 0
    assert files_of(repo / ".git") == before


def test_hooks_work_in_a_submodule_and_in_a_bare_repositorys_worktree(repo: Path, tmp_path: Path) -> None:
    inner = make_repo(tmp_path / "inner")
    git(repo, "submodule", "--quiet", "add", str(inner), "lib")
    bare = tmp_path / "bare.git"
    git(repo, "clone", "-q", "--bare", str(inner), str(bare))
    for where, place in ((repo / "lib", tmp_path / "lib-two"), (bare, tmp_path / "bare-two")):
        with Coord.open(where) as coord:
            coord.repository.init()
        git(where, "worktree", "add", "-q", "-b", "two", str(place))
        eventually(lambda where=where, place=place: place.name in names(where), f"the placeholder of {place}")  # type: ignore[misc]


def test_the_hook_holds_no_pipe_of_its_starter_open(repo: Path) -> None:
    with Coord.open(repo) as coord:
        coord.repository.init()
    started = time.monotonic()
    subprocess.run("git commit --allow-empty -qm x 7>&1 | cat", cwd=repo, shell=True, check=True)
    assert (repo / ".git" / "coord" / "refresh-main").exists(), (
        f"the reader waited for the hook, {time.monotonic() - started} s"
    )
