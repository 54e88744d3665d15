"""Sign and judge commits outside the logs: presence and the tables of leases, each replaced by the next.

A clone whose user signs commits signs these themselves, right before they are sent. Under `coord.requireSigned` an unsigned
presence only says that the session exists, and an unsigned table is invalid. An older one never replaces a newer one.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from gitcoord.errors import RepositoryError
from gitcoord.lean import Any, NamedTuple, TypeVar, sqlite3, suppress
from gitcoord.log.event import Event
from gitcoord.log.trust.caller import Reader, Writer
from gitcoord.log.trust.judge import Judge, signatures
from gitcoord.log.trust.reach import speaker
from gitcoord.store import signing
from gitcoord.store.contract import Store
from gitcoord.store.objects import GitObject, Oid, make_object
from gitcoord.store.ref_names import is_presence
from gitcoord.store.repository import Repository
from gitcoord.store.signing import GOOD
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole

T = TypeVar("T")
OWN_TABLES = 50
"""Number of our own tables of leases that are remembered, so that they need no signature to count here."""


class InTransaction(NamedTuple):
    """A clone while its index is being written: questions go to the open transaction."""

    repo: Repository
    store: Store
    clock: Callable[[], float]
    id: str
    path: Callable[..., str]
    db: sqlite3.Connection

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database."""
        return question(self.db)


def within(clone: Reader, db: sqlite3.Connection) -> Reader:
    """The clone, for questions from inside a transaction."""
    return InTransaction(clone.repo, clone.store, clone.clock, clone.id, clone.path, db)


def is_vouched(clone: Reader, event: Event) -> bool:
    """Whether a commit outside the logs has a good signature by the key of its clone."""
    judge = Judge(clone)
    signature = judge.verdict(event.id, event.at, event.clone)
    return signature.state == GOOD and signature.key == judge.binding(event.clone).key


def vouches(clone: Reader, db: sqlite3.Connection, of: str, epoch: int) -> bool:
    """Whether a clone with a known key has signed an epoch of its log."""
    judge = Judge(within(clone, db))
    marks = judge.marks(of)
    known = judge.binding(of)
    return not known.by or any(mark.epoch == epoch and mark.signature.state == GOOD for mark in marks)


def counts(clone: Reader, db: sqlite3.Connection, oid: str) -> bool:
    """Whether an event is our own, or covered by a good signature."""
    found = signatures(within(clone, db), [oid]).get(oid)
    return found is None or found.state == GOOD


def sign(clone: Writer, oid: Oid, prompt: bool = True) -> Oid:
    """The same commit with a signature, as an object; unchanged if it has one, or if this user does not sign. Raises
    RepositoryError if signing fails."""
    if not signing.wants_signatures(clone.repo):
        return oid
    return _signed(clone, next(iter(clone.store.read([oid]))), prompt)


def _signed(clone: Writer, item: GitObject, prompt: bool) -> Oid:
    if signing.split(item.data)[1]:
        return item.oid
    raw = signing.sign(clone.repo, item.data, prompt)
    return make_object("commit", raw, clone.repo.object_format).oid


def sign_presence(clone: Writer, prompt: bool = True) -> int:
    """Sign the present presence of our sessions; returns how many. Raises RepositoryError when signing fails."""
    if not signing.wants_signatures(clone.repo):
        return 0
    tips = clone.store.tips().refs
    mine = [ref for ref in tips if is_presence(ref) and speaker(ref) == clone.id]
    done = 0
    for ref, item in zip(mine, list(clone.store.read(tips[ref] for ref in mine)), strict=True):
        fresh = _signed(clone, item, prompt)
        done += fresh != item.oid and clone.put_in_place(ref, fresh, item.oid)
    return done


# tables of leases


def wrote_table(clone: Reader, oid: Oid) -> None:
    """Remember a table as our own, before it goes out."""
    known = _tables(clone)
    _keep_tables(clone, {**known, "own": [*known["own"][-OWN_TABLES:], oid]})


def why_not(clone: Reader, table: Event, kind: str) -> str:
    """The reason why a table of leases counts for nothing if signatures are required; empty if it counts. It has to be our
    own, or signed by the key of its writer, and no older than the last that counted."""
    known = _tables(clone)
    if table.id not in known["own"]:
        signature = Judge(clone).verdict(table.id, table.at, table.clone)
        if signature.state != GOOD:
            return "is not signed (coord.requireSigned)"
    here, last = [table.lc, table.at], known["seen"].get(kind, [0, 0])
    if here[0] < last[0] and here[1] <= last[1]:
        return "is older than the one that counted last"
    if here != last:
        _keep_tables(clone, {**known, "seen": {**known["seen"], kind: here}})
    return ""


def _tables(clone: Reader) -> dict[str, Any]:
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        known = json.loads(read_ours(clone.path("leases")))
        return {"own": [*known["own"]], "seen": {key: [int(lc), int(at)] for key, (lc, at) in known["seen"].items()}}
    return {"own": [], "seen": {}}


def _keep_tables(clone: Reader, known: dict[str, Any]) -> None:
    with suppress(RepositoryError):  # if it cannot be written, it is only not remembered
        write_whole(clone.path("leases"), json.dumps(known) + "\n")
