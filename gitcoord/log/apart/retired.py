"""The list of retired clones: one ref instead of theirs, which keeps their logs as they were.

`refs/coord/lease/retired` is a chain of commits. Each lists logs of clones that were silent for long, with their tips,
which are its further parents. So every event and every signature stays as it was, and nothing is folded again. The chain
only grows. A list proves no more than the refs that it replaces, which everybody who may push could also set.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.errors import NotACommit, NotDescendant, ObjectMissing, RepositoryError
from gitcoord.lean import suppress
from gitcoord.log.event import Malformed, decode
from gitcoord.store.contract import Store
from gitcoord.store.objects import GitObject, Oid, make_object, parent_of
from gitcoord.store.ref_names import is_local, is_log
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole

TYPE = "retired"
Logs = Mapping[str, Oid]


class Retired:
    """The list as this clone has it; read once for each state of the ref, and kept in `coord/retired`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = f"{store.repo.coord_dir}/retired"
        self._at: Oid | None = None
        self._logs: Logs = {}

    def logs(self, tip: Oid) -> Logs:
        """The logs of the list at `tip`, with their tips. Raises Unreadable."""
        if self._at != tip:
            at, known = self._load()
            if at != tip:
                known = self._read(tip, at, known)
                with suppress(RepositoryError):  # a read-only repository reads it again each time
                    write_whole(self._path, json.dumps({"at": tip, "logs": known}) + "\n")
            self._at, self._logs = tip, known
        return self._logs

    def _load(self) -> tuple[Oid | None, dict[str, Oid]]:
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            data = json.loads(read_ours(self._path))
            return Oid(str(data["at"])), {str(ref): Oid(str(oid)) for ref, oid in data["logs"].items() if _is_listed(ref)}
        return None, {}

    def _read(self, tip: Oid, at: Oid | None, known: dict[str, Oid]) -> dict[str, Oid]:
        """The list at `tip`, from the known list at an earlier tip. A commit that is not a list adds nothing."""
        for start, found in ((at, known), (None, {})):
            with suppress(NotDescendant, ObjectMissing, NotACommit):
                for _, raw in self._store.chain(tip, start):
                    found = {**found, **listed(raw)}
                return dict(found)
        return {}


def listed(raw: bytes) -> dict[str, Oid]:
    """The logs that one commit of the list adds. Only tips that are its parents count, because only these it keeps."""
    head, blank, message = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    parents = {line[7:].decode("ascii", "replace") for line in lines if line.startswith(b"parent ")}
    rest = [line for line in lines if not line.startswith((b"parent ", b"gpgsig", b" "))]
    try:
        event = decode(Oid(""), b"\n".join(rest) + blank + message)
    except Malformed:
        return {}
    logs = event.data.get("logs")
    if event.type != TYPE or event.v != 1 or not isinstance(logs, dict):
        return {}
    return {ref: Oid(oid) for ref, oid in logs.items() if _is_listed(ref) and isinstance(oid, str) and oid in parents}


def _is_listed(ref: str) -> bool:
    return is_log(ref) and not is_local(ref)


def with_parents(item: GitObject, parents: list[Oid], object_format: str) -> GitObject:
    """The same commit with parents."""
    assert parent_of(item.data) is None
    tree, rest = item.data.split(b"\n", 1)
    lines = b"".join(b"parent %s\n" % oid.encode() for oid in parents)
    return make_object("commit", tree + b"\n" + lines + rest, object_format)
