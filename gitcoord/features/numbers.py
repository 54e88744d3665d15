"""Numbers that are given out exactly once: migrations, ports, ticket numbers."""

from __future__ import annotations

from gitcoord.errors import Refused, UsageError
from gitcoord.lean import NamedTuple, re, sqlite3
from gitcoord.log import trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import Kind, Schema
from gitcoord.log.schemas import number as whole_number
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.presence import register
from gitcoord.sync import remotes

HIGHEST = 10**15
FOLLOWED = 10**12
"""Others' numbers are believed up to here; above it only as many as were given out, so that no clone can use up a
sequence."""
KIND = "numbers"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}"


def _fold(db: sqlite3.Connection, event: Event) -> None:
    row = (event.data["sequence"], event.data["number"], event.id)
    db.execute("INSERT OR IGNORE INTO allocations VALUES (?, ?, ?)", row)


_IS_NAME = Kind("the name of a sequence", lambda value: type(value) is str and re.fullmatch(_NAME, value) is not None)

FEATURE = Feature(
    "sequences",
    {"alloc": Schema({"sequence": _IS_NAME, "number": whole_number(0, HIGHEST)}, ("sequence", "number"))},
    """
    CREATE TABLE allocations (sequence TEXT NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL,
        PRIMARY KEY (sequence, number, id)) WITHOUT ROWID;
    """,
    _fold,
    living=(
        "SELECT id FROM allocations a WHERE number = (SELECT max(number) FROM allocations b WHERE b.sequence = a.sequence)",
    ),
)


class Allocation(NamedTuple):
    """A number of a sequence, given out once."""

    sequence: str
    number: int


def allocate(clone: Clone, me: Identity, sequence: str, start: int | None = None) -> Allocation:
    """The next number of `sequence`, at least `start` (the first is 1); the event names the session that took it.

    Raises UsageError for an invalid name or start, Refused when no number is left.
    """
    if re.fullmatch(_NAME, sequence) is None:
        raise UsageError(f"{sequence[:60]!a} is not a valid sequence name", "use letters, digits, '.', '_', '-' and '/'")
    if start is not None and not 0 <= start <= HIGHEST:
        raise UsageError(f"{start} is not a number to start with", f"0 to {HIGHEST}")

    if remotes.decides(clone.repo):
        return _allocate_everywhere(clone, me, sequence, start)

    def decide(db: sqlite3.Connection) -> list[Draft]:
        return [_draft(me, sequence, _next(db, clone, sequence, start))]

    with clone.locked():
        clone.read(decide)  # a refused allocation registers no session
        register(clone, me)
        return Allocation(sequence, clone.append(decide)[0].data["number"])


def _draft(me: Identity, sequence: str, number: int) -> Draft:
    return Draft("alloc", f"{me.name} took {sequence} {number}", {"sequence": sequence, "number": number}, author=me.name)


def _allocate_everywhere(clone: Clone, me: Identity, sequence: str, start: int | None) -> Allocation:
    """Take the number at the remote. A process that dies before it has recorded its number leaves a gap; no number is given
    out twice."""
    from gitcoord.sync.leases import LeaseTable, change, connected, unreadable

    taken: list[int] = []

    def decide(table: LeaseTable) -> LeaseTable:
        counted = table.counters.get(sequence)
        if counted is not None and counted > clone.read(lambda db: _ceiling(db, sequence)) + FOLLOWED:
            unreadable(KIND)
        least = start if counted is None else max(counted + 1, start or 0)
        taken[:] = [clone.read(lambda db: _next(db, clone, sequence, least))]
        return table._replace(counters={**table.counters, sequence: taken[0]})

    hint = "try again later: the remote counts numbers for all clones"
    with connected(
        clone, hint, "agree on a number by message, or git coord remote set URL of a host that takes leases"
    ) as link:
        change(link, KIND, decide)
        with clone.locked():
            register(clone, me)
            clone.append(lambda db: [_draft(me, sequence, taken[0])])
    return Allocation(sequence, taken[0])


def _ceiling(db: sqlite3.Connection, sequence: str) -> int:
    """The highest believable number. Honest numbers beyond FOLLOWED were given out one by one."""
    return FOLLOWED + int(db.execute("SELECT count(*) FROM allocations WHERE sequence = ?", (sequence,)).fetchone()[0])


def _next(db: sqlite3.Connection, clone: Clone, sequence: str, start: int | None) -> int:
    followed = f"(a.number <= ? OR {trust.OWN})"
    query = f"SELECT max(a.number) FROM allocations a JOIN events e ON e.id = a.id WHERE a.sequence = ? AND {followed}"
    last: int | None = db.execute(query, (sequence, _ceiling(db, sequence), clone.id)).fetchone()[0]
    first = 1 if start is None else start
    number = first if last is None else max(last + 1, start or 0)
    if number > HIGHEST:
        raise Refused(f"all numbers of {sequence} are used", "begin another sequence")
    return number
