"""Lease work of every sync: settle claims made offline, complete interrupted ones, and give back rows that have ended."""

from __future__ import annotations

from collections.abc import Iterator

from gitcoord.lean import suppress
from gitcoord.log.clone import Clone
from gitcoord.store.objects import Oid
from gitcoord.sync import leases, rejected
from gitcoord.sync.leases import LeaseKind, LeaseTable, NoLeases, lease_ref, read_table
from gitcoord.sync.link import Link, Refs


def is_due(link: Link, refs: Refs) -> bool:
    """Whether `settle` or `tidy` has anything to do; `refs` names the remote's tables."""
    if link.visit or rejected.LEASES in rejected.known(link):
        return False
    with suppress(NoLeases):
        return any(_is_due(link.clone, kind, refs) for kind in _kinds(link.clone))
    return True


def settle(link: Link, refs: Refs) -> None:
    """Settle claims before our log is sent; `refs` names the tables as they were fetched. Raises RemoteError."""
    for kind in _kinds(link.clone):
        if not link.visit and rejected.LEASES not in rejected.known(link):
            with suppress(NoLeases):
                if kind.is_pending(link.clone, read_table(link.clone, kind.name, refs.get(lease_ref(kind.name)))):
                    kind.settle(link)
        kind.tell(link.clone)


def tidy(link: Link, refs: Refs) -> None:
    """Give back rows that have ended, after our log was sent, so that a clone that misses the row finds the event that
    ended it. `refs` names the tables as they were fetched. Raises RemoteError."""
    if link.visit or rejected.LEASES in rejected.known(link):
        return
    for kind in _kinds(link.clone):
        with suppress(NoLeases):
            _give_back(link, kind, refs.get(lease_ref(kind.name)))


def _kinds(clone: Clone) -> Iterator[LeaseKind]:
    for hooks in clone.registry.hooks("leases"):
        yield hooks.leases


def _is_due(clone: Clone, kind: LeaseKind, refs: Refs) -> bool:
    table = read_table(clone, kind.name, refs.get(lease_ref(kind.name)))
    return kind.is_pending(clone, table) or bool(kind.finished(clone, table))


def _give_back(link: Link, kind: LeaseKind, known: Oid | None) -> None:
    if not _over(link.clone, kind, known):
        return

    def without(table: LeaseTable) -> LeaseTable | None:
        over = kind.finished(link.clone, table)
        return table.without(over) if over else None

    leases.change(link, kind.name, without)


def _over(clone: Clone, kind: LeaseKind, known: Oid | None) -> list[str]:
    """Our rows in a fetched table that have ended. Raises NoLeases."""
    return kind.finished(clone, read_table(clone, kind.name, known)) if known else []
