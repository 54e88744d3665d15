"""Sign our own log: add a checkpoint at its end, signed with the user's own program and key for commits."""

from __future__ import annotations

from gitcoord.lean import re, sqlite3
from gitcoord.log.event import Draft, Event
from gitcoord.log.trust.caller import Reader, Writer
from gitcoord.log.trust.reach import CHECKPOINT
from gitcoord.store import signing
from gitcoord.store.ref_names import NAMESPACE, epoch_of, newest_epoch

TRIES = 3


class _NotSigned(Exception):
    """Raised with the commit to be signed, to leave the lock: the user may be asked for a passphrase."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.raw = raw


def checkpoint(clone: Writer, prompt: bool = True) -> Event | None:
    """Sign the events of our log since the last checkpoint; None if there are none, or if this user does not sign. Without
    `prompt` no program asks for a passphrase. Raises RepositoryError if signing fails; nothing was written then."""
    if not signing.wants_signatures(clone.repo):
        return None
    signed: dict[bytes, bytes] = {}
    for attempt in range(TRIES + 1):
        try:
            written = clone.append(
                lambda db: _due(db, clone.settled_id()),
                sign=lambda raw, last=attempt == TRIES: _sign_once(clone, signed, raw, prompt, last),  # type: ignore[misc]
            )
            return written[0] if written else None
        except _NotSigned as wanted:
            signed[_undated(wanted.raw)] = signing.sign(clone.repo, wanted.raw, prompt)
    raise AssertionError  # the last attempt signs under the lock


def is_due(clone: Reader) -> bool:
    """Whether there are events for `checkpoint` to sign."""
    return signing.wants_signatures(clone.repo) and bool(clone.read(lambda db: _due(db, clone.id)))


def _sign_once(clone: Reader, signed: dict[bytes, bytes], raw: bytes, prompt: bool, last: bool) -> bytes:
    found = signed.get(_undated(raw))
    if found is None and not last:
        raise _NotSigned(raw)
    return found or signing.sign(clone.repo, raw, prompt)


def _undated(raw: bytes) -> bytes:
    """A commit without its author's line, because its time changes while it is being signed."""
    return re.sub(rb"\nauthor [^\n]*", b"", raw, count=1)


def _due(db: sqlite3.Connection, own: str) -> list[Draft]:
    """The checkpoint to write, if the newest epoch of our log has events that none covers."""
    prefix = f"{NAMESPACE}log/{own}/"
    refs = [ref for (ref,) in db.execute("SELECT ref FROM tips WHERE ref >= ?1 AND ref < ?1 || 'a'", (prefix,))]
    ref = newest_epoch(refs, prefix)
    where = "FROM events WHERE clone = ? AND epoch = ? AND local = 0"
    query = f"SELECT max(place) {where} AND id IN (SELECT id FROM checkpoints WHERE old = 0)"
    (last,) = db.execute(query, (own, epoch_of(ref))).fetchone()
    query = f"SELECT count(*) {where} AND place > ? AND type != '{CHECKPOINT}'"
    (count,) = db.execute(query, (own, epoch_of(ref), last or 0)).fetchone()
    text = f"Signs the {count} event{'s' if count > 1 else ''} since the last checkpoint, and all before"
    return [Draft(CHECKPOINT, text, {"ref": ref}, author=own)] if count else []
