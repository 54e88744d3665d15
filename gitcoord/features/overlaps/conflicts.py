"""Find the files that will conflict: merge the work of live sessions pairwise in memory, uncommitted work included.

Results are cached by content in `coord/conflicts.json`, which may be removed at any time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from pathlib import Path

from gitcoord.errors import UsageError
from gitcoord.lean import Any, Literal, NamedTuple, suppress
from gitcoord.log.clone import Clone
from gitcoord.names import mailbox
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.liveness import judge_published
from gitcoord.sessions.mailboxes import resolve_name
from gitcoord.sessions.membership import presences
from gitcoord.sessions.presence import sharers, silence
from gitcoord.sessions.records import Records
from gitcoord.store.merging import Scratch, WorktreeDiff, look
from gitcoord.store.objects import Oid
from gitcoord.store.worktrees import git_dir_of, list_worktrees
from gitcoord.system.files import read_ours, replace_ours
from gitcoord.system.streams import counted

REMEMBERED = 5_000
"""Number of pairs that the cache keeps."""

Kind = Literal["conflict", "both"]


class Side(NamedTuple):
    """One side of a merge: the sessions of one worktree (mailboxes), or another clone's session, of which only `head` is
    known."""

    sessions: tuple[str, ...]
    worktree: str
    head: Oid | None = None


class Collision(NamedTuple):
    """A path that two sides changed: `conflict` if git could not merge it, `both` if it could. Sides are mailboxes."""

    a: tuple[str, ...]
    b: tuple[str, ...]
    path: str
    kind: Kind


def conflicts(clone: Clone, me: Identity, only: str | None = None, now: float | None = None) -> list[Collision]:
    """Files that conflict between the sessions that are not gone; conflicts first, and mine before those of others.

    With `only`, those of that session. Another clone's session counts if its head has been fetched. Raises UsageError
    for an unknown session, RepositoryError with a git before 2.39.
    """
    sides = live_sides(clone, time.time() if now is None else now)
    mine = clone.box(me.name)
    sides.sort(key=lambda side: mine not in side.sessions)
    pairs = list(combinations(sides, 2))
    if only is not None:
        box = clone.read(lambda db: resolve_name(db, only, clone.id))
        if not any(box in side.sessions for side in sides):
            raise UsageError(f"this clone has no worktree or branch of {only} to merge", "git coord sessions")
        pairs = [pair for pair in pairs if box in pair[0].sessions + pair[1].sessions]
    return sorted(collide(clone, pairs), key=lambda c: c.kind != "conflict")


def live_sides(clone: Clone, now: float) -> list[Side]:
    """The worktrees that have sessions, and the fetched heads of other clones' sessions."""
    records = Records(clone.repo.coord_dir)
    known = [r for r in records.all() if not r.expected and not r.person]
    here = clone.id
    sides = []
    for worktree in list_worktrees(clone.repo):
        there = sharers(known, worktree.git_dir, now) if worktree.git_dir else []
        if there:
            sides.append(Side(tuple(mailbox(r.name, here) for r in there), worktree.path))
    return sides + _foreign_sides(clone, now)


def _foreign_sides(clone: Clone, now: float) -> list[Side]:
    rows = clone.read(presences)
    sides, quiet = [], silence(clone)
    for origin, name, text, seen in rows:
        data: dict[str, Any] = json.loads(text)
        head = data.get("head")
        there = not clone.is_ours(origin) and judge_published(data, seen, now, quiet).state not in ("gone", "expected")
        if there and isinstance(head, str):
            sides.append(Side((mailbox(name, origin),), "", Oid(head)))
    absent = set(clone.store.missing([side.head for side in sides if side.head]))
    return [side for side in sides if side.head not in absent]


def collide(clone: Clone, pairs: Sequence[tuple[Side, Side]]) -> list[Collision]:
    """The collisions between the sides of each pair; unknown pairs are merged. Raises RepositoryError."""
    sides = dict.fromkeys(side for pair in pairs for side in pair)
    diffs = {side: _look(clone, side) for side in counted("Looking at worktrees", sides)}
    keys = {(a, b): _key(x, y) for a, b in pairs if (x := diffs[a]) and (y := diffs[b])}
    memory = _Memory(clone.path("conflicts.json"))
    fresh = {key: (x, y) for (a, b), key in keys.items() if key not in memory.known and (x := diffs[a]) and (y := diffs[b])}
    memory.add(dict(zip(fresh, _merge(clone, list(fresh.values())), strict=True)))
    return [Collision(a.sessions, b.sessions, path, kind) for (a, b), key in keys.items() for path, kind in memory.known[key]]


def _look(clone: Clone, side: Side) -> WorktreeDiff | None:
    if side.head:
        return WorktreeDiff(Path(), Path(), side.head, True, (), side.head)
    return look(clone.repo, Path(side.worktree), Path(git_dir_of(clone.repo, side.worktree)))


def _key(a: WorktreeDiff, b: WorktreeDiff) -> str:
    return " ".join(sorted((a.fingerprint, b.fingerprint)))


Found = list[tuple[str, Kind]]


def _merge(clone: Clone, pairs: Sequence[tuple[WorktreeDiff, WorktreeDiff]]) -> list[Found]:
    """Merge in memory; a path that both changed in the same way is not reported."""
    if not pairs:
        return []
    where = next((x for pair in pairs for x in pair if x.git_dir != Path()), None)
    with Scratch(clone.repo) as scratch:
        commits = [(scratch.commit(a), scratch.commit(b)) for a, b in pairs]
        base = cache(scratch.base)
        changes = cache(scratch.changes)
        found = []
        merged = zip(commits, pairs, scratch.merge(where, commits), strict=True)
        for (a, b), heads, failed in counted("Merging in memory", merged):
            common = base(*(x.head for x in heads))
            ours, theirs = changes(common, a), changes(common, b)
            both = {path for path in ours.keys() & theirs.keys() if ours[path] != theirs[path]}
            found.append(_sorted(set(failed), both))
        return found


def _sorted(failed: set[bytes], both: set[bytes]) -> Found:
    kinds: Found = [(os.fsdecode(path), "conflict") for path in sorted(failed)]
    return kinds + [(os.fsdecode(path), "both") for path in sorted(both - failed)]


class _Memory:
    """Earlier results, by the fingerprints of the two sides."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.known = _load(path)

    def add(self, found: dict[str, Found]) -> None:
        """Add results and drop the oldest. A failure to save them is harmless."""
        self.known |= found
        if not found:
            return
        kept = dict(list(self.known.items())[-REMEMBERED:])
        with suppress(OSError):
            replace_ours(self._path, f"{json.dumps(kept)}\n".encode())


def _load(path: str) -> dict[str, Found]:
    try:
        data: dict[str, list[list[str]]] = json.loads(read_ours(path))
        return {key: [(str(name), _kind(kind)) for name, kind in found] for key, found in data.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _kind(text: str) -> Kind:
    if text not in ("conflict", "both"):
        raise ValueError(text)
    return "conflict" if text == "conflict" else "both"
