"""Decide whom this clone believes, and about what. No other room decides that.

Read `rules` first (who may write what about whose item), then `names` (who speaks for a mailbox), `reach` (what a
checkpoint covers, what the root of an epoch may carry), `judge` (how good a signature is, and which key speaks for
which clone), `required` (what `coord.requireSigned` keeps back), `replaced` (what a new epoch leaves of older ones),
`checkpoints` (how our own log is signed) and `doubts` (what the user is told).

This module is the door. No code outside compares ids of clones; what is local is asked of `names` and of the clone
(`tests/test_house.py` checks it). Every command loads this module, so it loads the others only when they are needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord.lean import TYPE_CHECKING
from gitcoord.log.trust.names import is_relayed as is_relayed
from gitcoord.log.trust.names import reconsidered as reconsidered
from gitcoord.log.trust.names import speaks_for as speaks_for
from gitcoord.log.trust.reach import EPOCH as EPOCH
from gitcoord.log.trust.reach import FORGET as FORGET
from gitcoord.log.trust.reach import INDEXES as INDEXES
from gitcoord.log.trust.reach import NEVER_CARRIED as NEVER_CARRIED
from gitcoord.log.trust.reach import OWN as OWN
from gitcoord.log.trust.reach import SCHEMAS as SCHEMAS
from gitcoord.log.trust.reach import TABLES as TABLES
from gitcoord.log.trust.reach import TRUSTED as TRUSTED
from gitcoord.log.trust.reach import as_carried as as_carried
from gitcoord.log.trust.reach import check_speaker as check_speaker
from gitcoord.log.trust.reach import cut as cut
from gitcoord.log.trust.reach import is_cut as is_cut
from gitcoord.log.trust.reach import is_others as is_others
from gitcoord.log.trust.reach import is_presence_of as is_presence_of
from gitcoord.log.trust.reach import is_root as is_root
from gitcoord.log.trust.reach import lowest_epochs as lowest_epochs
from gitcoord.log.trust.reach import note_carried as note_carried
from gitcoord.log.trust.reach import note_named as note_named
from gitcoord.log.trust.reach import speaker as speaker
from gitcoord.log.trust.referee import Referee as Referee
from gitcoord.log.trust.rules import HELD
from gitcoord.log.trust.rules import OURS_FIRST as OURS_FIRST
from gitcoord.log.trust.rules import RULES as RULES
from gitcoord.log.trust.rules import SAYS_OF_IT as SAYS_OF_IT
from gitcoord.log.trust.rules import Verdict as Verdict
from gitcoord.log.trust.rules import admitted as admitted
from gitcoord.log.trust.rules import is_owners as is_owners

if TYPE_CHECKING:
    import sqlite3

    from gitcoord.log.event import Event
    from gitcoord.log.trust.caller import Reader, Writer
    from gitcoord.log.trust.doubts import Doubt as Doubt
    from gitcoord.log.trust.doubts import Signer as Signer
    from gitcoord.store.objects import Oid
    from gitcoord.store.signing import Signature


def is_own(clone: Reader, name: str) -> bool:
    """Whether `name` is this clone's id. Others' events about its items do not count, nor do its events about theirs."""
    return name == clone.id


# new epochs


def keep_carried(db: sqlite3.Connection, ref: str, root: Event, ids: Iterable[str]) -> set[str]:
    """Note that the root at `ref` carries those of `ids` that are known from the same log, in its own name; returns them."""
    from gitcoord.log.trust import replaced

    return replaced.keep_carried(db, ref, root, ids)


def dropped_events(db: sqlite3.Connection, ref: str, lowest: int) -> list[str]:
    """The events of the epochs below `lowest` of the log at `ref` that no later epoch carries."""
    from gitcoord.log.trust import replaced

    return replaced.dropped_events(db, ref, lowest)


# sign


def checkpoint(clone: Writer, prompt: bool = True) -> Event | None:
    """Sign the events of our log since the last checkpoint, if this user signs. Raises RepositoryError."""
    from gitcoord.log.trust import checkpoints

    return checkpoints.checkpoint(clone, prompt)


def is_due(clone: Reader) -> bool:
    """Whether there are events for `checkpoint` to sign."""
    from gitcoord.log.trust import checkpoints

    return checkpoints.is_due(clone)


# judge signatures


def signatures(clone: Reader, ids: Iterable[str]) -> dict[str, Signature]:
    """The signatures of the events `ids` of other clones; empty if no clone signs and no signature is required."""
    from gitcoord.log.trust import judge

    return judge.signatures(clone, ids)


def signers(clone: Reader) -> list[Signer]:
    """Every other clone that has events, signed or not."""
    from gitcoord.log.trust import doubts

    return doubts.signers(clone)


def warnings(clone: Reader) -> list[Doubt]:
    """Warnings about other clones, for the user."""
    from gitcoord.log.trust import doubts

    return doubts.warnings(clone)


def accept(clone: Reader, name: str) -> Signer:
    """Accept the key that a clone signs with now, and forget its incidents. Raises UsageError for an unknown clone."""
    from gitcoord.log.trust import doubts

    return doubts.accept(clone, name)


# commits outside the logs


def sign(clone: Writer, oid: Oid, prompt: bool = True) -> Oid:
    """The same commit with a signature, if this user signs. Raises RepositoryError if signing fails."""
    from gitcoord.log.trust import alone

    return alone.sign(clone, oid, prompt)


def sign_presence(clone: Writer, prompt: bool = True) -> int:
    """Sign the presence of our sessions, if this user signs; returns how many. Raises RepositoryError when that fails."""
    from gitcoord.log.trust import alone

    return alone.sign_presence(clone, prompt)


def wrote_table(clone: Reader, oid: Oid) -> None:
    """Remember a table of leases as our own, before it goes out."""
    from gitcoord.log.trust import alone

    alone.wrote_table(clone, oid)


def why_not(clone: Reader, table: Event, kind: str) -> str:
    """The reason why a table of leases counts for nothing; empty if it counts, as every table does if no signatures are
    required."""
    if not is_required(clone):
        return ""
    from gitcoord.log.trust import alone

    return alone.why_not(clone, table, kind)


def counts(clone: Reader, db: sqlite3.Connection, oid: str) -> bool:
    """Whether an event counts. If signatures are required, only our own and covered events do."""
    if not is_required(clone):
        return True
    from gitcoord.log.trust import alone

    return alone.counts(clone, db, oid)


# coord.requireSigned; nothing is loaded where it is not set


def is_required(clone: Reader) -> bool:
    """Whether `coord.requireSigned` is set."""
    return clone.repo.flag("requiresigned")


def held_back(clone: Reader, ids: Iterable[str]) -> set[str]:
    """Those of some events that `coord.requireSigned` keeps back."""
    wanted = list(ids)
    if not wanted or not is_required(clone):
        return set()
    from gitcoord.log.trust import required

    return required.held_back(clone, wanted)


def kept_back(prefix: str) -> list[str]:
    """The beginnings of the types of events that are kept back if unsigned."""
    return [kind for kind, rule in RULES.items() if kind.startswith(prefix) and rule.unsigned == HELD]


def trusted_values(clone: Reader) -> tuple[str, str, str] | None:
    """The values for the SQL condition TRUSTED; None if no signatures are required."""
    if not is_required(clone):
        return None
    from gitcoord.log.trust import required

    return required.trusted_values(clone)
