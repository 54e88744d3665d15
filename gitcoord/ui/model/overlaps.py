"""Rows of overlaps: pairs of sessions with the files that will conflict and those that merge; and of the locks that
hold."""

from __future__ import annotations

from typing import NamedTuple

from gitcoord.text import inert
from gitcoord.ui.facts import Facts, Merges
from gitcoord.ui.model.offers import Choice, choice, of_session
from gitcoord.ui.model.words import HELD, line, name


class Pair(NamedTuple):
    """Two sides that changed the same files: the files that git cannot merge, and those that it can."""

    key: str
    a: str
    b: str
    conflicts: tuple[str, ...]
    merges: tuple[str, ...]
    choices: tuple[Choice, ...] = ()


class LockRow(NamedTuple):
    """A lock that holds. Times are Unix seconds."""

    key: str
    patterns: tuple[str, ...]
    holder: str
    reason: str
    shared: bool
    at: float
    expires: float
    mine: bool
    choices: tuple[Choice, ...] = ()


def pairs(facts: Facts, merges: Merges) -> tuple[Pair, ...]:
    """The pairs, those with conflicts first."""
    found: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    for collision in merges.collisions:
        a, b = (", ".join(name(box, facts.clone) for box in side) for side in (collision.a, collision.b))
        clash, fits = found.setdefault((a, b), ([], []))
        (clash if collision.kind == "conflict" else fits).append(inert(collision.path))
    rows = [
        Pair(f"{a} {b}", a, b, tuple(clash), tuple(fits), of_session(f"{a}, {b}")) for (a, b), (clash, fits) in found.items()
    ]
    return tuple(sorted(rows, key=lambda pair: not pair.conflicts))


def locks(facts: Facts) -> tuple[LockRow, ...]:
    """The locks, oldest first."""
    mine = f"{facts.user}@{facts.clone}"
    return tuple(
        LockRow(
            lock.id, tuple(inert(pattern) for pattern in lock.patterns), name(lock.holder, facts.clone),
            HELD if lock.id in facts.held else line(lock.reason), lock.shared, lock.at, lock.expires, lock.holder == mine,
            (choice("unlock", patterns=list(lock.patterns)), *of_session(name(lock.holder, facts.clone))),
        )
        for lock in facts.locks
    )  # fmt: skip
