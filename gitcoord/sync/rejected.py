"""Handle hosts that reject some of our refs: leave those out, and send the rest.

A host that takes only branches may reject a forced push or a deletion, and with it everything else in the same push. A
rejection is reported once, remembered for a day (`coord/remote`) and not tried again meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from gitcoord.lean import TYPE_CHECKING
from gitcoord.store import transport
from gitcoord.store.ref_names import is_lease, is_log
from gitcoord.store.transport import Outcome, Update
from gitcoord.sync import remotes

if TYPE_CHECKING:
    from gitcoord.sync.link import Link

LOGS, PRESENCE, REMOVALS, LEASES = "logs", "presence", "removals", "leases"
REMEMBERED = 24 * 3600
"""Seconds after which a host is asked again."""


def push(link: Link, updates: Sequence[Update]) -> list[Outcome]:
    """Push the refs that the host is not known to reject. If it rejects all, each kind is tried by itself.

    Raises RemoteError.
    """
    refused = known(link)
    wanted = [update for update in updates if _kind(update) not in refused]
    outcomes = transport.push(link.clone.repo, link.remote, wanted, link.quiet) if wanted else []
    kinds = list(dict.fromkeys(map(_kind, wanted)))
    if len(kinds) > 1 and all(outcome.state == "refused" for outcome in outcomes):
        groups = ([update for update in wanted if _kind(update) == kind] for kind in kinds)
        return [outcome for group in groups for outcome in transport.push(link.clone.repo, link.remote, group, link.quiet)]
    return outcomes


def kinds(updates: Sequence[Update], outcomes: Sequence[Outcome]) -> dict[str, str]:
    """The kinds of `updates` that the host rejects, with its words. A rejected log is not among them: it is an error."""
    kind_of = {update.ref: _kind(update) for update in updates}
    return {kind_of[o.ref]: o.why for o in outcomes if o.state == "refused" and kind_of[o.ref] != LOGS}


def _kind(update: Update) -> str:
    if update.new is None:
        return REMOVALS
    return LOGS if is_log(update.ref) else LEASES if is_lease(update.ref) else PRESENCE


def known(link: Link) -> Mapping[str, str]:
    """The kinds of refs that this remote is known to reject, and its words."""
    found = _of(link)
    return found.refused if found and 0 <= time.time() - found.refused_at < REMEMBERED else {}


def note(link: Link, fresh: Mapping[str, str]) -> None:
    """Note what a remote that takes our logs has just rejected."""
    found = _of(link)
    if found:
        remotes.save(link.clone.repo, found._replace(refused={**known(link), **fresh}, refused_at=time.time()))


def forget(link: Link, kind: str) -> None:
    """Forget a rejection, because the remote has taken such a ref."""
    found = _of(link)
    if found and kind in found.refused:
        left = {other: why for other, why in found.refused.items() if other != kind}
        remotes.save(link.clone.repo, found._replace(refused=left))


def _of(link: Link) -> remotes.KnownRemote | None:
    found = remotes.load(link.clone.repo)
    return found if found and (found.remote, found.prefix) == (link.remote.name, link.remote.prefix) else None
