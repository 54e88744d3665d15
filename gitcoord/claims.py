"""What every sync does for claims: settle those made offline, complete what was interrupted, and give back what is over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from gitcoord import leases, refusals
from gitcoord.clone import Clone
from gitcoord.leases import NoLeases, Table, lease_ref, read_table
from gitcoord.store.objects import Oid
from gitcoord.sync import Link, Refs


def settle(at: Link, there: Refs) -> None:
    """Before our log is sent. Raises RemoteError."""
    from gitcoord.tasks import leased

    if refusals.LEASES in refusals.known(at):
        return
    with suppress(NoLeases):
        leased.settle(at, there)


def tidy(at: Link) -> None:
    """After our log was sent: whoever no longer sees the row sees what ended it. Raises RemoteError."""
    if refusals.LEASES in refusals.known(at):
        return
    refs = at.clone.store.tips().refs
    finished: dict[str, Callable[[Clone, Table], list[str]]] = {"tasks": _finished_tasks, "locks": _finished_locks}
    for kind, which in finished.items():
        with suppress(NoLeases):
            _give_back(at, kind, refs.get(lease_ref(kind)), which)


def _give_back(at: Link, kind: str, known: Oid | None, which: Callable[[Clone, Table], list[str]]) -> None:
    if known is None or not which(at.clone, read_table(at.clone, kind, known)):
        return

    def without(table: Table) -> Table | None:
        over = which(at.clone, table)
        return table.without(over) if over else None

    leases.change(at, kind, without)


def _finished_tasks(clone: Clone, table: Table) -> list[str]:
    from gitcoord.tasks import leased

    return leased.finished(clone, table)


def _finished_locks(clone: Clone, table: Table) -> list[str]:
    from gitcoord import lock_leases

    return lock_leases.finished(clone, table)
