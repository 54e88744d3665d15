"""The contract of a store of objects and refs. Two implementations keep it, and one test suite runs against both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from gitcoord.lean import NamedTuple, Protocol
from gitcoord.store.objects import GitObject, Oid
from gitcoord.store.ref_names import NAMESPACE as NAMESPACE
from gitcoord.store.repository import Repository


class Tips(NamedTuple):
    """The targets of the refs below `refs/coord/`, and the names of refs without a readable target."""

    refs: dict[str, Oid]
    broken: tuple[str, ...] = ()


class Store(Protocol):
    """Objects and refs of one repository. Every method reads the repository afresh; nothing is cached across calls. Each
    raises Unreadable for an object that may be there but cannot be read; such an object never counts as lost (`absent`).
    """

    repo: Repository

    def tips(self) -> Tips:
        """All refs below `refs/coord/`. Opens no object: a ref may name one that is missing or no commit."""

    def chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
        """The raw commits after `old` (None: from the root) up to `new`, oldest first, along first parents.

        Raises NotDescendant when `new` does not descend from `old`, ObjectMissing when the chain has a hole, NotACommit
        when a ref or a parent names something else. Replace refs are ignored; a shallow boundary counts as a root.
        """

    def read(self, oids: Iterable[Oid]) -> Iterator[GitObject]:
        """The objects named, in that order. Raises ObjectMissing for one that is lost."""

    def missing(self, oids: Sequence[Oid]) -> list[Oid]:
        """Those of `oids` that are lost: not in the object database, or only as a file with other content."""

    def sizes(self, oids: Sequence[Oid]) -> list[int | None]:
        """The size in bytes of each of `oids`, read from its header without inflating the object; None for one that is
        missing."""

    def write(self, objects: Sequence[GitObject], ref: str = "") -> None:
        """Store objects; each is there, with exactly its id, when this returns. Storing one again is harmless. `ref` names
        the log that they are for; git takes no notice of it.

        Raises RepositoryError when the disk is full or not writable.
        """

    def move(self, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None = None) -> None:
        """Compare-and-swap one ref: from `old` (None: must not exist) to `new` (None: delete), then read it back.

        Exactly one of several concurrent callers with the same `old` succeeds. To be called under the write lock,
        whose descriptor is `keep_fd`: a left-over ref lock file that has not changed for five seconds is cleared.
        Raises RefMoved when the ref has another value, ObjectMissing when `new` is missing, RepositoryError otherwise.
        """

    def close(self) -> None:
        """Close open packs and files."""
