"""Files of ours and git's that we read ourselves, garbled in every way: the journal, and packed refs below refs/coord.

With any content, only errors of ours are raised, no acknowledged event is lost, and gitcoord reads the refs as git does.
Inputs that once failed stay in the examples.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import git, make_repo
from hypothesis import assume, example, given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord, RepositoryError
from gitcoord.log.journal import KEEP_SECONDS, Journal
from gitcoord.store import graphs
from gitcoord.store.discovery import find_repository
from gitcoord.store.objects import Oid, make_object, make_tree
from gitcoord.store.ref_files import NotPlain, RefFiles

OID = "1" * 40
PIECES = [
    b"",
    b"\n",
    b"\0",
    b"o ",
    b"t ",
    b"journal 1 ",
    b"journal 99 0\n",
    b"z 1 2 3 4 5\n",
    b"=",
    b"\xff\xfe",
    b"A" * 5000,
    b"0" * 40,
    b"refs/coord/",
]
GARBLES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3), st.sampled_from(PIECES) | st.binary(max_size=40)), max_size=4)


def garbled(data: bytes, garbles: list[tuple[float, float, bytes]]) -> bytes:
    """`data` with pieces replaced: where and how much, as parts of its length, and by what."""
    for where, much, piece in garbles:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + int(much * len(data)) :]
    return data


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal as it is written: objects of each kind, and tips."""
    place = tmp_path_factory.mktemp("sound")
    journal = Journal(str(place))
    for number in range(5):
        journal.add([make_object("blob", b"%d" % number * 500, "sha1"), make_object("tree", b"", "sha1")])
        journal.note({"refs/coord/log/a-00000000/0001": make_object("commit", b"x %d" % number, "sha1").oid})
    return Path(journal.path).read_bytes()


@pytest.fixture(scope="module")
def archived(sound: bytes, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The same journal, rotated twice."""
    journal = Journal(str(tmp_path_factory.mktemp("archived")))
    for day in (1, 3):
        Path(journal.path).write_bytes(sound)
        journal.rotate(time.time() + day * KEEP_SECONDS + 10)
    return Path(journal.old_path).read_bytes()


@given(GARBLES, st.booleans())
@example([(0.0, 0.3, b"")], False)
@example([(0.5, 0.3, b"\0" * 64), (1.0, 0.0, b"t ")], True)
@example([(0.0, 0.0, b"journal 99 0\n")], False)
@examples(60)
def test_any_journal_can_be_read_or_is_refused(
    sound: bytes, archived: bytes, garbles: list[tuple[float, float, bytes]], old: bool
) -> None:
    with TemporaryDirectory() as place:
        journal = Journal(place)
        Path(journal.old_path if old else journal.path).write_bytes(garbled(archived if old else sound, garbles))
        questions: list[Callable[[], object]] = [
            journal.tips,
            lambda: list(journal.objects()),
            lambda: journal.needed([make_object("commit", b"x 4", "sha1").oid]),  # type: ignore[list-item]
            lambda: journal.ids_after(None),
            lambda: journal.rotate(2e9),
            lambda: journal.scrub([make_object("commit", b"x 4", "sha1").oid]),
            lambda: journal.note({"refs/coord/log/a-00000000/0001": make_object("commit", b"x", "sha1").oid}),
        ]
        for question in questions:
            with suppress(RepositoryError):
                question()
        with suppress(RepositoryError):
            for item in journal.needed([item.oid for item in journal.objects()]).values():
                assert make_object(item.kind, item.data, "sha1").oid == item.oid, "it is not what it says"


@given(GARBLES)
@example([(0.4, 0.3, b"")])
@examples(8)
def test_a_garbled_journal_costs_nothing_while_git_has_all(garbles: list[tuple[float, float, bytes]]) -> None:
    with TemporaryDirectory() as place:
        repo = make_repo(Path(place, "project"))
        with Coord.open(repo, as_name="w") as coord:
            said = [coord.notes.add(f"note {number}") for number in range(4)]
        journal = repo / ".git" / "coord" / "journal"
        journal.write_bytes(garbled(journal.read_bytes(), garbles))
        with Coord.open(repo, as_name="w") as coord:
            said.append(coord.notes.add("afterwards"))
            assert [event.id for event in reversed(coord.events.log(kind="note", limit=99))] == said
        assert git(repo, "fsck", "--strict", "--no-dangling") == ""


LINES = st.lists(
    st.sampled_from(
        [
            f"{OID} refs/coord/log/a-00000000/0001", f"{OID} refs/coord/sessions/a-00000000/w", f"{OID} refs/heads/x",
            f"{OID} refs/coord/a b", f"{OID}  refs/coord/two", f"{OID[:39]} refs/coord/short", f"{OID}0 refs/coord/long",
            f"{OID.replace('1', 'g')} refs/coord/nohex", f"{OID.replace('1', 'A')} refs/coord/upper", "^" + OID, "", "#",
            f"{OID} refs/coord/..", f"{OID} refs/coord/x.lock", f"{OID} refs/coord/a//b", f"{OID} refs/coord/ä",
            "# pack-refs with: peeled fully-peeled sorted ", f"{OID} refs/coord/tab\t", f"{'0' * 40} refs/coord/zero",
        ]
    ),
    max_size=6,
)  # fmt: skip


def by_git(repo: Path) -> dict[str, str] | None:
    """The refs below ours as git lists them; None where it refuses the file."""
    argv = ["git", "-C", str(repo), "for-each-ref", "--format=%(refname) %(objectname)", "refs/coord/"]
    done = subprocess.run(argv, capture_output=True)
    if done.returncode or b"ignoring" in done.stderr or b"warning" in done.stderr:
        return None
    return dict(line.rsplit(" ", 1) for line in done.stdout.decode("utf-8", "replace").splitlines())  # type: ignore[misc]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A repository, and a commit in it."""
    repo = tmp_path_factory.mktemp("refs") / "bare.git"
    subprocess.run(["git", "init", "-q", "--bare", str(repo)], check=True)
    tree = (
        subprocess.run(["git", "-C", str(repo), "mktree"], input=b"", capture_output=True, check=True).stdout.decode().strip()
    )
    made = ["git", "-C", str(repo), "-c", "user.name=A", "-c", "user.email=a@b", "commit-tree", tree, "-m", "x"]
    yield repo, subprocess.run(made, capture_output=True, check=True).stdout.decode().strip()


@given(LINES)
@example([f"{OID} refs/coord/log/a-00000000/0001", "^" + OID])
@example(["", f"{OID} refs/coord/log/a-00000000/0001"])
@example([f"{OID.replace('1', 'A')} refs/coord/upper", f"{OID} refs/coord/..", f"{OID} refs/coord/x.lock"])
@example([f"{'0' * 40} refs/coord/zero", f"{OID[:39]} refs/coord/short", f"{OID}0 refs/coord/long"])
@examples(60)
def test_packed_refs_are_read_as_git_reads_them(bare: tuple[Path, str], lines: list[str]) -> None:
    names = [line.split(" ", 1)[1] for line in lines if " " in line and not line.startswith(("#", "^"))]
    claims_order = any(line.startswith("# pack-refs") for line in lines)
    assume(
        not claims_order or names == sorted(names)
    )  # git trusts the header that says so, and looks only where the order leads it
    repo, commit = bare
    (repo / "packed-refs").write_text("".join(f"{line}\n" for line in lines).replace(OID, commit))
    expected = by_git(repo)
    try:
        found = RefFiles(str(repo)).read()
    except NotPlain:
        return  # then git is asked
    if expected is not None:
        assert {ref: str(oid) for ref, oid in found.items()} == expected


# the user's commit-graph


@pytest.fixture(scope="module")
def graphed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A repository with our events in it, and its commit-graph."""
    repo = make_repo(tmp_path_factory.mktemp("graphed") / "project")
    with Coord.open(repo, as_name="w") as coord:
        coord.notes.add("one")
    git(repo, "commit-graph", "write", "--reachable")
    return repo, (repo / ".git/objects/info/commit-graph").read_bytes()


@given(GARBLES)
@example([(0.0, 0.0, b"")])
@example([(0.0, 0.3, b"CGPH\x01\x01\xff\x00")])
@example([(0.0, 0.02, b"CGPH\x01\x01\x03\x00OIDF" + b"\xff" * 8), (0.5, 0.3, b"")])
@example([(0.1, 0.9, b"")])
@examples(60)
def test_any_commit_graph_is_read_or_passed_over(
    graphed: tuple[Path, bytes], garbles: list[tuple[float, float, bytes]]
) -> None:
    where, sound = graphed
    path = where / ".git/objects/info/commit-graph"
    path.chmod(0o644)
    path.write_bytes(garbled(sound, garbles))
    repo = find_repository(where)
    tip = git(where, "for-each-ref", "--format=%(objectname)", "refs/coord/presence").split()[0]
    with graphs.opened(repo) as found:
        assert found.may_name(Oid(tip), 0.0) in (True, False)
        for name in found.without_content(make_tree({}, "sha1").oid, only_roots=False):
            assert len(name) == 40
    if path.read_bytes() == sound:
        with graphs.opened(repo) as found:
            assert found.names(Oid(tip))
