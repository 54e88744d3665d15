"""Translate between events and commits (docs/format.md).

The message is the text, verbatim, a blank line, and one trailer line `Coord: {…}` in canonical JSON. The author is the
session at the real time. The committer's date is the Lamport clock, so that git offers code before coordination.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.lean import Any, NamedTuple
from gitcoord.names import is_name
from gitcoord.store.objects import Oid, parent_of

VERSION = 1
MAX_VERSION = 10**9
MAX_TEXT = 64 * 1024
MAX_ATTACHMENT = 10 * 1024 * 1024
MAX_COMMIT = 512 * 1024
MAX_CLOCK = 10**9
MAX_CLOCK_STEP = 1_000_000
MAX_DEPTH = 64

_TRAILER = b"\n\nCoord: "
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz")
_IN_A_TYPE = _LOWER | frozenset("0123456789.-")
_FIRST_OF_A_FILE = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_IN_A_FILE = _FIRST_OF_A_FILE | frozenset(".+=@ -")
_HEX = b"0123456789abcdef"
_EMPTY_TREES = (
    b"4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    b"6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
)
_WITH_FILES = ("message", "epoch")
"""The types whose tree may hold files; of all others that this version knows, it is empty."""


class Malformed(Exception):
    """A commit in a log that is not an event; the message says why. Readers skip and count it."""


class Draft(NamedTuple):
    """An event to be written: the part that its author decides."""

    type: str
    text: str
    data: Mapping[str, Any] = MappingProxyType({})
    attachments: Mapping[str, bytes] = MappingProxyType({})
    author: str = ""
    """The session that speaks; empty means the one that runs the command."""
    local: bool = False
    """Whether it stays in this clone, even if other drafts of the same append do not."""


LaterDraft = Callable[[Sequence[Oid]], Draft]
"""A draft that names events of the same append; it is called with the ids of those before it."""


class Event(NamedTuple):
    """An event as read. `at` is the author's wall clock in Unix seconds; order is (`lc`, `id`), never time."""

    id: Oid
    type: str
    lc: int
    clone: str
    author: str
    email: str
    at: int
    text: str
    data: Mapping[str, Any]
    v: int = VERSION

    @property
    def sender(self) -> str:
        """The mailbox of the session that wrote it."""
        return f"{self.author}@{self.clone}"


class Envelope(NamedTuple):
    """The part of an event that the writing clone adds to a draft."""

    lc: int
    clone: str
    email: str
    committer: str
    """`Name <email>`, already safe for a commit header."""
    at: int
    key: bytes = b""
    """The secret of the clone, with which it marks its events; without it events have no mark."""
    ref: str = ""
    """The log that the event is written to, which its mark names."""


def canonical_json(value: object) -> str:
    """One line of ASCII, keys sorted, no spaces: the same value always gives the same bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def check_text(text: str) -> str:
    """`text` if it can be stored. Raises UsageError for NUL, lone surrogates and more than 64 KiB."""
    if "\0" in text:
        raise UsageError("the text contains a NUL byte", "remove it, or send the data with --attach FILE")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError("the text is not valid Unicode", "send the bytes with --attach FILE") from None
    if size > MAX_TEXT:
        raise UsageError(f"the text has {size} bytes, at most {MAX_TEXT} fit a message", "send it with --attach FILE")
    return text


def check_attachment(name: str, content: bytes) -> None:
    """Check an attachment. Raises UsageError for a name that not every system allows in a tree, or a content over 10
    MiB."""
    if not is_attachment_name(name):
        raise UsageError(f"{name!a} is not a valid attachment name", "use letters, digits, '.', '_' and '-'")
    if len(content) > MAX_ATTACHMENT:
        raise UsageError(f"{name} has {len(content)} bytes, at most {MAX_ATTACHMENT} can be attached", "send a path or a link")


def is_attachment_name(name: str) -> bool:
    """Whether every system allows `name` for a file of a message."""
    fits = 0 < len(name) <= 100 and name[0] in _FIRST_OF_A_FILE and _IN_A_FILE.issuperset(name)
    return fits and not name.endswith((" ", "."))


def header_text(text: str) -> str:
    """`text` without characters that would break or forge a commit header: angle brackets, line ends, control
    characters."""
    clean = "".join(c for c in text if c not in "<>" and c.isprintable()).strip(" .,:;\"'\\")
    return clean.encode("utf-8", "ignore").decode()


def encode(draft: Draft, envelope: Envelope, tree: Oid, parent: Oid | None) -> bytes:
    """The raw commit of `draft`. Raises UsageError for a draft that `decode` would not return unchanged."""
    return compose(draft, envelope, tree, parent)[0]


def compose(draft: Draft, envelope: Envelope, tree: Oid, parent: Oid | None) -> tuple[bytes, Event]:
    """As `encode`, with the event that `decode` makes of the commit, still without an id."""
    check_text(draft.text)
    fields = {**draft.data, "v": VERSION, "type": draft.type, "lc": envelope.lc, "clone": envelope.clone}
    fields.pop("mark", None)
    lines = [f"tree {tree}"]
    if parent:
        lines.append(f"parent {parent}")
    lines.append(f"author {draft.author} <{envelope.email}> {envelope.at} +0000")
    lines.append(f"committer {envelope.committer} {envelope.lc} +0000")
    head = "\n".join(lines).encode()
    try:
        trailer = canonical_json(fields).encode()
        if envelope.key:
            mark = _mark(envelope.key, envelope.ref, [tree, parent or "", draft.author], draft.text, trailer)
            trailer = canonical_json({**fields, "mark": mark}).encode()
        commit = head + b"\n\n" + draft.text.encode() + _TRAILER + trailer + b"\n"
        return commit, decode(Oid(""), commit)
    except (Malformed, ValueError, RecursionError) as why:
        raise UsageError(f"this cannot be stored: {why}", "send it with --attach FILE") from None


def _mark(key: bytes, ref: str, names: Sequence[str], text: str, trailer: bytes) -> str:
    """The mark that only a holder of `key` can put into an event of the log `ref`: a keyed hash of the event's content
    and of the event before it, so that the mark of the last covers the whole chain."""
    try:
        from _blake2 import blake2b  # hashlib would load OpenSSL, too: 10 ms of every write
    except ImportError:
        from hashlib import blake2b
    head = "\n".join([ref, *names, ""]).encode()
    return str(blake2b(head + text.encode() + b"\0" + trailer, key=key[:64], digest_size=8).hexdigest())


def is_marked(commit: bytes, ref: str, key: bytes) -> bool:
    """Whether an event of the log `ref` has the mark of the clone with the secret `key`."""
    try:
        event = decode(Oid(""), commit)
        fields = json.loads(trailer_of(commit))
        mark = fields.pop("mark", None)
        tree = commit[5 : commit.index(b"\n")].decode()
        found = _mark(key, ref, [tree, parent_of(commit) or "", event.author], event.text, canonical_json(fields).encode())
    except (Malformed, ValueError, RecursionError):
        return False
    return bool(key) and mark == found


def decode(oid: Oid, commit: bytes) -> Event:
    """The event in a raw commit. Raises Malformed."""
    if len(commit) > MAX_COMMIT:
        raise Malformed("larger than 512 KiB")
    head, _blank, message = commit.partition(b"\n\n")
    text, trailer = _split_message(message)
    data = _load(trailer)
    tree, author, email, at, date = _headers(head)
    try:
        v, kind, lc, clone = data.pop("v"), data.pop("type"), data.pop("lc"), data.pop("clone")
    except KeyError as error:
        raise Malformed(f"no {error.args[0]!r} in the trailer") from None
    data.pop("mark", None)
    if type(v) is not int or type(kind) is not str or type(lc) is not int or type(clone) is not str:
        raise Malformed("a mandatory key has the wrong type")
    if not 0 < v <= MAX_VERSION:
        raise Malformed("version out of range")
    if not 0 < lc <= MAX_CLOCK:
        raise Malformed("clock out of range")
    if not _is_type(kind):
        raise Malformed("the type is not a type name")
    if date != lc:
        raise Malformed("the committer date is not the clock")
    if tree not in _EMPTY_TREES and v == VERSION and kind not in _WITH_FILES:
        raise Malformed("the tree is not empty")
    return Event(oid, kind, lc, clone, author, email, at, text, data, v)


@lru_cache(maxsize=256)
def _is_type(text: str) -> bool:
    return 0 < len(text) <= 40 and text[0] in _LOWER and _IN_A_TYPE.issuperset(text)


_is_author = lru_cache(maxsize=256)(is_name)


def trailer_of(commit: bytes) -> str:
    """The payload of a commit that `decode` accepts, unchanged: with the mandatory keys."""
    return commit[commit.rfind(_TRAILER) + len(_TRAILER) : -1].decode("ascii")


def _split_message(message: bytes) -> tuple[str, bytes]:
    at = message.rfind(_TRAILER)
    if at < 0:
        raise Malformed("the Coord trailer is missing")
    if at > MAX_TEXT:
        raise Malformed("text longer than 64 KiB")
    if b"\0" in message:
        raise Malformed("a NUL byte in the message")
    try:
        return message[:at].decode(), message[at + len(_TRAILER) :]
    except UnicodeDecodeError:
        raise Malformed("text is not UTF-8") from None


def _load(trailer: bytes) -> dict[str, Any]:
    """Parse the payload, if every reader can represent it: finite numbers, whole characters, no deep nesting."""
    if trailer.find(b"\n") != len(trailer) - 1:
        raise Malformed("the trailer is not one line")
    try:
        text = trailer.decode("ascii").strip(" \t\r\n")
        data = json.loads(text, parse_float=_finite, parse_constant=_refuse)
        if b"\\ud" in trailer or b"\\uD" in trailer:  # half of a surrogate pair, unless the other half is there
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Malformed("the trailer is not ASCII JSON") from None
    if type(data) is not dict:
        raise Malformed("the trailer is not a JSON object")
    if trailer.count(b"[") + trailer.count(b"{") > MAX_DEPTH and _is_deep(data, MAX_DEPTH):
        raise Malformed("the trailer is nested too deep")
    return data


def _is_deep(value: object, left: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (left == 0 or any(_is_deep(item, left - 1) for item in inner))


def _refuse(number: str) -> float:
    raise ValueError(f"{number} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    return value if abs(value) != float("inf") else _refuse(number)


def _headers(head: bytes) -> tuple[bytes, str, str, int, int]:
    """Tree, author, email, the author's time and the committer's date. Raises Malformed.

    An event's commit has these headers and no others, unlike a commit of code. (Without a regular expression: one is
    slower, and `re` takes 5 ms to import.)
    """
    lines = head.split(b"\n")
    at = 2 if len(lines) > 1 and lines[1].startswith(b"parent ") else 1
    author = _person(lines[at], b"author ", 15) if len(lines) > at + 1 else None
    committer = _person(lines[at + 1], b"committer ", 19) if author else None
    if (
        author is None
        or committer is None
        or not all(map(_names_object, lines[:at], (b"tree ", b"parent ")))
        or b"<" in committer[0]
        or b">" in committer[0]
        or (committer[2].startswith(b"0") and committer[2] != b"0")
        or not _is_signature(lines[at + 2 :])
    ):
        has_author = any(_person(line, b"author ", 15) for line in lines[1:])
        raise Malformed("the headers are not those of an event" if has_author else "no author")
    name = author[0].decode("utf-8", "replace")
    if not _is_author(name):
        raise Malformed("the author is not a session name")
    return lines[0][5:], name, author[1].decode("utf-8", "replace"), min(int(author[2]), 253402300799), int(committer[2])


def _person(line: bytes, word: bytes, digits: int) -> tuple[bytes, bytes, bytes] | None:
    """Name, email and time in `author NAME <EMAIL> TIME +0000`; None for any other line."""
    if not line.startswith(word) or not line.endswith(b" +0000"):
        return None
    who, closed, time = line[len(word) : -6].rpartition(b"> ")
    name, opened, email = who.rpartition(b" <")
    fits = closed and opened and time.isdigit() and len(time) <= digits and b"<" not in email and b">" not in email
    return (name, email, time) if fits else None


def _names_object(line: bytes, word: bytes) -> bool:
    digits = line[len(word) :]
    return line.startswith(word) and len(digits) in (40, 64) and not digits.strip(_HEX)


def _is_signature(lines: Sequence[bytes]) -> bool:
    """Whether `rest` is empty or one signature of git's."""
    return not lines or (
        lines[0].startswith((b"gpgsig ", b"gpgsig-sha256 ")) and all(line.startswith(b" ") for line in lines[1:])
    )


def check_step(event: Event, parent_lc: int | None) -> None:
    """Judge the clock within the chain (a root may start anywhere). Raises Malformed."""
    if parent_lc is not None and not parent_lc < event.lc <= parent_lc + MAX_CLOCK_STEP:
        raise Malformed("the clock does not follow its parent's")
