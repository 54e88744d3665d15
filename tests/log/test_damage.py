"""No damage loses an acknowledged event or blocks a repository: to the journal, refs, objects, child processes."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from clones import clone_id, make_met, sync_all
from conftest import Cli, copy_of, git, make_repo
from log.test_journal import delete_and_prune, prune, say, sends, tip
from templates import LASTS

import gitcoord
from gitcoord import Coord
from gitcoord.errors import ObjectMissing, RepositoryError
from gitcoord.log.event import Draft
from gitcoord.log.journal import KEEP_SECONDS, Journal
from gitcoord.store import absent, packing, refs
from gitcoord.store.discovery import find_repository
from gitcoord.store.objects import Oid
from gitcoord.store.transport import Remote
from gitcoord.sync import incoming, new_clone_id
from gitcoord.sync.link import linked
from gitcoord.system.spawn import Result

TEXTS = [f"message {number}" for number in range(10)]


def texts(repo: Path) -> list[str]:
    with Coord.open(repo, as_name="a") as coord:
        return [event.text for event in reversed(coord.events.log(kind="message", limit=10_000))]


def journal(repo: Path) -> Path:
    return repo / ".git/coord/journal"


def warnings(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("warning: ")]


def loose(repo: Path, oid: str) -> Path:
    path = repo / ".git/objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    return path


def is_sound(repo: Path) -> None:
    git(repo, "gc", "-q")
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


# the journal only restores, and removes nothing


def forget_the_end(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def truncate_the_rotated(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert Journal(str(path.parent)).rotate(time.time() + 2 * KEEP_SECONDS)
    old = path.with_name("journal.old")
    old.write_bytes(old.read_bytes()[: old.stat().st_size // 2])


@pytest.mark.parametrize("lose", [forget_the_end, truncate_the_rotated], ids=lambda lose: lose.__name__)
@pytest.mark.parametrize("command", ["send", "log"])
def test_what_the_journal_has_lost_stays_on_the_log(
    repo: Path, cli: Cli, lose: Callable[[Path, bytes], None], command: str
) -> None:
    sends(repo, *TEXTS)
    known = journal(repo).read_bytes()
    ref = sends(repo, *(f"later {n}" for n in range(10)))
    before = tip(repo, ref)
    lose(journal(repo), known)
    ran = say(cli, repo, "on") if command == "send" else cli(repo, "log")
    assert (ran.code, ran.err) == (0, ""), ran
    assert tip(repo, f"{ref}~1" if command == "send" else ref) == before
    assert texts(repo)[:20] == [*TEXTS, *(f"later {n}" for n in range(10))]


def test_a_backup_of_a_live_repository_restored_in_place_loses_nothing(repo: Path, cli: Cli, tmp_path: Path) -> None:
    """`coord/` was copied before the refs and the objects."""
    sends(repo, *TEXTS)
    shutil.copytree(repo / ".git/coord", tmp_path / "coord")
    ref = sends(repo, "after coord was copied")
    before = tip(repo, ref)
    shutil.rmtree(repo / ".git/coord")
    shutil.copytree(tmp_path / "coord", repo / ".git/coord")
    assert say(cli, repo, "on").code == 0
    assert tip(repo, f"{ref}~1") == before
    assert texts(repo) == [*TEXTS, "after coord was copied", "on"]


def test_two_ends_of_our_log_are_both_carried(repo: Path, cli: Cli, tmp_path: Path) -> None:
    """The journal of later, the refs of before, and another event on them."""
    ref = sends(repo, "one")
    first = tip(repo, ref)
    sends(repo, "two")
    shutil.copytree(repo / ".git/coord", tmp_path / "later")
    for name in ("journal", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (repo / ".git/coord" / name).unlink(missing_ok=True)
    git(repo, "update-ref", ref, first)
    sends(repo, "another two")
    shutil.rmtree(repo / ".git/coord")
    shutil.copytree(tmp_path / "later", repo / ".git/coord")
    ran = cli(repo, "log")
    assert ran.code == 0
    assert sorted(texts(repo)) == ["another two", "one", "two"]
    assert say(cli, repo, "on").code == 0
    is_sound(repo)


def test_what_a_stranger_pushed_under_our_name_is_kept_aside_and_said(repo: Path, cli: Cli) -> None:
    ref = sends(repo, "one")
    before = tip(repo, ref)
    body = git(repo, "cat-file", "commit", before).replace("one", "forged", 1)
    forged = body.replace(f"parent {git(repo, 'rev-parse', before + '^').strip()}", f"parent {before}")
    lc = int(json.loads(git(repo, "log", "-1", "--format=%B", before).rpartition("Coord: ")[2])["lc"])
    forged = forged.replace(f'"lc":{lc}', f'"lc":{lc + 1}')
    oid = subprocess.run(
        ["git", "-C", repo, "hash-object", "-w", "-t", "commit", "--stdin"],
        input=forged,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    git(repo, "update-ref", ref, oid)
    ran = cli(repo, "log")
    assert ran.code == 0 and "forged" not in ran.out
    (line,) = warnings(ran.err)
    aside = line.rpartition("git log ")[2].rstrip(")")
    assert "this clone never wrote" in line and git(repo, "rev-parse", aside).strip() == oid
    assert tip(repo, ref) == before and texts(repo) == ["one"]
    assert cli(repo, "log").err == ""
    assert f"{aside.rpartition('/')[0].rpartition('/')[0]}" in cli(repo, "doctor").out
    assert cli(repo, "purge", "--yes").code == 0
    assert git(repo, "for-each-ref", "refs/coord") == ""


# "I could not read it" is never "it is lost"


class Outsider:
    """A user who owns the repository and, unlike root, has to obey permissions."""

    def __init__(self, repo: Path, home: Path) -> None:
        if os.getuid() != 0 or shutil.which("setpriv") is None:
            pytest.skip("only root can become somebody else")
        self.repo = repo
        home.mkdir(exist_ok=True)
        (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n[user]\n\tname = Ada\n\temail = a@b.c\n")
        self.env = {**os.environ, "HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"), "GIT_COORD_SESSION": "a"}
        self.env["PYTHONPATH"] = str(Path(sys.modules["gitcoord"].__file__ or "").parent.parent)
        for place in (repo, home):
            subprocess.run(["chown", "-R", "65534:65534", str(place)], check=True)
        if self.run("whoami").returncode:
            pytest.skip("another user cannot run the program from here")

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "gitcoord", *args]
        return subprocess.run(argv, env=self.env, capture_output=True, text=True, cwd=self.repo)


@pytest.fixture
def outsider() -> object:
    place = Path("/tmp") / f"gitcoord-damage-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    repo = make_repo(place / "project")
    sends(repo, *TEXTS)
    git(repo, "repack", "-a", "-d", "-q")
    git(repo, "config", "--global", "--add", "safe.directory", "*")
    yield Outsider(repo, place / "home")
    subprocess.run(["chmod", "-R", "u+rwX", str(place)], check=True)
    shutil.rmtree(place, ignore_errors=True)


UNREADABLE = {
    "pack": "objects/pack", "clone": "coord/clone", "journal": "coord/journal", "coord": "coord", "objects": "objects",
}  # fmt: skip


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("command", [("inbox",), ("send", "a", "more")], ids=["inbox", "send"])
def test_what_cannot_be_read_is_an_error_and_changes_nothing(outsider: Outsider, what: str, command: tuple[str, ...]) -> None:
    repo = outsider.repo
    (repo / ".git/coord/index.sqlite").unlink()
    before = git(repo, "for-each-ref"), [f.read_bytes() for f in (repo / ".git/coord/clone", journal(repo))]
    place = repo / ".git" / UNREADABLE[what]
    mode = place.stat().st_mode
    place.chmod(0)
    ran = outsider.run(*command)
    place.chmod(mode)
    assert (ran.returncode, ran.stdout) == (3, ""), ran
    assert ran.stderr.splitlines()[0].startswith("error: ") and "Traceback" not in ran.stderr, ran
    assert (git(repo, "for-each-ref"), [f.read_bytes() for f in (repo / ".git/coord/clone", journal(repo))]) == before
    assert outsider.run("send", "a", "again").returncode == 0
    assert texts(repo) == [*TEXTS, "again"]


@pytest.mark.parametrize("name", ["objects/pack/*.idx", "objects/pack/*.pack"])
def test_a_pack_that_git_may_not_open_makes_nothing_missing(outsider: Outsider, name: str) -> None:
    repo = outsider.repo
    (repo / ".git/coord/index.sqlite").unlink()
    (pack,) = (repo / ".git").glob(name)
    before = git(repo, "for-each-ref")
    pack.chmod(0)
    ran = outsider.run("inbox")
    pack.chmod(0o444)
    assert ran.returncode == 3 and "Permission denied" in ran.stderr, ran
    assert git(repo, "for-each-ref") == before
    assert len(texts(repo)) == len(TEXTS)


def test_a_torn_commit_is_no_root(repo: Path, cli: Cli) -> None:
    """Half of an object in the middle of the log: the journal has its bytes."""
    ref = sends(repo, *TEXTS)
    path = loose(repo, tip(repo, f"{ref}~2"))
    path.write_bytes(path.read_bytes()[:100])
    (repo / ".git/coord/index.sqlite").unlink()
    ran = cli(repo, "search", "message")
    assert (ran.code, warnings(ran.err)) == (0, ["warning: restored 1 object"]), ran
    assert texts(repo) == TEXTS
    is_sound(repo)


@pytest.mark.parametrize("store", ["plumbing", "libgit2"])
def test_a_child_that_dies_is_no_answer(repo: Path, monkeypatch: pytest.MonkeyPatch, store: str, tmp_path: Path) -> None:
    """A git process that is killed where it decides something gives an error, and the command can be tried again."""
    ref = sends(repo, *TEXTS)
    at = find_repository(repo)
    new, old = tip(repo, ref), tip(repo, f"{ref}~3")
    with Coord.open(repo) as coord:
        places: dict[str, Callable[[], object]] = {
            "is_ancestor": lambda: refs.is_ancestor(at, old, new),  # type: ignore[arg-type]
            "merge_base": lambda: refs.merge_base(at, old, new),  # type: ignore[arg-type]
            "kinds": lambda: refs.kinds(at, [new]),  # type: ignore[list-item]
            "absent": lambda: absent.absent(at, [new]),  # type: ignore[list-item]
            "list_refs": lambda: refs.list_refs(at),
            "check_value": lambda: refs.check_value(at, "refs/heads/none", None),
            "chain": lambda: list(coord.clone.store.chain(new, None)),  # type: ignore[arg-type]
        }
        wrapper = tmp_path / "bin/git"
        wrapper.parent.mkdir()
        wrapper.write_text("#!/bin/sh\nkill -9 $$\n")
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}")
        at.env["PATH"] = coord.clone.repo.env["PATH"] = os.environ["PATH"]
        for name, ask in places.items():
            with pytest.raises(RepositoryError):
                ask()
                raise AssertionError(name)


# a pruning fetch beside a writer


def test_a_pruning_fetch_between_looking_and_writing_begins_no_second_log(repo: Path) -> None:
    ref = sends(repo, *TEXTS)
    before = tip(repo, ref)
    git(repo, "update-ref", "refs/coord/log/other-00000001/0001", before)  # so that the index is behind, and refs listed again
    with Coord.open(repo, as_name="a") as coord:
        listing = coord.clone.store.tips

        def prune_before_the_second() -> object:
            listed.append(1)
            if len(listed) == 2:
                for name in git(repo, "for-each-ref", "--format=%(refname)", "refs/coord").split():
                    git(repo, "update-ref", "-d", name)
            return listing()

        listed: list[int] = []
        coord.clone.store.tips = prune_before_the_second  # type: ignore[method-assign,assignment]
        coord.clone.append(lambda db: [Draft("note", "beside a prune", {"paths": []}, author="a")])
        assert len(listed) > 2
    assert before in git(repo, "rev-list", ref)
    assert texts(repo) == TEXTS


# a real hole costs only itself


def lose_for_good(repo: Path, *oids: str) -> None:
    """Remove objects from git that are older than the journal. The index has seen them, but not their attachments."""
    for oid in oids:
        loose(repo, oid).unlink()
    note = journal(repo).read_bytes().splitlines(keepends=True)[-1]
    journal(repo).write_bytes(b"journal 1 1000000000\n" + note)


def test_a_lost_event_is_made_again_from_what_the_index_has_seen(repo: Path, cli: Cli) -> None:
    ref = sends(repo, *TEXTS)
    before = tip(repo, ref)
    lose_for_good(repo, tip(repo, f"{ref}~7"))
    assert "has lost an object" in cli(repo, "doctor").out
    ran = cli(repo, "doctor", "--fix")
    assert "restored 1 object that the index has seen" in ran.err
    assert tip(repo, ref) == before and texts(repo) == TEXTS
    is_sound(repo)


def test_a_hole_is_filled_when_the_next_pack_meets_it(repo: Path) -> None:
    """No command looks that far down, and the user's own gc would fail until somebody asks the doctor."""
    ref = sends(repo, *TEXTS)
    before = tip(repo, ref)
    lose_for_good(repo, tip(repo, f"{ref}~7"))
    with Coord.open(repo, as_name="a") as coord:
        coord.clone.pack()
        assert "restored 1 object that the index has seen" in coord.clone.mended
    assert tip(repo, ref) == before and texts(repo) == TEXTS
    is_sound(repo)


def test_git_that_cannot_pack_for_another_reason_has_met_no_hole(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sends(repo, *TEXTS)
    with Coord.open(repo, as_name="a") as coord:
        monkeypatch.setattr(packing, "_pack_objects", lambda *_: Result(128, b"", b"fatal: Out of memory, malloc failed"))
        assert "malloc" in packing.pack(coord.clone.repo, coord.clone.store.tips().refs, None)
        coord.clone.pack()
        assert coord.clone.mended == []
    assert not (repo / ".git/coord/packs").exists(), "nothing is packed, and nothing is noted as packed"


def test_what_nobody_can_count_is_not_counted(repo: Path, cli: Cli) -> None:
    ref = sends(repo, *TEXTS)
    lose_for_good(repo, tip(repo, f"{ref}~4"))
    (repo / ".git/coord/index.sqlite").unlink()
    assert f"{ref} has lost at least 1 event for good: 4 events were carried into a new epoch" in cli(repo, "inbox").err
    is_sound(repo)


def test_an_event_that_nothing_can_give_back_costs_itself_alone(repo: Path, cli: Cli) -> None:
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        for number, text in enumerate(TEXTS):
            coord.messages.send("a", text, attachments={"f": b"data"} if number == 3 else {})
        (ref,) = [ref for ref in coord.clone.store.tips().refs if "/log/" in ref]
    lose_for_good(repo, tip(repo, f"{ref}~6"))  # "message 3"
    ran = cli(repo, "doctor", "--fix")
    assert f"{ref} has lost 1 event for good: 10 events were carried into a new epoch" in ran.err
    assert texts(repo) == [text for text in TEXTS if text != "message 3"]
    is_sound(repo)


def test_a_log_pruned_long_after_the_journal_comes_back_from_the_index(repo: Path, cli: Cli) -> None:
    ref = sends(repo, *TEXTS)
    before = tip(repo, ref)
    note = journal(repo).read_bytes().splitlines(keepends=True)[-1]
    journal(repo).write_bytes(b"journal 1 1000000000\n" + note)
    delete_and_prune(repo, ref)
    ran = cli(repo, "inbox", "--peek")
    assert ran.code == 0 and any("that the index has seen" in line for line in warnings(ran.err)), ran
    assert tip(repo, ref) == before and texts(repo) == TEXTS


# a damaged object below a ref of ours never stops the user's git


def gone(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(b"\0" * 300)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize("damage", [gone, empty, zeros, torn], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", ["lease", "presence"])
def test_a_damaged_tip_is_settled_by_doctor_and_git_goes_on(
    repo: Path, tmp_path: Path, cli: Cli, damage: Callable[[Path], None], kind: str
) -> None:
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "remote.git"))
    sends(repo, "one")
    me = {"GIT_COORD_SESSION": "a"}
    assert cli(repo, "send", "a", "here only", "--local", env=me).code == 0
    assert cli(repo, "sync", "origin").code == 0
    assert cli(repo, "alloc", "ports", env=me).out == "1\n"
    (ref,) = git(repo, "for-each-ref", "--format=%(refname)", f"refs/coord/{kind}").split()
    damage(loose(repo, tip(repo, ref)))
    broken = subprocess.run(["git", "-C", repo, "fsck"], capture_output=True)
    assert broken.returncode != 0
    journal(repo).write_bytes(journal(repo).read_bytes().splitlines(keepends=True)[-1])
    assert f"{ref} points at a lost object" in cli(repo, "doctor").out
    assert cli(repo, "doctor", "--fix").code == 0
    is_sound(repo)
    for _ in range(2):
        ran = cli(repo, "alloc", "ports", env=me)
    assert ran.code == 0 and ran.out == "3\n", ran
    assert texts(repo) == ["one", "here only"]


def test_a_lease_that_leads_nowhere_is_settled_by_the_command_that_fails(repo: Path, tmp_path: Path, cli: Cli) -> None:
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "remote.git"))
    sends(repo, "one")
    me = {"GIT_COORD_SESSION": "a"}
    assert cli(repo, "sync", "origin").code == 0
    assert cli(repo, "alloc", "ports", env=me).out == "1\n"
    loose(repo, tip(repo, "refs/coord/lease/numbers")).unlink()
    codes = [cli(repo, "alloc", "ports", env=me).code for _ in range(2)]
    assert codes[-1] == 0
    is_sound(repo)


def test_a_broken_packed_refs_is_said_and_is_not_an_empty_inbox(repo: Path, cli: Cli) -> None:
    sends(repo, "one")
    git(repo, "pack-refs", "--all")
    packed = repo / ".git/packed-refs"
    whole = packed.read_bytes()
    packed.write_bytes(whole[:-30])
    ran = cli(repo, "inbox", "--peek", env={"GIT_COORD_SESSION": "a"})
    assert (ran.code, ran.out) == (3, "")
    assert "packed-refs" in ran.err.splitlines()[0] and ran.err.splitlines()[1].startswith("hint: "), ran
    packed.write_bytes(whole)
    assert texts(repo) == ["one"]


def test_a_file_in_place_of_a_directory_of_refs_is_said(repo: Path, cli: Cli) -> None:
    sends(repo, "one")
    git(repo, "pack-refs", "--all")
    shutil.rmtree(repo / ".git/refs/coord", ignore_errors=True)
    (repo / ".git/refs/coord").write_text("rubbish\n")
    ran = say(cli, repo, "two")
    assert ran.code == 3 and "refs/coord" in ran.err.splitlines()[0] and "rm " in ran.err, ran
    (repo / ".git/refs/coord").unlink()
    assert say(cli, repo, "two").code == 0
    assert texts(repo) == ["one", "two"]


# after a power loss


@pytest.mark.parametrize("command", [("inbox", "--peek"), ("send", "a", "after")], ids=["inbox", "send"])
def test_one_command_after_a_power_loss_makes_fsck_clean(repo: Path, cli: Cli, command: tuple[str, ...]) -> None:
    """The last seconds: objects without a byte, or of zeros; a ref without a byte; a journal without its end."""
    ref = sends(repo, *TEXTS)
    known = journal(repo).read_bytes()
    kept = tip(repo, ref)
    sends(repo, "lost one", "lost two")
    (repo / ".git" / ref).write_bytes(b"")
    for number, oid in enumerate(git(repo, "rev-list", tip_of(repo), f"^{kept}").split()):
        loose(repo, oid).write_bytes(b"" if number % 2 else b"\0" * 200)
    journal(repo).write_bytes(known)
    for name in ("index.sqlite", "index.sqlite-wal", "boots"):
        (repo / ".git/coord" / name).unlink(missing_ok=True)
    ran = cli(repo, *command, env={"GIT_COORD_SESSION": "a"})
    assert ran.code == 0 and any("as a power loss leaves them" in line for line in warnings(ran.err)), ran
    is_sound(repo)
    assert texts(repo)[: len(TEXTS)] == TEXTS


def tip_of(repo: Path) -> str:
    return json.loads(json.dumps(journal(repo).read_text().splitlines()[-1])).rpartition("=")[2]


def test_a_lost_clone_file_costs_no_id(repo: Path, cli: Cli) -> None:
    """Otherwise everything that was written would belong to another clone."""
    ref = sends(repo, *TEXTS)
    for content in (None, b"", b"\0" * 100):
        (repo / ".git/coord/clone").unlink()
        if content is not None:
            (repo / ".git/coord/clone").write_bytes(content)
        ran = say(cli, repo, "on")
        assert (ran.code, ran.err) == (0, ""), ran
        assert git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split() == [ref]
    prune(repo)
    assert texts(repo) == [*TEXTS, *["on"] * 3]


RUN = (
    "cat-file", "check-ignore", "commit-graph", "commit-tree", "config", "diff", "diff-tree", "fetch", "for-each-ref",
    "hash-object", "index-pack", "log", "ls-files", "ls-remote", "merge-base", "merge-tree", "multi-pack-index", "pack-objects",
    "pack-refs", "push", "remote", "rev-list", "rev-parse", "show-index", "status", "symbolic-ref", "update-index",
    "update-ref", "var", "verify-commit", "version", "worktree", "write-tree",
)  # fmt: skip
"""Every git command that gitcoord runs: the output of a killed one decides nothing."""
WORDS = {
    "add", "apply", "branch", "checkout", "clean", "clone", "commit", "help", "hook", "mv", "notes", "rebase", "replace",
    "restore", "rm", "shell", "show", "switch",
}  # fmt: skip
"""Words of ours that git has as commands, too, and commands of agents that are only looked at."""


def test_every_child_process_is_among_those_that_are_killed() -> None:
    listed = subprocess.run(["git", "--list-cmds=main"], capture_output=True, text=True, check=True).stdout.split()
    found = set()
    for path in Path(gitcoord.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            words = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.List | ast.Tuple) else []
            found |= {word.value for word in words if isinstance(word, ast.Constant) and word.value in listed}
    assert found - WORDS == set(RUN)


@pytest.mark.parametrize("verb", RUN)
def test_one_child_that_is_killed_changes_nothing_lasting(tmp_path: Path, cli: Cli, verb: str) -> None:
    """Its half answer does not count: the id and the log stay, and the next command does the work."""

    def make(place: Path) -> None:
        there = make_repo(place / "project")
        git(place, "init", "-q", "--bare", "remote.git")
        git(there, "remote", "add", "origin", str(place / "remote.git"))
        sends(there, *TEXTS)
        assert cli(there, "sync", "origin").code == 0
        sends(there, "not sent yet")

    copy_of("not sent yet", make, tmp_path, LASTS)
    repo, me = tmp_path / "project", {"GIT_COORD_SESSION": "a"}
    (ref,) = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split()
    before = tip(repo, ref)
    real, bin_ = shutil.which("git"), tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "git").write_text(f'#!/bin/sh\nfor word in "$@"; do [ "$word" = {verb} ] && kill -9 $$; done\nexec {real} "$@"\n')
    (bin_ / "git").chmod(0o755)
    killing = {**me, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
    for command in (["inbox"], ["send", "a", "maybe"], ["sync"], ["alloc", "ports"], ["brief"]):
        ran = cli(repo, *command, env=killing)
        assert ran.code in (0, 3, 4) and "Traceback" not in ran.err, ran
        assert ran.code == 0 or "No new messages" not in ran.out
    assert before in git(repo, "rev-list", ref)
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split() == [ref]
    assert cli(repo, "sync", env=me).code == 0
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split() == [ref]
    assert [text for text in texts(repo) if text != "maybe"] == [*TEXTS, "not sent yet"]


def test_a_garbled_lease_ref_is_removed_like_any_other_of_ours(repo: Path, cli: Cli) -> None:
    """Found by the campaign (seed 32): git gc failed for good, and the next write called it none of gitcoord's."""
    assert cli(repo, "note", "first").code == 0
    lease = repo / ".git/refs/coord/lease/numbers"
    lease.parent.mkdir(parents=True, exist_ok=True)
    lease.write_text("garbage\n")
    assert "removed the unreadable ref refs/coord/lease/numbers" in cli(repo, "note", "second").err
    assert not lease.exists()
    git(repo, "fsck", "--strict")


def test_torn_presence_that_was_replaced_is_removed_by_doctor(repo: Path, cli: Cli) -> None:
    """Found by the campaign (seed 21): no ref named it, and fsck failed for good."""
    assert cli(repo, "join", "alpha").code == 0
    ref = git(repo, "for-each-ref", "--format=%(objectname)", "refs/coord/presence").split()[0]
    assert cli(repo, "focus", "something else", "--as", "alpha").code == 0
    path = repo / ".git/objects" / ref[:2] / ref[2:]
    path.chmod(0o644)
    path.write_bytes(b"torn apart")
    assert cli(repo, "doctor", "--fix").code == 0
    git(repo, "fsck", "--strict")


@pytest.mark.parametrize("cut", [0, 10, 20, 60, 120])
def test_a_torn_commit_of_ours_that_nothing_names_any_more_is_removed_by_doctor(repo: Path, cli: Cli, cut: int) -> None:
    sends(repo, "one")
    with Coord.open(repo, as_name="a") as coord:
        data = {"session": "a", "state": "active", "ttl": 900}
        oid = coord.clone.put_presence("a", {**data, "focus": "the old focus"})
        coord.clone.put_presence("a", {**data, "focus": "the new focus"})
    (repo / ".git/coord/superseded").write_bytes(os.urandom(300))
    path = loose(repo, oid)
    path.write_bytes(path.read_bytes()[:cut])
    assert subprocess.run(["git", "-C", repo, "fsck"], capture_output=True).returncode != 0
    assert cli(repo, "doctor", "--fix").code == 0
    is_sound(repo)


def test_a_torn_object_of_the_users_is_left_as_it_is(repo: Path, cli: Cli) -> None:
    sends(repo, "one")
    (repo / "big.txt").write_text("some text of the user\n" * 20)
    git(repo, "add", ".")
    git(repo, "commit", "-q", "-m", "a commit of the user with enough words in it to be told from one of ours")
    kept = []
    for name in ("HEAD:big.txt", "HEAD^{tree}", "HEAD"):
        path = loose(repo, tip(repo, name))
        kept.append((path, path.read_bytes()[:-10]))
    for path, data in kept:
        path.write_bytes(data)
    cli(repo, "doctor", "--fix")
    assert [path.read_bytes() for path, _ in kept] == [data for _, data in kept]


@pytest.mark.parametrize("command", [("doctor", "--fix"), ("inbox",), ("send", "a", "more")], ids=["doctor", "inbox", "send"])
def test_an_emptied_ref_of_what_was_set_aside_is_removed_like_any_other_of_ours(
    repo: Path, cli: Cli, command: tuple[str, ...]
) -> None:
    sends(repo, "one")
    with Coord.open(repo) as coord:
        path = repo / ".git/refs/coord/aside" / str(coord.clone.id) / "on-its-way"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert cli(repo, *command, env={"GIT_COORD_SESSION": "a"}).code == 0
    assert not path.exists()
    is_sound(repo)


@pytest.mark.parametrize("damage", [gone, empty, zeros, torn], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize(
    ("kind", "command"),
    [("lease", ("alloc", "ports")), ("presence", ("focus", "something else")), ("presence", ("sync", "origin"))],
    ids=["alloc", "focus", "sync"],
)
def test_a_damaged_tip_is_settled_by_the_command_that_needs_it(
    repo: Path, tmp_path: Path, cli: Cli, damage: Callable[[Path], None], kind: str, command: tuple[str, ...]
) -> None:
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "remote.git"))
    sends(repo, "one")
    me = {"GIT_COORD_SESSION": "a"}
    assert cli(repo, "sync", "origin").code == 0
    assert cli(repo, "alloc", "ports", env=me).out == "1\n"
    assert cli(repo, "focus", "to be sent", env=me).code == 0
    (ref,) = git(repo, "for-each-ref", "--format=%(refname)", f"refs/coord/{kind}").split()
    damage(loose(repo, tip(repo, ref)))
    ran = cli(repo, *command, env=me)
    assert ran.code == 0, ran
    assert command[0] != "alloc" or ran.out == "2\n"
    is_sound(repo)


@pytest.mark.parametrize("command", [("inbox",), ("send", "a", "more"), ("doctor", "--fix")], ids=["inbox", "send", "doctor"])
@pytest.mark.parametrize("index", ["there", "gone"])
def test_an_emptied_ref_that_is_packed_with_an_older_value_loses_nothing(
    repo: Path, cli: Cli, command: tuple[str, ...], index: str
) -> None:
    """Found by the campaign (seed 104): the older value appeared, and was noted as the tip of the log."""
    sends(repo, "one")
    git(repo, "pack-refs", "--all")
    ref = sends(repo, "two", "three")
    (repo / ".git" / ref).write_bytes(b"")
    if index == "gone":
        (repo / ".git/coord/index.sqlite").unlink()
    assert cli(repo, *command, env={"GIT_COORD_SESSION": "a"}).code == 0
    assert texts(repo)[:3] == ["one", "two", "three"]
    is_sound(repo)


@pytest.mark.parametrize("damage", [gone, empty, zeros, torn], ids=lambda damage: damage.__name__)
def test_a_sync_that_stumbles_over_a_damaged_event_restores_it_and_goes_on(
    repo: Path, tmp_path: Path, cli: Cli, damage: Callable[[Path], None]
) -> None:
    """Found by the campaign (seed 301)."""
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "remote.git"))
    ref = sends(repo, "one", "two", "three")
    damage(loose(repo, tip(repo, f"{ref}~1")))
    ran = cli(repo, "sync", "origin", env={"GIT_COORD_SESSION": "a"})
    assert ran.code == 0, ran
    assert git(tmp_path / "remote.git", "log", "--format=%s", ref).split()[:3] == ["three", "two", "one"]
    is_sound(repo)


def test_what_goes_right_after_a_repair_is_no_forgotten_log(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by the campaign (seed 305): the tips of our logs were noted from a listing without the local one."""
    from gitcoord.log import mend

    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        coord.send("a", "here only", local=True)
        coord.send("a", "for all")
        log = f"refs/coord/log/{coord.clone.id}/0001"
    git(repo, "update-ref", "-d", log)
    real, again = mend.mend, []

    def mended(*args: Any) -> list[str]:
        done = real(*args)
        if done and not again:
            again.append(done)
            (repo / f".git/coord/local/{clone_id(repo)}.0001").unlink()
        return done

    monkeypatch.setattr(mend, "mend", mended)
    with Coord.open(repo, as_name="a") as coord:
        coord.send("a", "afterwards")
    assert again
    assert texts(repo) == ["here only", "for all", "afterwards"]


def test_a_log_that_the_journal_forgot_is_known_from_the_index(repo: Path) -> None:
    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        coord.send("a", "here only", local=True)
        coord.send("a", "for all")
        log = f"refs/coord/log/{coord.clone.id}/0001"
        coord.clone.journal.note({log: Oid(tip(repo, log))})
    (repo / f".git/coord/local/{clone_id(repo)}.0001").unlink()
    with Coord.open(repo, as_name="a") as coord:
        coord.send("a", "afterwards")
    assert texts(repo) == ["here only", "for all", "afterwards"]


@pytest.mark.parametrize("kind", ["lease/tasks", "log"])
def test_a_lock_file_that_a_killed_fetch_left_is_cleared(tmp_path: Path, cli: Cli, kind: str) -> None:
    """Found by the campaign (seeds 304 and 306): every claim failed for ever, as if other clones were first."""
    _, (here, there) = make_met(tmp_path, 2)
    me = {"GIT_COORD_SESSION": "w"}
    for number in range(2):
        assert cli(here, "task", "add", f"task {number}", env=me).code == 0
    assert cli(here, "task", "next", "--claim", env=me).code == 0
    sync_all([here, there])
    names = git(here, "for-each-ref", "--format=%(refname)", f"refs/coord/{kind}").split()
    (ref,) = [name for name in names if clone_id(there) in name or "lease" in name]
    assert cli(there, "task", "next", "--claim", env=me).code == 0
    assert cli(there, "focus", "something else", env=me).code == 0
    assert cli(there, "sync", env=me).code == 0
    assert tip(here, ref) != tip(there, ref)
    lock = here / ".git" / f"{ref}.lock"
    lock.touch()
    os.utime(lock, (time.time() - 60,) * 2)
    ran = cli(here, "sync", env=me)
    assert ran.code == 0
    assert not lock.exists(), ran
    assert tip(here, ref) == tip(there, ref)


def test_a_wrong_no_of_git_makes_no_copy_of_this_clone_and_accuses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the campaign (seeds 1818 and 1819): beside commit-graphs and prunes that come and go, git said that a commit
    is no ancestor of one whose log had it. This clone took a new id, and another was said to have rewritten its log."""
    _, (here, there) = make_met(tmp_path, 2)
    before, theirs = clone_id(here), f"refs/coord/log/{clone_id(there)}/0001"
    sends(there, *"ab")
    sync_all([there, here])
    ref = sends(here, *"abcd")
    monkeypatch.setattr(new_clone_id, "is_ancestor", lambda *args: False)
    monkeypatch.setattr(incoming, "is_ancestor", lambda *args: False)
    with Coord.open(here, as_name="a") as coord, linked(coord.clone, Remote("origin")) as link:
        tips = coord.clone.store.tips().refs
        older = {name: Oid(git(here, "rev-parse", f"{name}~1").strip()) for name in (ref, theirs)}
        assert new_clone_id.check(link, older, tips) is False
        assert incoming.compare(link, older, tips, tips) == []
        assert incoming.compare(link, tips, older, older) == [], "the fetch could not move the ref, as on a full disk"
    assert clone_id(here) == before


def test_a_hole_in_what_was_not_sent_yet_makes_no_copy_of_this_clone(tmp_path: Path, cli: Cli) -> None:
    _, (here, there) = make_met(tmp_path, 2)
    before = clone_id(here)
    ref = sends(here, *"abcd")
    sent, commit = git(here, "rev-parse", f"{ref}~4", f"{ref}~2").split()
    (here / ".git" / "objects" / commit[:2] / commit[2:]).unlink()
    with Coord.open(here, as_name="a") as coord, linked(coord.clone, Remote("origin")) as link:
        tips = coord.clone.store.tips().refs
        with pytest.raises(ObjectMissing):
            new_clone_id.check(link, {ref: Oid(sent)}, tips)
    assert cli(here, "sync").code == 0
    assert clone_id(here) == before
    sync_all([there])
    assert texts(there)[-4:] == [*"abcd"]


def test_objects_that_a_prune_takes_while_they_are_restored_are_carried_from_the_journal(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the campaign (seed 501): no ref named the log for a moment, and git gc --prune=now ran."""
    from gitcoord.log import mend, salvage

    with Coord.open(repo, as_name="a") as coord:
        coord.sessions.join()
        coord.send("a", "one")
        sent = coord.send("a", "two", attachments={"data.bin": b"12345"})
        coord.send("a", "three")
        ref = f"refs/coord/log/{coord.clone.id}/0001"
    git(repo, "update-ref", "-d", ref)
    for module in (mend, salvage):
        real = module._is_whole if module is salvage else module.is_whole

        def pruned(store: Any, at: Any, real: Any = real) -> bool:
            for name in git(repo, "rev-list", "--objects", sent.id, f"^{sent.id}~1", check=False).split():
                (repo / ".git/objects" / name[:2] / name[2:]).unlink(missing_ok=True) if len(name) == 40 else None
            return bool(real(store, at))

        monkeypatch.setattr(module, "_is_whole" if module is salvage else "is_whole", pruned)
    descends, asked = mend.descends, []
    monkeypatch.setattr(mend, "descends", lambda *args: (bool(asked) and descends(*args)) or bool(asked.append(args)))
    (repo / ".git/coord/index.sqlite").unlink()
    with Coord.open(repo, as_name="a") as coord:
        coord.inbox()
    monkeypatch.undo()
    assert texts(repo) == ["one", "two", "three"]
    names = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split()
    assert len(names) == 1, names
    log = names[0]
    root = git(repo, "rev-list", "--max-parents=0", log).strip()
    place = f"{sent.id}:data.bin" if log == ref else f"{root}:{sent.id}.files/data.bin"
    assert git(repo, "show", place) == "12345"
    is_sound(repo)


def cut(path: Path) -> None:
    os.truncate(path, 10)


@pytest.mark.parametrize("damage", [empty, zeros, torn, cut], ids=lambda damage: damage.__name__)
def test_a_torn_object_that_only_the_remote_needs_stops_no_sync(
    repo: Path, cli: Cli, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """git asks, before it pushes, whether it has what the remote's refs name (campaign, seed 1801, episode 51)."""
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(repo, "remote", "add", "origin", str(tmp_path / "hub.git"))
    cli(repo, "join", "w")
    assert cli(repo, "sync").code == 0
    presence = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/presence").strip()
    pushed = git(repo, "rev-parse", presence).strip()
    assert cli(repo, "focus", "another thing").code == cli(repo, "note", "kept").code == 0
    assert git(repo, "rev-parse", presence).strip() != pushed
    damage(loose(repo, pushed))
    ran = cli(repo, "sync")
    assert ran.code == 0, ran.err
    assert git(repo, "rev-parse", presence) == git(tmp_path / "hub.git", "rev-parse", presence)
    is_sound(repo)


@pytest.mark.parametrize("line", ["garbage", "", "12 refs/heads/main"])
def test_a_line_that_git_does_not_write_makes_all_of_packed_refs_suspect(repo: Path, line: str) -> None:
    """git refuses the whole file, so a command that read it answered what no later command could write to."""
    with Coord.open(repo, as_name="w") as coord:
        coord.notes.add("kept")
    git(repo, "pack-refs", "--all")
    packed = repo / ".git" / "packed-refs"
    packed.write_text(packed.read_text() + line + "\n")
    with Coord.open(repo, as_name="w") as coord, pytest.raises(RepositoryError, match="packed-refs") as caught:
        coord.notes.list()
    assert caught.value.hint and caught.value.hint.startswith("sed ")
