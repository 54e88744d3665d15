"""One contract, two stores: every promise in the docstrings of `Store`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import git, make_repo
from forkserver import Program

from gitcoord.errors import NotACommit, NotDescendant, ObjectMissing, RefMoved, RepositoryError, UsageError
from gitcoord.store import open_store, ref_lock
from gitcoord.store.contract import Store, Tips
from gitcoord.store.discovery import find_repository
from gitcoord.store.libgit2 import Libgit2Store, why_not
from gitcoord.store.objects import GitObject, Oid, make_object, make_tree
from gitcoord.store.plumbing import MAX_COMMIT, SHORT_WALK, PlumbingStore
from gitcoord.store.ref_files import RefFiles
from gitcoord.store.repository import Repository

LOG = "refs/coord/log/ada-00000001/0001"
OTHER = "refs/coord/log/bob-00000002/0001"
STORES = {"plumbing": PlumbingStore, "libgit2": Libgit2Store}
Make = Callable[[Path], Store]


@pytest.fixture(params=list(STORES))
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Opens a repository through one of the two stores, as the holder of the write lock sees it."""
    opened: list[Store] = []

    def open_one(path: Path) -> Store:
        store: Store = STORES[request.param](find_repository(path))
        os.makedirs(store.repo.coord_dir, exist_ok=True)
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(make: Make, repo: Path) -> Store:
    return make(repo)


def commit(number: int, parent: Oid | None = None, tree: Oid | None = None) -> GitObject:
    lines = [f"tree {tree or make_tree({}, 'sha1').oid}", *([f"parent {parent}"] if parent else [])]
    who = f"a <a@example.org> {number} +0000"
    body = "\n".join([*lines, f"author {who}", f"committer {who}"]) + f"\n\nnumber {number}\n"
    return make_object("commit", body.encode(), "sha1")


def chain_of(store: Store, length: int) -> list[GitObject]:
    """Commits each of which is the parent of the next, written to the store."""
    found: list[GitObject] = []
    for number in range(length):
        found.append(commit(number + 1, found[-1].oid if found else None))
    store.write([make_tree({}, "sha1"), found[0]])
    with subprocess.Popen(
        ["git", "-C", str(store.repo.common_dir), "fast-import", "--quiet", "--force"], stdin=subprocess.PIPE
    ) as importer:
        assert importer.stdin
        for number in range(1, length + 1):
            importer.stdin.write(
                b"commit refs/heads/imported\nauthor a <a@example.org> %d +0000\ncommitter a <a@example.org> %d +0000\n"
                b"data <<E\nnumber %d\nE\n" % (number, number, number)
            )
    assert git(Path(store.repo.common_dir), "rev-parse", "imported").strip() == found[-1].oid
    return found


def ref_file(store: Store, ref: str) -> Path:
    return Path(store.repo.common_dir, ref)


# tips


def test_a_repository_without_coordination_refs_has_no_tips(store: Store) -> None:
    assert store.tips() == Tips({}, ())


def test_tips_are_those_below_refs_coord_loose_or_packed(store: Store, repo: Path) -> None:
    head = Oid(git(repo, "rev-parse", "HEAD").strip())
    git(repo, "update-ref", LOG, head)
    git(repo, "pack-refs", "--all")
    git(repo, "update-ref", OTHER, head)
    assert store.tips() == Tips({LOG: head, OTHER: head}, ())
    git(repo, "update-ref", "-d", LOG)
    assert store.tips() == Tips({OTHER: head}, ())


def test_a_ref_that_another_process_packs_stays_visible_with_its_new_value(store: Store, repo: Path) -> None:
    one, two = chain_of(store, 2)
    store.move(LOG, one.oid, None)
    assert store.tips().refs == {LOG: one.oid}
    git(repo, "pack-refs", "--all", "--prune")
    assert store.tips().refs == {LOG: one.oid}
    store.move(LOG, two.oid, one.oid)
    git(repo, "pack-refs", "--all", "--prune")
    assert not ref_file(store, LOG).exists()
    assert store.tips().refs == {LOG: two.oid}


@pytest.mark.parametrize("content", ["", "0" * 40 + "\n", "garbage\n", "a" * 39])
def test_a_ref_that_cannot_be_read_is_named_as_broken(store: Store, repo: Path, content: str) -> None:
    head = Oid(git(repo, "rev-parse", "HEAD").strip())
    git(repo, "update-ref", OTHER, head)
    ref_file(store, LOG).parent.mkdir(parents=True)
    ref_file(store, LOG).write_text(content)
    assert store.tips() == Tips({OTHER: head}, (LOG,))


def test_a_tip_may_name_an_object_that_is_missing_or_no_commit(store: Store, repo: Path) -> None:
    blob = git(repo, "rev-parse", "HEAD:readme.txt").strip()
    git(repo, "update-ref", OTHER, blob)
    ref_file(store, LOG).parent.mkdir(parents=True)
    ref_file(store, LOG).write_text("1" * 40 + "\n")
    assert store.tips() == Tips({LOG: Oid("1" * 40), OTHER: Oid(blob)}, ())


def test_a_symbolic_ref_has_the_value_of_its_target(store: Store, repo: Path) -> None:
    git(repo, "symbolic-ref", LOG, "refs/heads/main")
    assert store.tips() == Tips({LOG: Oid(git(repo, "rev-parse", "HEAD").strip())}, ())


def test_lock_files_and_hidden_files_are_no_refs(store: Store, repo: Path) -> None:
    git(repo, "update-ref", LOG, "HEAD")
    for name in (".keep", "0002.lock", ".gitcoord-1.lock"):
        ref_file(store, LOG).with_name(name).touch()
    assert list(store.tips().refs) == [LOG]


def test_both_stores_list_the_same_while_refs_move_and_are_packed(repo: Path) -> None:
    stores = [kind(find_repository(repo)) for kind in STORES.values()]
    commits = chain_of(stores[0], 30)
    stores[0].move(LOG, commits[0].oid, None)
    for old, new in pairwise(commits):
        stores[int(new.oid, 16) % 2].move(LOG, new.oid, old.oid)
        if int(new.oid[:2], 16) % 3 == 0:
            git(repo, "pack-refs", "--all")
        assert stores[0].tips() == stores[1].tips() == Tips({LOG: new.oid})


def times(folder: Path, at: float | None = None) -> None:
    """Set when each directory below was last changed."""
    for directory in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        os.utime(directory, None if at is None else (at, at))


@pytest.mark.parametrize("coarse", [False, True], ids=["long ago", "in one tick of a coarse clock"])
def test_what_is_remembered_of_directories_is_never_behind_git(repo: Path, coarse: bool) -> None:
    files, coord = RefFiles(str(repo / ".git")), repo / ".git" / "refs" / "coord"
    coord.mkdir()
    tick = time.time()
    first = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "commit", "-q", "--allow-empty", "-m", "second")
    second = git(repo, "rev-parse", "HEAD").strip()
    one, other = "refs/coord/log/ada-00000001/0001", "refs/coord/sessions/bob-00000002/w"
    expected: dict[str, str] = {}
    steps = [(one, first), (one, second), (other, first), ("", ""), (one, first), (one, ""), (other, "")]
    for ref, value in steps:
        if not ref:
            git(repo, "pack-refs", "--all")
        elif value:
            git(repo, "update-ref", ref, value)
        else:
            git(repo, "update-ref", "-d", ref)
        expected = {name: oid for name, oid in {**expected, ref: value}.items() if oid}
        if coarse:
            times(coord, tick)
        assert files.read() == expected
        times(coord, tick if coarse else time.time() - 60)
        assert files.read() == expected


def test_a_directory_that_did_not_change_for_long_is_not_read_again(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repo, "update-ref", LOG, "HEAD")
    files = RefFiles(str(repo / ".git"))
    times(repo / ".git" / "refs" / "coord", time.time() - 60)
    before = files.read()
    monkeypatch.setattr("gitcoord.store.ref_files.os.scandir", None)
    assert files.read() == before


def test_packed_refs_are_read_again_when_the_file_changes(repo: Path) -> None:
    head = git(repo, "rev-parse", "HEAD").strip()
    git(repo, "update-ref", LOG, head)
    git(repo, "pack-refs", "--all")
    files = RefFiles(str(repo / ".git"))
    packed = repo / ".git" / "packed-refs"
    os.utime(packed, (1, 1))
    assert files.read() == {LOG: head}
    packed.write_text(packed.read_text().replace(head, "2" * 40))
    assert files.read() == {LOG: "2" * 40}
    packed.unlink()
    assert files.read() == {}


# chain


@pytest.mark.parametrize("length", [1, 2, SHORT_WALK, SHORT_WALK + 1, 3 * SHORT_WALK])
def test_a_chain_is_read_oldest_first_from_the_root_or_from_a_known_tip(store: Store, length: int) -> None:
    commits = chain_of(store, length)
    whole = [(item.oid, item.data) for item in commits]
    assert list(store.chain(commits[-1].oid, None)) == whole
    for known in {0, length // 2, length - 1}:
        assert list(store.chain(commits[-1].oid, commits[known].oid)) == whole[known + 1 :]


def test_commits_that_do_not_fit_the_memory_of_a_walk_are_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitcoord.store.libgit2.KEPT", 7)
    commits = chain_of(store, 100)
    assert list(store.chain(commits[-1].oid, commits[0].oid)) == [(item.oid, item.data) for item in commits[1:]]


@pytest.mark.parametrize("since", [True, False], ids=["what is new", "all of it"])
def test_of_a_commit_too_large_for_an_event_the_beginning_comes(store: Store, since: bool) -> None:
    (first,) = chain_of(store, 1)
    huge = make_object("commit", commit(2, first.oid).data + b"x" * (3 * MAX_COMMIT), "sha1")
    argv = ["git", "-C", store.repo.common_dir, "hash-object", "-w", "--literally", "-t", "commit", "--stdin"]
    subprocess.run(argv, input=huge.data, check=True)
    found = list(store.chain(huge.oid, first.oid if since else None))
    assert found[-1] == (huge.oid, huge.data[:MAX_COMMIT])
    assert [oid for oid, _ in found] == ([huge.oid] if since else [first.oid, huge.oid])


@pytest.mark.parametrize("length", [3, SHORT_WALK + 10])
def test_a_tip_that_does_not_descend_from_the_known_one_is_told(store: Store, length: int) -> None:
    commits = chain_of(store, length)
    stranger = commit(9999)
    store.write([stranger])
    for old in (stranger.oid, Oid("1" * 40)):
        with pytest.raises(NotDescendant):
            list(store.chain(commits[-1].oid, old))
    with pytest.raises(NotDescendant):
        list(store.chain(commits[0].oid, commits[-1].oid))


def unpacked(store: Store) -> None:
    """Make every object a loose file, so that one can be taken away."""
    objects = Path(store.repo.common_dir, "objects")
    for pack in (objects / "pack").glob("*.pack"):
        moved = pack.rename(Path(store.repo.common_dir, pack.name))
        for rest in (objects / "pack").glob(pack.stem + ".*"):
            rest.unlink()
        with moved.open("rb") as file:
            subprocess.run(["git", "-C", str(store.repo.common_dir), "unpack-objects", "-q"], stdin=file, check=True)


def loose_file(store: Store, oid: str) -> Path:
    return Path(store.repo.common_dir, "objects") / oid[:2] / oid[2:]


@pytest.mark.parametrize("length", [5, SHORT_WALK + 20])
def test_a_hole_in_the_chain_is_told_with_the_object_that_is_missing(store: Store, length: int) -> None:
    commits = chain_of(store, length)
    unpacked(store)
    loose_file(store, commits[2].oid).unlink()
    for old in (None, commits[0].oid):
        with pytest.raises(ObjectMissing) as caught:
            list(store.chain(commits[-1].oid, old))
        assert caught.value.oid == commits[2].oid
    with pytest.raises(ObjectMissing):
        list(store.chain(Oid("1" * 40), None))


@pytest.mark.parametrize("length", [1, SHORT_WALK + 20])
def test_a_chain_that_comes_upon_something_else_than_a_commit_is_told(store: Store, repo: Path, length: int) -> None:
    blob = Oid(git(repo, "rev-parse", "HEAD:readme.txt").strip())
    parent, top = blob, blob
    for number in range(length):
        item = commit(number + 1, parent)
        store.write([item])
        parent = top = item.oid
    for tip in (blob, top):
        with pytest.raises(NotACommit):
            list(store.chain(tip, None))


@pytest.mark.parametrize("length", [4, SHORT_WALK + 20])
def test_replace_refs_and_grafts_change_nothing(store: Store, repo: Path, length: int) -> None:
    commits = chain_of(store, length)
    lie = commit(77)
    store.write([lie])
    git(repo, "replace", commits[2].oid, lie.oid)
    (repo / ".git" / "info" / "grafts").write_text(f"{commits[3].oid}\n")
    assert list(store.chain(commits[-1].oid, None)) == [(item.oid, item.data) for item in commits]
    assert next(iter(store.read([commits[2].oid]))) == commits[2]


@pytest.mark.parametrize("length", [4, SHORT_WALK + 20])
def test_the_boundary_of_a_shallow_clone_counts_as_a_root(make: Make, repo: Path, tmp_path: Path, length: int) -> None:
    commits = chain_of(PlumbingStore(find_repository(repo)), length)
    depth = length - 1
    git(tmp_path, "clone", "-q", f"--depth={depth}", "-b", "imported", f"file://{repo}", "shallow")
    store = make(tmp_path / "shallow")
    assert list(store.chain(commits[-1].oid, None)) == [(item.oid, item.data) for item in commits[1:]]
    store.write([commits[0]])
    assert len(list(store.chain(commits[-1].oid, None))) == depth


# objects


def test_what_is_written_is_there_with_exactly_its_id_and_bytes(store: Store, repo: Path) -> None:
    blob = make_object("blob", b"\0\xff any bytes \n\n" * 20000, "sha1")
    tree = make_tree({"a file": blob.oid, "b": blob.oid}, "sha1")
    items = [blob, tree, commit(1, tree=tree.oid)]
    store.write(items)
    store.write(items)
    assert list(store.read([item.oid for item in reversed(items)])) == list(reversed(items))
    assert git(repo, "cat-file", "-t", items[2].oid) == "commit\n"
    git(repo, "update-ref", LOG, items[2].oid)
    assert git(repo, "fsck", "--strict", "--no-dangling") == ""


def test_reading_what_is_not_there_is_told(store: Store, repo: Path) -> None:
    head = Oid(git(repo, "rev-parse", "HEAD").strip())
    for absent in ("1" * 40, head[:10]):
        with pytest.raises(ObjectMissing):
            list(store.read([head, Oid(absent)]))


def test_missing_names_the_absent_ones_in_order(store: Store, repo: Path) -> None:
    head = Oid(git(repo, "rev-parse", "HEAD").strip())
    assert store.missing([Oid("2" * 40), head, Oid("1" * 40)]) == ["2" * 40, "1" * 40]
    assert store.missing([]) == []


def test_objects_packed_or_removed_by_another_process_are_seen_so_at_once(store: Store, repo: Path) -> None:
    kept, dropped = make_object("blob", b"kept", "sha1"), make_object("blob", b"dropped", "sha1")
    store.write([kept, dropped])
    git(repo, "update-ref", "refs/coord/keep/a", kept.oid)
    git(repo, "update-ref", "refs/coord/keep/b", dropped.oid)
    git(repo, "repack", "-adq")
    git(repo, "prune-packed")
    assert list(store.read([kept.oid, dropped.oid])) == [kept, dropped]
    git(repo, "update-ref", "-d", "refs/coord/keep/b")
    git(repo, "repack", "-adq")
    git(repo, "prune", "--expire=now")
    assert store.missing([kept.oid, dropped.oid]) == [dropped.oid]
    store.write([dropped])
    assert store.missing([kept.oid, dropped.oid]) == []
    assert git(repo, "cat-file", "-p", dropped.oid) == "dropped"


def test_an_object_file_emptied_by_a_power_loss_is_missing_and_can_be_written_again(store: Store, repo: Path) -> None:
    blob = make_object("blob", b"precious", "sha1")
    store.write([blob])
    path = loose_file(store, blob.oid)
    path.chmod(0o644)
    path.write_bytes(b"")
    assert store.missing([blob.oid]) == [blob.oid]
    with pytest.raises(ObjectMissing):
        list(store.read([blob.oid]))
    store.write([blob])
    assert list(store.read([blob.oid])) == [blob]


# move


def test_a_ref_is_created_replaced_and_deleted(store: Store) -> None:
    one, two = chain_of(store, 2)
    store.move(LOG, one.oid, None)
    assert store.tips().refs == {LOG: one.oid}
    store.move(LOG, two.oid, one.oid)
    assert store.tips().refs == {LOG: two.oid}
    store.move(LOG, None, two.oid)
    assert store.tips() == Tips({})


def test_the_loser_of_a_compare_and_swap_is_told_and_changes_nothing(store: Store) -> None:
    one, two, three = chain_of(store, 3)
    store.move(LOG, two.oid, None)
    for new, old in ((three.oid, one.oid), (three.oid, None), (None, one.oid)):
        with pytest.raises(RefMoved):
            store.move(LOG, new, old)
    with pytest.raises(RefMoved):
        store.move(OTHER, two.oid, one.oid)
    with pytest.raises(RefMoved):
        store.move(OTHER, None, one.oid)
    assert store.tips().refs == {LOG: two.oid}


def test_a_packed_ref_moves_and_goes_like_a_loose_one(store: Store, repo: Path) -> None:
    one, two = chain_of(store, 2)
    store.move(LOG, one.oid, None)
    git(repo, "pack-refs", "--all")
    with pytest.raises(RefMoved):
        store.move(LOG, one.oid, two.oid)
    store.move(LOG, two.oid, one.oid)
    git(repo, "pack-refs", "--all")
    store.move(LOG, None, two.oid)
    assert git(repo, "for-each-ref", "refs/coord") == ""


def test_a_ref_is_not_moved_to_an_object_that_is_missing(store: Store) -> None:
    (one,) = chain_of(store, 1)
    with pytest.raises(ObjectMissing):
        store.move(LOG, Oid("1" * 40), None)
    store.move(LOG, one.oid, None)
    with pytest.raises(ObjectMissing):
        store.move(LOG, Oid("1" * 40), one.oid)
    assert store.tips().refs == {LOG: one.oid}


def test_a_name_in_the_way_of_a_ref_is_an_error_and_not_a_lost_race(store: Store) -> None:
    (one,) = chain_of(store, 1)
    store.move(LOG, one.oid, None)
    with pytest.raises(RepositoryError):
        store.move(LOG + "/below", one.oid, None)
    with pytest.raises(RepositoryError):
        store.move(LOG.rpartition("/")[0], one.oid, None)
    assert store.tips().refs == {LOG: one.oid}


def test_a_broken_ref_is_not_taken_for_the_value_it_had(store: Store) -> None:
    one, two = chain_of(store, 2)
    store.move(LOG, one.oid, None)
    ref_file(store, LOG).write_text("")
    with pytest.raises(RefMoved):
        store.move(LOG, two.oid, one.oid)
    assert store.tips().broken == (LOG,)


def test_moving_leaves_no_reflog_and_no_other_trace(store: Store, repo: Path) -> None:
    one, two = chain_of(store, 2)
    (repo / ".git" / "hooks").mkdir(exist_ok=True)
    hook = repo / ".git" / "hooks" / "reference-transaction"
    hook.write_text("#!/bin/sh\necho ran >> ran.txt\n")
    hook.chmod(0o755)
    before = sorted(p for p in (repo / ".git").rglob("*") if "coord" not in p.parts and "objects" not in p.parts)
    store.move(LOG, one.oid, None)
    store.move(LOG, two.oid, one.oid)
    after = sorted(p for p in (repo / ".git").rglob("*") if "coord" not in p.parts and "objects" not in p.parts)
    assert after == before
    assert not (repo / "ran.txt").exists()


def test_no_reflog_even_where_git_is_told_to_write_one_for_every_ref(repo: Path) -> None:
    git(repo, "config", "core.logAllRefUpdates", "always")
    found = find_repository(repo)
    assert why_not(found) == "core.logAllRefUpdates=always would make it write reflogs"
    store = open_store(found, long_lived=True)
    assert isinstance(store, PlumbingStore)
    (one,) = chain_of(store, 1)
    store.move(LOG, one.oid, None)
    assert not (repo / ".git" / "logs" / "refs" / "coord").exists()


RACE = """
import sys
from gitcoord.errors import CoordError, RefMoved
from gitcoord.store.discovery import find_repository
from gitcoord.store.libgit2 import Libgit2Store
from gitcoord.store.plumbing import PlumbingStore

store = (Libgit2Store if sys.argv[1] == "libgit2" else PlumbingStore)(find_repository(sys.argv[2]))
sys.stdin.readline()
for line in sys.stdin:
    ref, new, old = line.split()
    try:
        store.move(ref, None if new == "-" else new, None if old == "-" else old)
        print("won", flush=True)
    except RefMoved:
        print("lost", flush=True)
    except CoordError as error:
        print("failed", error, flush=True)
"""


def race(repo: Path, moves: list[list[tuple[str, str, str]]], stores: list[str]) -> list[list[str]]:
    """Let processes make their moves at the same time; returns the result of each."""
    runners = [Program(["-c", RACE, stores[n % len(stores)], str(repo)], repo) for n in range(len(moves))]
    for runner, wanted in zip(runners, moves, strict=True):
        runner.stdin.write("go\n" + "".join(" ".join(move) + "\n" for move in wanted))
    feeders = [threading.Thread(target=runner.stdin.close) for runner in runners]
    for feeder in feeders:
        feeder.start()
    found = []
    for runner, feeder in zip(runners, feeders, strict=True):
        feeder.join()
        found.append(runner.stdout.read().split("\n")[:-1])
        assert runner.wait() == 0, runner.stderr.read()
        runner.close()
    return found


@pytest.mark.parametrize("kinds", [["plumbing"], ["libgit2"], ["plumbing", "libgit2"]], ids="+".join)
def test_of_processes_that_move_one_ref_from_the_same_value_exactly_one_wins(repo: Path, kinds: list[str]) -> None:
    store = PlumbingStore(find_repository(repo))
    commits = chain_of(store, 5)
    rounds = 12
    refs = [f"refs/coord/log/r{n:02}/0001" for n in range(rounds)]
    for ref in refs:
        store.move(ref, commits[0].oid, None)
    moves = [[(ref, commits[1 + n].oid, commits[0].oid) for ref in refs] for n in range(4)]
    seen = race(repo, moves, kinds)
    for outcome in zip(*seen, strict=True):
        assert sorted(outcome) == ["lost"] * 3 + ["won"], outcome
    tips = store.tips().refs
    for number, ref in enumerate(refs):
        winner = next(n for n in range(4) if seen[n][number] == "won")
        assert tips[ref] == commits[1 + winner].oid


@pytest.mark.parametrize("kinds", [["plumbing"], ["libgit2"], ["plumbing", "libgit2"]], ids="+".join)
def test_of_processes_that_create_one_ref_exactly_one_wins(repo: Path, kinds: list[str]) -> None:
    commits = chain_of(PlumbingStore(find_repository(repo)), 4)
    refs = [f"refs/coord/log/c{n:02}/0001" for n in range(12)]
    seen = race(repo, [[(ref, commits[n].oid, "-") for ref in refs] for n in range(4)], kinds)
    for outcome in zip(*seen, strict=True):
        assert sorted(outcome) == ["lost"] * 3 + ["won"], outcome


def test_a_lock_left_by_a_killed_process_is_cleared_once_it_is_five_seconds_old(store: Store) -> None:
    one, two = chain_of(store, 2)
    store.move(LOG, one.oid, None)
    lock = ref_file(store, LOG).with_name("0001.lock")
    lock.touch()
    old = time.time() - ref_lock.STALE_AFTER - 1
    os.utime(lock, (old, old))
    store.move(LOG, two.oid, one.oid)
    assert not lock.exists()
    assert store.tips().refs == {LOG: two.oid}


def test_a_fresh_lock_is_waited_for_and_never_cleared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = chain_of(store, 2)
    store.move(LOG, one.oid, None)
    lock = ref_file(store, LOG).with_name("0001.lock")
    lock.touch()
    looked: list[bool] = []
    clear = ref_lock._clear_if_stale

    def watch(path: Path) -> bool:
        looked.append(clear(path))
        if len(looked) == 3:
            lock.unlink()  # git is done
        return looked[-1]

    monkeypatch.setattr(ref_lock, "_clear_if_stale", watch)
    store.move(LOG, two.oid, one.oid)
    assert looked == [False] * 3
    assert store.tips().refs == {LOG: two.oid}


def test_a_lock_that_stays_is_an_error_that_names_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ref_lock, "GIVE_UP_AFTER", 0.05)
    one, two = chain_of(store, 2)
    store.move(LOG, one.oid, None)
    lock = ref_file(store, LOG).with_name("0001.lock")
    lock.touch()
    with pytest.raises(RepositoryError, match="is in the way") as caught:
        store.move(LOG, two.oid, one.oid)
    assert str(lock) in caught.value.what
    assert lock.exists()
    assert store.tips().refs == {LOG: one.oid}


def test_the_lock_of_packed_refs_is_never_cleared(store: Store, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ref_lock, "GIVE_UP_AFTER", 0.05)
    git(repo, "config", "core.packedRefsTimeout", "50")
    (one,) = chain_of(store, 1)
    store.move(LOG, one.oid, None)
    git(repo, "pack-refs", "--all")
    lock = repo / ".git" / "packed-refs.lock"
    lock.touch()
    os.utime(lock, (1, 1))
    with pytest.raises(RepositoryError, match=r"packed-refs\.lock"):
        store.move(LOG, None, one.oid)
    assert lock.exists()


# places that cannot be written


def in_own_mounts(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run Python where it may mount; skip where this user may not."""
    prefix = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
    try:
        able = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        able = False
    if not able:
        pytest.skip("this user may not mount anything (unshare -m)")
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.run(
        [*prefix, sys.executable, "-c", script, *args],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )


UNWRITABLE = """
import subprocess, sys
from pathlib import Path
from gitcoord.errors import RepositoryError
from gitcoord.store.objects import make_object
from gitcoord.store.discovery import find_repository
from conftest import git, make_repo
from test_store import LOG, OTHER, STORES, chain_of

kind, how, place = sys.argv[1:]
if how == "full":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1200k", "none", place], check=True)
repo = make_repo(Path(place, "r"), "--template=")
store = STORES[kind](find_repository(repo))
one, two = chain_of(store, 2)
store.move(LOG, one.oid, None)
if how == "full":
    for block in (65536, 4096, 1):
        with open(Path(place, "fill"), "ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * block)
            except OSError:
                pass
else:
    subprocess.run(["mount", "--bind", place, place], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    store = STORES[kind](find_repository(repo))
for step in (
    lambda: store.write([make_object("blob", b"y" * 9000, "sha1")]),
    lambda: store.move(LOG, two.oid, one.oid),
    lambda: store.move(OTHER, two.oid, None),
):
    try:
        step()
        print("done")
    except RepositoryError as error:
        print(error.what.replace(place, "PLACE"))
assert store.tips().refs == {LOG: one.oid}
assert not store.tips().broken
print(len(list(store.chain(two.oid, None))))
"""


@pytest.mark.parametrize("kind", list(STORES))
@pytest.mark.parametrize(("how", "why"), [("full", "No space left on device"), ("read-only", "Read-only file system")])
def test_a_full_disk_and_a_read_only_place_are_told_and_leave_all_as_it_was(
    tmp_path: Path, kind: str, how: str, why: str
) -> None:
    done = in_own_mounts(UNWRITABLE, kind, how, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"cannot write to PLACE/r/.git: {why}"] * 3 + ["2"]


# which door


def test_the_door_is_chosen_by_how_long_the_process_lives_and_can_be_forced(repo: Path) -> None:
    def opened(long_lived: bool, forced: str = "") -> type[Store]:
        environ = {**os.environ, "GIT_COORD_STORE": forced}
        return type(open_store(find_repository(repo, environ), long_lived))

    assert (opened(False, "plumbing"), opened(True, "plumbing")) == (PlumbingStore, PlumbingStore)
    assert (opened(False, "libgit2"), opened(True, "libgit2")) == (Libgit2Store, Libgit2Store)
    with pytest.raises(UsageError, match="GIT_COORD_STORE=svn is not a store"):
        opened(False, "svn")


def test_left_to_itself_a_short_process_takes_git_and_a_long_one_libgit2(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_COORD_STORE", raising=False)
    assert isinstance(open_store(find_repository(repo)), PlumbingStore)
    assert isinstance(open_store(find_repository(repo), long_lived=True), Libgit2Store)


def test_libgit2_says_why_it_cannot_serve_a_repository(tmp_path: Path) -> None:
    sha256 = make_repo(tmp_path / "sha256", "--object-format=sha256")
    assert why_not(find_repository(sha256)) == "its objects are sha256"
    strange = make_repo(tmp_path / "strange")
    found = find_repository(strange)
    git(strange, "config", "core.repositoryFormatVersion", "1")
    git(strange, "config", "extensions.notKnownYet", "true")
    assert "notknownyet" in (why_not(found) or "")
    gone = Repository(str(tmp_path / "no"), str(tmp_path / "no"), None, "sha1", {})
    assert why_not(gone) == f"Repository not found at {tmp_path}/no"


# durability


@pytest.mark.parametrize("kind", list(STORES))
@pytest.mark.parametrize(("setting", "synced"), [("false", False), ("true", True)])
def test_with_coord_fsync_objects_and_refs_are_synced_to_disk(
    repo: Path, tmp_path: Path, kind: str, setting: str, synced: bool
) -> None:
    script = (
        "import sys; from gitcoord.store.discovery import find_repository; from test_store import *\n"
        "store = STORES[sys.argv[1]](find_repository(sys.argv[2])); one, two = commit(1), commit(2)\n"
        "store.write([one, two]); store.move(LOG, one.oid, None); store.move(LOG, two.oid, one.oid)\n"
    )
    git(repo, "config", "coord.fsync", setting)
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    trace = tmp_path / "trace"
    argv = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=fsync,fdatasync",
        "-o",
        str(trace),
        sys.executable,
        "-c",
        script,
        kind,
        str(repo),
    ]
    try:
        done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if "Operation not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    calls = trace.read_text().count("sync(")
    assert (calls >= 4) if synced else (calls == 0)


@pytest.mark.parametrize("options", [[], ["--object-format=sha256"]])
def test_many_objects_are_written_as_one_pack(tmp_path: Path, options: list[str]) -> None:
    from gitcoord.store import packing

    repo = find_repository(make_repo(tmp_path / "many", *options))
    store = open_store(repo)
    blobs = [make_object("blob", b"%d" % n * n, repo.object_format) for n in range(0, 3000, 7)]
    tree = make_tree({f"f{n}": blob.oid for n, blob in enumerate(blobs)}, repo.object_format)
    objects = [*blobs, tree, make_tree({}, repo.object_format), *blobs[:3]]
    before = set((Path(repo.common_dir) / "objects" / "pack").iterdir())
    packing.write_all(store, objects)
    assert store.missing([item.oid for item in objects]) == []
    assert [item.data for item in store.read(item.oid for item in objects)] == [item.data for item in objects]
    made = {path.suffix for path in set((Path(repo.common_dir) / "objects" / "pack").iterdir()) - before}
    assert {".pack", ".idx"} <= made
    assert git(Path(repo.common_dir), "fsck", "--strict", "--no-dangling") == ""


# what the store for long-lived processes does by itself


def test_a_ref_with_a_reflog_or_in_packed_refs_is_moved_by_libgit2(repo: Path) -> None:
    store = Libgit2Store(find_repository(repo))
    os.makedirs(store.repo.coord_dir, exist_ok=True)
    commits = chain_of(store, 4)
    store.move(LOG, commits[0].oid, None)
    store.move(LOG, commits[1].oid, commits[0].oid)
    git(repo, "pack-refs", "--all")
    store.move(LOG, commits[2].oid, commits[1].oid)
    reflog = repo / ".git" / "logs" / LOG
    reflog.parent.mkdir(parents=True)
    reflog.touch()
    store.move(LOG, commits[3].oid, commits[2].oid)
    with pytest.raises(RefMoved):
        store.move(LOG, commits[0].oid, commits[2].oid)
    store.close()
    assert git(repo, "rev-parse", LOG).strip() == commits[3].oid
    assert commits[3].oid in reflog.read_text()
    assert not [path for path in (repo / ".git").rglob("*") if path.name.endswith(".lock") or path.name.startswith("tmp_obj")]
    git(repo, "fsck", "--strict")
