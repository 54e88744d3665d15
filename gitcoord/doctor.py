"""Check the installation and the repository, say what to do about each problem, and repair what can be repaired.

Every command repairs the damage that it meets. The doctor looks where no command looks: at whole logs, at hooks, at
settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from gitcoord.errors import CoordError, NotACommit, NotDescendant, ObjectMissing
from gitcoord.lean import NamedTuple, suppress
from gitcoord.log import boot, mend, rollover
from gitcoord.log.clone import Clone
from gitcoord.log.ground import own_logs
from gitcoord.store import graphs
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE, is_aside, is_coordination, is_log
from gitcoord.system import obstacles, reports
from gitcoord.system.lock import unwritable
from gitcoord.system.spawn import run
from gitcoord.text import shell_word


class Finding(NamedTuple):
    """The result of one check. `hint` is the next command if it failed."""

    what: str
    well: bool
    said: str
    hint: str = ""


NAMED = 5
"""Number of unusable events of one clone that are named."""


def examine(clone: Clone, fix: bool = False) -> list[Finding]:
    """Check everything; with `fix`, first repair refs and objects, make the index again, tidy up, and repeat a sync that
    failed on an object."""
    if fix:
        _fix(clone)
        _sync_again(clone)
    return [finding for look in _LOOKS for finding in _guarded(look, clone)]


def _guarded(look: Callable[[Clone], Iterator[Finding]], clone: Clone) -> list[Finding]:
    name = look.__name__.strip("_")
    try:
        return list(look(clone))
    except CoordError as error:
        return [Finding(name, False, error.what, error.hint or "")]


def _fix(clone: Clone) -> None:
    """Repair what can be repaired. Raises RepositoryError where we may not write."""
    try:
        clone.mended += obstacles.move_aside(clone.repo.coord_dir)
    except OSError as error:
        raise unwritable(clone.repo.coord_dir, error) from error
    with clone.locked():
        clone.read(lambda db: None)
        # before the index is made again, because it knows what it has seen
        clone.mend(lambda ground, tips: boot.look(ground, tips, thoroughly=True))
        clone.index.discard()
        clone.read(lambda db: None)
    clone.pack(None)
    clone.sweep()


def _sync_again(clone: Clone) -> None:
    """Repeat a sync that failed on an object: only a sync can tell whether the repair helps."""
    from gitcoord.overview.status import syncing
    from gitcoord.sync import exchange, remotes

    found = syncing(clone)
    if found is not None and boot.is_about_objects(found.error):
        name = None if remotes.is_connected(clone.repo) else found.remote
        with suppress(CoordError):  # the sync remembers why it failed, which is reported then
            exchange.sync(clone, name, quiet=True)


def _git(clone: Clone) -> Iterator[Finding]:
    version = os.fsdecode(run(["git", "--version"], clone.repo.env).out).strip()
    yield Finding("git", bool(version), version or "does not run", "" if version else "install git")


def _library(clone: Clone) -> Iterator[Finding]:
    """Whether libgit2 can serve the repository; otherwise git does, more slowly in long-lived programs."""
    try:
        from gitcoord.store.libgit2 import why_not

        reason = why_not(clone.repo)
    except ImportError:
        reason = "pygit2 is not installed"
    yield Finding("libgit2", True, f"git alone is used: {reason}" if reason else "can open this repository")


def _directory(clone: Clone) -> Iterator[Finding]:
    here = clone.repo.coord_dir
    if not os.path.isdir(here):
        yield Finding("clone", True, "gitcoord has written nothing here yet")
        return
    writable = os.access(here, os.W_OK)
    said = f"this clone is {clone.id}" if writable else f"{here} cannot be written"
    yield Finding("clone", writable, said, "" if writable else "make it writable for this user")


def _files(clone: Clone) -> Iterator[Finding]:
    """Report files in the place of ours; nothing if there are none."""
    for path in obstacles.find(clone.repo.coord_dir):
        yield Finding("files", False, f"{path} is in the place of a file of gitcoord", "git coord doctor --fix")


def _reports(clone: Clone) -> Iterator[Finding]:
    """Report bugs of ours, also those in the background, which no command has shown."""
    found = reports.lately(clone.repo.coord_dir)
    if found:
        more = f" ({len(found)} reports)" if len(found) > 1 else ""
        said = f"a bug of gitcoord's{more}: please attach {found[0]} to an issue"
        yield Finding("reports", False, said, f"rm {shell_word(found[0])}")


def _refs(clone: Clone) -> Iterator[Finding]:
    tips = clone.store.tips()
    for ref in tips.broken:
        hint = "git coord doctor --fix" if is_coordination(ref) else f"git update-ref --no-deref -d {shell_word(ref)}"
        yield Finding("refs", False, f"{ref} is unreadable", hint)
    lost = list(boot.lost_refs(clone.store, tips))
    for ref in lost:
        yield Finding("refs", False, f"{ref} points at a lost object", "git coord doctor --fix")
    own = own_logs(tips.refs, clone.id)
    holes = [ref for ref in own if ref not in lost and not mend.is_whole(clone.store, own[ref])]
    for ref in holes:
        yield Finding("refs", False, f"{ref} has lost an object", "git coord doctor --fix")
    aside = [ref for ref in tips.refs if is_aside(ref, clone.id)]
    if aside:
        said = f"{len(aside)} refs keep foreign commits that were found in place of this clone's"
        yield Finding("refs", True, f"{said}: git for-each-ref {NAMESPACE}aside")
    if not lost and not holes and not tips.broken:
        count = clone.read(lambda db: db.execute("SELECT count(*) FROM events").fetchone()[0])
        yield Finding("refs", True, f"{len(tips.refs)} refs, {count} events, our own logs are whole")


def _graph(clone: Clone) -> Iterator[Finding]:
    """Report a commit-graph that names lost commits of ours; nothing if it does not."""
    if gone := graphs.lost(clone.repo, thoroughly=True):
        many = f"{len(gone)} lost commit{'s' if len(gone) > 1 else ''}"
        yield Finding("graph", False, f"git's commit-graph names {many}", "git coord doctor --fix")


def _events(clone: Clone) -> Iterator[Finding]:
    """Compare the events that the index has read with those that exist."""
    seen = [oid for (oid,) in clone.read(lambda db: db.execute("SELECT id FROM events").fetchall())]
    gone = set(clone.store.missing(seen))
    if gone:
        tips = clone.store.tips().refs
        gone -= {oid for ref in tips if is_log(ref) for oid in _carried(clone, tips[ref])}
    if gone:
        yield Finding("events", False, f"{len(gone)} of {len(seen)} events are lost", "git coord doctor --fix")


def _carried(clone: Clone, tip: Oid) -> Iterator[Oid]:
    """The ids of a log's events, carried ones first, as far as they can be read."""
    with suppress(ObjectMissing, NotACommit, NotDescendant):
        yield from (oid for oid, _ in rollover.events_of(clone.store, tip))


def _index(clone: Clone) -> Iterator[Finding]:
    (said,) = clone.read(lambda db: db.execute("PRAGMA quick_check(1)").fetchone())
    well = said == "ok"
    where = " (in memory: the file cannot be written)" if clone.index.in_memory and clone.id else ""
    yield Finding("index", well, f"{said}{where}", "" if well else "git coord doctor --fix")


def _others(clone: Clone) -> Iterator[Finding]:
    """Report commits in other clones' logs that are not events, and misdeeds of other clones."""
    from gitcoord.log.index.intake import left_out, set_aside
    from gitcoord.log.trust import warnings
    from gitcoord.overview.status import strange

    newer, malformed = clone.read(strange)
    for found in newer:
        yield Finding("others", True, f"{found.events} events of {found.clone} need a newer gitcoord")
    for found in malformed:
        hint = f"git config --add coord.ignoreClone {found.clone}"
        yield Finding("others", False, f"{_commits(found.events)} in the log of {found.clone} cannot be used", hint)
        for oid, reason in clone.read(lambda db, of=found.clone: set_aside(db, of, NAMED)):  # type: ignore[misc]
            yield Finding("others", False, f"  {oid}: {reason}")
    for left in clone.read(left_out):
        hint = f"git config --add coord.ignoreClone {left.clone}"
        yield Finding("others", False, f"{left.clone}: gitcoord reads no more of it: {left.why} (--fix looks again)", hint)
    for warning in warnings(clone):
        yield Finding("others", False, f"{warning.clone}: {warning.what}", warning.command)


def _commits(count: int) -> str:
    return "1 commit" if count == 1 else f"{count} commits"


def _hooks(clone: Clone) -> Iterator[Finding]:
    from gitcoord.store import hooks

    found = hooks.status(clone.repo)
    for hook in found:
        if hook.how != "none" and not hook.runs:
            yield Finding("hooks", False, f"{hook.event} does not run: {hook.why}", "git coord hooks status")
    running = [hook.event for hook in found if hook.runs]
    if running:
        yield Finding("hooks", True, ", ".join(running))
    elif all(hook.how == "none" for hook in found):
        yield Finding("hooks", True, "none installed (git coord init)")


def _agents(clone: Clone) -> Iterator[Finding]:
    from gitcoord.agents import install

    for name in install.found_here(clone.repo.environ):
        found = install.status(name, clone.repo.environ)
        if found.moments:
            yield Finding(name, found.runs, found.why or "hooks run", "" if found.runs else f"git coord hooks status {name}")


def _sync(clone: Clone) -> Iterator[Finding]:
    from gitcoord.overview.status import syncing

    found = syncing(clone)
    if found is not None:
        waits = f", {found.waiting} events to be sent" if found.waiting else ""
        said = f"{found.remote}: {found.error}" if found.error else f"{found.remote}{waits}"
        yield Finding("sync", not found.error, said, "git coord sync" if found.error else "")


_LOOKS = (_git, _library, _directory, _files, _reports, _refs, _graph, _events, _index, _others, _hooks, _agents, _sync)
