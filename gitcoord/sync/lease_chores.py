"""What every sync does for claims: settle those made offline, complete what was interrupted, and give back what is over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from gitcoord.log.clone import Clone
from gitcoord.store.objects import Oid
from gitcoord.sync import leases, rejected
from gitcoord.sync.exchange import Link, Refs
from gitcoord.sync.leases import NoLeases, Table, lease_ref, read_table


def is_due(at: Link, refs: Refs) -> bool:
    """Whether `settle` or `tidy` has anything to do, the remote's tables being those of `refs`."""
    from gitcoord.features.tasks import leased

    if rejected.LEASES in rejected.known(at):
        return False
    with suppress(NoLeases):
        return leased.is_pending(at.clone) or any(_over(at.clone, kind, refs.get(lease_ref(kind))) for kind in _FINISHED)
    return True


def settle(at: Link, there: Refs) -> None:
    """Before our log is sent. Raises RemoteError."""
    from gitcoord.features.tasks import leased

    if rejected.LEASES in rejected.known(at):
        return
    with suppress(NoLeases):
        leased.settle(at, there)


def tidy(at: Link, refs: Refs) -> None:
    """After our log was sent: whoever no longer sees the row sees what ended it. `refs` are those of the tables as they were
    fetched. Raises RemoteError."""
    if rejected.LEASES in rejected.known(at):
        return
    for kind in _FINISHED:
        with suppress(NoLeases):
            _give_back(at, kind, refs.get(lease_ref(kind)))


def _give_back(at: Link, kind: str, known: Oid | None) -> None:
    if not _over(at.clone, kind, known):
        return

    def without(table: Table) -> Table | None:
        over = _FINISHED[kind](at.clone, table)
        return table.without(over) if over else None

    leases.change(at, kind, without)


def _over(clone: Clone, kind: str, known: Oid | None) -> list[str]:
    """The rows of ours that are over in a table as it was fetched. Raises NoLeases."""
    return _FINISHED[kind](clone, read_table(clone, kind, known)) if known else []


def _finished_tasks(clone: Clone, table: Table) -> list[str]:
    from gitcoord.features.tasks import leased

    return leased.finished(clone, table)


def _finished_locks(clone: Clone, table: Table) -> list[str]:
    from gitcoord.features.locks import leased as lock_leases

    return lock_leases.finished(clone, table)


_FINISHED: dict[str, Callable[[Clone, Table], list[str]]] = {"tasks": _finished_tasks, "locks": _finished_locks}
"""For each table with rows, which of ours are over."""
