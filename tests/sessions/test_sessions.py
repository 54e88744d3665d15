"""Sessions: who is listed, where, with what; presence commits; focus, editing, touched files."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import Cli, git

from gitcoord import Coord, Refused
from gitcoord.sessions.presence import expect
from gitcoord.sessions.records import Records
from gitcoord.store.worktrees import list_worktrees

Pair = tuple[Path, Path]


def shown(text: str, root: Path) -> str:
    """Output with its place, its commit ids and its times made literal, and columns collapsed."""
    text = re.sub(r"\b[0-9a-f]{8}\b", "COMMIT", text.replace(str(root), "ROOT"))
    return re.sub(r"  +", "  ", re.sub(r"\d+ s ago", "just now", text))


def presence(where: Path, name: str) -> dict[str, object]:
    """The presence of a session, read by plain git."""
    shown = json.loads(git(where, "log", "-1", "--format=%(trailers:key=Coord,valueonly)", "--glob=refs/coord/presence"))
    data: dict[str, object] = shown["sessions"][name]
    return data


def raw_presence(where: Path) -> str:
    ref = git(where, "for-each-ref", "--format=%(refname)", "refs/coord/presence").strip()
    return git(where, "cat-file", "commit", ref)


def test_worktrees_are_listed_with_their_sessions(repo: Path, worktrees: Pair, cli: Cli) -> None:
    (worktrees[0] / "new.txt").write_text("x")
    cli(worktrees[1], "focus", "the", "parser")
    assert shown(cli(repo, "sessions").out, repo.parent) == (
        "ROOT/project  COMMIT [main]  no session\n"
        "ROOT/alpha  COMMIT [alpha]  alpha active, just now, last commit “first”\n"
        "  changed: new.txt (just now)\n"
        "ROOT/beta  COMMIT [beta]  beta active, just now, “the parser”\n"
    )


def test_json_of_a_session(repo: Path, worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "hi")
    cli(worktrees[1], "join", "--role", "reviewer", "--focus", "tests")
    (worktrees[1] / "readme.txt").write_text("changed\n")
    found = json.loads(cli(repo, "sessions", "--json").out)
    assert [s["session"] for s in found] == [None, "alpha", "beta"]
    beta = found[2]
    assert [f["path"] for f in beta.pop("files")] == ["readme.txt"]
    assert beta.pop("beat") is not None
    head = git(repo, "rev-parse", "HEAD").strip()
    clone = beta.pop("clone")
    assert beta == {
        "session": "beta", "worktree": str(worktrees[1]), "branch": "beta", "head": head, "state": "active", "since": None,
        "focus": "tests", "last_commit": "first", "harness": None, "role": "reviewer", "unread": 1, "local": True,
    }  # fmt: skip
    assert git(repo, "for-each-ref", "--format=%(refname)", f"refs/coord/presence/{clone}").count("\n") == 1


def test_one_session_by_name_tells_by_its_exit_code_whether_it_is_alive(worktrees: Pair, cli: Cli) -> None:
    assert cli(worktrees[0], "sessions", "beta").code == 0
    cli(worktrees[1], "leave")
    gone = cli(worktrees[0], "sessions", "beta")
    assert gone.code == 1 and "gone, last seen" in gone.out
    unknown = cli(worktrees[0], "sessions", "betta")
    assert (unknown.code, unknown.out, unknown.err) == (2, "", "error: no session is called betta\nhint: did you mean beta?\n")


def test_gone_sessions_are_shown_only_when_asked_for(repo: Path, worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[1], "leave")
    assert "beta gone" not in cli(repo, "sessions").out
    assert "beta gone" in cli(repo, "sessions", "--all").out


def test_several_sessions_of_one_worktree_stand_under_it(repo: Path, cli: Cli) -> None:
    cli(repo, "join", env={"GIT_COORD_SESSION": "one"})
    cli(repo, "join", env={"GIT_COORD_SESSION": "two"})
    (repo / "mine.txt").write_text("x")
    (repo / "other.txt").write_text("x")
    cli(repo, "editing", "mine.txt", env={"GIT_COORD_SESSION": "one"})
    assert shown(cli(repo, "sessions").out, repo.parent) == (
        "ROOT/project  COMMIT [main]  one active, just now, last commit “first”\n"
        "  changed: mine.txt (just now)\n"
        "  two active, just now, last commit “first”\n"
        "  changed by someone here: other.txt (just now)\n"
    )
    found = json.loads(cli(repo, "sessions", "--json").out)
    assert [[f["path"] for f in s["files"]] for s in found] == [["mine.txt"], [], ["other.txt"]]


def test_editing_refuses_paths_outside(worktrees: Pair, cli: Cli) -> None:
    ran = cli(worktrees[0], "editing", "../beta/readme.txt")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: '../beta/readme.txt' is outside of this worktree\nhint: ")


def test_editing_is_relative_to_the_root_wherever_it_is_said(worktrees: Pair, cli: Cli) -> None:
    (worktrees[0] / "src").mkdir()
    ran = cli(worktrees[0] / "src", "editing", "a.py", "../b.py", "--json")
    assert sorted(f["path"] for f in json.loads(ran.out)["files"]) == ["b.py", "src/a.py"]


def test_leaving_twice_is_refused(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as alpha:
        alpha.sessions.leave()
        with pytest.raises(Refused, match="alpha is not registered"):
            alpha.sessions.leave()


def test_plain_git_shows_who_is_there(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "focus", "the parser")
    listing = git(worktrees[0], "log", "-1", "--format=%B", "--glob=refs/coord/presence").splitlines()
    assert listing[:2] == ["alpha is active on alpha", "beta is active on beta"]
    assert presence(worktrees[0], "alpha")["focus"] == "the parser"


def test_presence_names_no_path_host_or_process(repo: Path, worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "join", "--pid", str(os.getpid()))
    raw = raw_presence(repo)
    assert str(repo.parent) not in raw
    assert os.uname().nodename not in raw
    assert "process" not in raw and "pid" not in raw


def test_presence_of_all_sessions_is_one_parentless_commit_replaced(worktrees: Pair, cli: Cli) -> None:
    ref = git(worktrees[0], "for-each-ref", "--format=%(refname)", "refs/coord/presence").strip()
    before = git(worktrees[0], "rev-parse", ref)
    cli(worktrees[0], "focus", "other things")
    assert git(worktrees[0], "rev-parse", ref) != before
    assert git(worktrees[0], "rev-list", "--count", ref) == "1\n"


def test_a_beat_writes_no_commit(worktrees: Pair, cli: Cli) -> None:
    before = git(worktrees[0], "for-each-ref")
    for _ in range(3):
        cli(worktrees[0], "inbox")
    assert git(worktrees[0], "for-each-ref") == before


def test_a_placeholder_is_expected_until_somebody_comes(repo: Path, cli: Cli) -> None:
    gamma = repo.parent / "gamma"
    git(repo, "worktree", "add", "-q", str(gamma))
    with Coord.open(repo) as coord:
        (place,) = [w for w in list_worktrees(coord.clone.repo) if w.path == str(gamma)]
        assert expect(coord.clone, place) is not None
        assert expect(coord.clone, place) is None
    assert presence(repo, "gamma")["state"] == "expected"
    assert cli(repo, "sessions", "gamma").code == 1
    assert cli(gamma, "inbox").code == 0  # somebody came
    assert cli(repo, "sessions", "gamma").code == 0
    assert presence(repo, "gamma")["state"] == "active"


def test_placeholders_of_worktrees_with_the_same_name_get_numbers(repo: Path) -> None:
    names = []
    for parent in ("x", "y"):
        git(repo, "worktree", "add", "-q", "-b", parent, str(repo.parent / parent / "fix"))
    with Coord.open(repo) as coord:
        for place in list_worktrees(coord.clone.repo)[1:]:
            record = expect(coord.clone, place)
            assert record is not None
            names.append(record.name)
    assert names == ["fix", "fix-2"]


def test_a_moved_worktree_keeps_its_session(repo: Path, worktrees: Pair, cli: Cli) -> None:
    git(repo, "worktree", "move", str(worktrees[0]), str(repo.parent / "elsewhere"))
    assert json.loads(cli(repo.parent / "elsewhere", "whoami", "--json").out)["session"] == "alpha"
    (found,) = [s for s in json.loads(cli(repo, "sessions", "--json").out) if s["session"] == "alpha"]
    assert found["worktree"] == str(repo.parent / "elsewhere")


def test_a_moved_repository_keeps_its_sessions(repo: Path, worktrees: Pair, cli: Cli) -> None:
    cli(repo, "join", "boss")
    moved = repo.rename(repo.parent / "moved")
    git(moved, "worktree", "repair", *map(str, worktrees))
    assert [s["session"] for s in json.loads(cli(moved, "sessions", "--json").out)] == ["boss", "alpha", "beta"]
    assert json.loads(cli(worktrees[0], "whoami", "--json").out)["session"] == "alpha"


def test_a_removed_worktrees_session_is_still_listed(repo: Path, worktrees: Pair, cli: Cli) -> None:
    git(repo, "worktree", "remove", str(worktrees[0]))
    (found,) = [s for s in json.loads(cli(repo, "sessions", "--all", "--json").out) if s["session"] == "alpha"]
    assert found["worktree"] is None


def test_a_record_that_is_garbage_harms_nobody(worktrees: Pair, cli: Cli) -> None:
    with Coord.open(worktrees[0]) as coord:
        records = Records(coord.clone.repo.coord_dir)
    Path(records.directory, "beta.json").write_text('{"name": 7')
    assert cli(worktrees[0], "sessions").code == 0
    assert cli(worktrees[0], "send", "beta", "hi").code == 0
    assert "hi" in cli(worktrees[1], "inbox").out


def test_renamed_and_deleted_files_are_touched_files(worktrees: Pair, cli: Cli) -> None:
    (worktrees[0] / "readme.txt").rename(worktrees[0] / "lies mich.txt")
    (worktrees[0] / ".gitignore").write_text("*.o\n")
    (worktrees[0] / "x.o").write_text("")
    (found,) = [s for s in json.loads(cli(worktrees[1], "sessions", "--json").out) if s["session"] == "alpha"]
    assert sorted(f["path"] for f in found["files"]) == [".gitignore", "lies mich.txt", "readme.txt"]


def test_a_worktree_inside_of_another_is_no_file_of_it(repo: Path, cli: Cli) -> None:
    assert cli(repo, "join", "boss").code == 0
    git(repo, "worktree", "add", "-q", "inside/it")
    (repo / "inside" / "mine").write_text("")
    (found,) = [s for s in json.loads(cli(repo, "sessions", "--json").out) if s["session"] == "boss"]
    assert [f["path"] for f in found["files"]] == ["inside/mine"]


def test_adopting_a_name_from_a_copied_clone(repo: Path, worktrees: Pair, cli: Cli, tmp_path: Path) -> None:
    cli(worktrees[0], "send", "beta", "unread before the copy")
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(repo), str(copy)], check=True)
    old = json.loads(cli(repo, "sessions", "alpha", "--json").out)["clone"]
    env = {"GIT_COORD_SESSION": "beta"}
    live = cli(copy, "join", "beta", "--from", old, env=env)
    assert (live.code, live.err.splitlines()[0]) == (1, f"error: beta@{old} is active")
    with Coord.open(copy) as coord:
        coord.clone.read(lambda db: db.execute("UPDATE presence SET seen = 0"))
    assert cli(copy, "join", "beta", "--from", old, env=env).code == 0
    assert "unread before the copy" in cli(copy, "inbox", env=env).out
    assert cli(copy, "inbox", env=env).out == "No new messages.\n"
    ran = cli(copy, "join", "beta", "--from", "nobody-00000000", env=env)
    assert (ran.code, ran.out) == (2, "")


def test_hostile_presence_is_set_aside_and_its_clone_named(repo: Path, worktrees: Pair, cli: Cli) -> None:
    raw = raw_presence(repo)
    clone = re.search(r'"clone":"([^"]+)"', raw)
    assert clone is not None
    forged = raw.replace(clone[1], "eve-00000000").replace('"state":', '"focus":"\\u001b[31mx\\nbeta active","state":')
    blob = subprocess.run(
        ["git", "-C", str(repo), "hash-object", "-t", "commit", "-w", "--stdin"], input=forged, capture_output=True, text=True
    ).stdout.strip()
    git(repo, "update-ref", "refs/coord/presence/eve-00000000", blob)
    out = cli(repo, "sessions").out
    assert "\x1b" not in out and "eve-" not in out
    said = cli(repo, "status").out
    assert "\x1b" not in said and "eve-00000000" in said
