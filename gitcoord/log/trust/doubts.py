"""Tell the user about other clones: the key that each signs with, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord.errors import UsageError
from gitcoord.lean import NamedTuple, sqlite3
from gitcoord.log import incidents
from gitcoord.log.clock import ahead_of_time
from gitcoord.log.trust.caller import Reader
from gitcoord.log.trust.judge import NOBODY, OLD, UNSIGNED, Judge, Mark
from gitcoord.log.trust.reach import CHECKPOINT
from gitcoord.store.signing import BAD, Signature


class Doubt(NamedTuple):
    """Something wrong with `clone` that the user should look at, and the command that settles it."""

    clone: str
    what: str
    command: str


class Signer(NamedTuple):
    """The state of one other clone: the verdict on its newest checkpoint, its known key and that key's person, and what is
    wrong."""

    clone: str
    signature: Signature
    known_key: str
    known_by: str
    warnings: tuple[str, ...]


def signers(clone: Reader) -> list[Signer]:
    """Every other clone that has events, signed or not."""
    judge = Judge(clone)
    names = clone.read(lambda db: db.execute("SELECT DISTINCT clone FROM events WHERE local = 0").fetchall())
    alarmed = {alarm.clone: alarm.what for alarm in incidents.read(clone.repo.coord_dir)}
    clones = sorted({name for (name,) in names if name != clone.id} | set(alarmed))
    return [_signer(clone, judge, name, alarmed.get(name)) for name in clones]


def _signer(clone: Reader, judge: Judge, of: str, alarm: str | None) -> Signer:
    marks = judge.marks(of)
    known = judge.binding(of)
    said = [alarm] if alarm else []
    said += _about(clone, judge, of, marks)
    signature = marks[0].signature if marks else _without_mark(clone, of)
    return Signer(of, signature, known.key, known.by, tuple(said))


def _without_mark(clone: Reader, of: str) -> Signature:
    query = "SELECT 1 FROM checkpoints WHERE clone = ? AND old = 1 LIMIT 1"
    return Signature(OLD) if clone.read(lambda db: db.execute(query, (of,)).fetchone()) else UNSIGNED


def warnings(clone: Reader) -> list[Doubt]:
    """Warnings for the user: a log that was tampered with, a key that changed, a signer that stopped signing."""
    found = [_settled(alarm.clone, alarm.what) for alarm in incidents.read(clone.repo.coord_dir)]
    judge = Judge(clone)
    asked = clone.read(lambda db: db.execute("SELECT DISTINCT clone FROM checkpoints").fetchall())
    for of in sorted({name for (name,) in asked if name != clone.id} | judge.bound()):
        found += [_settled(of, what) for what in _about(clone, judge, of, judge.marks(of))]
    for of, count in clone.read(ahead_of_time):
        what = f"its clock is impossibly far ahead in {count} event{'s' if count > 1 else ''}"
        found.append(Doubt(of, what, f"git config --add coord.ignoreClone {of}"))
    return found


def _settled(clone: str, what: str) -> Doubt:
    return Doubt(clone, what, f"git coord trust --accept {clone}")


def _about(clone: Reader, judge: Judge, of: str, marks: Sequence[Mark]) -> list[str]:
    if judge.is_settled(of):
        return []
    known = judge.binding(of)
    if known == NOBODY:
        return ["its checkpoint has a bad signature"] if any(m.signature.state == BAD for m in marks[:1]) else []
    newest = marks[0] if marks else None
    if newest is not None and newest.signature.state == BAD:
        return ["its newest checkpoint has a bad signature"]
    if newest is not None and newest.signature.key != known.key:
        by = f" ({newest.signature.by})" if newest.signature.by else ""
        return [f"it signs with {newest.signature.key or 'a key that is not there'}{by} now; it was {known.key} before"]
    count = clone.read(lambda db: _unsigned_tail(db, of, newest))
    what = "1 event since then is" if count == 1 else f"{count} events since then are"
    return [f"it signed with {known.key} before; {what} not signed"] if count else []


def _unsigned_tail(db: sqlite3.Connection, of: str, newest: Mark | None) -> int:
    """The number of events of a clone after its newest checkpoint: above it, or in a later epoch."""
    above = (newest.epoch, newest.place) if newest else (0, 0)
    condition = f"clone = ? AND (epoch, place) > (?, ?) AND place > 0 AND local = 0 AND type != '{CHECKPOINT}'"
    (count,) = db.execute(f"SELECT count(*) FROM events WHERE {condition}", (of, *above)).fetchone()
    return int(count)


def accept(clone: Reader, name: str) -> Signer:
    """Accept the key that a clone signs with now, and forget its incidents. Raises UsageError for an unknown clone."""
    judge = Judge(clone)
    known = {signer.clone for signer in signers(clone)}
    if name not in known:
        raise UsageError(f"no other clone is called {ascii(name)[1:-1]}", "git coord trust")
    judge.rebind(name)
    incidents.clear(clone.repo.coord_dir, name)
    return _signer(clone, Judge(clone), name, None)
