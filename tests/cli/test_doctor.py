"""`git coord doctor`: its findings, and the repairs of --fix."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord
from gitcoord.errors import RepositoryError
from gitcoord.system.obstacles import FOLDERS


def lines(out: str) -> list[str]:
    return [line for line in out.splitlines() if not line.startswith(("ok  git ", "ok  libgit2", "ok  clone"))]


def test_a_fresh_repository_is_well(repo: Path, cli: Cli) -> None:
    ran = cli(repo, "doctor")
    assert ran.code == 0
    assert lines(ran.out) == [
        "ok  refs     0 refs, 0 events, our own logs are whole",
        "ok  index    ok",
        "ok  hooks    none installed (git coord init)",
    ]


def test_after_init_it_names_the_hooks(repo: Path, cli: Cli) -> None:
    cli(repo, "init")
    found = json.loads(cli(repo, "doctor", "--json").out)
    assert {finding["what"]: finding["well"] for finding in found}["hooks"] is True
    git(repo, "config", "core.hooksPath", "elsewhere")
    ran = cli(repo, "doctor")
    assert ran.code == 1
    assert "BAD hooks" in ran.out
    assert "git coord hooks status" in ran.out


IN_THE_WAY = sorted(
    {"lock", "journal", "index.sqlite", "checked", "refreshed", "guard", "superseded", "sessions", "beats", "look"}
)


@pytest.mark.parametrize("how", ["directory", "link"])
@pytest.mark.parametrize("name", [*IN_THE_WAY, "sessions/w.json", "beats/w"])
def test_what_lies_where_a_file_of_ours_belongs_is_moved_aside(repo: Path, name: str, how: str) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.notes.add("before")
        coord.locks.take(["a.txt"])
    place = repo / ".git" / "coord" / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.symlink_to("/nowhere/at/all") if how == "link" else place.mkdir()
    if how == "directory" and "/" not in name and name in FOLDERS:
        place.rmdir()
        place.write_text("a file")
    for attempt in (lambda c: c.notes.add("between"), lambda c: c.inbox(), lambda c: c.sessions.list()):
        with Coord.open(repo, as_name="w", long_lived=False) as coord, suppress(RepositoryError):
            attempt(coord)
    still_there = os.path.lexists(place) and not (place.is_dir() if name in FOLDERS else place.is_file())
    with Coord.open(repo, as_name="w") as coord:
        bad = [finding.said for finding in coord.repository.doctor() if finding.what == "files"]
        assert f"{place} is in the place of a file of gitcoord" in bad or not still_there
        coord.repository.doctor(fix=True)
        assert not [finding for finding in coord.repository.doctor() if finding.what == "files"]
        coord.notes.add("after")
        notes = [note.text for note in coord.notes.list()]
        assert notes[0] == "after" and notes[-1] == "before"


def test_a_job_that_runs_is_not_in_the_way(repo: Path, cli: Cli) -> None:
    """Found by the campaign: `doctor --fix` moved the folder of running jobs aside."""
    assert cli(repo, "run", "--detach", "--name", "long", "--", "sleep", "60").code == 0
    try:
        assert cli(repo, "doctor", "--fix").code == 0
        assert json.loads(cli(repo, "jobs", "--json").out)[0]["state"] == "running"
    finally:
        assert cli(repo, "job", "kill", "long").code == 0


def test_a_command_says_what_is_in_the_way(repo: Path, cli: Cli) -> None:
    assert cli(repo, "note", "before").code == 0
    (repo / ".git" / "coord" / "lock").unlink()
    (repo / ".git" / "coord" / "lock").mkdir()
    ran = cli(repo, "note", "between")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.splitlines()[0].startswith("error: cannot write to ") and "coord/lock: " in ran.err
    assert ran.err.splitlines()[1].startswith("hint: git coord doctor --fix")
    assert cli(repo, "doctor", "--fix").code == 0
    assert cli(repo, "note", "after").code == 0


def test_a_log_with_a_hole_is_found_and_mended(repo: Path, cli: Cli) -> None:
    with Coord.open(repo, as_name="w") as coord:
        for number in range(3):
            coord.notes.add(f"note {number}")
        (ref,) = [ref for ref in coord.clone.store.tips().refs if "/log/" in ref]
    lost = git(repo, "rev-parse", f"{ref}~1").strip()
    (repo / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    ran = cli(repo, "doctor")
    assert (ran.code, lines(ran.out)[:2]) == (
        1,
        [f"BAD refs     {ref} has lost an object", "             git coord doctor --fix"],
    )
    assert cli(repo, "doctor", "--fix").code == 0
    assert cli(repo, "doctor").code == 0
    assert "missing" not in git(repo, "fsck", "--strict")
    assert [text for text in cli(repo, "notes").out.splitlines() if "note" in text]


def test_a_spoiled_index_is_made_anew(repo: Path, cli: Cli) -> None:
    with Coord.open(repo, as_name="w") as coord:
        coord.notes.add("kept")
    index = repo / ".git" / "coord" / "index.sqlite"
    data = bytearray(index.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    index.write_bytes(data)
    assert cli(repo, "doctor", "--fix").code == 0
    assert "kept" in cli(repo, "notes").out


def test_an_event_that_is_none_is_told_with_its_culprit(repo: Path, cli: Cli) -> None:
    head = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "update-ref", "refs/coord/log/eve-0badcafe/0001", head)
    ran = cli(repo, "doctor")
    assert ran.code == 1
    assert "BAD others   1 commit in the log of eve-0badcafe cannot be used" in ran.out
    assert "git config --add coord.ignoreClone eve-0badcafe" in ran.out
    assert f"{head}: the Coord trailer is missing" in ran.out, "by id, with the reason"


@pytest.mark.skipif(os.name == "nt", reason="the remote's program is a shell script")
def test_a_sync_that_failed_on_an_object_is_repeated_once_that_is_repaired(repo: Path, cli: Cli, tmp_path: Path) -> None:
    """The object is torn whenever a push begins, so the sync's own repair does not help it."""
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "hub.git"))
    assert cli(repo, "note", "first").code == cli(repo, "sync").code == 0
    assert cli(repo, "note", "second").code == 0
    ref = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    tip = git(repo, "rev-parse", ref).strip()
    file = repo / ".git" / "objects" / tip[:2] / tip[2:]
    tears = tmp_path / "tears"
    tears.write_text(f'#!/bin/sh\nchmod u+w {file}\n: > {file}\nexec git-receive-pack "$@"\n')
    tears.chmod(0o755)
    git(repo, "config", "remote.origin.receivepack", str(tears))
    assert cli(repo, "sync").code == 4
    git(repo, "config", "--unset", "remote.origin.receivepack")
    assert json.loads(cli(repo, "status", "--json").out)["sync"]["error"]
    fixed = cli(repo, "doctor", "--fix")
    assert (fixed.code, "BAD" in fixed.out) == (0, False), fixed.out
    assert json.loads(cli(repo, "status", "--json").out)["sync"]["error"] == ""
    assert git(tmp_path / "hub.git", "rev-parse", ref) == git(repo, "rev-parse", ref)
