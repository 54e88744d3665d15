"""The verbs note, notes, thread, search, log and show."""

from __future__ import annotations

import time

from gitcoord import Coord
from gitcoord.cli.command import Choice, IntRange, argument, command, option
from gitcoord.cli.output import one_line, paint, quoted, say, say_block, say_json
from gitcoord.cli.params import DATES, chosen, common, date, moment, opened, say_end, text_options, the_text
from gitcoord.cli.talk import SHORT, verified_text
from gitcoord.errors import UsageError
from gitcoord.lean import TYPE_CHECKING, Any
from gitcoord.names import same_clone
from gitcoord.overview.shapes import event_json, note_json, shown_name, signatures_of, verified_json

if TYPE_CHECKING:
    from gitcoord.log.event import Event
    from gitcoord.store.signing import Signature


@command(short_help="leave a note for everybody")
@text_options
@option("--path", "paths", multiple=True, metavar="P", help="A path that it is about (repeatable).")
@common
def note(
    words: tuple[str, ...],
    message: str | None,
    file: str | None,
    paths: tuple[str, ...],
    as_name: str | None,
    as_json: bool,
) -> None:
    """Leave a note for everybody in the repository, present and future.

    Example: git coord note --path src/db migrations run twice on CI
    """
    text = the_text(words, message, file, "Your note.")
    with opened(as_name) as coord:
        oid = coord.notes.add(text, paths)
        if as_json:
            say_json({"id": oid})
        else:
            say(f"{oid[:SHORT]} noted")


@command(short_help="read the notes")
@option("--path", metavar="P", help="Only notes about this path.")
@chosen
@common
def notes(
    path: str | None, since: str | None, sender: str | None, limit: int, dates: str, as_name: str | None, as_json: bool
) -> None:
    """The notes, newest first.

    Example: git coord notes --path src/db
    """
    with opened(as_name) as coord:
        after = moment(since, "--since", time.time())
        found = coord.notes.list(path, limit=limit, since=after, session=sender)
        if as_json:
            say_json([note_json(coord, n) for n in found])
            return
        for item in found:
            about = f", about {', '.join(item.paths)}" if item.paths else ""
            say(f"{item.id[:SHORT]} from {shown_name(coord, item.sender)}, {date(item.at, dates)}{about}")
            say_block(quoted(item.text))
        say_end(len(found), limit, "No notes.")


@command(short_help="a whole conversation")
@argument("message_id", metavar="ID")
@option("-n", "--limit", type=IntRange(1, 100_000), metavar="N", help="The newest N.")
@option("--date", "dates", type=Choice(DATES), metavar="D", default="relative", help=", ".join(DATES))
@common
def thread(message_id: str, limit: int | None, dates: str, as_name: str | None, as_json: bool) -> None:
    """A whole conversation, oldest first.

    Example: git coord thread 3f9a1c77
    """
    with opened(as_name) as coord:
        _say_events(coord, coord.messages.thread(message_id)[-(limit or 0) :], as_json, whole=True, dates=dates)


@command(short_help="find words in messages and notes")
@argument("words", nargs=-1, required=True)
@option("--type", "kind", metavar="K", help="Only this type of event.")
@chosen
@common
def search(
    words: tuple[str, ...],
    kind: str | None,
    since: str | None,
    sender: str | None,
    limit: int,
    dates: str,
    as_name: str | None,
    as_json: bool,
) -> None:
    """Messages, notes and tasks that contain the words, as one phrase; case does not matter.

    Example: git coord search schema
    """
    with opened(as_name) as coord:
        after = moment(since, "--since", time.time())
        found = coord.events.search(" ".join(words), since=after, kind=kind, session=sender, limit=limit)
        if kind is not None and not found:
            check_type(coord, kind)
        _say_events(coord, found, as_json, whole=True, dates=dates)
        if not as_json:
            say_end(len(found), limit, "Nothing found.")


@command(short_help="everything that happened")
@option("--type", "kind", metavar="K", help="Only this type of event.")
@chosen
@option("--oneline", is_flag=True, help="Without dates.")
@common
def log(
    since: str | None,
    kind: str | None,
    sender: str | None,
    limit: int,
    dates: str,
    oneline: bool,
    as_name: str | None,
    as_json: bool,
) -> None:
    """Everything that happened, newest first.

    Example: git coord log --since 1h --type message
    """
    with opened(as_name) as coord:
        after = moment(since, "--since", time.time())
        found = coord.events.log(since=after, kind=kind, session=sender, limit=limit)
        if kind is not None and not found:
            check_type(coord, kind)
        _say_events(coord, found, as_json, whole=False, dates="" if oneline else dates)
        if not as_json:
            say_end(len(found), limit, "Nothing happened.")


@command(short_help="anything by its id")
@argument("event_id", metavar="ID")
@common
def show(event_id: str, as_name: str | None, as_json: bool) -> None:
    """Show anything by its id: a message, a task, a job, a note, any event.

    Example: git coord show 3f9a1c77
    """
    with opened(as_name) as coord:
        event = coord.events.get(event_id)
        if event.type.startswith("task"):
            from gitcoord.cli.work import say_whole_task

            say_whole_task(coord, event.data.get("task", event.id), as_json)
        elif event.type.startswith("job."):
            from gitcoord.cli.jobs import say_job

            say_job(coord, coord.jobs.get(event.data.get("job", event.id)), as_json)
        elif as_json:
            say_json(_event_json(coord, event, signatures_of(coord, [(event.id, event.clone)]).get(event.id)))
        else:
            _say_events(coord, [event], as_json, whole=True)
            if event.type == "message":
                say("to " + ", ".join(shown_name(coord, box) for box in event.data.get("to", ())))


def _event_json(coord: Coord, event: Event, signature: Signature | None) -> dict[str, Any]:
    return event_json(coord, event) | verified_json(signature)


def check_type(coord: Coord, kind: str) -> None:
    """Raise UsageError for a type of event that nobody has ever written."""
    known = coord.events.types()
    if kind not in known:
        raise UsageError(f"{ascii(kind)[1:-1]} is not a type of event", "one of " + ", ".join(sorted(known)))


def _say_events(coord: Coord, events: list[Event], as_json: bool, whole: bool, dates: str = "relative") -> None:
    signed = signatures_of(coord, [(event.id, event.clone) for event in events])
    if as_json:
        say_json([_event_json(coord, event, signed.get(event.id)) for event in events])
        return
    for event in events:
        line = _head(coord, event, signed.get(event.id), dates)
        say(line if whole else f"{line}: {one_line(_subject(event), 80)}")
        if whole:
            say_block(quoted(event.text))


def _head(coord: Coord, event: Event, signature: Signature | None = None, dates: str = "relative") -> str:
    vouched = f", {verified_text(signature._replace(key=''))}" if signature else ""
    sender = event.clone if same_clone(event.author, event.clone) else shown_name(coord, event.sender)
    when = date(event.at, dates)
    return f"{paint(event.id[:SHORT], '33')} {event.type:<8} {sender}{f', {when}' if when else ''}{vouched}"


def event_line(coord: Coord, event: Event) -> str:
    """An event on one line, with its time of day."""
    at = time.strftime("%H:%M:%S", time.localtime(event.at))
    return f"{at} {_head(coord, event, dates='')}: {one_line(_subject(event), 80)}"


def one_event(event: Event) -> str:
    """An event of a session that is known, on one line."""
    return f"{paint(event.id[:SHORT], '33')} {event.type:<8} {one_line(_subject(event), 80)}"


def _subject(event: Event) -> str:
    """The text of an event for one line; of a state also the key."""
    if event.type == "state" and not event.data.get("unset"):
        return f"{event.data.get('key')} = {event.text}"
    return event.text
