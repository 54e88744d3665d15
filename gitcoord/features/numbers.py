"""Numbers that are given out exactly once: migrations, ports, ticket numbers."""

from __future__ import annotations

from gitcoord import lean_json as json
from gitcoord.errors import Refused, UsageError
from gitcoord.lean import NamedTuple, re, sqlite3, suppress
from gitcoord.log import trust
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.log.index.feature import Feature
from gitcoord.log.schemas import Kind, Schema
from gitcoord.log.schemas import number as whole_number
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.presence import register
from gitcoord.sync import remotes
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.process import boot_id

HIGHEST = 10**15
FOLLOWED = 10**12
"""Others' numbers are believed up to here; above it only as many as were given out, so that no clone can use up a
sequence."""
KIND = "numbers"
BLOCK = 20
"""Numbers that a clone takes at once from a sequence that may have gaps."""
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
    forget=("DELETE FROM allocations WHERE id IN (SELECT id FROM forgotten)",),
)


class Allocation(NamedTuple):
    """A number of a sequence, given out once."""

    sequence: str
    number: int


def allocate(clone: Clone, me: Identity, sequence: str, start: int | None = None, gaps: bool = False) -> Allocation:
    """The next number of `sequence`, at least `start` (the first is 1); the event says who took it. With `gaps` the remote
    gives this clone BLOCK numbers at once, of which some may never be used.

    Raises UsageError for an invalid name or start, Refused when no number is left.
    """
    if re.fullmatch(_NAME, sequence) is None:
        raise UsageError(f"{sequence[:60]!a} is not a valid sequence name", "use letters, digits, '.', '_', '-' and '/'")
    if start is not None and not 0 <= start <= HIGHEST:
        raise UsageError(f"{start} is not a number to start with", f"0 to {HIGHEST}")

    if not clone.allows_secrets:
        from gitcoord.log import secrets

        secrets.check(sequence, (), ())  # before the remote's counters have the name
    if remotes.decides(clone.repo):
        kept = _from_block(clone, me, sequence, start) if gaps else None
        return kept or _allocate_everywhere(clone, me, sequence, start, BLOCK if gaps else 1)

    def decide(db: sqlite3.Connection) -> list[Draft]:
        return [_draft(me, sequence, _next(db, clone, sequence, start))]

    with clone.locked():
        clone.read(decide)  # a refused allocation registers no session
        register(clone, me)
        return Allocation(sequence, clone.append(decide)[0].data["number"])


def _draft(me: Identity, sequence: str, number: int) -> Draft:
    return Draft("alloc", f"{me.name} took {sequence} {number}", {"sequence": sequence, "number": number}, author=me.name)


def _from_block(clone: Clone, me: Identity, sequence: str, start: int | None) -> Allocation | None:
    """The next number of the block that the remote gave to this clone, without asking it; None where none is left.

    Under another id, or after a boot, this may be a copy of the clone that has the block. If others have numbers of it, the
    remote has lost count. Then the rest of it is a gap.
    """
    with clone.locked():
        number, end = _blocks(clone).get(sequence, (0, -1))
        taken = "SELECT 1 FROM allocations WHERE sequence = ? AND number BETWEEN ? AND ?"
        spoiled = number < (start or 0) or clone.read(lambda db: db.execute(taken, (sequence, number, end)).fetchone())
        if number > end or spoiled:
            return None
        _keep_block(clone, sequence, number + 1, end)  # first, so that a crash makes a gap and never a number twice
        register(clone, me)
        clone.append(lambda db: [_draft(me, sequence, number)])
        return Allocation(sequence, number)


def _blocks(clone: Clone) -> dict[str, tuple[int, int]]:
    """The numbers that were given to this clone, by sequence: the next one and the last."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        data = json.loads(read_ours(clone.path("blocks")))
        if data["for"] == _whose(clone):
            return {str(sequence): (int(number), int(end)) for sequence, (number, end) in data["blocks"].items()}
    return {}


def _keep_block(clone: Clone, sequence: str, number: int, end: int) -> None:
    blocks = {**_blocks(clone), sequence: (number, end)}
    write_whole(clone.path("blocks"), json.dumps({"for": _whose(clone), "blocks": blocks}) + "\n", durable=True)


def _whose(clone: Clone) -> list[str]:
    return [clone.settled_id(), boot_id(), clone.repo.common_dir]


def _allocate_everywhere(clone: Clone, me: Identity, sequence: str, start: int | None, count: int) -> Allocation:
    """Let the remote count, by `count`. A process that dies before it has recorded its number leaves a gap; no number is
    given out twice."""
    from gitcoord.sync.leases import LeaseTable, change, connected, unreadable

    taken: list[int] = []

    def decide(table: LeaseTable) -> LeaseTable:
        counted = table.counters.get(sequence)
        if counted is not None and counted > clone.read(lambda db: _ceiling(db, sequence)) + FOLLOWED:
            unreadable(KIND)
        least = start if counted is None else max(counted + 1, start or 0)
        taken[:] = [clone.read(lambda db: _next(db, clone, sequence, least))]
        return table._replace(counters={**table.counters, sequence: min(taken[0] + count - 1, HIGHEST)})

    hint = "try again later: the remote counts numbers for all clones"
    with connected(
        clone, hint, "agree on a number by message, or git coord remote set URL of a host that takes leases"
    ) as link:
        change(link, KIND, decide)
        with clone.locked():
            if count > 1:
                _keep_block(clone, sequence, taken[0] + 1, min(taken[0] + count - 1, HIGHEST))
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
