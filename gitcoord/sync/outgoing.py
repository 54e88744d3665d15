"""Send our logs, presence and deletions, each ref on its own, and remember the remote's state."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from gitcoord.errors import ObjectMissing, RepositoryError, without_password
from gitcoord.lean import TYPE_CHECKING, NamedTuple, sqlite3, suppress
from gitcoord.log import old_epochs
from gitcoord.log.clone import Clone
from gitcoord.store import failures, transport
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import RETIRED, belongs_to, epoch_of, is_local, is_log, is_presence, log_of, presence_ref
from gitcoord.store.transport import How, Outcome, Remote, Update
from gitcoord.sync import older, parts, public_guard, rejected, remotes
from gitcoord.sync.link import Refusal
from gitcoord.system.files import read_ours, touch_ours
from gitcoord.system.lock import write_whole

if TYPE_CHECKING:
    from gitcoord.sync.link import Link

Refs = Mapping[str, Oid]


class Pushed(NamedTuple):
    """The result of a push: the number of events, whether somebody moved a ref of ours meanwhile, and the rejected refs."""

    events: int
    moved: bool
    refused: tuple[Refusal, ...]


def push(link: Link, there: Refs) -> Pushed:
    """Send our events that the remote, whose refs are `there`, does not have. Raises RemoteError if it takes none of
    them."""
    clone = link.clone
    tips = clone.store.tips().refs
    rolled = rolled_over([*tips, *there])
    updates = _updates(clone, tips, there, old_epochs.dropped(clone, tips) if rolled else set())
    if updates:
        public_guard.guard(clone, link.remote.name, unsent(clone, there))
    _note_presence(link, updates)
    outcomes = rejected.push(link, updates)
    if any(outcome.state == "refused" and is_log(outcome.ref) and parts.is_about_size(outcome.why) for outcome in outcomes):
        outcomes = parts.push(link, there, updates)
    stand = _after({ref: oid for ref, oid in there.items() if is_to_go(ref, clone)}, updates, outcomes)
    replaced = _replaced(link, stand) if rolled else []
    dropped = rejected.push(link, replaced)
    stand = _after(stand, replaced, dropped)
    refused = _refused(link, updates, [*outcomes, *dropped])
    events = _count(clone, there, stand) if outcomes else 0
    remember(link, stand, bool(outcomes))
    if fresh := rejected.kinds([*updates, *replaced], [*outcomes, *dropped]):
        rejected.note(link, fresh)
    return Pushed(events, any(outcome.state == "moved" for outcome in outcomes), refused)


def send_ahead(link: Link) -> int:
    """Push what is new in our log, if no event waits for a signature. The remote takes it only if it has exactly what the
    last sync left there. Returns the number of events. Raises RemoteError."""
    from gitcoord.log import trust

    clone, known = link.clone, remotes.load(link.clone.repo)
    tips = clone.store.tips().refs
    if known is None or not known.is_of(link.remote.name) or known.prefix != link.remote.prefix or rolled_over(tips):
        return 0
    there = {ref: oid for ref, oid in known.ours.items() if is_to_go(ref, clone)}
    logs = [log._replace(how=How.SWAP, expected=there[log.ref]) for log in logs_to_go(link, there) if log.ref in there]
    if not logs or trust.is_due(clone):
        return 0
    public_guard.guard(clone, link.remote.name, unsent(clone, there))
    outcomes = transport.push(clone.repo, link.remote, logs, link.quiet)
    done = {outcome.ref for outcome in outcomes if outcome.state == "done"}
    went = [log for log in logs if log.ref in done]
    logs_went(link, there, went)
    return _count(clone, there, {**there, **{log.ref: log.new for log in went if log.new}})


def check_visible(link: Link) -> None:
    """Check that the remote shows the refs that it has just taken. Raises RemoteError if it does not."""
    listing = transport.list_remote(link.clone.repo, link.remote.name, link.quiet)
    known = remotes.load(link.clone.repo)
    logs = [ref for ref in (known.ours if known else {}) if is_log(ref)]
    hidden = [ref for ref in logs if link.remote.there(ref) not in listing]
    if hidden:
        why = f"it takes {link.remote.there(hidden[0])} and does not show it, so no clone can fetch it (uploadpack.hideRefs?)"
        raise failures.refuses(link.remote.name, link.remote.prefix, why)


def is_doubtful(link: Link, there: Refs) -> bool:
    """Whether it is unknown that the remote shows what it takes: at first, and when a ref of ours is missing there."""
    known = remotes.load(link.clone.repo)
    return known is None or not known.is_of(link.remote.name) or any(is_log(ref) and ref not in there for ref in known.ours)


def logs_to_go(link: Link, there: Refs) -> list[Update]:
    """The updates that push our logs alone; `there` are the remote's refs."""
    tips = link.clone.store.tips().refs
    old = old_epochs.dropped(link.clone, tips) if rolled_over([*tips, *there]) else set()
    return [update for update in _updates(link.clone, tips, there, old) if update.new and is_log(update.ref)]


def logs_went(link: Link, there: Refs, logs: Sequence[Update]) -> None:
    """Remember that the remote has taken `logs`."""
    stand = {ref: oid for ref, oid in there.items() if is_to_go(ref, link.clone)}
    remember(link, stand | {update.ref: update.new for update in logs if update.new}, pushed=True)


def vouch(link: Link) -> None:
    """Sign what is about to be sent, if this user signs. If signing fails it is sent all the same: the next signature
    covers it, too."""
    from gitcoord.log import trust

    try:
        trust.checkpoint(link.clone, prompt=not link.quiet)
        trust.sign_presence(link.clone, prompt=not link.quiet)
    except (RepositoryError, ObjectMissing) as error:
        link.clone.mended.append(f"nothing was signed: {error.what}")


def _note_presence(link: Link, updates: Sequence[Update]) -> None:
    """Note which presence is about to be sent: any other one at the remote is not from here."""
    fresh = [update.new for update in updates if update.new and is_presence(update.ref)]
    if fresh and not link.visit:
        with suppress(RepositoryError):
            write_whole(link.clone.path("went"), "".join(f"{oid}\n" for oid in [*went(link.clone), *fresh][-MOST_WENT:]))


def went(clone: Clone) -> list[str]:
    """The ids of the presence commits that were sent last, the newest at the end."""
    try:
        return read_ours(clone.path("went")).decode("ascii", "replace").split()
    except OSError:
        return []


MOST_WENT = 200


def _updates(clone: Clone, tips: Refs, there: Refs, old: set[str]) -> list[Update]:
    """The updates to push: logs forward, presence replaced, and the refs of sessions that have ended deleted."""
    ours = {ref: oid for ref, oid in tips.items() if is_to_go(ref, clone) and ref not in old}
    ours |= older.refs_for(clone, there)
    gone = [ref for ref in there if ref not in ours and is_to_go(ref, clone) and not is_log(ref)]
    fresh = [(ref, oid) for ref, oid in ours.items() if there.get(ref) != oid]
    if RETIRED in tips and RETIRED not in there:  # a remote that is new, or was set back
        fresh.append((RETIRED, tips[RETIRED]))
    changed = [Update(ref, oid, How.REPLACE if is_presence(ref) else How.FORWARD) for ref, oid in fresh]
    return [*changed, *(Update(ref, None) for ref in gone)]


def _after(stand: Refs, updates: Sequence[Update], outcomes: Sequence[Outcome]) -> dict[str, Oid]:
    """Our refs at the remote once `updates` had these outcomes."""
    new = {update.ref: update.new for update in updates}
    moved = {**stand, **{outcome.ref: new[outcome.ref] for outcome in outcomes if outcome.state == "done"}}
    return {ref: oid for ref, oid in moved.items() if oid}


def _replaced(link: Link, stand: Refs) -> list[Update]:
    """Our old epochs at the remote that can be deleted, because their successors are there."""
    old = old_epochs.dropped(link.clone, stand)
    ready = [ref for ref in old if any(log_of(ref) == log_of(new) and new not in old for new in stand if is_log(new))]
    return [Update(ref, None, How.SWAP, stand[ref]) for ref in sorted(ready)]


def _refused(link: Link, updates: Sequence[Update], outcomes: Sequence[Outcome]) -> tuple[Refusal, ...]:
    """The rejected refs. Raises RemoteError when no log of ours was taken."""
    refused = tuple(Refusal(outcome.ref, outcome.why) for outcome in outcomes if outcome.state == "refused")
    logs = {update.ref for update in updates if is_log(update.ref)}
    if logs and logs <= {refusal.ref for refusal in refused}:
        raise failures.refuses(
            link.remote.name, link.remote.prefix, next(refusal.why for refusal in refused if is_log(refusal.ref))
        )
    return refused


def is_to_go(ref: str, clone: Clone) -> bool:
    """Whether a ref is ours and may be sent."""
    return belongs_to(ref, clone.id) and not is_local(ref)


def rolled_over(refs: Iterable[str]) -> bool:
    """Whether a log is in a later epoch than its first: only then can one have replaced another."""
    return any(is_log(ref) and epoch_of(ref) > 1 for ref in refs)


def unsent(clone: Clone, there: Refs) -> dict[str, int]:
    """The number of events of each type that we have and the remote with the refs `there` does not, and whether our
    presence is new."""
    tips = [oid for ref, oid in there.items() if is_log(ref) and belongs_to(ref, clone.id)]
    after = f"(SELECT coalesce(max(lc), 0) FROM events WHERE id IN ({', '.join('?' * len(tips))}))"
    query = f"SELECT type, count(*) FROM events WHERE clone = ? AND local = 0 AND lc > {after} GROUP BY type ORDER BY type"
    found = dict(clone.read(lambda db: db.execute(query, (clone.id, *tips)).fetchall()))
    mine = presence_ref(clone.id)
    shown = clone.store.tips().refs.get(mine)
    return {**found, **({"presence": 1} if shown and there.get(mine) != shown else {})}


def _count(clone: Clone, before: Refs, after: Refs) -> int:
    """The events by which the remote's copy of our logs grew."""

    def clock(db: sqlite3.Connection, refs: Refs) -> int:
        tips = [oid for ref, oid in refs.items() if is_log(ref) and belongs_to(ref, clone.id)]
        marks = ", ".join("?" * len(tips))
        return int(db.execute(f"SELECT coalesce(max(lc), 0) FROM events WHERE id IN ({marks})", tips).fetchone()[0])

    def grown(db: sqlite3.Connection) -> int:
        between = "SELECT count(*) FROM events WHERE clone = ? AND local = 0 AND lc > ? AND lc <= ?"
        return int(db.execute(between, (clone.id, clock(db, before), clock(db, after))).fetchone()[0])

    return clone.read(grown)


def remember(link: Link, ours: Refs, pushed: bool) -> None:
    """Note that the remote has `ours` of our refs now, and what it is known to reject."""
    if link.visit or link.remote.name == link.clone.repo.common_dir:  # this repository is others' remote, and not its own
        return
    repo, now = link.clone.repo, time.time()
    with suppress(OSError):
        touch_ours(link.clone.path("heard"))
    known = remotes.load(repo)
    pushes = [t for t in (known.pushes if known else ()) if 0 <= now - t < 60] + ([now] if pushed else [])
    url = transport.remote_url(repo, link.remote.name) if known is None or not known.is_of(link.remote.name) else known.url
    fresh = remotes.KnownRemote(link.remote.name, url, link.remote.prefix, now, dict(ours), tuple(pushes))
    if known is not None and known.is_of(link.remote.name) and known.prefix == fresh.prefix:
        fresh = fresh._replace(refused=known.refused, refused_at=known.refused_at)
    elif link.remote.prefix.startswith("refs/heads/"):
        link.clone.mended.append(_in_sight(link.remote))
    remotes.save(repo, fresh)


def _in_sight(remote: Remote) -> str:
    name, short = without_password(remote.name), remote.prefix.removeprefix("refs/heads/")
    return (
        f"coordination is in branches of {name} called {short}…: git branch -r and the host's pages list"
        " them. Pushes to them may trigger CI"
    )
