"""Leases: who may claim what, among the clones that share a remote.

The remote holds one table a kind (`refs/coord/lease/tasks`, `locks`, `numbers`): a parentless commit, replaced by a push
that names the one it was decided from. Of two such pushes the remote takes one; whoever lost looks again and decides
anew. A row is good for as long as its holder is not known to be gone, and at the longest for its duration after an
observer last saw it or its holder's presence change, by the observer's own clock.
"""

from __future__ import annotations

import json
import os
import time

from gitcoord.errors import RemoteError, RepositoryError, UsageError
from gitcoord.lean import Any, Callable, Collection, Iterable, Iterator, Mapping, NamedTuple, NoReturn, contextmanager, suppress
from gitcoord.log import trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event, Malformed, decode
from gitcoord.log.schemas import FLAG, MAILBOX, Schema, complaint, line, listed, mapped, number, objection, one_of, record
from gitcoord.store import transport
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import LEASES, NAMESPACE
from gitcoord.store.transport import How, Update
from gitcoord.sync import public_guard, rejected, remotes
from gitcoord.sync.link import ATTEMPTS, Link, Refs, link, pause
from gitcoord.sync.pull import pull
from gitcoord.system import process as processes
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.uptime import uptime

TRIES = 4 * ATTEMPTS
"""A claim is worth more patience than a sync: each loss means that somebody else has won."""


class Row(NamedTuple):
    """A live lease. `key` is what it is about; a nonce is given once, so no two rows are the same. `ttl` in seconds."""

    nonce: str
    key: str
    holder: str
    ttl: int
    patterns: tuple[str, ...] = ()
    shared: bool = False


class Table(NamedTuple):
    """The live leases of one kind, by nonce; for numbers, the highest of each sequence."""

    rows: Mapping[str, Row] = {}
    counters: Mapping[str, int] = {}
    lc: int = 0
    """The clock of the table that it was decided from."""

    def without(self, nonces: Collection[str]) -> Table:
        """Less some rows."""
        return self._replace(rows={nonce: row for nonce, row in self.rows.items() if nonce not in nonces})

    def plus(self, *rows: Row) -> Table:
        """And some more."""
        return self._replace(rows={**self.rows, **{row.nonce: row for row in rows}})


class Kind(NamedTuple):
    """One table of leases and what its feature does for it with every sync."""

    name: str
    finished: Callable[[Clone, Table], list[str]]
    """The nonces of this clone's rows that are over."""
    is_pending: Callable[[Clone], bool] = lambda clone: False
    """Whether claims that were made offline wait for the remote's word."""
    settle: Callable[[Link, Refs], None] = lambda at, there: None
    """Take leases for those claims, and complete what was interrupted. Raises RemoteError, NoLeases."""


EMPTY = Table()
Decide = Callable[[Table], Table | None]


class NoLeases(RemoteError):
    """The remote takes our logs, but has no table of leases that we can use: what this clone claims stays tentative."""


@contextmanager
def connected(clone: Clone, hint: str) -> Iterator[Link]:
    """The link to the coordination remote; `hint` says what to do while it is out of reach. Raises RemoteError."""
    remote = remotes.connected(clone.repo)
    if remote is None:
        raise UsageError("there is no coordination remote", "git coord sync REMOTE")
    try:
        with link(clone, remote) as at:
            yield at
        clone.have_sent()  # the claim itself: until then others know of the lease alone
    except NoLeases:
        raise
    except RemoteError as error:
        raise RemoteError(error.what, hint) from None


def nonce() -> str:
    """A word that nobody else has."""
    return os.urandom(8).hex()


def lease_ref(kind: str) -> str:
    return f"{NAMESPACE}lease/{kind}"


def read_table(clone: Clone, kind: str, oid: Oid | None) -> Table:
    """A table as it was fetched; empty where there is none. Raises NoLeases for one that cannot be read."""
    if oid is None:
        return EMPTY
    try:
        item = next(iter(clone.store.read([oid])))
        event = decode(oid, item.data) if item.kind == "commit" else unreadable(kind)
        table = _parse(event)._replace(lc=event.lc)
    except (Malformed, RepositoryError, StopIteration):
        unreadable(kind)
    if why := trust.why_not(clone, event, kind):
        unreadable(kind, why)
    return table


def unreadable(kind: str, why: str = "is not a table of leases") -> NoReturn:
    """Refuse a table that no honest clone wrote, or that nobody vouches for. Raises NoLeases."""
    ref = lease_ref(kind)
    raise NoLeases(f"{ref} at the remote {why}", f"if nobody is at work: git push REMOTE :{ref}")


_ROW = record(
    {
        "nonce": line(64),
        "key": line(100),
        "holder": MAILBOX,
        "ttl": number(1, 366 * 86400),
        "patterns": listed(line(1000), 100),
        "shared": FLAG,
    },
    ("nonce", "key", "holder", "ttl"),
)
SCHEMA = Schema(
    {
        "kind": one_of(*LEASES),
        "nonce": line(64),
        "rows": listed(_ROW, 5000),
        "counters": mapped(line(100), number(0, 10**15), 5000),
    },
    ("kind",),
)
"""What a table may say; checked when it is read, and before it is written."""


def _parse(event: Event) -> Table:
    """The table that a commit holds. Raises Malformed."""
    if event.type != "lease" or event.v != 1:
        raise Malformed("no table of leases")
    if why := objection(SCHEMA, event):
        raise Malformed(why)
    rows = [
        Row(**{**row, "patterns": tuple(row.get("patterns", ()))}) for row in map(_known_fields, event.data.get("rows", ()))
    ]
    return Table({row.nonce: row for row in rows}, dict(event.data.get("counters", {})))


def _known_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key in Row._fields}


def _draft(clone: Clone, kind: str, table: Table) -> Draft:
    filled = [row._asdict() | {"patterns": list(row.patterns)} for row in table.rows.values()]
    rows = [{key: value for key, value in row.items() if value not in ([], False)} for row in filled]
    data: dict[str, Any] = {"kind": kind, "nonce": nonce()} | ({"rows": rows} if rows else {})
    data |= {"counters": dict(table.counters)} if table.counters else {}
    if complaint(SCHEMA.fields, SCHEMA.needed, data):
        raise RemoteError(f"the table of leases of {kind} is full", "end what is done: git coord task done, git coord unlock")
    return Draft("lease", f"{len(rows)} leases of {kind}", data, author=clone.settled_id()[:40])


def change(at: Link, kind: str, decide: Decide) -> Link:
    """Replace the remote's table by what `decide` makes of it, on the newest state of everything; None leaves it.

    `decide` is asked again whenever somebody was quicker. Raises what it raises, and RemoteError.
    """
    ref = lease_ref(kind)
    for attempt in range(TRIES):
        at, seen = pull(at)
        old = seen.refs.get(ref)
        table = decide(read_table(at.clone, kind, old))
        if table is None:
            return at
        public_guard.guard(at.clone, at.remote.name, {f"lease of {kind}": 1})
        fresh = _written(at, kind, table)
        if _replace(at, ref, fresh, old):
            at.clone.point(ref, fresh)
            return at
        pause(attempt)
    raise RemoteError(f"too many claim at {at.remote.name} at the same time", "run the command again")


def _written(at: Link, kind: str, table: Table) -> Oid:
    """The commit of a table, signed if this user signs, and remembered as our own."""
    oid = at.clone.write_alone(_draft(at.clone, kind, table), table.lc)
    try:
        oid = trust.sign(at.clone, oid, prompt=not at.quiet)
    except RepositoryError as error:
        at.clone.mended.append(f"nothing was signed: {error.what}")
    trust.wrote_table(at.clone, oid)
    return oid


def _replace(at: Link, ref: str, fresh: Oid, old: Oid | None) -> bool:
    """Compare-and-swap at the remote; after a reply that was lost, the remote itself says how it went."""
    try:
        (outcome,) = transport.push(at.clone.repo, at.remote, [Update(ref, fresh, How.SWAP, old)], at.quiet)
    except RemoteError:
        listing = transport.list_remote(at.clone.repo, at.remote.name, at.quiet)
        if listing.get(at.remote.there(ref)) == fresh:
            return True
        raise
    if outcome.state == "refused":
        rejected.note(at, {rejected.LEASES: outcome.why})
        raise NoLeases(f"{at.remote.name} keeps no leases for us: {outcome.why}", "task claim --offline: tentative only")
    if outcome.state == "done":
        rejected.forget(at, rejected.LEASES)
    return outcome.state == "done"


# who still holds


def observe(clone: Clone, kind: str, values: Iterable[str]) -> dict[str, float]:
    """For how many seconds each of `values` has been the same, as far as this clone has seen; others are forgotten.

    Counted by whichever of two clocks went less far, so that setting one forward makes nobody look dead. To be called
    by who holds the link.
    """
    path = clone.path(f"seen-{kind}")
    known = _load(path)
    here = [time.time(), uptime(), processes.boot_id()]
    first: dict[str, list[Any]] = {value: known.get(value, here) for value in values}
    if first != known:
        with suppress(RepositoryError):
            write_whole(path, json.dumps(first) + "\n")
    return {value: _elapsed(was, here) for value, was in first.items()}


def _load(path: str) -> dict[str, list[Any]]:
    with suppress(OSError, ValueError):
        data = json.loads(read_ours(path))
        if isinstance(data, dict):
            return {key: was for key, was in data.items() if isinstance(was, list) and len(was) == 3}
    return {}


def _elapsed(was: list[Any], now: list[Any]) -> float:
    wall = float(now[0] - was[0])
    return max(0.0, min(wall, now[1] - was[1]) if was[2] == now[2] else wall)
