"""Move coordination to another remote, with all claims, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord.errors import Refused, RemoteError, without_password
from gitcoord.lean import NamedTuple
from gitcoord.log.clone import Clone
from gitcoord.sessions.mailboxes import display
from gitcoord.store import transport
from gitcoord.store.ref_names import LEASES, is_presence, owner
from gitcoord.store.transport import Remote
from gitcoord.sync import remotes
from gitcoord.sync.exchange import exchange
from gitcoord.sync.leases import Lease, lease_ref, read_table
from gitcoord.sync.link import Link, joining, linked
from gitcoord.system.files import remove_ours
from gitcoord.text import shell_word


class Moved(NamedTuple):
    """The coordination remote now and before (empty: none), the clones that still coordinate there, and how many claims
    of this clone moved."""

    remote: str
    left: str
    others: tuple[str, ...]
    claims: int


def move(clone: Clone, name: str, cwd: str = ".", force: bool = False) -> Moved:
    """Make another remote the coordination remote, and move the leases of this clone there.

    Raises Refused where somebody else holds there what this clone holds, RemoteError when either remote cannot be reached;
    with `force` the old one need not be.
    """
    old, new = remotes.left_behind(clone.repo), remotes.choose(clone.repo, name, cwd)
    if old is not None and remotes.renamed_to(clone.repo, old.name) == new.name and (known := remotes.load(clone.repo)):
        remotes.save(clone.repo, known._replace(remote=new.name))
        old = new
    if old is None or old.name == new.name or not remotes.is_connected(clone.repo):
        with linked(clone, new) as link:
            exchange(link)
        return Moved(without_password(new.name), "", (), 0)
    others = _last_exchange(clone, old, new, force)
    mine = _leases(clone)
    with linked(clone, new) as link:
        _check(link, mine)
        _settle_on(clone, new)
        exchange(link._replace(visit=False, look=None))
    _give_back(clone, old)
    return Moved(without_password(new.name), without_password(old.name), others, len(mine))


def _last_exchange(clone: Clone, old: Remote, new: Remote, force: bool) -> tuple[str, ...]:
    """Sync with the old remote a last time; returns the other clones there. Raises RemoteError unless `force`."""
    try:
        with linked(clone, old) as link:
            exchange(link)
            listing = transport.list_remote(clone.repo, old.name)
    except RemoteError as error:
        if force:
            return ()
        hint = f"to move without asking it: git coord remote set {shell_word(new.name)} --force"
        raise RemoteError(f"cannot ask {without_password(old.name)} which clones are there: {error.what}", hint) from None
    refs = [here for ref in listing if (here := old.here(ref))]
    return tuple(sorted({owner(ref) for ref in refs if is_presence(ref)} - {clone.id}))


def _leases(clone: Clone) -> Mapping[str, Lease]:
    """The rows of this clone at the remote of the last sync, by nonce."""
    refs = clone.store.tips().refs
    tables = (read_table(clone, kind, refs.get(lease_ref(kind))) for kind in LEASES)
    return {row.nonce: row for table in tables for row in table.rows.values() if clone.has(row.holder)}


def _check(link: Link, mine: Mapping[str, Lease]) -> None:
    """Refuse if another clone has the lease of a task that this one holds. Raises Refused."""
    listing = transport.list_remote(link.clone.repo, link.remote.name)
    remote = joining(link, listing).remote
    ref = lease_ref("tasks")
    table = listing.get(remote.there(ref))
    if table is None:
        return
    transport.fetch_objects(link.clone.repo, remote, ref)
    tasks = {row.key for row in mine.values() if not row.patterns}
    theirs = [row for row in read_table(link.clone, "tasks", table).rows.values() if not link.clone.has(row.holder)]
    for row in (row for row in theirs if row.key in tasks):
        who = display(row.holder, link.clone.id)
        raise Refused(
            f"{row.key[:10]} is held at {without_password(remote.name)} by {who}", f"git coord task release {row.key[:10]}"
        )


def _settle_on(clone: Clone, new: Remote) -> None:
    """Make the new remote the coordination remote, also in the user's setting, if it is set."""
    if clone.repo.setting("remote"):
        clone.repo.git("config", "coord.remote", new.name)
        clone.repo.config["coord.remote"] = new.name
    remove_ours(clone.path("remote"))


def _give_back(clone: Clone, old: Remote) -> None:
    """Give back our rows at the old remote; if that fails they expire there."""
    from gitcoord.sync import leases

    try:
        with linked(clone, old) as link:
            link = link._replace(visit=True)
            for kind in LEASES:
                leases.give_up(link, kind)
    except RemoteError:
        clone.mended.append(f"{without_password(old.name)} cannot be reached: our leases there end when their time is over")
