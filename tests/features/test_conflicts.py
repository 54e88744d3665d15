"""Conflicts: the work of live sessions is merged in memory, and nothing of the user's is touched."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, git, make_repo, with_worktrees

from gitcoord import Coord, UsageError
from gitcoord.features.overlaps import conflicts as module
from gitcoord.features.overlaps.conflicts import Collision
from gitcoord.store.discovery import find_repository
from gitcoord.store.merging import Scratch, look

Pair = tuple[Path, Path]
TEN = "".join(f"line {n}\n" for n in range(10))


def write(where: Path, line: int, text: str, name: str = "file.txt") -> None:
    """One line of the ten changed."""
    (where / name).write_text(TEN.replace(f"line {line}\n", f"{text}\n"))


@pytest.fixture
def sides(repo: Path) -> Pair:
    """Two worktrees, `alpha` and `beta`, of a repository with two files of ten lines, each with a session."""
    for name in ("file.txt", "other.txt"):
        (repo / name).write_text(TEN)
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "ten lines")
    return with_worktrees(repo)


def found(where: Path, only: str | None = None) -> list[tuple[str, str]]:
    with Coord.open(where) as coord:
        return [(c.path, c.kind) for c in coord.overview.conflicts(only)]


def test_uncommitted_work_that_collides_with_a_commit_is_a_conflict(sides: Pair, cli: Cli) -> None:
    write(sides[0], 3, "alpha was here")
    git(sides[0], "commit", "-q", "-a", "-m", "three")
    write(sides[1], 3, "beta was here")
    ran = cli(sides[1], "conflicts")
    assert (ran.code, ran.out, ran.err) == (1, "conflict  file.txt: beta and alpha\n", "")


def test_a_path_both_changed_that_merges_cleanly_is_the_milder_kind_and_exit_0(sides: Pair, cli: Cli) -> None:
    write(sides[0], 0, "alpha was here")
    write(sides[1], 9, "beta was here")
    ran = cli(sides[0], "conflicts")
    assert (ran.code, ran.out) == (0, "both      file.txt: alpha and beta (merges cleanly)\n")
    assert json.loads(cli(sides[0], "conflicts", "--json").out) == [
        {"a": "alpha", "b": "beta", "path": "file.txt", "kind": "both"}
    ]


def test_nothing_in_common_is_no_conflict(sides: Pair, cli: Cli) -> None:
    write(sides[0], 3, "x")
    write(sides[1], 3, "x", "other.txt")
    ran = cli(sides[0], "conflicts")
    assert (ran.code, ran.out) == (0, "No conflicts.\n")
    assert cli(sides[0], "conflicts", "--json").out == "[]\n"


def test_the_same_change_on_both_sides_is_no_news(sides: Pair) -> None:
    for side in sides:
        write(side, 3, "the same")
        (side / "new.txt").write_text("the same\n")
    assert found(sides[0]) == []


def test_what_came_in_by_a_merge_from_the_base_is_nobodys_change(repo: Path, sides: Pair) -> None:
    write(repo, 3, "main went on")
    git(repo, "commit", "-q", "-a", "-m", "main")
    git(sides[0], "merge", "-q", "main")
    write(sides[1], 9, "beta")
    assert found(sides[0]) == [("file.txt", "both")]  # since the common base alpha's file did change
    git(sides[1], "commit", "-q", "-a", "-m", "beta")
    git(sides[1], "merge", "-q", "main")
    assert found(sides[0]) == []


def test_untracked_files_count_and_ignored_ones_do_not(sides: Pair) -> None:
    for side in sides:
        (side / ".gitignore").write_text("*.o\n")
        (side / "new.txt").write_text(f"{side.name}\n")
        (side / "new.o").write_text(f"{side.name}\n")
    assert found(sides[0]) == [("new.txt", "conflict")]


def test_a_file_deleted_here_and_changed_there_is_a_conflict(sides: Pair) -> None:
    (sides[0] / "file.txt").unlink()
    write(sides[1], 3, "x")
    assert found(sides[0]) == [("file.txt", "conflict")]


def test_a_rename_here_meets_an_edit_there(sides: Pair) -> None:
    git(sides[0], "mv", "file.txt", "renamed.txt")
    write(sides[1], 3, "x")
    assert found(sides[0]) == [("file.txt", "both")]


def test_several_sessions_of_one_worktree_are_one_side(sides: Pair, cli: Cli) -> None:
    cli(sides[0], "join", env={"GIT_COORD_SESSION": "second"})
    cli(sides[0], "join", env={"GIT_COORD_SESSION": "third"})
    write(sides[0], 3, "x")
    write(sides[1], 3, "y")
    (only,) = json.loads(cli(sides[1], "conflicts", "--json").out)
    assert (only["a"], only["b"]) == ("beta", "alpha,second,third")


def test_those_who_left_and_worktrees_nobody_works_in_do_not_count(repo: Path, sides: Pair, cli: Cli) -> None:
    for side in (repo, *sides):
        write(side, 3, side.name)
    assert len(found(sides[0])) == 1
    cli(sides[1], "leave")
    assert found(sides[0]) == []


def test_with_one_session_only_its_pairs_are_reported(repo: Path, sides: Pair, cli: Cli) -> None:
    gamma = repo.parent / "gamma"
    git(repo, "worktree", "add", "-q", str(gamma))
    cli(gamma, "join")
    for side in (*sides, gamma):
        write(side, 3, side.name)
    assert cli(sides[0], "conflicts").out.count("\n") == 3
    assert cli(sides[0], "conflicts", "--with", "gamma").out == (
        "conflict  file.txt: alpha and gamma\nconflict  file.txt: beta and gamma\n"
    )
    ran = cli(sides[0], "conflicts", "--with", "gama")
    assert (ran.code, ran.out, ran.err) == (2, "", "error: no session is called gama\nhint: did you mean gamma?\n")
    cli(gamma, "leave")
    ran = cli(sides[0], "conflicts", "--with", "gamma")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: this clone has no worktree or branch of gamma to merge\n")


def test_a_plain_list_stops_at_20_lines_and_says_so(sides: Pair, cli: Cli) -> None:
    for side in sides:
        for number in range(25):
            (side / f"n{number:02}").write_text(side.name)
    out = cli(sides[0], "conflicts").out.splitlines()
    assert len(out) == 21 and out[-1] == "(5 more: -n 25)"
    assert len(json.loads(cli(sides[0], "conflicts", "--json").out)) == 25


def test_strange_paths_are_shown_inert(sides: Pair, cli: Cli) -> None:
    names = [b"a b", b"line\nbreak", "é".encode(), b"\xff\xfe", b'"quoted"', b"\x1b[31m"]
    for side in sides:
        for name in names:
            Path(os.fsdecode(os.fsencode(side) + b"/" + name)).write_text(side.name)
    ran = cli(sides[0], "conflicts")
    assert ran.code == 1 and "\x1b" not in ran.out and "\\udcff\\udcfe" in ran.out
    paths = {c["path"] for c in json.loads(cli(sides[0], "conflicts", "--json").out)}
    hidden = {"\x1b[31m": r"\x1b[31m", "\udcff\udcfe": r"\udcff\udcfe"}  # a model may read the decoded text
    assert paths == {hidden.get(name, name) for name in map(os.fsdecode, names)}


# what it touches


def contents(where: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below `where` that is not our own, with its time."""
    files = (p for p in where.rglob("*") if p.is_file() and "coord" not in p.relative_to(where).parts)
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


def test_nothing_of_the_users_is_touched(repo: Path, sides: Pair, tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> None:
    scratch = tmp_path_factory.mktemp("tmp")
    write(sides[0], 3, "staged")
    git(sides[0], "add", ".")
    write(sides[0], 4, "and changed again")
    (sides[1] / "new.txt").write_text("untracked\n")
    write(sides[1], 3, "x")
    os.utime(sides[1] / "other.txt", (1, 1))  # an index that git would like to refresh
    before = [contents(place) for place in (repo, *sides)]
    assert cli(sides[0], "conflicts", env={"TMPDIR": str(scratch)}).code == 1
    after = [contents(place) for place in (repo, *sides)]
    assert [sorted(b.keys() ^ a.keys()) for b, a in zip(before, after, strict=True)] == [[], [], []]
    assert after == before
    assert list(scratch.iterdir()) == []
    assert git(repo, "fsck", "--strict", "--no-dangling", "--connectivity-only") == ""


# snapshots, against git's own `add --all` in a copy


def prepare_staged(w: Path) -> None:
    write(w, 1, "staged")
    git(w, "add", ".")


def prepare_staged_then_changed(w: Path) -> None:
    prepare_staged(w)
    write(w, 2, "later")


def prepare_racy(w: Path) -> None:
    """Changed in the same tick, to the same size, right after it was staged."""
    write(w, 1, "one")
    git(w, "add", ".")
    write(w, 1, "two")


def prepare_deleted(w: Path) -> None:
    (w / "file.txt").unlink()
    git(w, "rm", "-q", "--cached", "other.txt")


def prepare_file_to_directory(w: Path) -> None:
    (w / "file.txt").unlink()
    (w / "file.txt").mkdir()
    (w / "file.txt" / "inside").write_text("x")


def prepare_directory_to_file(w: Path) -> None:
    shutil.rmtree(w / "dir")
    (w / "dir").write_text("x")


def prepare_link_and_mode(w: Path) -> None:
    (w / "link").symlink_to("nowhere")
    (w / "file.txt").chmod(0o755)


def prepare_unmerged(w: Path) -> None:
    git(w, "checkout", "-q", "-b", "side")
    write(w, 3, "side")
    git(w, "commit", "-q", "-a", "-m", "side")
    git(w, "checkout", "-q", "main")
    write(w, 3, "main")
    git(w, "rm", "-q", "other.txt")
    git(w, "commit", "-q", "-a", "-m", "main")
    git(w, "merge", "-q", "side", check=False)


def prepare_intent_to_add(w: Path) -> None:
    (w / "soon.txt").write_text("x")
    git(w, "add", "-N", "soon.txt")


def prepare_split_index(w: Path) -> None:
    git(w, "update-index", "--split-index")
    write(w, 1, "x")
    git(w, "add", ".")
    write(w, 2, "y")


def prepare_attributes(w: Path) -> None:
    (w / ".gitattributes").write_text("*.txt text eol=lf\n")
    (w / "file.txt").write_bytes(TEN.replace("\n", "\r\n").encode() + b"more\r\n")


def prepare_unborn(w: Path) -> None:
    git(w, "checkout", "-q", "--orphan", "fresh")


def prepare_no_index(w: Path) -> None:
    (w / ".git" / "index").unlink()


CASES = [value for name, value in list(globals().items()) if name.startswith("prepare_")]


@pytest.mark.parametrize(
    ("prepare", "kind"),
    [*((case, "sha1") for case in CASES), (prepare_staged_then_changed, "sha256"), (prepare_unborn, "sha256")],
    ids=lambda value: value if isinstance(value, str) else value.__name__[8:],
)
def test_a_snapshot_is_what_add_all_would_make(tmp_path: Path, prepare: Callable[[Path], None], kind: str) -> None:
    where = make_repo(tmp_path / "a:b", f"--object-format={kind}")
    for name in ("file.txt", "other.txt"):
        (where / name).write_text(TEN)
    (where / "dir").mkdir()
    (where / "dir" / "deep.txt").write_text("x")
    git(where, "add", ".")
    git(where, "commit", "-q", "-m", "ten lines")
    prepare(where)
    copy = tmp_path / "copy"
    shutil.copytree(where, copy, symlinks=True)
    git(copy, "add", "--all")
    wanted = git(copy, "ls-tree", "-r", git(copy, "write-tree").strip())
    repo = find_repository(where)
    lying = look(repo, where, where / ".git")
    assert lying is not None and not lying.clean
    with Scratch(repo) as scratch:
        oid = scratch.commit(lying)
        assert git(where, "ls-tree", "-r", oid, env=scratch._env) == wanted


def test_a_repository_within_a_worktree_and_a_huge_untracked_file_are_left_out(
    sides: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gitcoord.store.merging.LARGE", 1000)
    for side in sides:
        make_repo(side / "nested")
        (side / "nested" / "own.txt").write_text(side.name)
        (side / "huge").write_text(side.name * 1000)
        (side / "small").write_text(side.name)
    assert found(sides[0]) == [("small", "conflict")]


# other clones


def test_another_clones_session_counts_once_its_head_is_here(repo: Path, sides: Pair, tmp_path: Path, cli: Cli) -> None:
    other = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(repo), str(other))
    write(other, 3, "far away")
    git(other, "commit", "-q", "-a", "-m", "far")
    cli(other, "join", "far", env={"GIT_COORD_SESSION": "far"})
    write(sides[0], 3, "alpha")
    git(repo, "fetch", "-q", str(other), "refs/coord/presence/*:refs/coord/presence/*")
    assert found(sides[0]) == []
    git(repo, "fetch", "-q", str(other), "main:refs/remotes/other/main")
    with Coord.open(other) as there:
        box = f"far@{there.clone.id}"
    (only,) = json.loads(cli(sides[0], "conflicts", "--json").out)
    assert only == {"a": "alpha", "b": box, "path": "file.txt", "kind": "conflict"}


# remembering


def test_what_did_not_change_is_not_merged_again(sides: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    write(sides[0], 3, "x")
    write(sides[1], 3, "y")
    first = found(sides[0])
    with monkeypatch.context() as patch:
        patch.setattr(module, "Scratch", None)  # calling it would raise
        assert found(sides[0]) == found(sides[1]) == first == [("file.txt", "conflict")]
    write(sides[1], 9, "y")
    assert found(sides[0]) == [("file.txt", "both")]


@pytest.mark.parametrize("garbage", ["", "{", "[]", '{"a b": 7}', '{"a b": [["x", "nonsense"]]}'])
def test_the_memory_is_disposable(sides: Pair, garbage: str) -> None:
    write(sides[0], 3, "x")
    write(sides[1], 3, "y")
    assert found(sides[0]) == [("file.txt", "conflict")]
    with Coord.open(sides[0]) as coord:
        Path(coord.clone.path("conflicts.json")).write_text(garbage)
    assert found(sides[0]) == [("file.txt", "conflict")]


def test_a_git_that_cannot_merge_in_memory_is_named(sides: Pair, tmp_path: Path, cli: Cli) -> None:
    real = shutil.which("git")
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\ncase " $* " in *" merge-tree "*) exit 129;; esac\nexec {real} "$@"\n')
    old.chmod(0o755)
    write(sides[0], 3, "x")
    ran = cli(sides[0], "conflicts", env={"PATH": f"{old.parent}:{os.environ['PATH']}"})
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "error: merging in memory needs git 2.39 or newer\nhint: install a newer git\n"


def test_the_api_raises_for_an_unknown_session(sides: Pair) -> None:
    with Coord.open(sides[0]) as coord:
        with pytest.raises(UsageError, match="no session is called nobody"):
            coord.overview.conflicts("nobody")
        write(sides[0], 3, "x")
        write(sides[1], 3, "y")
        here = coord.clone.id
        assert coord.overview.conflicts("beta") == [Collision((f"alpha@{here}",), (f"beta@{here}",), "file.txt", "conflict")]
