"""The id of a clone: kept by mv and bind mounts, new for copies, pinned by a setting."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord, UsageError
from gitcoord.errors import Unreadable
from gitcoord.log import clone_id


def logs(repo: Path) -> list[str]:
    return git(repo, "for-each-ref", "--format=%(refname:lstrip=3)", "refs/coord/log").split()


def sent(where: Path, text: str) -> str:
    """Join as `a`, send to itself, and return this clone's id."""
    with Coord.open(where, as_name="a") as coord:
        coord.sessions.join()
        coord.send("a", text)
        assert coord.clone.id is not None
        return coord.clone.id


def messages(where: Path) -> list[str]:
    with Coord.open(where, as_name="a") as coord:
        return [event.text for event in coord.events.log(kind="message", limit=1000)]


def test_a_moved_repository_keeps_its_id_and_its_mail(repo: Path) -> None:
    before = sent(repo, "here")
    moved = repo.rename(repo.with_name("elsewhere"))
    assert sent(moved, "there") == before
    assert messages(moved) == ["there", "here"]
    assert logs(moved) == [f"{before}/0001"]


def test_a_copy_gets_an_id_of_its_own_and_keeps_the_log_as_history(repo: Path) -> None:
    original = sent(repo, "before the copy")
    copy = repo.with_name("copy")
    subprocess.run(["cp", "-a", str(repo), str(copy)], check=True)
    assert messages(copy) == ["before the copy"]
    fresh = sent(copy, "in the copy")
    assert fresh != original
    assert logs(copy) == sorted([f"{original}/0001", f"{fresh}/0001"])
    assert messages(copy) == ["in the copy", "before the copy"]
    assert sent(repo, "in the original") == original
    assert messages(repo) == ["in the original", "before the copy"]


def test_the_sessions_of_the_original_are_another_clones_in_the_copy(repo: Path) -> None:
    original = sent(repo, "hi")
    copy = repo.with_name("copy")
    subprocess.run(["cp", "-a", str(repo), str(copy)], check=True)
    fresh = sent(copy, "hi")
    with Coord.open(copy, as_name="a") as coord:
        assert sorted((s.session, s.clone, s.local) for s in coord.sessions.list() if s.session) == sorted(
            [("a", fresh, True), ("a", original, False)]
        )


def test_two_clones_that_were_one_tell_each_other_everything_once(repo: Path) -> None:
    sent(repo, "one")
    copy = repo.with_name("copy")
    subprocess.run(["cp", "-a", str(repo), str(copy)], check=True)
    ids = {copy: sent(copy, "two"), repo: sent(repo, "three")}
    for here, there in ((repo, copy), (copy, repo)):
        git(here, "fetch", "-q", str(there), "refs/coord/log/*:refs/coord/log/*", f"^refs/coord/log/{ids[here]}/*")
    assert sorted(messages(repo)) == sorted(messages(copy)) == ["one", "three", "two"]


def test_a_bind_mount_keeps_the_id(repo: Path) -> None:
    before = sent(repo, "outside")
    inside = repo.with_name("inside")
    inside.mkdir()
    if shutil.which("mount") is None or subprocess.run(["mount", "--bind", str(repo), str(inside)]).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        git(repo, "config", "--global", "--add", "safe.directory", "*")
        assert sent(inside, "inside") == before
        assert sent(repo, "outside again") == before
        assert messages(inside) == ["outside again", "inside", "outside"]
    finally:
        subprocess.run(["umount", str(inside)], check=True)


def test_through_sshfs_it_is_the_same_clone_and_its_copy_is_one_other(repo: Path) -> None:
    """Another path, other inode numbers, at every turn; a copy that is first reached so takes one new id."""
    server = shutil.which("sftp-server") or "/usr/lib/openssh/sftp-server"
    if shutil.which("sshfs") is None or not Path(server).exists():
        pytest.skip("sshfs is not installed")
    shell = repo.with_name("no-ssh")
    shell.write_text(f"#!/bin/sh\nexec {server}\n")
    shell.chmod(0o755)
    git(repo, "config", "--global", "--add", "safe.directory", "*")

    @contextmanager
    def door_to(where: Path) -> Iterator[Path]:
        door = where.with_name(f"door-to-{where.name}")
        door.mkdir()
        mounted = subprocess.run(["sshfs", "-o", f"ssh_command={shell}", f"host:{where}", str(door)], capture_output=True)
        if mounted.returncode:
            pytest.skip("sshfs is not permitted here")
        try:
            yield door
        finally:
            subprocess.run(["umount", "-l", str(door)], check=True)

    original = sent(repo, "outside")
    with door_to(repo) as door:
        assert (door / ".git/coord").stat().st_ino != (repo / ".git/coord").stat().st_ino
        assert [sent(door, "in"), sent(repo, "out"), sent(door, "in"), sent(repo, "out")] == [original] * 4
        copy = repo.with_name("copy")
        subprocess.run(["cp", "-a", str(repo), str(copy)], check=True)
        with door_to(copy) as copys_door:
            fresh = sent(copys_door, "copy")
            assert fresh != original
            assert [sent(copy, "copy"), sent(copys_door, "copy")] == [fresh] * 2
        assert [sent(door, "in"), sent(repo, "out")] == [original] * 2
    assert logs(repo) == [f"{original}/0001"]


def test_on_another_machine_the_same_files_are_the_same_clone(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host and a guest that take turns: what tells them apart are hints, and no copy answers."""
    before = sent(repo, "host")
    inside = repo.with_name("inside")
    for turn in range(3):
        repo.rename(inside)  # the guest has it at another path, and sees nothing at the host's
        shutil.copytree(inside, repo.with_name("numbers"), symlinks=True)  # and under other numbers
        shutil.rmtree(inside)
        repo.with_name("numbers").rename(inside)
        monkeypatch.setattr(clone_id, "machine_id", lambda: "guest")
        assert sent(inside, f"guest {turn}") == before
        inside.rename(repo)
        monkeypatch.setattr(clone_id, "machine_id", lambda: "host")
        assert sent(repo, f"host {turn}") == before
    assert logs(repo) == [f"{before}/0001"]


def test_a_place_that_cannot_be_read_is_no_fresh_repository(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sent(repo, "hi")
    monkeypatch.setattr(clone_id, "read_if_there", lambda path: (_ for _ in ()).throw(Unreadable(f"cannot read {path}")))
    for call in (lambda coord: coord.messages.inbox(), lambda coord: coord.notes.add("hi")):
        with Coord.open(repo, as_name="a") as coord, pytest.raises(Unreadable):
            call(coord)
    monkeypatch.undo()
    assert logs(repo) == [f"{before}/0001"]


def test_a_setting_pins_the_id(repo: Path) -> None:
    git(repo, "config", "coord.clone", "build-farm")
    assert sent(repo, "hi") == "build-farm"
    assert logs(repo) == ["build-farm/0001"]


def test_an_invalid_pin_is_bad_input_and_nothing_is_written(repo: Path, cli: Cli) -> None:
    git(repo, "config", "coord.clone", "Not A Name")
    for command in (["send", "a", "hi"], ["inbox"], ["join", "a"]):
        ran = cli(repo, *command)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            "error: coord.clone='Not A Name' is not a valid clone id\nhint: git config coord.clone NAME-12345678\n"
        )
    assert git(repo, "for-each-ref", "refs/coord") == ""
    with pytest.raises(UsageError), Coord.open(repo) as coord:
        coord.notes.add("hi")


def test_processes_that_write_first_at_the_same_time_agree_on_one_id(repo: Path) -> None:
    script = (
        "import sys, gitcoord\nc = gitcoord.Coord.open(sys.argv[1], as_name=sys.argv[2])\nc.sessions.join()\nprint(c.clone.id)"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(repo), f"s{n}"], stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    ids = {child.communicate()[0].strip() for child in children}
    assert len(ids) == 1
    assert logs(repo) == [f"{ids.pop()}/0001"]


def test_the_id_speaks_of_the_user_as_far_as_a_ref_can(repo: Path) -> None:
    assert sent(repo, "hi").startswith("ada-lovelace-")


def test_a_name_no_ref_can_carry_becomes_user(repo: Path) -> None:
    git(repo, "config", "user.name", "山田")
    assert sent(repo, "hi").startswith("user-")
