"""Overlap notices: when two live sessions changed the same path, tell both, and again when the verdict changes or it is
over.

While a session has not seen a notice, the next one about the same pair replaces it and repeats its content: many
notices would hide mail. A session's changes are the changes in its worktree and its own commits: commits that the other
session does not have and that are not in the branch from which both began, without merges and mere renames. git says
whether the changes conflict, by merging in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence

from gitcoord.errors import CoordError, RepositoryError
from gitcoord.features.messages.inbox import unread_notices
from gitcoord.features.overlaps.fold import CLEAN, CONFLICT, MAX_PATHS, OVER, UNKNOWN, VERDICTS
from gitcoord.lean import Any, NamedTuple, re, sqlite3, suppress
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import mailbox, split_mailbox
from gitcoord.sessions.presence import files_of, sharers
from gitcoord.sessions.records import Record, Records
from gitcoord.store.worktrees import TouchedFile, Worktree, ignored_paths, list_worktrees, touched_files
from gitcoord.text import inert, moment


class WorktreeChanges(NamedTuple):
    """One worktree, its session, and its changed files."""

    worktree: Worktree
    sessions: tuple[Record, ...]
    changed: tuple[TouchedFile, ...]


class Found(NamedTuple):
    """A path that two sessions changed, or no longer change both: when each did (Unix seconds; 0: not at all any more), its
    verdict (fold.VERDICTS), and the one that they were told last, empty if none."""

    path: str
    mine: float
    theirs: float
    verdict: str
    before: str

    @property
    def is_news(self) -> bool:
        """Whether to tell: of a path for the first time, of a verdict that changed, and that a conflict is over."""
        return self.verdict != self.before and not (self.verdict == OVER and self.before != CONFLICT)

    @property
    def is_urgent(self) -> bool:
        """Whether an idle session should hear of it: the others merge by themselves."""
        return self.verdict in (CONFLICT, UNKNOWN)


def notice(clone: Clone, name: str, now: float | None = None) -> list[str]:
    """Find the paths that session `name` and others have changed; tell them. Returns the paths.

    git needs some milliseconds for each worktree in use, so never call this under the write lock.
    """
    try:
        return _notice(clone, name, time.time() if now is None else now)
    except (CoordError, OSError):
        return []  # a missing notice must not make a command fail


def _notice(clone: Clone, name: str, now: float) -> list[str]:
    looked = _worktrees(clone, now)
    mine = next((side for side in looked if any(r.name == name for r in side.sessions)), None)
    if mine is None or len(looked) < 2:
        return []
    me = next(r for r in mine.sessions if r.name == name)
    told: list[str] = []
    for other in (side for side in looked if side is not mine):
        trunk = _trunk(clone, mine.worktree, other.worktree)
        for peer in other.sessions:
            found = _common(clone, (mine, me), (other, peer), trunk)
            if any(item.verdict != item.before for item in found):
                _tell(clone, (mine, me), (other, peer), found)
                told += [item.path for item in found if item.is_news]
    _forget_the_gone(clone, me, [r.name for side in looked for r in side.sessions])
    return told


def _forget_the_gone(clone: Clone, me: Record, here: Sequence[str]) -> None:
    """Forget the notices about sessions that are gone: another session may get such a name, and is to be told anew."""
    if clone.read(lambda db: forget(db, clone, me.name, here)):
        clone.append(lambda db: forget(db, clone, me.name, here))


def forget(db: sqlite3.Connection, clone: Clone, name: str, but: Sequence[str] = ()) -> list[Draft]:
    """Events that forget what a session and others were told of each other, without its pairs with those in `but`."""
    box = clone.box(name)
    query = "SELECT a, b, path FROM overlaps WHERE ? IN (a, b) AND verdict != ?"
    pairs: dict[tuple[str, str], list[str]] = {}
    for a, b, path in db.execute(query, (box, OVER)):
        peer, _ = split_mailbox(b if a == box else a)
        if peer not in but:
            pairs.setdefault((a, b), []).append(path)
    return [_fact(name, pair, OVER, paths[:MAX_PATHS]) for pair, paths in pairs.items()]


def _worktrees(clone: Clone, now: float) -> list[WorktreeChanges]:
    records = Records(clone.repo.coord_dir)
    known = [r for r in records.all() if r.git_dir and not r.person and not r.expected]
    looked = []
    for worktree in list_worktrees(clone.repo):
        there = sharers(known, worktree.git_dir, now)
        if there:
            looked.append(WorktreeChanges(worktree, tuple(there), tuple(touched_files(clone.repo, worktree.path))))
    return looked


def _trunk(clone: Clone, a: Worktree, b: Worktree) -> list[str]:
    """The branches from which work begins, unless the work is done on them: changes on them count for no session."""
    head = clone.repo.git("symbolic-ref", "-q", "--short", "HEAD").out.decode("utf-8", "replace").strip()
    names = {"main", "master", "trunk", "develop", head} - {a.branch, b.branch, ""}
    refs = clone.repo.git("for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes").out.decode("utf-8", "replace")
    return [ref for ref in refs.split() if ref.split("/", 2 if ref.startswith("refs/heads/") else 3)[-1] in names]


Party = tuple[WorktreeChanges, Record]


def _common(clone: Clone, mine: Party, other: Party, trunk: Sequence[str]) -> list[Found]:
    """The paths that both changed, if the results differ, and those of which they were told that it is so and that is over;
    news come first."""
    ours = _changed(clone, mine, other[0].worktree, trunk)
    theirs = _changed(clone, other, mine[0].worktree, trunk) if ours else {}
    pair = _pair(clone, mine[1], other[1])
    both = ours.keys() & theirs.keys()
    told = clone.read(lambda db: _told(db, pair))
    both = both - ignored_paths(clone.repo, mine[0].worktree, both) if both else both  # whose names are never published
    kinds, moved = _merged(clone, mine[0].worktree, other[0].worktree) if both else ({}, set())
    paths = [path for path in both if _is_text(path) and path not in moved and (kinds is None or path in kinds)]
    found = [Found(p, ours[p], theirs[p], _verdict(kinds, p), told.get(p, "")) for p in paths]
    found += [Found(p, ours.get(p, 0), theirs.get(p, 0), OVER, told[p]) for p in told if p not in paths]
    return sorted(found, key=lambda item: (not item.is_news, item.verdict == OVER, item.path))[:MAX_PATHS]


def _verdict(kinds: Mapping[str, bool] | None, path: str) -> str:
    return UNKNOWN if kinds is None else CLEAN if kinds[path] else CONFLICT


def _pair(clone: Clone, a: Record, b: Record) -> tuple[str, ...]:
    return tuple(sorted((clone.box(a.name), clone.box(b.name))))


def _told(db: sqlite3.Connection, pair: tuple[str, ...]) -> dict[str, str]:
    """The last verdict that the two were told, by path, without those that are over."""
    rows = db.execute("SELECT path, verdict FROM overlaps WHERE a = ? AND b = ? AND verdict != ?", (*pair, OVER))
    return dict(rows.fetchall())


def _is_text(path: str) -> bool:
    with suppress(UnicodeEncodeError):
        return bool(path.encode())
    return False


def _changed(clone: Clone, party: Party, other: Worktree, trunk: Sequence[str]) -> dict[str, float]:
    """A session's changes, as seen from another worktree, and their times: its own commits and its worktree's changes."""
    side, record = party
    changed = files_of(record, side.changed, len(side.sessions) <= 1)
    return {**_committed(clone, side.worktree, other, trunk), **{f.path: f.at for f in changed}}


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


def _tell(clone: Clone, mine: Party, other: Party, found: Sequence[Found]) -> None:
    """Tell both in one append, and record it; nothing if another process has done it."""
    (side, me), (there, peer) = mine, other
    pair = _pair(clone, me, peer)
    flipped = [f._replace(mine=f.theirs, theirs=f.mine) for f in found]
    changed = [f for f in found if f.verdict != f.before]

    def told(
        db: sqlite3.Connection, reader: Record, of: Record, at: WorktreeChanges, all_of_it: Sequence[Found]
    ) -> list[Draft]:
        box, about = mailbox(reader.name, clone.settled_id()), " ".join(pair)
        unseen = unread_notices(db, clone, box, "overlap", about)
        shown = [f for f in all_of_it if f.is_news or (unseen and f.verdict != OVER)]
        shown = shown or [f for f in all_of_it if unseen and f.verdict == OVER]  # what was not seen yet is no longer so
        if not shown:
            return []
        data: dict[str, Any] = {"to": [box], "notice": "overlap", "about": about}
        data |= {"replaces": unseen} if unseen else {}
        data |= {} if any(f.is_urgent for f in shown) else {"quiet": True}
        return [Draft("message", _text(of, at, shown), data, author=me.name)]

    def decide(db: sqlite3.Connection) -> list[Draft]:
        before = _told(db, pair)
        if any(before.get(f.path, "") != f.before for f in changed):
            return []
        by_verdict = {verdict: [f.path for f in changed if f.verdict == verdict] for verdict in VERDICTS}
        facts = [_fact(me.name, pair, verdict, paths) for verdict, paths in by_verdict.items() if paths]
        return [*facts, *told(db, me, peer, there, found), *told(db, peer, me, side, flipped)]

    clone.append(decide)


def _fact(author: str, pair: Sequence[str], verdict: str, paths: Sequence[str]) -> Draft:
    """The event that says what both were told."""
    names = " and ".join(split_mailbox(box)[0] for box in pair)
    did = "no longer both change" if verdict == OVER else "changed"
    what = {"between": [*pair], "paths": [*paths], "verdict": verdict}
    return Draft("overlap", f"{names} {did} {_names(paths)}", what, author=author)


def _names(paths: Sequence[str]) -> str:
    return ", ".join(paths[:5]) + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _text(peer: Record, side: WorktreeChanges, found: Sequence[Found]) -> str:
    """The message to one session about the other."""
    where = f" (branch {side.worktree.branch})" if side.worktree.branch else ""
    lines = [_line(f) for f in found if f.verdict != OVER]
    over = [inert(f.path) for f in found if f.verdict == OVER]
    parts = [f"You and {peer.name}{where} no longer both change {_names(over)}"] if over else []
    if len(lines) == 1:
        parts.insert(0, f"{peer.name}{where} changed what you changed: {lines[0]}")
    elif lines:
        more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
        parts.insert(0, "\n".join([f"{peer.name}{where} changed what you changed:", *lines[:20], *more]))
    if any(f.verdict == CONFLICT for f in found):
        parts.append(f"See the difference: git coord diff {peer.name}")
    return "\n".join(parts)


def _line(found: Found) -> str:
    word = "now " if found.before in (CLEAN, CONFLICT) and found.is_news else ""
    return f"{inert(found.path)}, {moment(found.theirs)}: {word}{_SAID[found.verdict]}"


_SAID = {
    CONFLICT: "it will conflict",
    CLEAN: "it merges cleanly",
    UNKNOWN: "this git is too old to say whether it merges",
}
