"""Leases: who may claim what, among the clones that share a remote.

The remote holds one table for each kind (`refs/coord/lease/tasks`, `locks`, `numbers`): a parentless commit, replaced
by a push that names the commit it was decided from. Of two such pushes the remote takes one; the loser looks again and
decides anew. A row is valid until its holder is known to be gone, and at most for its duration after an observer last
saw it or its holder's presence change, by the observer's own clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from gitcoord import lean_json as json
from gitcoord.errors import CoordError, RemoteError, RepositoryError, UsageError
from gitcoord.lean import Any, NamedTuple, NoReturn, contextmanager, suppress
from gitcoord.log import trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event, Malformed, decode
from gitcoord.log.schemas import FLAG, MAILBOX, Schema, complaint, line, listed, mapped, number, objection, one_of, record
from gitcoord.store import transport
from gitcoord.store.failures import NotAtomic
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import LEASES, NAMESPACE
from gitcoord.store.transport import How, Update
from gitcoord.sync import outgoing, public_guard, rejected, remotes
from gitcoord.sync.link import ATTEMPTS, Link, Refs, RemoteState, linked, pause, settling
from gitcoord.sync.pull import pull
from gitcoord.system import process as processes
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.uptime import uptime

TRIES = 4 * ATTEMPTS
"""Attempts for a claim; more than for a sync, because each loss means that another clone has won."""


class Lease(NamedTuple):
    """A live lease. `key` names its task, pattern or sequence; a nonce is given once, so no two rows are equal. `ttl` in
    seconds."""

    nonce: str
    key: str
    holder: str
    ttl: int
    patterns: tuple[str, ...] = ()
    shared: bool = False
    event: str = ""
    """The beginning of the id of the lease's event; empty from a version that wrote the event later."""
    replaced: tuple[str, ...] = ()
    """The nonces of the rows that it replaced before their claims had ended."""


class LeaseTable(NamedTuple):
    """The live leases of one kind, by nonce; for numbers, the highest of each sequence."""

    rows: Mapping[str, Lease] = {}
    counters: Mapping[str, int] = {}
    lc: int = 0
    """The clock of the table that this one was made from."""

    def without(self, nonces: Collection[str]) -> LeaseTable:
        """The table without some rows."""
        return self._replace(rows={nonce: row for nonce, row in self.rows.items() if nonce not in nonces})

    def plus(self, *rows: Lease) -> LeaseTable:
        """The table with some more rows."""
        return self._replace(rows={**self.rows, **{row.nonce: row for row in rows}})


class LeaseKind(NamedTuple):
    """One kind of leases, and the work of its feature with every sync."""

    name: str
    finished: Callable[[Clone, LeaseTable], list[str]]
    """The nonces of this clone's rows that have ended."""
    is_pending: Callable[[Clone, LeaseTable], bool] = lambda clone, table: False
    """Whether claims of this clone wait for a row in the table, or its sessions have to be told that claims did not
    hold."""
    settle: Callable[[Link], None] = lambda at: None
    """Take leases for those claims. Raises RemoteError, NoLeases."""
    tell: Callable[[Clone], None] = lambda clone: None
    """Tell the sessions of this clone which of their claims did not hold."""


EMPTY = LeaseTable()
MAX_LAGS = 5
"""Number of times that a lagging remote is asked again: for 15 seconds in all."""
MAX_ROWS = 1800
"""Largest number of rows in a table: so many fit into a commit even if each is as large as allowed."""
Decide = Callable[[LeaseTable], LeaseTable | None]


class NoLeases(RemoteError):
    """The remote takes our logs, but has no table of leases that we can use: claims of this clone stay tentative."""


class Unanswered(RemoteError):
    """The connection broke before the remote said whether it took our row: the claim stays tentative until a sync."""


@contextmanager
def connected(clone: Clone, hint: str, refused: str = "") -> Iterator[Link]:
    """Link to the coordination remote. `hint` is the hint of the error if the remote cannot be reached, `refused` if it
    rejects leases. Raises RemoteError."""
    remote = remotes.connected(clone.repo)
    if remote is None:
        raise UsageError("there is no coordination remote", "git coord sync REMOTE")
    try:
        with linked(clone, remote) as link:
            yield link
        clone.have_sent()  # the claim itself: until then others know only the lease
    except NoLeases as error:
        raise NoLeases(error.what, refused or error.hint) from None
    except Unanswered:
        raise
    except RemoteError as error:
        raise RemoteError(error.what, hint) from None


def nonce() -> str:
    """A random word that no other clone has."""
    return os.urandom(8).hex()


def lease_ref(kind: str) -> str:
    return f"{NAMESPACE}lease/{kind}"


def read_table(clone: Clone, kind: str, oid: Oid | None) -> LeaseTable:
    """A table as it was fetched; empty if it does not exist. Raises NoLeases for an unreadable one."""
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
    """Raise NoLeases for a table that no honest clone wrote, or that has no valid signature."""
    ref = lease_ref(kind)
    raise NoLeases(f"{ref} at the remote {why}", f"if no session claims anything now: git push REMOTE :{ref}")


_ROW = record(
    {
        "nonce": line(64),
        "key": line(100),
        "holder": MAILBOX,
        "ttl": number(1, 366 * 86400),
        "patterns": listed(line(1000), 100),
        "shared": FLAG,
        "event": line(64),
        "replaced": listed(line(64), 100),
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
"""The allowed content of a table; checked when it is read, and before it is written."""


def _parse(event: Event) -> LeaseTable:
    """Parse the table in a commit. Raises Malformed."""
    if event.type != "lease" or event.v != 1:
        raise Malformed("no table of leases")
    if why := objection(SCHEMA, event):
        raise Malformed(why)
    rows = [_row(row) for row in event.data.get("rows", ())]
    return LeaseTable({row.nonce: row for row in rows}, dict(event.data.get("counters", {})))


def _row(row: Mapping[str, Any]) -> Lease:
    known = {key: value for key, value in row.items() if key in Lease._fields}
    lists: dict[str, Any] = {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
    return Lease(**{**known, **lists})


def _draft(clone: Clone, kind: str, table: LeaseTable) -> Draft:
    filled = [{k: list(v) if isinstance(v, tuple) else v for k, v in row._asdict().items()} for row in table.rows.values()]
    rows = [{key: value for key, value in row.items() if value not in ([], False, "")} for row in filled]
    data: dict[str, Any] = {"kind": kind, "nonce": nonce()} | ({"rows": rows} if rows else {})
    data |= {"counters": dict(table.counters)} if table.counters else {}
    if complaint(SCHEMA.fields, SCHEMA.needed, data):
        raise full(kind, len(rows))
    return Draft("lease", f"{len(rows)} leases of {kind}", data, author=clone.settled_id()[:40])


def change(link: Link, kind: str, decide: Decide) -> Link:
    """Replace the remote's table by the one that `decide` makes of it, from the newest state; None leaves it. Events that
    `decide` writes into our log go out in the same push, atomically if the host can. It is called again whenever another
    clone was first. Raises its errors, Unanswered if the result is unknown, and RemoteError."""
    return settling(link.clone, lambda: _change(link, kind, decide))


def _change(link: Link, kind: str, decide: Decide) -> Link:
    ref, lags, last = lease_ref(kind), 0, object()
    table, seen = EMPTY, None
    for attempt in range(TRIES):
        again = _newer(link, kind, table, seen) if seen else None
        if again is None:
            link, seen = pull(link)
        else:
            seen = again
        old = seen.refs.get(ref)
        lags = lags + 1 if old == last else 0
        last = old
        _await_replica(link, ref, lags)
        table = read_table(link.clone, kind, old)
        if _is_shared(link.clone, table):
            from gitcoord.sync import new_clone_id

            new_clone_id.part(link, seen.refs)
            continue
        wanted = decide(table)
        if wanted is None:
            return link
        fresh = _written(link, kind, wanted)
        if _replace(link, Update(ref, fresh, How.SWAP, old), seen.refs):
            link.clone.point(ref, fresh)
            return link
        pause(attempt)
    raise RemoteError(f"too many sessions claim at {link.remote.name} at the same time", "run the command again")


def _newer(link: Link, kind: str, table: LeaseTable, seen: RemoteState) -> RemoteState | None:
    """The state of the remote after a lost race: only the table is fetched, in one connection. None if rows of `table` have
    gone from it, or it cannot be fetched: then the events that ended their claims have to be fetched, too."""
    from gitcoord.store import sweep
    from gitcoord.sync import incoming

    clone, ref = link.clone, lease_ref(kind)
    before = clone.store.tips().refs
    try:
        with clone.locked():
            sweep.keep(clone.repo, clone.path("superseded"), [before[ref]] if ref in before else [])
        refused = incoming.fetch(link, [ref], before, seen.refs)
        fresh = clone.store.tips().refs.get(ref)
        if refused or fresh in (None, seen.refs.get(ref)):
            return None
        if not table.rows.keys() <= read_table(clone, kind, fresh).rows.keys():
            return None
        if before.get(ref) not in (None, fresh):
            with clone.locked():
                sweep.supersede(clone.repo, clone.path("superseded"), before[ref], clone.clock())
    except CoordError:
        return None
    return seen._replace(refs={**seen.refs, ref: fresh})


def _await_replica(link: Link, ref: str, lags: int) -> None:
    """Wait for a remote that rejected our push and still shows the same table: it has replicas that do not agree yet.
    Raises RemoteError if it does not catch up."""
    if lags > MAX_LAGS:
        what = f"{link.remote.name} does not show what it has at {link.remote.there(ref)}"
        raise RemoteError(
            f"{what}: it is behind its own pushes (a replica), or hides that ref from readers (uploadpack.hideRefs)",
            "try again later; if it stays so: git coord remote set URL",
        )
    if lags:
        link.clone.tell_user(f"{link.remote.name} shows older leases than it has; waiting for it to catch up")
        time.sleep(min(8.0, 0.25 * 2**lags))


def give_up(link: Link, kind: str) -> None:
    """Remove all rows of this clone from the table of a remote that we have left. Raises RemoteError."""
    listing = transport.list_remote(link.clone.repo, link.remote.name, link.quiet)
    ref = lease_ref(kind)
    old = listing.get(link.remote.there(ref))
    if old is None:
        return
    transport.fetch_objects(link.clone.repo, link.remote, ref, link.quiet)
    table = read_table(link.clone, kind, old)
    mine = [row.nonce for row in table.rows.values() if link.clone.has(row.holder)]
    if mine:
        fresh = _written(link, kind, table.without(mine))
        transport.push(link.clone.repo, link.remote, [Update(ref, fresh, How.SWAP, old)], link.quiet)


def _is_shared(clone: Clone, table: LeaseTable) -> bool:
    """Whether a row in our name is for an event that is not in our log. Then another clone uses our id, because an event is
    written before its row is asked for."""
    mine = [row.event for row in table.rows.values() if row.event and clone.has(row.holder)]
    query = "SELECT 1 FROM events WHERE id >= ? AND id < ? AND clone = ?"
    return any(clone.read(lambda db, e=e: db.execute(query, (e, e + "g", clone.id)).fetchone()) is None for e in mine)  # type: ignore[misc]


def check_room(table: LeaseTable, kind: str) -> None:
    """Check that one more row fits. Raises RemoteError."""
    if len(table.rows) >= MAX_ROWS:
        raise full(kind, len(table.rows))


def full(kind: str, rows: int) -> RemoteError:
    what = f"the table of leases of {kind} at the remote is full: {rows:,} are held at once"
    return RemoteError(what, "end what is done: git coord task done ID, git coord unlock PATTERN; then git coord sync")


def _written(link: Link, kind: str, table: LeaseTable) -> Oid:
    """Make the commit of a table, signed if this user signs, and note it as our own."""
    oid = link.clone.write_alone(_draft(link.clone, kind, table), table.lc)
    try:
        oid = trust.sign(link.clone, oid, prompt=not link.quiet)
    except RepositoryError as error:
        link.clone.mended.append(f"nothing was signed: {error.what}")
    trust.wrote_table(link.clone, oid)
    return oid


def _replace(link: Link, swap: Update, there: Refs) -> bool:
    """Compare-and-swap at the remote, together with our log; returns whether the remote took it."""
    outgoing.vouch(link)
    logs = outgoing.logs_to_go(link, there)
    public_guard.guard(
        link.clone, link.remote.name, {f"lease of {swap.ref.rpartition('/')[2]}": 1, **outgoing.unsent(link.clone, there)}
    )
    try:
        states = _push(link, [swap, *logs])
    except RemoteError as error:
        if _is_there(link, swap, error):
            return True
        raise Unanswered(f"{link.remote.name} did not say whether it took the push: {error.what}", "git coord sync") from None
    first, *rest = states
    if first.state == "refused" and rest and all(outcome.state != "moved" for outcome in rest):
        first, *rest = _push(link, [swap])  # the log may be what is rejected, and not the lease
    if first.state == "refused":
        rejected.note(link, {rejected.LEASES: first.why})
        raise NoLeases(f"{link.remote.name} rejects our leases: {first.why}", "git coord task claim --offline: tentative")
    if first.state == "done":
        rejected.forget(link, rejected.LEASES)
        outgoing.logs_went(link, there, [log for log, outcome in zip(logs, rest, strict=False) if outcome.state == "done"])
    return first.state == "done"


def _push(link: Link, updates: Sequence[Update]) -> list[transport.Outcome]:
    """Push all of `updates` or none; only the first at a host without atomic pushes. Returns the outcome of each."""
    try:
        found = transport.push(link.clone.repo, link.remote, updates, link.quiet, atomic=len(updates) > 1)
    except NotAtomic:
        found = transport.push(link.clone.repo, link.remote, updates[:1], link.quiet)
    by_ref = {outcome.ref: outcome for outcome in found}
    return [by_ref[update.ref] for update in updates if update.ref in by_ref]


def _is_there(link: Link, swap: Update, error: RemoteError) -> bool:
    """Ask the remote itself after a lost reply. Raises Unanswered if it does not answer."""
    try:
        listing = transport.list_remote(link.clone.repo, link.remote.name, link.quiet)
    except RemoteError:
        raise Unanswered(f"{link.remote.name} did not say whether it took the push: {error.what}", "git coord sync") from None
    return listing.get(link.remote.there(swap.ref)) == swap.new


# observe holders


def observe(clone: Clone, kind: str, values: Iterable[str]) -> dict[str, float]:
    """For how many seconds each of `values` has been the same, as far as this clone has seen; others are forgotten. Counted
    by the slower of two clocks, so that setting one forward makes nobody look dead. The caller holds the link."""
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
