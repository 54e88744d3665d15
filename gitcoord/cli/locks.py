"""The verbs lock, unlock, locks and check."""

from __future__ import annotations

import time

from gitcoord import Coord
from gitcoord.cli.command import argument, command, option
from gitcoord.cli.output import ago, inert, not_signed, one_line, paint, quoted, say, say_block, say_json
from gitcoord.cli.params import common, duration, limited, opened
from gitcoord.cli.talk import SHORT
from gitcoord.errors import Refused
from gitcoord.lean import TYPE_CHECKING
from gitcoord.overview.shapes import check_json, lock_json, shown_name
from gitcoord.system.streams import remark
from gitcoord.text import seconds_in, shell_word

if TYPE_CHECKING:
    from gitcoord.features.locks.read import Lock
    from gitcoord.overview.checks import Check

FOR_EVER = "-"


@command(short_help="lock paths or patterns")
@argument("patterns", nargs=-1, metavar="PATTERN…")
@option("-m", "reason", default="", metavar="REASON", help="The reason, for others to see.")
@option("--ttl", metavar="2h", help="How long it holds (2h).")
@option("--shared", is_flag=True, help="Let others share it.")
@option("--wait", is_flag=False, flag_value=FOR_EVER, metavar="[S]", help="Wait in a queue, at most S seconds.")
@option("--global", "everywhere", is_flag=True, help="In all clones of the remote.")
@common
def lock(
    patterns: tuple[str, ...],
    reason: str,
    ttl: str | None,
    shared: bool,
    wait: str | None,
    everywhere: bool,
    as_name: str | None,
    as_json: bool,
) -> int:
    """Lock paths or patterns as in .gitignore until I unlock or leave, or the time is over.

    Example: git coord lock src/db '*.sql' -m "new schema"
    """
    if wait not in (None, FOR_EVER, "0") and seconds_in(str(wait)) is None:  # `lock --wait 7z.c`
        assert wait is not None
        patterns, wait = (wait, *patterns), FOR_EVER
    seconds = 0 if wait is None else None if wait == FOR_EVER else duration(wait, "--wait")
    with opened(as_name, patience=seconds) as coord:
        for line in coord.locks.remarks(patterns):
            remark(line)
        try:
            taken = coord.locks.take(
                patterns,
                reason=" ".join(reason.split()),
                ttl=duration(ttl, "--ttl"),
                shared=shared,
                wait=seconds,
                everywhere=everywhere,
            )
        except Refused as error:
            error.more = {"locks": [lock_json(coord, other) for other in vars(error).get("locks", ())]}
            raise
        if taken.local:
            remark("git ignores a file that this names: other clones do not see this lock (--allow-secret publishes it)")
        _say_locks(coord, [taken], as_json, "locked ")
    return 0


@command(short_help="end my locks")
@argument("patterns", nargs=-1, metavar="[PATTERN]…")
@option("--all", "everything", is_flag=True, help="All my locks.")
@option("--force", is_flag=True, help="Another's lock too; its holder is told.")
@common
def unlock(patterns: tuple[str, ...], everything: bool, force: bool, as_name: str | None, as_json: bool) -> None:
    """End my locks on these patterns, or all of mine.

    Example: git coord unlock src/db
    """
    with opened(as_name) as coord:
        ended = coord.locks.release(patterns, everything=everything, force=force)
        _say_locks(coord, ended, as_json, "unlocked ", "Nothing was locked.")


@command(short_help="who holds what")
@option("--holder", metavar="S", help="Only those of this session.")
@limited
@common
def locks(holder: str | None, limit: int, as_name: str | None, as_json: bool) -> None:
    """The locks that hold, oldest first.

    Example: git coord locks --json
    """
    with opened(as_name) as coord:
        boxes = coord.sessions.mailboxes(holder) if holder else ()
        found = [lock for lock in coord.locks.held() if not holder or lock.holder in boxes]
        _say_locks(coord, found[:limit], as_json, "", "No locks.")
        if not as_json and len(found) > limit:
            say(f"({len(found) - limit} more: -n {len(found)})")


def _say_locks(coord: Coord, found: list[Lock], as_json: bool, what: str, none: str = "") -> None:
    if as_json:
        say_json([lock_json(coord, lock) for lock in found])
        return
    held = coord.trust.held_back([lock.id for lock in found])
    for lock in found:
        say(what + _line(coord, lock) + not_signed(lock.id, held))
    if not found:
        say(none)


def _line(coord: Coord, lock: Lock) -> str:
    from gitcoord.text import span

    who = "" if lock.holder == coord.mailbox else f" by {shown_name(coord, lock.holder)}"
    left = span(lock.expires - time.time())
    because = f", “{one_line(lock.reason, 60)}”" if lock.reason else ""
    shared = " (shared)" if lock.shared else ""
    shared += " (only in this clone)" if lock.local else ""
    return f"{paint(inert(', '.join(lock.patterns)), '33')}{shared}{who}, {ago(lock.at)}, for another {left}{because}"


@command(short_help="may I touch this path?")
@argument("paths", nargs=-1, required=True, metavar="PATH…")
@common
def check(paths: tuple[str, ...], as_name: str | None, as_json: bool) -> int:
    """Exit 1 if another session has locked a path or works in its worktree. Edits and notes are only shown.

    Example: git coord check src/db/schema.py
    """
    with opened(as_name) as coord:
        found = coord.locks.check(paths)
        if as_json:
            say_json([check_json(coord, item) for item in found])
        else:
            for item in found:
                _say_check(coord, item)
    return 1 if any(item.blocked for item in found) else 0


def _say_check(coord: Coord, item: Check) -> None:
    me = coord.mailbox
    say(f"{item.path}: {'taken' if item.blocked else 'free'}")
    held = coord.trust.held_back([lock.id for lock in item.locks])
    for lock in item.locks:
        say(f"  {'locked by you' if lock.holder == me else 'locked'}: {_line(coord, lock)}{not_signed(lock.id, held)}")
    for box in item.occupied_by:
        say(f"  {shown_name(coord, box)} works in {item.worktree}")
    for touch in item.touched_by:
        say(f"  {shown_name(coord, touch.session)} changed it {ago(touch.at)}")
    for note in item.notes[:5]:
        say(f"  {note.id[:SHORT]} from {shown_name(coord, note.sender)}, {ago(note.at)}")
        say_block(quoted(note.text, "    > "))
    if len(item.notes) > 5:
        say(f"  (more notes: git coord notes --path {shell_word(item.path)})")
