"""Find and repair the damage of a power loss: at the first command after a boot (`boots`), and with `git coord
doctor --fix`."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gitcoord.errors import RefMoved
from gitcoord.lean import suppress
from gitcoord.log import mend
from gitcoord.log.ground import Ground
from gitcoord.log.restore import restore_objects
from gitcoord.log.salvage import drop_damaged
from gitcoord.store import graphs, sweep
from gitcoord.store.absent import is_damaged
from gitcoord.store.contract import Store, Tips
from gitcoord.store.loose import remove_loose, torn_files
from gitcoord.store.ref_names import is_coordination


def look(ground: Ground, tips: Tips, thoroughly: bool = False) -> list[str]:
    """Restore our torn objects, remove empty object files, and repair refs that point nowhere; returns a line for each. Our
    logs are walked to their roots if there was any damage, or if `thoroughly`. Raises Unreadable."""
    repo = ground.store.repo
    done = restore_objects(ground.store, ground.journal, [*ground.journal.tips().values(), *tips.refs.values()])
    done += _remove_torn(ground)
    drop_damaged(ground.store, sweep.superseded(os.path.join(repo.coord_dir, "superseded")))
    done += settle_refs(ground, tips, thoroughly or bool(done))
    return done + graphs.mend(repo, thoroughly)


def _remove_torn(ground: Ground) -> list[str]:
    """Remove files that do not contain the object that they are named after: git takes each for the object."""
    repo = ground.store.repo
    torn = [oid for oid in torn_files(repo, ground.pen.tree({})[-1].oid) if remove_loose(repo, oid)]
    many = f"{len(torn)} torn or empty object file{'s' if len(torn) > 1 else ''}"
    return [f"removed {many}, as a power loss leaves them"] if torn else []


_OF_OBJECTS = ("object", "inflate", "unpack", "did not send all", "header for ")


def is_about_objects(said: str) -> bool:
    """Whether git's words are about objects that it could not read."""
    return any(word in said for word in _OF_OBJECTS)


def restore_and_settle(ground: Ground, tips: Tips) -> list[str]:
    """Restore lost objects from the journal, remove torn files, and repair refs that point nowhere. A torn object stops git
    even if no ref needs it: when the remote has it, git asks whether we have it, too."""
    done = restore_objects(ground.store, ground.journal, [*ground.journal.tips().values(), *tips.refs.values()])
    done += _remove_torn(ground)
    return done + settle_refs(ground, tips, thoroughly=bool(done))


def fill_holes(ground: Ground, tips: Tips) -> list[str]:
    """As `restore_and_settle`, but walk our logs to their roots."""
    return restore_and_settle(ground, tips) or settle_refs(ground, tips, thoroughly=True)


def lost_refs(store: Store, tips: Tips) -> Iterator[str]:
    """The refs of our format whose own commit is lost. Raises Unreadable if git cannot tell."""
    refs = [ref for ref in tips.refs if is_coordination(ref)]
    gone = set(store.missing([tips.refs[ref] for ref in refs]))
    gone |= {tips.refs[ref] for ref in refs if is_damaged(store.repo, tips.refs[ref])}
    yield from (ref for ref in refs if tips.refs[ref] in gone)


def settle_refs(ground: Ground, tips: Tips, thoroughly: bool = False) -> list[str]:
    """Repair the refs of our format whose commit is lost; `thoroughly`: also our own logs with a hole further down."""
    lost = list(lost_refs(ground.store, tips))
    own = ground.own_logs(tips)
    done = mend.drop_lost(ground, [ref for ref in lost if ref not in own], tips)
    for ref in own if thoroughly else [ref for ref in lost if ref in own]:
        with suppress(RefMoved):  # the next command looks again
            if mend.is_whole(ground.store, own[ref]):
                continue
            done += mend.restore_log(ground, ref, own[ref], mend.own_seen(ground).get(ref, own[ref]))
    return done
