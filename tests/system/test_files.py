"""Files of ours: nothing is read or written through a link, nor before git has accepted the repository."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Cli, git, make_repo

from gitcoord import Coord, RepositoryError
from gitcoord.agents.install import FOLDER
from gitcoord.system import files
from gitcoord.system.lock import file_lock, write_whole

SHELLS = [shell for shell in ("dash", "bash", "zsh", "busybox") if shutil.which(shell)]
Done = subprocess.CompletedProcess[str]
COUNTLESS = 12345
"""A user that is nobody here."""


@pytest.fixture
def coord_dir(tmp_path: Path) -> Path:
    folder = tmp_path / ".git" / "coord"
    (folder / "mail").mkdir(parents=True)
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "elsewhere" / "bashrc"
    path.parent.mkdir()
    path.write_text("mine\n")
    return path


WRITERS = {
    "append": lambda path: files.append_ours(path, b"x"),
    "write": lambda path: files.write_ours(path, b"x"),
    "touch": lambda path: files.touch_ours(path, 1.0),
    "lock": lambda path: file_lock(path).__enter__(),
}


@pytest.mark.parametrize("how", ["symbolic", "hard", "dangling", "fifo", "folder"])
@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_nothing_is_written_through_what_is_no_regular_file(how: str, writer: str, coord_dir: Path, victim: Path) -> None:
    path = coord_dir / "mail" / "w1"
    if how == "symbolic":
        path.symlink_to(victim)
    elif how == "hard":
        path.hardlink_to(victim)
    elif how == "dangling":
        path.symlink_to(victim.with_name("new"))
    elif how == "fifo":
        os.mkfifo(path)
    else:
        (coord_dir / "mail").rmdir()
        (coord_dir / "mail").symlink_to(victim.parent)
        (victim.parent / "w1").write_text("mine\n")
    before = os.stat(victim).st_mtime
    with pytest.raises((OSError, RepositoryError)):
        WRITERS[writer](str(path))
    assert victim.read_text() == "mine\n" and os.stat(victim).st_mtime == before
    assert not victim.with_name("new").exists()
    assert how != "folder" or (victim.parent / "w1").read_text() == "mine\n"


def test_a_link_is_replaced_by_a_file_and_never_followed(coord_dir: Path, victim: Path) -> None:
    path = coord_dir / "clone"
    path.symlink_to(victim)
    with pytest.raises(OSError, match="not a regular file"):
        files.read_ours(str(path))
    write_whole(str(path), "ours\n")
    assert victim.read_text() == "mine\n" and path.read_text() == "ours\n" and not path.is_symlink()


def test_what_lies_behind_a_linked_folder_is_neither_listed_nor_removed(coord_dir: Path, victim: Path) -> None:
    (coord_dir / "agents").symlink_to(victim.parent)
    assert files.names_in(str(coord_dir / "agents")) == []
    assert files.contents_of(str(coord_dir / "agents"), "") == files.times_in(str(coord_dir / "agents")) == {}
    with pytest.raises(OSError, match="not a regular file"):
        files.remove_ours(str(coord_dir / "agents" / victim.name))
    assert victim.exists()


def test_a_folder_is_read_at_once_without_what_is_no_file_of_ours(coord_dir: Path, victim: Path) -> None:
    folder = coord_dir / "sessions"
    folder.mkdir(exist_ok=True)
    (folder / "a.json").write_text("one")
    (folder / "b.json").write_text("")
    (folder / "c.txt").write_text("not asked for")
    (folder / "link.json").symlink_to(victim)
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    assert files.contents_of(str(folder), ".json") == {"a.json": b"one", "b.json": b""}
    os.utime(folder / "a.json", (5, 5))
    assert files.times_in(str(folder))["a.json"] == 5.0
    assert files.contents_of(str(coord_dir / "nothing"), "") == files.times_in(str(coord_dir / "nothing")) == {}


def test_a_session_may_be_called_as_the_folder(coord_dir: Path) -> None:
    files.make_directory(str(coord_dir / "beats"))
    files.touch_ours(str(coord_dir / "beats" / "coord"), 5.0)
    assert os.stat(coord_dir / "beats" / "coord").st_mtime == 5.0
    assert files.names_in(str(coord_dir / "beats")) == ["coord"]


def test_an_index_that_is_a_link_is_made_anew(repo: Path, tmp_path: Path) -> None:
    with Coord.open(repo) as coord:
        coord.notes.add("kept")
    other = tmp_path / "other.sqlite"
    sqlite3.connect(other).execute("CREATE TABLE theirs (x)").connection.close()
    before = other.read_bytes()
    for suffix in ("", "-wal"):
        (repo / ".git" / "coord" / f"index.sqlite{suffix}").unlink(missing_ok=True)
        (repo / ".git" / "coord" / f"index.sqlite{suffix}").symlink_to(other)
    with Coord.open(repo) as coord:
        assert [note.text for note in coord.notes.list()] == ["kept"]
    assert other.read_bytes() == before


def test_a_command_says_which_file_is_in_its_way(repo: Path, cli: Cli, victim: Path) -> None:
    assert cli(repo, "note", "one").code == 0
    lock = repo / ".git" / "coord" / "lock"
    lock.unlink()
    lock.symlink_to(victim)
    ran = cli(repo, "note", "two")
    assert ran.code == 3 and ran.err == f"error: {lock} is not used: it is not a regular file of gitcoord's\nhint: rm {lock}\n"


# agents' hooks: the script decides before Python is started


def hook(
    where: Path, shell: str = "sh", moment: str = "prompt", python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    line = f"python='{python}' hooks='{FOLDER}' harness=claude moment={moment}; . '{FOLDER}/agent-hook'"
    argv = [shell, "sh", "-c", line] if shell == "busybox" else [shell, "-c", line]
    document = json.dumps({"session_id": "s-1", "cwd": str(where)})
    env = {**os.environ, "CLAUDE_CODE_SESSION_ID": "s-1"}
    return subprocess.run(argv, cwd=where, input=document, env=env, capture_output=True, text=True)


@pytest.fixture
def used(repo: Path) -> Path:
    """A repository with a session that is bound to the conversation s-1, with nothing new for it."""
    with Coord.open(repo) as coord:
        coord.notes.add("gitcoord is used here")
    assert hook(repo, moment="start").returncode == 0
    assert (repo / ".git" / "coord" / "agents" / "s-1").is_file()
    return repo


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["beats", "mail", "agents", "touched", "beats/NAME", "mail/NAME@idle"])
def test_an_agents_hook_writes_through_no_link(used: Path, shell: str, name: str, victim: Path) -> None:
    session = (used / ".git" / "coord" / "agents" / "s-1").read_text().strip()
    path = used / ".git" / "coord" / name.replace("NAME", session)
    if path.is_dir():
        shutil.rmtree(path)
        (victim.parent / session).write_text("mine\n")
        (victim.parent / f"{session}@idle").write_text("mine\n")
        path.symlink_to(victim.parent)
    else:
        path.unlink(missing_ok=True)
        path.symlink_to(victim)
    for moment in ("prompt", "stop", "tools", "start"):
        assert hook(used, shell, moment).returncode == 0
    left = [file for file in victim.parent.iterdir() if file.is_file()]
    assert {file.read_text() for file in left} == {"mine\n"}


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give a repository to another user")
@pytest.mark.parametrize("shell", SHELLS)
def test_an_agents_hook_does_nothing_in_a_repository_that_git_refuses(used: Path, shell: str, tmp_path: Path) -> None:
    log = tmp_path / "started"
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho started >>'{log}'\n")
    python.chmod(0o755)
    session = (used / ".git" / "coord" / "agents" / "s-1").read_text().strip()
    beat = used / ".git" / "coord" / "beats" / session
    os.utime(beat, (1, 1))
    os.chown(used / ".git", COUNTLESS, COUNTLESS)
    for moment in ("start", "prompt", "edit", "stop", "end"):
        assert hook(used, shell, moment, str(python)).returncode == 0
    assert os.stat(beat).st_mtime == 1 and not log.exists()
    git(used, "config", "--global", "safe.directory", str(used))
    assert hook(used, shell, "prompt", str(python)).returncode == 0
    assert os.stat(beat).st_mtime > 1


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root can give a repository to another user")
def test_what_went_wrong_is_noted_in_no_repository_that_git_refuses(used: Path) -> None:
    noted = used / ".git" / "coord" / "agents" / "@error"
    argv = [sys.executable, "-P", "-m", "gitcoord.agents", "claude", "start"]
    env = {**os.environ, "GIT_COORD_DIR": str(used / ".git" / "coord")}
    run = {"cwd": used, "env": env, "input": b"no json", "check": True}
    subprocess.run(argv, **run)
    assert "no json" not in noted.read_text() and "JSON" in noted.read_text()
    noted.unlink()
    os.chown(used / ".git", COUNTLESS, COUNTLESS)
    subprocess.run(argv, **run)
    assert not noted.exists()


def test_a_repository_within_another_users_folder_is_not_taken_for_it(tmp_path: Path) -> None:
    inner = tmp_path / "x"
    (inner / ".git").mkdir(parents=True)  # git passes it over
    make_repo(tmp_path)
    assert hook(inner).returncode == 0
    assert not (tmp_path / ".git" / "coord").exists()
