"""Overlap notices: when two live sessions changed the same path, tell both, once for each pair and path.

While a session has not seen a notice, the next one about the same pair replaces it and repeats its content: many
notices would hide mail. A session's changes are the changes in its worktree and its own commits: commits that the other
session does not have and that are not in the branch from which both began, without merges and mere renames. git says
whether the changes conflict, by merging in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from gitcoord.errors import CoordError, RepositoryError
from gitcoord.features.messages.inbox import unread_notices
from gitcoord.features.overlaps.fold import MAX_PATHS
from gitcoord.lean import Any, NamedTuple, re, sqlite3, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import mailbox
from gitcoord.sessions.presence import files_of, sharers
from gitcoord.sessions.records import Record, Records
from gitcoord.store.worktrees import TouchedFile, Worktree, ignored_paths, list_worktrees, touched_files
from gitcoord.text import ago, inert


class WorktreeChanges(NamedTuple):
    """One worktree, its session, and its changed files."""

    worktree: Worktree
    sessions: tuple[Record, ...]
    changed: tuple[TouchedFile, ...]


class Found(NamedTuple):
    """A path that two sessions changed: when each did (Unix seconds), whether git can merge it (None: it cannot say),
    and whether they were not told yet."""

    path: str
    mine: float
    theirs: float
    clean: bool | None
    new: bool


def notice(clone: Clone, name: str, now: float | None = None) -> list[str]:
    """Find the paths that session `name` and others have changed; tell them. Returns the paths.

    git needs some milliseconds for each worktree in use, so never call this under the write lock.
    """
    try:
        return _notice(clone, name, time.time() if now is None else now)
    except (CoordError, OSError):
        return []  # a missing notice must not make a command fail


def _notice(clone: Clone, name: str, now: float) -> list[str]:
    desks = _desks(clone, now)
    mine = next((desk for desk in desks if any(r.name == name for r in desk.sessions)), None)
    if mine is None or len(desks) < 2:
        return []
    me = next(r for r in mine.sessions if r.name == name)
    told: list[str] = []
    for other in (desk for desk in desks if desk is not mine):
        trunk = _trunk(clone, mine.worktree, other.worktree)
        for peer in other.sessions:
            found = _common(clone, (mine, me), (other, peer), trunk)
            if any(item.new for item in found):
                _tell(clone, (mine, me), (other, peer), found, now)
                told += [item.path for item in found if item.new]
    return told


def _desks(clone: Clone, now: float) -> list[WorktreeChanges]:
    records = Records(clone.repo.coord_dir)
    known = [r for r in records.all() if r.git_dir and not r.person and not r.expected]
    desks = []
    for worktree in list_worktrees(clone.repo):
        there = sharers(known, worktree.git_dir, now)
        if there:
            desks.append(WorktreeChanges(worktree, tuple(there), tuple(touched_files(clone.repo, worktree.path))))
    return desks


def _trunk(clone: Clone, a: Worktree, b: Worktree) -> list[str]:
    """The branches from which work begins, unless the work is done on them: changes on them count for no session."""
    head = clone.repo.git("symbolic-ref", "-q", "--short", "HEAD").out.decode("utf-8", "replace").strip()
    names = {"main", "master", "trunk", "develop", head} - {a.branch, b.branch, ""}
    refs = clone.repo.git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes").out.decode("utf-8", "replace")
    return [ref for ref in refs.split() if ref.split("/", 2 if ref.startswith("refs/heads/") else 3)[-1] in names]


Party = tuple[WorktreeChanges, Record]


def _common(clone: Clone, mine: Party, other: Party, trunk: Sequence[str]) -> list[Found]:
    """The paths that both changed with different results, unless both were told of all of them; new paths come first."""
    ours = _changed(clone, mine, other[0].worktree, trunk)
    theirs = _changed(clone, other, mine[0].worktree, trunk) if ours else {}
    pair = _pair(clone, mine[1], other[1])
    both = ours.keys() & theirs.keys()
    told = clone.read(lambda db: _told(db, pair)) if both else set()
    if both <= told:
        return []
    both = both - ignored_paths(clone.repo, mine[0].worktree, both)  # names of ignored files are never published
    kinds, moved = _merged(clone, mine[0].worktree, other[0].worktree)
    paths = [path for path in both if _is_text(path) and path not in moved and (kinds is None or path in kinds)]
    paths.sort(key=lambda path: (path in told, path))
    return [Found(p, ours[p], theirs[p], None if kinds is None else kinds[p], p not in told) for p in paths[:MAX_PATHS]]


def _pair(clone: Clone, a: Record, b: Record) -> tuple[str, ...]:
    return tuple(sorted((clone.box(a.name), clone.box(b.name))))


def _told(db: sqlite3.Connection, pair: tuple[str, ...]) -> set[str]:
    return {path for (path,) in db.execute("SELECT path FROM overlaps WHERE a = ? AND b = ?", pair)}


def _is_text(path: str) -> bool:
    with suppress(UnicodeEncodeError):
        return bool(path.encode())
    return False


def _changed(clone: Clone, party: Party, other: Worktree, trunk: Sequence[str]) -> dict[str, float]:
    """A session's changes, as seen from another worktree, and their times: its own commits and its worktree's changes."""
    desk, record = party
    changed = files_of(record, desk.changed, len(desk.sessions) <= 1)
    return {**_committed(clone, desk.worktree, other, trunk), **{f.path: f.at for f in changed}}


def _committed(clone: Clone, mine: Worktree, other: Worktree, trunk: Sequence[str]) -> dict[str, float]:
    if not mine.head or mine.head == other.head:
        return {}
    what = (
        "--first-parent",
        "--no-merges",
        "--no-show-signature",
        "-n",
        "500",
        "--format=%x01%ct",
        "--name-status",
        "-z",
        "-M",
    )
    without = [other.head] if other.head else []
    result = clone.repo.git("log", *what, mine.head, "--not", *without, *trunk, "--")
    at, found = 0.0, dict[str, float]()
    words = iter(os.fsdecode(result.out).split("\0"))
    for word in words:
        word = word.lstrip("\n")
        if word.startswith("\1"):
            at = float(word[1:])
        elif re.fullmatch(r"[A-Z]\d*", word):
            for path in _paths(word, words):
                found.setdefault(path, at)  # newest first
    return found


def _paths(status: str, words: Iterator[str]) -> list[str]:
    paths = [next(words, "") for _ in range(2 if status[0] in "RC" else 1)]
    return [] if status[1:] == "100" else paths


def _merged(clone: Clone, a: Worktree, b: Worktree) -> tuple[dict[str, bool] | None, set[str]]:
    """The paths that differ on both sides, and whether each merges cleanly; and the paths that were only renamed."""
    from gitcoord.features.overlaps import conflicts
    from gitcoord.store.merging import Scratch, look

    try:
        found = conflicts.collide(clone, [(conflicts.Side((), a.path), conflicts.Side((), b.path))])
        with Scratch(clone.repo) as scratch:
            from pathlib import Path  # costs 4 ms, which `send` should not pay, although it loads this fold

            looks = [look(clone.repo, Path(w.path), Path(w.git_dir)) for w in (a, b)]
            moved = {path for diff in looks if diff for path in scratch.renamed(diff)}
    except RepositoryError:
        return None, set()
    kinds = {c.path: c.kind == "both" for c in found}
    return kinds, {os.fsdecode(path) for path in moved}


def _tell(clone: Clone, mine: Party, other: Party, found: Sequence[Found], now: float) -> None:
    """Tell both in one append, and record it; nothing if another process has done it."""
    (desk, me), (there, peer) = mine, other
    pair = _pair(clone, me, peer)
    flipped = [f._replace(mine=f.theirs, theirs=f.mine) for f in found]
    new = [f.path for f in found if f.new]

    def told(db: sqlite3.Connection, reader: Record, of: Record, at: WorktreeChanges, all_of_it: Sequence[Found]) -> Draft:
        box, about = mailbox(reader.name, clone.settled_id()), " ".join(pair)
        unseen = unread_notices(db, clone, box, "overlap", about)
        shown = all_of_it if unseen else [f for f in all_of_it if f.new]
        data: dict[str, Any] = {"to": [box], "notice": "overlap", "about": about}
        data |= {"replaces": unseen} if unseen else {}
        data |= {"quiet": True} if all(f.clean for f in shown) else {}
        return Draft("message", _text(of, at, shown, now), data, author=me.name)

    def decide(db: sqlite3.Connection) -> list[Draft]:
        if {*new} <= _told(db, pair):
            return []
        what = {"between": list(pair), "paths": new}
        fact = Draft("overlap", f"{me.name} and {peer.name} changed {_names(new)}", what, author=me.name)
        return [fact, told(db, me, peer, there, found), told(db, peer, me, desk, flipped)]

    clone.append(decide)


def _names(paths: Sequence[str]) -> str:
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _text(peer: Record, desk: WorktreeChanges, found: Sequence[Found], now: float) -> str:
    """The message to one session about the other."""
    where = f" (branch {desk.worktree.branch})" if desk.worktree.branch else ""
    lines = [f"{inert(f.path)}, {ago(f.theirs, now)}: {_VERDICT[f.clean]}" for f in found[:20]]
    more = [f"and {len(found) - 20} more"] if len(found) > 20 else []
    if len(lines) == 1:
        return f"{peer.name}{where} changed what you changed: {lines[0]}"
    return "\n".join([f"{peer.name}{where} changed what you changed:", *lines, *more])


_VERDICT = {True: "it merges cleanly", False: "it will conflict", None: "this git is too old to say whether it merges"}
