"""The list of retired clones: one ref instead of theirs, which keeps their logs as they were.

`refs/coord/lease/retired` is a chain of commits. Each lists logs of clones that were silent for long, with their tips,
which are its further parents. So every event and every signature stays as it was, and nothing is folded again. The chain
only grows, and the first commit that lists a clone decides: nobody changes the log of a retired clone by listing it again.
A list proves no more than the refs that it replaces, which everybody who may push could also set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from gitcoord import lean_json as json
from gitcoord.errors import ObjectMissing, RepositoryError
from gitcoord.lean import suppress
from gitcoord.log.event import Malformed, decode
from gitcoord.store.contract import Store
from gitcoord.store.objects import GitObject, Oid, make_object, parent_of
from gitcoord.store.ref_names import is_local, is_log, is_of, owner
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole

TYPE = "retired"
MAX_CLONES = 10_000
"""Largest number of clones in the list, as many as one remote may have; the rest is ignored."""
Logs = Mapping[str, Oid]


class Retired:
    """The list as this clone has it; read once for each state of the ref, and kept in `coord/retired`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = f"{store.repo.coord_dir}/retired"
        self._at: Oid | None = None
        self._logs: Logs = {}

    def ours(self, tip: Oid) -> Logs:
        """The logs of our list, which stands at `tip`, with their tips. What it had before stays in it, even if somebody
        replaced it. Raises Unreadable."""
        if self._at != tip:
            at, known = self._load()
            if at != tip:
                known = _grown(known, self._lists(tip, at))
                with suppress(RepositoryError):  # a read-only repository reads it again each time
                    write_whole(self._path, json.dumps({"at": tip, "logs": known}) + "\n")
            self._at, self._logs = tip, known
        return self._logs

    def at(self, tip: Oid) -> Logs:
        """The logs of any list. Raises Unreadable."""
        return self._logs if self._at == tip else _grown({}, self._lists(tip, None))

    def _load(self) -> tuple[Oid | None, dict[str, Oid]]:
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            data = json.loads(read_ours(self._path))
            return Oid(str(data["at"])), {str(ref): Oid(str(oid)) for ref, oid in data["logs"].items() if _is_listed(ref)}
        return None, {}

    def _lists(self, tip: Oid, known: Oid | None) -> list[Logs]:
        """The logs that each commit from `tip` back to the known one adds, the oldest first. A commit that is not a list
        ends it, so that nobody has us read the user's whole history."""
        found: list[Logs] = []
        ahead = [tip]

        def asked() -> Iterator[Oid]:
            while ahead and ahead[-1] != known:
                yield ahead.pop()

        with suppress(ObjectMissing):
            for item in self._store.read(asked()):
                logs = listed(item.data) if item.kind == "commit" else None
                if logs is None:
                    break
                found.append(logs)
                ahead += [parent] if (parent := parent_of(item.data)) else []
        return found[::-1]


def _grown(known: Mapping[str, Oid], more: Iterable[Logs]) -> dict[str, Oid]:
    """The logs that are `known`, and of `more` those of further clones."""
    logs, clones = dict(known), {owner(ref) for ref in known}
    for fresh in more:
        further = dict.fromkeys(owner(ref) for ref in sorted(fresh) if not is_of(ref, clones))
        taken = set(islice(further, MAX_CLONES - len(clones)))
        logs |= {ref: oid for ref, oid in fresh.items() if is_of(ref, taken)}
        clones.update(taken)
    return logs


def listed(raw: bytes) -> Logs | None:
    """The logs that one commit of the list adds; None if it is not one. Only tips that are its parents count, because only
    these it keeps."""
    head, blank, message = raw.partition(b"\n\n")
    lines = head.split(b"\n")
    parents = {line[7:].decode("ascii", "replace") for line in lines if line.startswith(b"parent ")}
    rest = [line for line in lines if not line.startswith((b"parent ", b"gpgsig", b" "))]
    try:
        event = decode(Oid(""), b"\n".join(rest) + blank + message)
    except Malformed:
        return None
    logs = event.data.get("logs")
    if event.type != TYPE or event.v != 1 or not isinstance(logs, dict):
        return None
    return {ref: Oid(oid) for ref, oid in logs.items() if _is_listed(ref) and isinstance(oid, str) and oid in parents}


def _is_listed(ref: str) -> bool:
    return is_log(ref) and not is_local(ref)


def with_parents(item: GitObject, parents: list[Oid], object_format: str) -> GitObject:
    """The same commit with parents."""
    assert parent_of(item.data) is None
    tree, rest = item.data.split(b"\n", 1)
    lines = b"".join(b"parent %s\n" % oid.encode() for oid in parents)
    return make_object("commit", tree + b"\n" + lines + rest, object_format)
