"""The verbs chat, overdue and day: who said what to whom, who owes whom, and what a session did."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from gitcoord import Coord
from gitcoord.cli.command import argument, command, option
from gitcoord.cli.history import one_event
from gitcoord.cli.output import ago, one_line, paint, quoted, say, say_block, say_json
from gitcoord.cli.params import common, duration, limited, moment, opened
from gitcoord.cli.talk import SHORT
from gitcoord.lean import TYPE_CHECKING
from gitcoord.overview.shapes import chat_json, debt_json, event_json, shown_name
from gitcoord.system.streams import reached_reader

if TYPE_CHECKING:
    from gitcoord.features.messages.talk import Said
    from gitcoord.log.event import Event

UNTOLD = ("receipt", "presence", "gone")
"""Types of events that are not deeds."""
MANY = 10_000


@command(short_help="what one session and I said")
@argument("name")
@option("-f", "--follow", is_flag=True, help="Go on as it is said.")
@option("--since", metavar="T", help="2h, yesterday, a date.")
@limited
@common
def chat(name: str, follow: bool, since: str | None, limit: int, as_name: str | None, as_json: bool) -> int:
    """The messages between one session and me, oldest first; those to me are marked read.

    Example: git coord chat worker-1 -f
    """
    with opened(as_name) as coord:
        after = moment(since, "--since", time.time())
        newest = coord.events.log(limit=1) if follow else []
        found = coord.messages.with_one(name, since=after, limit=limit)
        _say_chat(coord, found.said, as_json)
        if found.more and not as_json:
            say(f"(older ones: -n {limit * 5})")
        if not found.said and not as_json and not follow:
            say("Nothing was said.")
        if follow:
            _follow(coord, name, newest[0].id if newest else None, as_json)
    return 0


def _follow(coord: Coord, name: str, since: str | None, as_json: bool) -> None:
    from gitcoord.cli.waits import end_quietly

    end_quietly()
    sys.stdout.flush()
    for event in coord.events.watch(kind="message", since=since, output=sys.stdout.fileno()):
        latest = coord.messages.with_one(name, limit=100).said
        _say_chat(coord, [said for said in latest if said.message.id == event.id], as_json, lines=True)


def _say_chat(coord: Coord, found: Sequence[Said], as_json: bool, lines: bool = False) -> None:
    """Print messages, then mark those to me read."""
    if as_json:
        documents = [chat_json(coord, said) for said in found]
        for document in documents if lines else [documents]:
            say_json(document)
    for said in [] if as_json else found:
        mine = said.message.sender == coord.mailbox
        who = "I" if mine else coord.trust.speaker(said.message)
        how = f", {', '.join(sorted({d.state for d in said.ledger}))}" if mine else ""
        say(f"{paint(said.message.id[:SHORT], '33')} {who}, {ago(said.message.at)}{how}")
        say_block(quoted(said.message.text))
    sys.stdout.flush()
    if not reached_reader():
        raise BrokenPipeError
    coord.messages.mark_read([s.message for s in found if any(d.session == coord.mailbox for d in s.ledger)])


@command(short_help="who owes whom an ack, and since when")
@option("--after", default="1h", metavar="1h", help="Owed for longer than this (1h).")
@limited
@common
def overdue(after: str, limit: int, as_name: str | None, as_json: bool) -> None:
    """Urgent mail that somebody has not read, and mail not acked as asked, oldest first.

    Example: git coord overdue --after 15m
    """
    seconds = 0 if after == "0" else duration(after, "--after") or 0
    with opened(as_name) as coord:
        found = coord.messages.overdue(time.time() - seconds)
        if as_json:
            say_json([debt_json(coord, debt) for debt in found[:limit]])
            return
        for debt in found[:limit]:
            who, whom = (shown_name(coord, box) for box in (debt.debtor, debt.creditor))
            what = "an ack" if debt.owes == "ack" else "to read it"
            say(f"{paint(debt.id[:SHORT], '33')} {who} owes {whom} {what}, {ago(debt.at)}")
            say(f"  > {one_line(debt.text)}")
        if len(found) > limit:
            say(f"({len(found) - limit} more: -n {len(found)})")
        if not found:
            say("Nothing is overdue.")


@command(short_help="what a session did today")
@argument("name", required=False)
@option("--since", metavar="T", default="midnight", help="2h, yesterday, a date (today).")
@option("-n", "--limit", type=int, metavar="N", help="The newest N.")
@common
def day(name: str | None, since: str, limit: int | None, as_name: str | None, as_json: bool) -> None:
    """The acts of a session, or mine, since a time, oldest first.

    Example: git coord day worker-1 --since yesterday
    """
    with opened(as_name) as coord:
        after = moment(since, "--since", time.time())
        who = name or coord.identity.name
        done = [e for e in coord.events.log(since=after, session=who, limit=MANY) if e.type not in UNTOLD][::-1]
        if as_json:
            say_json([event_json(coord, event) for event in done[-(limit or 0) :]])
            return
        since_when = time.strftime("%a %d %b %H:%M", time.localtime(after))
        say(f"{who} since {since_when}: {_counted(done) or 'nothing'}")
        for event in done[-(limit or 0) :]:
            say(f"{_clock(event.at)} {one_event(event)}")


def _clock(at: int) -> str:
    """The time of day, with the date if that is not today."""
    then = time.localtime(at)
    return time.strftime("%H:%M" if then[:3] == time.localtime()[:3] else "%d %b %H:%M", then)


def _counted(done: Sequence[Event]) -> str:
    found: dict[str, int] = {}
    for event in done:
        found[event.type] = found.get(event.type, 0) + 1
    return ", ".join(f"{count} {kind}" for kind, count in found.items())
