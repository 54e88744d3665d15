"""What stands outside of the logs: presence and the tables of leases, each a commit of its own that is replaced.

Whoever signs commits signs these themselves, right before they go out. Where `coord.requireSigned` is set, a presence
that its clone did not sign says no more than that somebody put it there, and a table that nobody signed is none. An older
one does not come back in the place of a newer one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from gitcoord.log.event import Event
from gitcoord.log.trust.caller import Reader, Writer
from gitcoord.log.trust.judge import Judge, signatures
from gitcoord.log.trust.reach import speaker
from gitcoord.store import signing
from gitcoord.store.contract import Store
from gitcoord.store.objects import Oid, make_object
from gitcoord.store.ref_names import NAMESPACE
from gitcoord.store.repository import Repository
from gitcoord.store.signing import GOOD

T = TypeVar("T")


class Within(NamedTuple):
    """A clone while its index is being written: the database answers as it stands."""

    repo: Repository
    store: Store
    clock: Callable[[], float]
    id: str | None
    path: Callable[..., str]
    db: sqlite3.Connection

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the database."""
        return question(self.db)


def within(clone: Reader, db: sqlite3.Connection) -> Reader:
    """The clone, for questions asked from inside a transaction."""
    return Within(clone.repo, clone.store, clone.clock, clone.id, clone.path, db)


def presence_worth(clone: Reader, db: sqlite3.Connection, event: Event) -> Event:
    """A presence as far as its signature lets it speak: without one only that the session is there, in no known state."""
    if event.clone == clone.id or is_vouched(within(clone, db), event):
        return event
    return event._replace(data={"session": event.author, "state": "unknown", "unsigned": True})


def is_vouched(clone: Reader, event: Event) -> bool:
    """Whether a commit that stands alone has a good signature by the key that its clone is known for."""
    judge = Judge(clone)
    signature = judge.verdict(event.id, event.at, event.clone)
    return signature.state == GOOD and signature.key == judge.binding(event.clone).key


def counts(clone: Reader, db: sqlite3.Connection, oid: str) -> bool:
    """Whether an event is our own, or covered by a good signature."""
    found = signatures(within(clone, db), [oid]).get(oid)
    return found is None or found.state == GOOD


def sign(clone: Writer, oid: Oid, prompt: bool = True) -> Oid:
    """The same commit with a signature, as an object; itself if it has one, or if this user does not sign.

    Raises RepositoryError when signing fails.
    """
    if not signing.wants_signatures(clone.repo):
        return oid
    raw = next(iter(clone.store.read([oid]))).data
    if signing.split(raw)[1]:
        return oid
    signed = signing.sign(clone.repo, raw, prompt)
    return make_object("commit", signed, clone.repo.object_format).oid


def sign_presence(clone: Writer, prompt: bool = True) -> int:
    """Sign the presence of our sessions as it stands; returns how many. Raises RepositoryError when signing fails."""
    if not signing.wants_signatures(clone.repo):
        return 0
    done = 0
    for ref, old in clone.store.tips().refs.items():
        if ref.startswith(f"{NAMESPACE}sessions/") and speaker(ref) == clone.id:
            fresh = sign(clone, old, prompt)
            done += fresh != old and clone.put_in_place(ref, fresh, old)
    return done
