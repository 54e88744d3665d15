"""Check what a remote brings: only whole objects, only commits, only logs that continue what we know of them.

git itself rejects a rewritten log, but not a blob in place of one (it compares commits only), and it rejects a whole
fetch for one bad object in it. So refs are checked after the fetch. A clone that sends objects that git-fsck(1) rejects
is fetched separately from then on, so that the others still arrive.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence

from gitcoord.errors import RefMoved, RepositoryError
from gitcoord.lean import TYPE_CHECKING, suppress
from gitcoord.log import incidents, mend
from gitcoord.log.clone import Clone
from gitcoord.store import ref_lock, transport
from gitcoord.store.failures import BadObjects
from gitcoord.store.objects import Oid
from gitcoord.store.ref_lock import RefLocked
from gitcoord.store.ref_names import belongs_to, is_lease, is_log, is_of, owner
from gitcoord.store.refs import create_many, is_ancestor, kinds
from gitcoord.sync import remotes
from gitcoord.sync.link import Refusal

if TYPE_CHECKING:
    from gitcoord.sync.link import Link

MAX_REFS = 1000
"""Largest number of refs of one clone that are fetched; a clone with more wants to fill disks."""
MAX_CLONES = 10_000
"""Largest number of clones of one remote whose refs are fetched: those known here first, then by name."""
Refs = Mapping[str, Oid]
NO_COMMIT = "it is not a commit"
TOO_MANY = f"its clone has more than {MAX_REFS:,} refs"
TOO_FULL = f"the remote has more than {MAX_CLONES:,} clones"
TAKEN_BACK = "was rolled back"
BROKEN = "it sent objects that git rejects"


def fetch(link: Link, wanted: Sequence[str], before: Refs, there: Refs) -> list[Refusal]:
    """Fetch others' refs; bad refs keep their value in `before`. `there` are the refs of the remote. Raises
    RemoteError."""
    wanted, refused = _few(wanted, {_owner(ref) for ref in before})
    for whose, why in {_owner(refusal.ref): refusal.why for refusal in refused}.items():
        _alarm(link.clone, whose, f"not all of it is fetched, because {why}")
    suspects = {alarm.clone for alarm in incidents.read(link.clone.repo.coord_dir) if alarm.what == BROKEN}
    trusted = [ref for ref in wanted if not _is_of(ref, suspects)]
    try:
        if not (refused or suspects):
            trusted = _fetch_many(link, trusted, before, there)
        if trusted:
            _fetch(link, trusted)
        alone = sorted({_owner(ref) for ref in wanted} & suspects)
    except BadObjects:
        alone = sorted({_owner(ref) for ref in wanted})
    for whose in alone:
        refs = [ref for ref in wanted if _is_of(ref, {whose})]
        try:
            _fetch(link, refs)
        except BadObjects as error:
            refused += [Refusal(ref, error.what) for ref in refs]
            _alarm(link.clone, whose, BROKEN)
        else:
            if whose in suspects:  # the bad objects are not there any more
                incidents.clear(link.clone.repo.coord_dir, whose)
    return refused + _take_back(link.clone, wanted, before)


def _fetch_many(link: Link, wanted: Sequence[str], before: Refs, there: Refs) -> list[str]:
    """Fetch logs or presence that are all new here, if there are thousands: git compares each with each where refs are
    named one by one. Returns the refs that are left to be fetched."""
    new = {ref: there[ref] for ref in wanted if ref in there and ref not in before and not is_lease(ref)}
    if len(new) <= transport.AT_ONCE:
        return list(wanted)
    logs = {ref: oid for ref, oid in new.items() if is_log(ref)}
    presence = new.keys() - logs.keys()
    below = [*(["log"] if logs else []), *(["presence"] if presence else [])]
    transport.fetch_all(link.clone.repo, link.remote, below, link.quiet)
    with link.clone.locked() as fd:
        made = create_many(link.clone.repo, logs, fd) if logs else set()
    here = link.clone.store.sizes([new[ref] for ref in presence])
    made |= {ref for ref, size in zip(presence, here, strict=True) if size is not None}
    return [ref for ref in wanted if ref not in made]


def _fetch(link: Link, refs: Sequence[str]) -> None:
    """Fetch, and remove the lock file that a killed fetch left on a ref: git would take it for another git's, for ever."""
    for last in (False, False, True):
        try:
            return transport.fetch(link.clone.repo, link.remote, refs, link.quiet)
        except RefLocked as held:
            with link.clone.locked():
                if not ref_lock.clear(held.what) or last:
                    why = f"if no git is running, remove {held.what}"
                    raise RepositoryError(f"{held.what} is in the way: another git holds it, or was killed", why) from None
    return None


def _is_of(ref: str, some: Container[str]) -> bool:
    return ref in some if is_lease(ref) else is_of(ref, some)


def _owner(ref: str) -> str:
    """The clone that a ref belongs to; for a table of leases, which belongs to all, its name."""
    return ref if is_lease(ref) else owner(ref)


def _few(wanted: Sequence[str], known: Collection[str]) -> tuple[list[str], list[Refusal]]:
    """The refs worth fetching, and those left out: of each clone the logs first, of all clones those known here."""
    counts = dict.fromkeys(known, 0)
    kept, refused = [], []
    for ref in sorted(wanted, key=lambda ref: (not _is_of(ref, known), not is_log(ref))):
        whose = _owner(ref)
        if whose not in counts and len(counts) >= MAX_CLONES:
            refused.append(Refusal(ref, TOO_FULL))
            continue
        counts[whose] = counts.get(whose, 0) + 1
        if counts[whose] <= MAX_REFS:
            kept.append(ref)
        else:
            refused.append(Refusal(ref, TOO_MANY))
    return kept, refused


def _take_back(clone: Clone, wanted: Iterable[str], before: Refs) -> list[Refusal]:
    """Undo fetched refs that do not name a commit."""
    after = clone.store.tips().refs
    came = {ref: after[ref] for ref in wanted if ref in after and after[ref] != before.get(ref)}
    bad = [ref for ref, kind in zip(came, kinds(clone.repo, list(came.values())), strict=True) if kind != "commit"]
    if bad:
        with clone.locked() as fd:
            for ref in bad:
                with suppress(RefMoved):
                    clone.store.move(ref, before.get(ref), came[ref], fd)
                _alarm(clone, _owner(ref), f"its {'log' if is_log(ref) else 'ref'} at the remote is not a commit")
    return [Refusal(ref, NO_COMMIT) for ref in bad]


def _alarm(clone: Clone, whose: str, what: str) -> None:
    incidents.note(clone.repo.coord_dir, whose, what, clone.clock())


def compare(link: Link, there: Refs, before: Refs, after: Refs) -> list[Refusal]:
    """Report others' logs that do not continue what we know: rewritten, or rolled back at the only remote.

    A log that has grown since it was listed is neither.
    """
    clone, refused = link.clone, []
    _forgive(link, there, before)
    _settle(clone, after)
    left = [ref for ref in there if ref in before and after.get(ref) == before[ref] != there[ref]]
    logs = [ref for ref in left if is_log(ref) and not belongs_to(ref, clone.id)]
    places = len(transport.remote_names(clone.repo)) if logs else 0
    for ref in logs:
        behind = _is_behind(clone, there[ref], before[ref])
        if behind is None:
            continue
        if not behind:
            refused.append(Refusal(ref, "it does not continue its known log: it was rewritten"))
        if not behind or (places == 1 and not link.visit and not _was_set_back(link, there)):
            what = TAKEN_BACK if behind else "was rewritten"
            _alarm(clone, _owner(ref), f"its log at {link.remote.name} {what}; its fetched events are kept")
    return refused


def _is_behind(clone: Clone, there: Oid, known: Oid) -> bool | None:
    """Whether a log goes on from `there` to `known`; None where damage here hides it, and where it goes on from `known` to
    `there`, so that only the fetch failed to move the ref. Neither shows anything about the other clone. A no of git's alone
    is not enough to accuse one (see `new_clone_id`)."""
    if is_ancestor(clone.repo, there, known) or mend.descends(clone.store, known, there):
        return True
    is_whole = all(mend.is_whole(clone.store, oid) for oid in (there, known))
    return False if is_whole and not mend.descends(clone.store, there, known) else None


def _forgive(link: Link, there: Refs, before: Refs) -> None:
    """Forget that a log was rolled back, if it has all its known events again: a lagging replica had shown it."""
    for alarm in incidents.read(link.clone.repo.coord_dir):
        if f"{link.remote.name} {TAKEN_BACK}" in alarm.what:
            logs = [ref for ref in before if is_log(ref) and belongs_to(ref, alarm.clone)]
            if logs and all(there.get(ref) == before[ref] or _goes_on(link.clone, before[ref], there.get(ref)) for ref in logs):
                incidents.clear(link.clone.repo.coord_dir, alarm.clone)


def _settle(clone: Clone, here: Refs) -> None:
    """Forget that a log was gone or turned back in this repository, if all of it is here again and at the remote."""
    for alarm in incidents.read(clone.repo.coord_dir):
        if alarm.missed:
            tips = [here[ref] for ref in here if is_log(ref) and belongs_to(ref, alarm.clone)]
            if all(any(is_ancestor(clone.repo, oid, tip) for tip in tips) for oid in alarm.missed):
                incidents.clear(clone.repo.coord_dir, alarm.clone)


def _goes_on(clone: Clone, known: Oid, there: Oid | None) -> bool:
    return there is not None and (clone.store.sizes([there])[0] is None or is_ancestor(clone.repo, known, there))


def _was_set_back(link: Link, there: Refs) -> bool:
    """Whether the remote also has less of our own log than it had. Then it was restored from a backup, or lags, and no
    clone rolled its log back. The user is told once; this sync sends our log again."""
    known = remotes.load(link.clone.repo)
    if known is None or not known.is_of(link.remote.name):
        return False
    ours = [ref for ref, oid in known.ours.items() if is_log(ref) and there.get(ref) != oid and belongs_to(ref, link.clone.id)]
    back = any(ref not in there or is_ancestor(link.clone.repo, there[ref], known.ours[ref]) for ref in ours)
    if back:
        line = f"{link.remote.name} has less than it had, as if a backup was restored: this clone sends its log again"
        link.clone.mended += [line] if line not in link.clone.mended else []
    return back
