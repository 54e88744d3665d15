"""The refs below `refs/coord/` that this format defines; all others belong to somebody else."""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import lru_cache

from gitcoord.names import is_name

NAMESPACE = "refs/coord/"
PRESENCE = f"{NAMESPACE}presence/"
SESSIONS = f"{NAMESPACE}sessions/"
"""Presence as gitcoord 0.1 writes it: one ref for each session."""
LEASES = ("tasks", "locks", "numbers")
RETIRED = NAMESPACE + "lease/retired"
"""The list of retired clones, which is replaced at a remote as the tables of leases are."""
MAX_EPOCH_DIGITS = 9


@lru_cache(maxsize=1 << 16)  # more than the largest remote has: an LRU that is too small misses every time
def is_ours(ref: str) -> bool:
    """Whether a ref has the shape of a log, a local log or presence, of any clone."""
    parts = ref.split("/")
    if len(parts) == 4:
        return ref.startswith(PRESENCE) and is_name(parts[3])
    if len(parts) != 5 or not ref.startswith(NAMESPACE) or not is_name(parts[3]):
        return False
    if parts[2] in ("log", "local"):
        return _is_epoch(parts[4])
    return parts[2] == "sessions" and is_name(parts[4])


def _is_epoch(text: str) -> bool:
    """Whether `text` spells an epoch. Each has one spelling: with two, `00001` would be a second log beside `0001`."""
    digits = text.isdigit() and text.isascii() and 4 <= len(text) <= MAX_EPOCH_DIGITS
    return digits and text == f"{int(text):04d}" and int(text) > 0


def is_lease(ref: str) -> bool:
    """Whether a ref is a table of leases or the list of retired clones, which belong to a remote and not to a clone."""
    return ref.startswith(NAMESPACE + "lease/") and (ref == RETIRED or ref.removeprefix(NAMESPACE + "lease/") in LEASES)


def is_coordination(ref: str) -> bool:
    """Whether gitcoord owns a ref: a log, a local log, presence, a table of leases, or commits set aside."""
    return is_ours(ref) or is_lease(ref) or _is_aside(ref)


def is_log(ref: str) -> bool:
    """Whether a ref is a chain of events, synced or local."""
    return is_ours(ref) and not ref.startswith((PRESENCE, SESSIONS))


def is_local(ref: str) -> bool:
    """Whether a ref is a log that never leaves its clone."""
    return ref.startswith(NAMESPACE + "local/") and is_ours(ref)


def belongs_to(ref: str, clone: str) -> bool:
    """Whether only `clone` writes this ref."""
    return is_ours(ref) and owner(ref) == clone


def is_of(ref: str, clones: Container[str]) -> bool:
    """Whether one of some clones writes this log or presence."""
    return owner(ref) in clones


def owner(ref: str) -> str:
    """The clone that writes a log or a session's presence, or whose log something was set aside from."""
    return ref.split("/")[3]


def presence_ref(clone: str) -> str:
    """The ref of the presence of all sessions of a clone."""
    return f"{PRESENCE}{clone}"


def is_presence(ref: str) -> bool:
    """Whether a ref is presence: of all sessions of a clone, or of one as gitcoord 0.1 writes it."""
    return is_ours(ref) and ref.startswith((PRESENCE, SESSIONS))


def is_old_presence(ref: str) -> bool:
    """Whether a ref is the presence of one session, as gitcoord 0.1 writes it."""
    return ref.startswith(SESSIONS) and is_ours(ref)


def log_ref(clone: str, epoch: int = 1, local: bool = False) -> str:
    """The ref of one epoch of a clone's log; what is local is never sent."""
    return f"{NAMESPACE}{'local' if local else 'log'}/{clone}/{epoch:04d}"


def newest_epoch(refs: Iterable[str], prefix: str) -> str:
    """The last epoch among `refs` below `prefix` (which ends in a slash); otherwise the first one."""
    epochs = [ref for ref in refs if ref.startswith(prefix) and is_log(ref)]
    return max(epochs, key=lambda ref: int(ref[len(prefix) :]), default=prefix + "0001")


def next_epoch(ref: str) -> str:
    """The log that follows `ref`."""
    prefix, _, number = ref.rpartition("/")
    return f"{prefix}/{int(number) + 1:04d}"


def log_of(ref: str) -> str:
    """The log that an epoch belongs to: its ref without the last part."""
    return ref.rpartition("/")[0]


def epoch_of(ref: str) -> int:
    """The number of the epoch that the ref of a log names."""
    return int(ref.rpartition("/")[2])


def aside_name(ref: str, oid: str) -> str:
    """The name under which commits found at a log are kept, so that nothing is thrown away; no reader looks there."""
    return f"{NAMESPACE}aside/{owner(ref)}/{oid[:16]}"


def is_aside(ref: str, clone: str) -> bool:
    """Whether a ref keeps commits that were found at a log of `clone`."""
    return ref.startswith(f"{NAMESPACE}aside/{clone}/")


def _is_aside(ref: str) -> bool:
    """Whether a ref keeps commits that were found at a log of any clone."""
    parts = ref.split("/")
    return len(parts) == 5 and ref.startswith(f"{NAMESPACE}aside/") and is_name(parts[3])
