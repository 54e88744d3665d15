"""core.sharedRepository: files that one user of the group writes can be written by the others, with any umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from conftest import Cli, git, make_repo
from test_files import hook

from gitcoord import Coord
from gitcoord.store.discovery import find_repository
from gitcoord.system import files


def modes(repo: Path) -> dict[str, int]:
    found = {}
    for where, folders, names in os.walk(repo / ".git" / "coord"):
        for name in (*folders, *names):
            path = Path(where, name)
            found[str(path.relative_to(repo / ".git"))] = stat.S_IMODE(path.lstat().st_mode)
    return found


def use(repo: Path, cli: Cli) -> None:
    """Make files of most kinds, by the program and by the scripts of the hooks."""
    before = os.umask(0o077)
    try:
        for command in ("init", "join one", "note hi", "lock readme.txt", "task add t", "run -- true", "conflicts", "inbox"):
            assert cli(repo, *command.split()).code == 0, command
        for moment in ("start", "prompt", "stop"):
            assert hook(repo, moment=moment).returncode == 0
        git(repo, "commit", "-q", "--allow-empty", "-m", "by the hook")
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("value", "folder", "file"), [("group", 0o2770, 0o660), ("all", 0o2775, 0o664), ("0640", 0o2750, 0o640)]
)
def test_our_files_are_shared_as_gits_are(tmp_path: Path, cli: Cli, value: str, folder: int, file: int) -> None:
    repo = make_repo(tmp_path / "shared", f"--shared={value}")
    use(repo, cli)
    found = modes(repo)
    assert {"coord/lock", "coord/journal", "coord/clone", "coord/index.sqlite", "coord/sessions/one.json"} <= set(found)
    assert any(name.startswith("coord/beats/") for name in found) and any(name.endswith("@idle") for name in found)
    strange = {name: oct(mode) for name, mode in found.items() if mode & 0o7777 not in (folder, file)}
    assert strange == {}


def test_without_the_setting_the_umask_decides_and_logs_are_private(repo: Path, cli: Cli) -> None:
    before = os.umask(0o022)
    try:
        assert cli(repo, "run", "--", "true").code == 0
    finally:
        os.umask(before)
    found = modes(repo)
    assert found["coord/lock"] == 0o644 and {found[name] for name in found if name.endswith(".log")} == {0o600}
    assert not any(mode & 0o022 for mode in found.values()) and "coord/umask" not in found


def test_what_was_there_before_the_setting_is_shared_with_the_next_write(repo: Path) -> None:
    with Coord.open(repo) as coord:
        coord.notes.add("before")
    git(repo, "config", "core.sharedRepository", "group")
    with Coord.open(repo) as coord:
        coord.notes.add("after")
    assert all(mode & 0o060 == 0o060 for mode in modes(repo).values())


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        ("umask", 0),
        ("false", 0),
        ("group", 0o660),
        ("true", 0o660),
        ("1", 0o660),
        ("2", 0o664),
        ("world", 0o664),
        ("0644", -0o644),
    ],
)
def test_the_setting_is_read_as_git_reads_it(repo: Path, value: str, bits: int) -> None:
    git(repo, "config", "core.sharedRepository", value)
    assert find_repository(repo).shared == bits


def test_the_time_of_another_users_file_is_set_by_replacing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "marked"
    path.write_text("ada-12345678\n")
    theirs, real = path.stat().st_ino, os.utime

    def utime(fd: int, times: tuple[float, float] | None) -> None:
        if os.fstat(fd).st_ino == theirs:
            raise PermissionError(1, "Operation not permitted")
        real(fd, times)

    monkeypatch.setattr(files, "_UTIME_BY_FD", True)
    monkeypatch.setattr(os, "utime", utime)
    files.touch_ours(str(path), 7.0)
    assert path.stat().st_mtime == 7.0 and path.read_text() == "ada-12345678\n"


def test_folders_of_objects_and_refs_are_shared_too(tmp_path: Path) -> None:
    """libgit2 makes them for their owner alone: another user of the group could not write any object into them."""
    repo = make_repo(tmp_path / "shared", "--shared=group")
    before = os.umask(0o077)
    try:
        with Coord.open(repo, as_name="one") as coord:
            for number in range(3):
                coord.notes.add(f"note {number}")
    finally:
        os.umask(before)
    folders = [path for name in ("objects", "refs") for path in (repo / ".git" / name).rglob("*") if path.is_dir()]
    closed = [str(path) for path in folders if not path.lstat().st_mode & stat.S_IWGRP]
    assert closed == []
