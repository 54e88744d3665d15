"""The verbs status, brief, state, conflicts and diff."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord import Coord
from gitcoord.cli.command import Choice, IntRange, argument, command, group, option
from gitcoord.cli.output import paint, say, say_block, say_json, say_whole
from gitcoord.cli.params import common, opened, text_options, the_text
from gitcoord.cli.talk import SHORT
from gitcoord.errors import UsageError
from gitcoord.lean import TYPE_CHECKING, Any
from gitcoord.names import mailbox
from gitcoord.overview.shapes import collision_json, shown_name
from gitcoord.text import ago, inert, one_line, rfc3339, said

if TYPE_CHECKING:
    from gitcoord.features.locks.read import Lock
    from gitcoord.features.messages.debts import Balance
    from gitcoord.features.overlaps.conflicts import Collision
    from gitcoord.features.state import Value
    from gitcoord.overview.counts import Short
    from gitcoord.overview.roster import Session
    from gitcoord.overview.status import Status, Strange, Syncing

SHOWN = 20
"""Lines after which a plain list stops and says so."""


# status


@command(short_help="where I stand, on one screen")
@option("--short", is_flag=True, help="One line, for prompts.")
@common
def status(short: bool, as_name: str | None, as_json: bool) -> None:
    """My status: me, unread mail, tasks, locks, jobs, peers.

    Example: git coord status --short
    """
    with opened(as_name) as coord:
        if short:
            _say_short(coord.overview.short(), as_json)
        elif as_json:
            say_json(_status_json(coord, coord.overview.status()))
        else:
            _say_status(coord, coord.overview.status())


def _say_short(found: Short, as_json: bool) -> None:
    if as_json:
        say_json(found._asdict())
        return
    counts = [(found.unread, "unread"), (found.peers, "peers" if found.peers > 1 else "peer")]
    counts += [(found.tasks, "tasks" if found.tasks > 1 else "task")] if found.tasks > bool(found.holding) else []
    counts += [(found.ready, "ready"), (found.locks, "locks" if found.locks > 1 else "lock")]
    holding = [f"holding {found.holding[:6]}"] if found.holding else []
    say(", ".join([found.session, *(f"{number} {what}" for number, what in counts if number), *holding]))


def _status_json(coord: Coord, found: Status) -> dict[str, Any]:
    return {
        "me": _peer_json(coord, found.me) if found.me else {"session": coord.identity.name, "state": None},
        "unread": found.unread,
        "owed": {"by_me": found.owed.by_me, "to_me": found.owed.to_me},
        "tasks": [{"id": row.id, "title": row.title, "status": row.status} for row in found.tasks],
        "ready": found.ready,
        "locks": [{"id": k.id, "patterns": k.patterns, "expires": rfc3339(k.expires)} for k in found.locks],
        "jobs": [{"id": job.id, "name": job.name, "started": rfc3339(job.started)} for job in found.jobs],
        "peers": [_peer_json(coord, peer) for peer in found.peers],
        "newer": [strange._asdict() for strange in found.newer],
        "malformed": [strange._asdict() for strange in found.malformed],
        "left_out": [left._asdict() for left in found.left_out],
        "warnings": [warning._asdict() for warning in found.warnings],
        "sync": {**found.sync._asdict(), "at": rfc3339(found.sync.at)} if found.sync else None,
    }


def _peer_json(coord: Coord, s: Session) -> dict[str, Any]:
    return {
        "session": shown_name(coord, mailbox(s.session or "", s.clone or "")),
        "state": s.state,
        "branch": s.branch,
        "role": s.role or None,
        "focus": s.focus or None,
        "beat": rfc3339(s.beat),
    }


def _say_status(coord: Coord, found: Status) -> None:
    if found.me:
        say(f"me      {_peer(coord, found.me)}")
    else:
        say(f"me      {coord.identity.name} (not registered yet)")
    oldest = f", the oldest from {ago(found.oldest)} (git coord inbox)" if found.unread else ""
    say(f"unread  {found.unread or 'none'}{oldest}")
    _say_owed(found.owed)
    for number, row in enumerate(found.tasks[:SHOWN]):
        say(f"{'tasks' if number == 0 else '':<8}{row.id[:SHORT]} {row.status} {said(row.title)}")
    if found.ready or not found.tasks:
        take = f"{found.ready} ready (git coord task next --claim)" if found.ready else "none"
        say(f"{'' if found.tasks else 'tasks':<8}{take}")
    _say_locks(found.locks[:SHOWN])
    for number, job in enumerate(found.jobs[:SHOWN]):
        say(inert(f"{'jobs' if number == 0 else '':<8}{job.name} runs, started {ago(job.started)}"))
    for number, peer in enumerate(found.peers[:SHOWN]):
        say(f"{'peers' if number == 0 else '':<8}{_peer(coord, peer)}")
    if not found.peers:
        say("peers   none")
    if len(found.peers) > SHOWN:
        say(f"        (only {SHOWN} shown; git coord sessions shows all)")
    if found.sync:
        say(inert(f"sync    {_syncing(found.sync)}"))
    for strange in found.newer:
        say(f"newer   {_strange(strange)}: another clone runs a newer gitcoord")
    for strange in found.malformed:
        say(f"bad     {_strange(strange)}; to drop that log: git config --add coord.ignoreClone {inert(strange.clone)}")
    for left in found.left_out[:SHOWN]:
        say(f"left    {left.clone}: gitcoord reads no more of it, because {left.why} (git coord doctor --fix looks again)")
    for warning in found.warnings[:SHOWN]:
        say(inert(f"trust   {warning.clone}: {warning.what} ({warning.command})"))


def _say_owed(owed: Balance) -> None:
    lines = []
    if owed.by_me:
        what = "an ack" if owed.by_me == 1 else f"{owed.by_me} acks"
        lines.append(f"{what} by me, the oldest for mail of {ago(owed.oldest)} (git coord inbox --owed)")
    if owed.to_me:
        what = "a receipt" if owed.to_me == 1 else f"{owed.to_me} receipts"
        lines.append(f"{what} by others (git coord sent --owed)")
    for number, line in enumerate(lines):
        say(f"{'owed' if number == 0 else '':<8}{line}")


def _syncing(sync: Syncing) -> str:
    facts = [f"{sync.remote}, {ago(sync.at)}"] if sync.at else [f"{sync.remote}, never"]
    if sync.waiting:
        facts.append(f"{sync.waiting} event{'s' if sync.waiting > 1 else ''} to be sent (git coord sync)")
    if sync.refused:
        facts.append(f"it rejects {', '.join(sync.refused)}")
    return "; ".join([*facts, *([f"failing: {one_line(sync.error, 120)}"] if sync.error else [])])


def _say_locks(locks: Sequence[Lock]) -> None:
    if locks:
        import time

        from gitcoord.text import span

        for number, lock in enumerate(locks):
            left = span(lock.expires - time.time())
            say(inert(f"{'locks' if number == 0 else '':<8}{' '.join(lock.patterns)}, {left} more"))


def _peer(coord: Coord, s: Session) -> str:
    facts = [f"{shown_name(coord, mailbox(s.session or '', s.clone or ''))} {s.state}"]
    facts[0] += f" on {inert(s.branch)}" if s.branch else ""
    facts += [f"role {inert(s.role)}"] if s.role else []
    facts += [said(s.focus)] if s.focus else []
    facts += [ago(s.beat)] if s.state in ("idle", "unknown") and s.beat else []
    return ", ".join(facts)


def _strange(strange: Strange) -> str:
    what = "1 event" if strange.events == 1 else f"{strange.events} events"
    return f"{what} skipped in the log of {inert(strange.clone)} ({one_line(strange.reason, 60)})"


# brief


@command(short_help="what a session needs to continue")
@option("--budget", type=IntRange(100, 100_000), default=1000, metavar="TOKENS", help="At most this many tokens (1000).")
@common
def brief(budget: int, as_name: str | None, as_json: bool) -> None:
    """Print what a session needs after a compaction or a restart, the most important first; marks nothing read.

    Example: git coord brief --budget 500
    """
    with opened(as_name) as coord:
        found = coord.overview.brief(budget)
        if as_json:
            say_json(found.document)
        else:
            say_block(found.text)


# state


@group(short_help="keys and values that outlive a restart")
def state() -> None:
    """Keys and values of my session that come back after a restart.

    Example: git coord state set plan first the parser
    """


@state.command(name="set")
@argument("key")
@text_options
@option("--type", "kind", type=Choice(["text", "json"]), default="text", help="Refuse a value that is not JSON.")
@common
def set_(
    key: str,
    words: tuple[str, ...],
    message: str | None,
    file: str | None,
    kind: str,
    as_name: str | None,
    as_json: bool,
) -> None:
    """Set a key of my session.

    Example: git coord state set plan -F plan.md
    """
    if not words and message is None and file is None:
        raise UsageError("the value is missing", "give it as words, with -m TEXT or with -F FILE")
    text = the_text(words, message, file)
    with opened(as_name) as coord:
        _say_value(key, coord.state.set(key, text, as_json=kind == "json"), as_json)


@state.command()
@argument("key")
@common
def get(key: str, as_name: str | None, as_json: bool) -> int:
    """Print a key's value as it was set; exit 1 if it is not set.

    Example: git coord state get plan
    """
    with opened(as_name) as coord:
        value = coord.state.show().get(key)
        if value is not None:
            say_json(value.plain, exact=True) if as_json else say_whole(value.text)
        elif as_json:
            say_json(None)
        else:
            coord.state.get(key)
        return 0 if value is not None else 1


@state.command()
@argument("key")
@common
def unset(key: str, as_name: str | None, as_json: bool) -> None:
    """Forget a key and print what it was; exit 1 if it is not set.

    Example: git coord state unset plan
    """
    with opened(as_name) as coord:
        _say_value(f"unset {key}", coord.state.unset(key), as_json)


@state.command()
@option("--session", metavar="S", help="The keys of another session.")
@common
def show(session: str | None, as_name: str | None, as_json: bool) -> None:
    """All keys that are set, mine or another session's.

    Example: git coord state show --session worker-1
    """
    with opened(as_name) as coord:
        found = coord.state.show(session)
        if as_json:
            say_json({key: value.plain for key, value in found.items()}, exact=session is None)
            return
        for key, value in found.items():
            say(f"{key} = {one_line(value.text)}")
        if not found:
            say("Nothing is set.")


def _say_value(key: str, value: Value, as_json: bool) -> None:
    if as_json:
        say_json(value.plain)
    else:
        say(f"{key} = {one_line(value.text)}")


# conflicts


@command(short_help="files that will conflict, between whom")
@option("--with", "only", metavar="S", help="Only conflicts with this session.")
@option("-n", "--limit", type=IntRange(1, 100_000), metavar="N", help="At most N (20).")
@common
def conflicts(only: str | None, limit: int | None, as_name: str | None, as_json: bool) -> int:
    """Merge the work of live sessions in memory, uncommitted work too; exit 1 if files conflict.

    `both` is a path that two sessions changed and that merges cleanly.

    Example: git coord conflicts --with worker-1
    """
    with opened(as_name) as coord:
        found = coord.overview.conflicts(only)
        if as_json:
            say_json([collision_json(coord, c) for c in found[:limit]])
        else:
            _say_collisions(coord, found, limit or SHOWN)
        return 1 if any(c.kind == "conflict" for c in found) else 0


def _say_collisions(coord: Coord, found: list[Collision], limit: int) -> None:
    for collision in found[:limit]:
        fields = collision_json(coord, collision)
        kind = paint("conflict", "31") if collision.kind == "conflict" else "both    "
        clean = "" if collision.kind == "conflict" else " (merges cleanly)"
        say(f"{kind}  {inert(collision.path)}: {inert(fields['a'])} and {inert(fields['b'])}{clean}")
    if len(found) > limit:
        say(f"({len(found) - limit} more: -n {len(found)})")
    if not found:
        say("No conflicts.")


# diff

LINES = 1000
"""Lines of a diff that are printed: a reader pays for each."""


@command(short_help="what a session has changed")
@argument("session")
@argument("paths", nargs=-1, metavar="[PATH]…")
@option("--stat", is_flag=True, help="Only how much in each file.")
@option("--all", "everything", is_flag=True, help="Every line of a long one.")
@common
def diff(session: str, paths: tuple[str, ...], stat: bool, everything: bool, as_name: str | None, as_json: bool) -> None:
    """Show what a session has changed since our branches parted, committed or not.

    Example: git coord diff worker-1 src/db.py
    """
    with opened(as_name) as coord:
        found = coord.sessions.diff(session, paths, stat=stat)
        if as_json:
            say_json(found._asdict())
            return
        lines = found.text.splitlines()
        shown = lines if everything or len(lines) <= LINES else lines[:LINES]
        where = f" on {found.branch}" if found.branch else ""
        if shown:
            say(f"{found.session}{where}, since {found.base[:SHORT]}:")
            say_block("\n".join(shown))
        else:
            say(f"{found.session}{where} has changed nothing since {found.base[:SHORT]}.")
        if found.only_commits:
            say(f"(only commits: uncommitted changes of {session} are in its own clone)")
        if len(shown) < len(lines):
            say(f"({len(lines) - len(shown)} more lines: --all, or --stat, or name a path)")
