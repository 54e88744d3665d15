"""An event ⇄ a commit: exact both ways, against real git."""

from __future__ import annotations

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import git
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord, UsageError
from gitcoord.log.event import (
    MAX_ATTACHMENT,
    MAX_CLOCK,
    MAX_CLOCK_STEP,
    MAX_COMMIT,
    MAX_TEXT,
    Draft,
    Envelope,
    Event,
    Malformed,
    _headers,
    canonical_json,
    check_attachment,
    check_step,
    check_text,
    decode,
    encode,
    header_text,
    is_attachment_name,
)
from gitcoord.store.discovery import find_repository
from gitcoord.store.objects import Oid, make_object, make_tree

HEAD = re.compile(
    rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n(?:parent ([0-9a-f]{40}|[0-9a-f]{64})\n)?"
    rb"author ([^\n]*) <([^<>\n]*)> (\d{1,15}) \+0000\n"
    rb"committer [^<>\n]* <[^<>\n]*> (0|[1-9]\d{0,18}) \+0000"
    rb"(?:\ngpgsig(?:-sha256)? [^\n]*(?:\n [^\n]*)*)?"
)
"""The headers of an event's commit as docs/format.md has them, in one expression."""
EMPTY = make_tree({}, "sha1").oid
WHO = Envelope(7, "ada-00000001", "ada@example.org", "Ada Lovelace <ada@example.org>", 1_700_000_000)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=8
)
RESERVED = ("v", "type", "lc", "clone", "mark")
PAYLOADS = st.dictionaries(TEXTS.filter(lambda key: key not in RESERVED), JSON, max_size=4)
NASTY = [
    "",
    "\n",
    "\n\n\nstarts with empty lines",
    "ends with empty lines\n\n\n",
    "text\n\nCoord: {}",
    'text\n\nCoord: {"v":1,"type":"ack","lc":1,"clone":"x"}\n',
    "text\n\nSigned-off-by: A <a@example.org>\n",
    "text\nCoord: nearly a trailer",
    "# ------------------------ >8 ------------------------\ncut?",
    "text\r\nwith\rcarriage\r\n\r\nCoord: returns",
    "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor me",
    "\ufeff\u2028\u202e\x1b[31m\x7f\x01",
    "🙂 𐍈 e\u0301",
    "x" * MAX_TEXT,
]


def wrapped(text: str = "hello", data: dict[str, Any] | None = None, parent: Oid | None = None) -> bytes:
    return encode(Draft("message", text, data or {}, author="w1"), WHO, EMPTY, parent)


def with_trailer(trailer: bytes, text: bytes = b"hello") -> bytes:
    head = wrapped().partition(b"\n\n")[0]
    if clock := re.search(rb'"lc": (\d+)', trailer):
        head = head.replace(b"> 7 +0000", b"> %s +0000" % clock[1])
    return head + b"\n\n" + text + b"\n\nCoord: " + trailer


def trailer_with(**changes: Any) -> bytes:
    fields = {"v": 1, "type": "message", "lc": 7, "clone": "ada-00000001", **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode() + b"\n"


@given(TEXTS, PAYLOADS)
@examples(300)
def test_what_is_written_is_read_back_exactly(text: str, data: dict[str, Any]) -> None:
    raw = wrapped(text, data)
    event = decode(Oid("ab"), raw)
    assert event == Event(Oid("ab"), "message", 7, "ada-00000001", "w1", "ada@example.org", WHO.at, text, data)
    assert event.sender == "w1@ada-00000001"
    assert encode(Draft("message", event.text, event.data, author=event.author), WHO, EMPTY, None) == raw


@pytest.mark.parametrize("text", NASTY, ids=lambda text: ascii(text[:24]))
def test_text_that_looks_like_the_format_itself_is_read_back_exactly(text: str) -> None:
    assert decode(Oid("ab"), wrapped(text)).text == text
    assert decode(Oid("ab"), wrapped(text, parent=EMPTY)).text == text


def test_one_value_has_one_spelling() -> None:
    assert canonical_json({"b": 1, "a": ["é", None, True]}) == '{"a":["\\u00e9",null,true],"b":1}'
    assert wrapped("hi", {"zz": 1, "aa": 2}).endswith(
        b'hi\n\nCoord: {"aa":2,"clone":"ada-00000001","lc":7,"type":"message","v":1,"zz":1}\n'
    )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository for objects, and beside it `remote.git`, which checks all it is sent."""
    path = tmp_path_factory.mktemp("objects")
    for name in ("here.git", "remote.git"):
        subprocess.run(["git", "init", "-q", "--bare", str(path / name)], check=True)
        git(path / name, "config", "receive.fsckObjects", "true")
        git(path / name, "config", "gc.auto", "0")
    subprocess.run(["git", "-C", str(path / "here.git"), "hash-object", "-w", "-t", "tree", "--stdin"], input=b"", check=True)
    return path


def stored(bare: Path, kind: str, data: bytes) -> str:
    """Store an object with git's own checks on; its id."""
    argv = ["git", "-C", str(bare / "here.git"), "hash-object", "-w", "-t", kind, "--stdin"]
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout.decode().strip()


@given(st.lists(st.tuples(TEXTS, PAYLOADS), min_size=1, max_size=3))
@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([(text, {"to": ["a@b"]}) for text in NASTY])
def test_git_accepts_every_event_and_keeps_its_bytes(bare: Path, items: list[tuple[str, dict[str, Any]]]) -> None:
    parent: Oid | None = None
    for text, data in items:
        raw = wrapped(text, data, parent)
        parent = make_object("commit", raw, "sha1").oid
        assert stored(bare, "commit", raw) == parent
        argv = ["git", "-C", str(bare / "here.git"), "cat-file", "commit", parent]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == raw
    assert parent
    git(bare / "here.git", "update-ref", "refs/coord/log/ada-00000001/0001", parent)
    assert git(bare / "here.git", "fsck", "--strict", "--no-dangling") == ""
    git(bare / "here.git", "push", "-q", "--force", str(bare / "remote.git"), "refs/coord/log/*:refs/coord/log/*")
    assert git(bare / "remote.git", "rev-parse", "refs/coord/log/ada-00000001/0001").strip() == parent


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._+=@ -]{0,20}[A-Za-z0-9]", fullmatch=True),
        st.binary(max_size=200),
        min_size=1,
        max_size=5,
    )
)
@examples(10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example({"a": b"", "a.b": b"\0", "a b": b"\n\nCoord: {}", "A": b"1", "a-b": b"2", "a0": b"3", "gitmodules": b"[x"})
def test_attachments_make_a_tree_that_git_accepts_and_gives_back(bare: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        check_attachment(name, content)
        stored(bare, "blob", content)
    tree = make_tree({name: make_object("blob", content, "sha1").oid for name, content in files.items()}, "sha1")
    assert stored(bare, "tree", tree.data) == tree.oid
    listed = git(bare / "here.git", "ls-tree", "-z", "--name-only", tree.oid).split("\0")[:-1]
    assert sorted(listed) == sorted(files)
    for name, content in files.items():
        argv = ["git", "-C", str(bare / "here.git"), "cat-file", "blob", f"{tree.oid}:{name}"]
        assert subprocess.run(argv, capture_output=True, check=True).stdout == content


def test_plain_git_prints_the_payload_as_a_trailer(bare: Path) -> None:
    oid = stored(bare, "commit", wrapped("It works\n\nReally.", {"to": ["w2@x"]}))
    printed = git(bare / "here.git", "log", "-1", "--format=%an|%ct|%s|%(trailers:key=Coord,valueonly)", oid)
    assert printed == ('w1|7|It works|{"clone":"ada-00000001","lc":7,"to":["w2@x"],"type":"message","v":1}\n\n')


# refused drafts


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\0b", "the text contains a NUL byte"),
        ("\ud800", "the text is not valid Unicode"),
        ("é" * (MAX_TEXT // 2 + 1), f"the text has {MAX_TEXT + 2} bytes, at most {MAX_TEXT} fit a message"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(text: str, why: str) -> None:
    for attempt in (check_text, wrapped):
        with pytest.raises(UsageError) as caught:
            attempt(text)  # type: ignore[operator]
        assert caught.value.what == why


@pytest.mark.parametrize(
    "data",
    [
        {"x": math.nan},
        {"x": math.inf},
        {"x": "\udcff"},
        {"\udcff": 1},
        {"x": "y" * MAX_COMMIT},
        {"x": 10**5000},
        {"x": json.loads("[" * 70 + "]" * 70)},
    ],
    ids=["nan", "infinity", "surrogate", "surrogate key", "huge", "huge number", "deep"],
)
def test_a_payload_that_could_not_be_read_back_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="this cannot be stored"):
        wrapped("hello", data)


@pytest.mark.parametrize("kind", ["", "Message", "a b", "x" * 41, "1a"])
def test_a_type_that_is_no_name_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="the type is not a type name"):
        encode(Draft(kind, "hello", author="w1"), WHO, EMPTY, None)


def test_an_author_that_is_no_session_name_is_refused() -> None:
    for name in ("", "W1", "a b", "x\ny"):
        with pytest.raises(UsageError, match="author"):
            encode(Draft("message", "hello", author=name), WHO, EMPTY, None)


@pytest.mark.parametrize(
    "name", ["", ".git", ".", "..", "a/b", "a\\b", "a\n", "a ", "a.", "git~1", "é", "-rf", " a", "x" * 101]
)
def test_a_name_that_could_not_stand_in_a_tree_everywhere_is_refused(name: str) -> None:
    assert not is_attachment_name(name)
    with pytest.raises(UsageError, match="is not a valid attachment name"):
        check_attachment(name, b"")


def test_an_attachment_over_ten_mebibytes_is_refused() -> None:
    check_attachment("a", b"x" * MAX_ATTACHMENT)
    with pytest.raises(UsageError, match=f"a has {MAX_ATTACHMENT + 1} bytes, at most {MAX_ATTACHMENT} can be attached"):
        check_attachment("a", b"x" * (MAX_ATTACHMENT + 1))


@given(st.text(max_size=40))
@examples(100)
@example("Eve <e@x>\nauthor forged <f@x> 1 +0000")
def test_no_name_breaks_or_forges_a_header(name: str) -> None:
    safe = header_text(name)
    assert not set("<>\n\0") & set(safe)
    envelope = WHO._replace(committer=f"{safe or 'x'} <a@example.org>")
    raw = encode(Draft("message", "hello", author="w1"), envelope, EMPTY, None)
    head = raw.partition(b"\n\n")[0].decode()
    assert [line.split(" ")[0] for line in head.split("\n")] == ["tree", "author", "committer"]


# rejected commits, with the reason


MALFORMED = {
    "larger than 512 KiB": with_trailer(trailer_with(x="y" * MAX_COMMIT)),
    "the Coord trailer is missing": wrapped().replace(b"Coord: ", b"coord: "),
    "text longer than 64 KiB": with_trailer(trailer_with(), b"x" * (MAX_TEXT + 1)),
    "a NUL byte in the message": with_trailer(trailer_with(), b"a\0b"),
    "text is not UTF-8": with_trailer(trailer_with(), b"\xff"),
    "the trailer is not one line": with_trailer(trailer_with().rstrip()),
    "the trailer is not a JSON object": with_trailer(b"[1]\n"),
    "the trailer is nested too deep": with_trailer(b'{"x":' + b"[" * 70 + b"]" * 70 + b"}\n"),
    "no 'v' in the trailer": with_trailer(trailer_with(v=...)),
    "no 'type' in the trailer": with_trailer(trailer_with(type=...)),
    "no 'lc' in the trailer": with_trailer(trailer_with(lc=...)),
    "no 'clone' in the trailer": with_trailer(trailer_with(clone=...)),
    "version out of range": with_trailer(trailer_with(v=0)),
    "clock out of range": with_trailer(trailer_with(lc=MAX_CLOCK + 1)),
    "the type is not a type name": with_trailer(trailer_with(type="Message")),
    "no author": wrapped().replace(b"author w1 <", b"author w1 "),
    "the headers are not those of an event": wrapped().replace(b"\n\n", b"\nencoding latin-1\n\n", 1),
    "the committer date is not the clock": wrapped().replace(b"> 7 +0000", b"> 8 +0000"),
    "the tree is not empty": wrapped().replace(EMPTY.encode(), b"1" * 40).replace(b'"message"', b'"note"'),
    "the author is not a session name": wrapped().replace(b"author w1 ", b"author W 1 "),
}
REASONS = [
    *((reason, commit) for reason, commit in MALFORMED.items()),
    ("the Coord trailer is missing", b""),
    ("no author", with_trailer(trailer_with()).partition(b"\n\n")[2].join([b"\n\n", b""])),
    ("no author", wrapped().replace(b"1700000000", b"1" * 5000)),
    ("no author", wrapped().replace(b"1700000000 +0000", b"1700000000 +0100")),
    ("the headers are not those of an event", wrapped(parent=EMPTY).replace(b"\nauthor", f"\nparent {EMPTY}\nauthor".encode())),
    ("the headers are not those of an event", wrapped().replace(b"committer Ada Lovelace ", b"committer <Ada> ")),
    ("the headers are not those of an event", b"mergetag x\n" + wrapped()),
    ("the trailer is not one line", with_trailer(b'{\n"v":1}\n')),
    ("version out of range", with_trailer(trailer_with(v=2**70))),
    ("clock out of range", with_trailer(trailer_with(lc=0))),
    *(
        ("the trailer is not ASCII JSON", with_trailer(trailer))
        for trailer in (b"{\n"[:1] + b"\n", b'{"x":NaN}\n', b'{"x":1e999}\n', b'{"x":"\\ud800"}\n', '{"x":"é"}\n'.encode(),
                        b'{"x":"\xed\xa0\x80"}\n', b"[" * 100_000 + b"\n", b'{"x":' + b"9" * 5000 + b"}\n", b"\n")
    ),
    *(
        ("a mandatory key has the wrong type", with_trailer(trailer_with(**{key: value})))
        for key, value in (("v", "1"), ("v", True), ("v", 1.0), ("type", 1), ("lc", "7"), ("lc", None), ("clone", []))
    ),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "commit"), REASONS, ids=[f"{n} {reason}" for n, (reason, _) in enumerate(REASONS)])
def test_a_malformed_commit_is_rejected_with_its_reason(reason: str, commit: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode(Oid("ab"), commit)
    assert str(caught.value) == reason


@given(st.binary(max_size=400))
@examples(300)
def test_no_bytes_make_reading_fail_otherwise(noise: bytes) -> None:
    raw = wrapped("text", {"to": ["a"]})
    for commit in (noise, raw[: len(noise)], raw[:60] + noise + raw[60:], raw[:-20] + noise + raw[-20:]):
        try:
            event = decode(Oid("ab"), commit)
        except Malformed:
            continue
        canonical_json(event.data).encode("ascii")
        event.text.encode()


@pytest.mark.parametrize(("lc", "parent", "good"), [
    (5, None, True), (6, 5, True), (5, 5, False), (4, 5, False), (5 + MAX_CLOCK_STEP, 5, True), (6 + MAX_CLOCK_STEP, 5, False),
])  # fmt: skip
def test_the_clock_follows_its_parents(lc: int, parent: int | None, good: bool) -> None:
    event = decode(Oid("ab"), with_trailer(trailer_with(lc=lc)))
    if good:
        check_step(event, parent)
    else:
        with pytest.raises(Malformed, match="the clock does not follow its parent's"):
            check_step(event, parent)


def test_other_spellings_of_a_trailer_are_understood() -> None:
    event = decode(Oid("ab"), with_trailer(b' { "clone" : "c", "v":1, "lc":7,"type":"message", "x":"\\uD83D\\ude42" } \n'))
    assert (event.clone, event.data) == ("c", {"x": "🙂"})


# in a log


def append_raw(repo: Path, *commits: bytes) -> list[str]:
    """Put foreign commits on another clone's log, each on top of the last."""
    ref, found = "refs/coord/log/eve-00000009/0001", list[str]()
    stored_tree = ["git", "-C", str(repo), "hash-object", "-w", "-t", "tree", "--stdin"]
    subprocess.run(stored_tree, input=b"", check=True, capture_output=True)
    for raw in commits:
        if found:
            raw = raw.replace(b"\nauthor", b"\nparent " + found[-1].encode() + b"\nauthor", 1)
        argv = ["git", "-C", str(repo), "hash-object", "-w", "-t", "commit", "--literally", "--stdin"]
        found.append(subprocess.run(argv, input=raw, capture_output=True, check=True).stdout.decode().strip())
        git(repo, "update-ref", ref, found[-1])
    return found


def test_malformed_commits_in_a_log_are_skipped_and_reported_and_the_others_count(repo: Path) -> None:
    eve = {"clone": "eve-00000009"}
    ids = append_raw(
        repo,
        with_trailer(trailer_with(**eve, lc=1, type="note"), b"one"),
        with_trailer(b"{]\n"),
        with_trailer(trailer_with(**eve, lc=1, type="note"), b"clock stands still"),
        with_trailer(trailer_with(lc=3, type="note"), b"forged"),
        with_trailer(trailer_with(**eve, lc=4, type="message", to="all"), b"to nobody"),
        with_trailer(trailer_with(**eve, lc=5, type="message", to=[], expires=2**64), b"late"),
        with_trailer(trailer_with(**eve, lc=6, type="note"), b"two"),
    )
    with Coord.open(repo) as coord:
        assert [note.text for note in coord.notes.list()] == ["two", "one"]
        reasons = coord.clone.read(lambda db: dict(db.execute("SELECT id, reason FROM strange").fetchall()))
    assert reasons == {
        ids[1]: "the trailer is not ASCII JSON",
        ids[2]: "the clock does not follow its parent's",
        ids[3]: "written under another clone's name: ada-00000001",
        ids[4]: "message: to is not a list of at most 1,000, each a mailbox",
        ids[5]: "message: expires is not a time",
    }


def test_unknown_types_and_later_versions_are_kept_and_reported(repo: Path) -> None:
    eve = {"clone": "eve-00000009"}
    ids = append_raw(
        repo,
        with_trailer(trailer_with(**eve, lc=1, type="poll", question="lunch?"), b"asks"),
        with_trailer(trailer_with(**eve, lc=2, type="note", v=2), b"from the future"),
    )
    with Coord.open(repo) as coord:
        assert coord.notes.list() == []
        assert [(e.id, e.type, e.v, dict(e.data)) for e in coord.events.log()] == [
            (ids[1], "note", 2, {}),
            (ids[0], "poll", 1, {"question": "lunch?"}),
        ]
        reasons = coord.clone.read(lambda db: dict(db.execute("SELECT id, reason FROM strange").fetchall()))
        assert reasons == {ids[0]: "unknown poll v1", ids[1]: "unknown note v2"}
        coord.notes.add("life goes on")
    assert find_repository(repo).git("fsck", "--strict").code == 0


GOOD_HEAD = [
    b"tree " + EMPTY.encode(), b"parent " + b"1" * 40, b"author ada <a@b> 17 +0000", b"committer Ada L <a@b> 7 +0000",
    b"gpgsig -----BEGIN", b" more",
]  # fmt: skip
HEAD_LINES = st.sampled_from([
    *GOOD_HEAD,
    b"tree " + b"2" * 64, b"tree " + b"G" * 40, b"tree 12", b"parent " + b"A" * 40, b"", b" ", b"gpgsig", b"gpgsig-sha256 x",
    b"author  <> 0 +0000", b"author <a@b> 17 +0000", b"author ada <a@b> 1234567890123456 +0000",
    b"author ada <a@b> 17 +0100", b"author a <b> c <d> 1 +0000", b"author ada <a<b> 17 +0000", b"author ada <a@b> -1 +0000",
    b"author ada <a@b>  1 +0000", b"committer  <> 0 +0000", b"committer A <a@b> 07 +0000", b"committer A> <a@b> 7 +0000",
    b"committer A <a@b> 7 +0000 ", b"committer A <a@b> 12345678901234567890 +0000", b"committer A <a@b>7 +0000",
    b"encoding latin-1", b"\xff <> 1 +0000",
])  # fmt: skip


@examples(500)
@given(st.data())
def test_the_headers_are_those_of_the_format_and_no_others(data: st.DataObject) -> None:
    lines = list(GOOD_HEAD[: data.draw(st.sampled_from([4, 5, 6]))])
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(lines)))
        lines[at : at + data.draw(st.integers(0, 1))] = data.draw(st.lists(HEAD_LINES, max_size=2))
    head = b"\n".join(lines)
    match = HEAD.fullmatch(head)
    try:
        found: object = _headers(head)
    except Malformed:
        found = None
    if match is None or match[3] != b"ada":
        assert found is None, head
    else:
        assert found == (match[1], "ada", match[4].decode(), int(match[5]), int(match[6])), head
