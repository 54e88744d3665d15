"""The door of this room for the index, while it reads other clones' events. It is light, because every command makes
one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from os.path import exists

from gitcoord.lean import TYPE_CHECKING, sqlite3
from gitcoord.log.trust import rules

if TYPE_CHECKING:
    from gitcoord.log.event import Event
    from gitcoord.log.trust.caller import Reader

REMEMBERED = 60.0
"""Seconds between two checks of a process whether the allowed keys have changed."""


class Referee:
    """Judges for the index of one clone, inside its transaction."""

    def __init__(self, clone: Reader) -> None:
        self._clone = clone
        self._standing, self._looked_at = "", -REMEMBERED

    def standing(self) -> str:
        """The value on which verdicts depend: the keys that are allowed and accepted. Empty if no signatures are
        required."""
        if not self._is_required:
            return ""
        if time.monotonic() - self._looked_at >= REMEMBERED:
            from gitcoord.log.trust.judge import Judge

            self._standing, self._looked_at = Judge(self._clone).standing(), time.monotonic()
        return self._standing

    @property
    def _is_required(self) -> bool:
        return self._clone.repo.flag("requiresigned")

    def believes(self, db: sqlite3.Connection, presence: Event) -> bool:
        """Whether a commit of presence counts: if signatures are required, ours does, and one with a good signature."""
        if not self._is_required or presence.clone == self._clone.id:
            return True
        from gitcoord.log.trust import alone

        return alone.is_vouched(alone.within(self._clone, db), presence)

    def vouches(self, db: sqlite3.Connection, of: str, epoch: int) -> bool:
        """Whether clone `of` has signed an epoch of its log; always true if it is not known to sign."""
        if of == self._clone.id or not signs(self._clone, db, of):
            return True
        from gitcoord.log.trust import alone

        return alone.vouches(self._clone, db, of, epoch)

    def newly_signed(self, db: sqlite3.Connection) -> Iterator[rules.Verdict]:
        """The events that waited for a signature that has come since; to be folded now."""
        due = [of for (of,) in db.execute("SELECT clone FROM newly_signed").fetchall()]
        if not due:
            return
        db.execute("DELETE FROM newly_signed")
        if self._is_required:
            from gitcoord.log.trust import required

            for of in due:
                yield from rules.signed(db, required.covered(self._clone, db, of))


def signs(clone: Reader, db: sqlite3.Connection, of: str) -> bool:
    """Whether clone `of` signs, or did."""
    seen = "SELECT 1 FROM checkpoints WHERE clone = ? LIMIT 1"
    return exists(clone.path("signatures")) or db.execute(seen, (of,)).fetchone() is not None
