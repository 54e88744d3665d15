"""The verbs send, reply, ack, inbox and sent."""

from __future__ import annotations

import os
import sys
import time

from gitcoord import Coord
from gitcoord.cli.command import argument, command, option
from gitcoord.cli.output import ago, inert, one_line, paint, quoted, said, say, say_json
from gitcoord.cli.params import common, duration, ids_and_text, limited, moment, opened, text_about, text_options, the_text
from gitcoord.errors import Refused, UsageError
from gitcoord.lean import TYPE_CHECKING, Any
from gitcoord.log.secrets import ALLOW
from gitcoord.names import clone_in
from gitcoord.overview.shapes import message_json, receipt_json, sent_json, showing, shown_name, signatures_of, verified_json
from gitcoord.system.files import read_bytes
from gitcoord.system.lock import at_least
from gitcoord.system.streams import reached_reader, remark

if TYPE_CHECKING:
    from gitcoord.features.messages.inbox import Inbox, Message
    from gitcoord.features.messages.sending import Sent
    from gitcoord.store.signing import Signature

FOR_EVER = "for ever"
MARKING = 5.0
"""Seconds to mark what was printed, even if --wait has none left."""
SHOWN = 5
"""Warnings beside an inbox; `status` has them all."""
NOTHING_SENT: dict[str, Any] = {"id": None, "thread": None, "recipients": []}
ALL_OF_THEM = 1_000_000_000
SHORT = 10
"""Digits of an id that are shown; any unique prefix works."""


@command(short_help="send a message")
@argument("to")
@text_options
@option("--urgent", is_flag=True, help="Shown first.")
@option("--needs-ack", is_flag=True, help="Ask for an ack.")
@option("--attach", "attach", multiple=True, metavar="FILE", help="Attach FILE.")
@option("--expires", metavar="2h", help="Tell me if unread.")
@option("--queue", is_flag=True, help="TO may be new.")
@option("--local", is_flag=True, help="For this clone.")
@option("--key", default="", metavar="K", help="Send it once.")
@common
def send(
    to: str,
    words: tuple[str, ...],
    message: str | None,
    file: str | None,
    attach: tuple[str, ...],
    expires: str | None,
    key: str,
    as_name: str | None,
    as_json: bool,
    **flags: bool,
) -> None:
    """Send TEXT to sessions (a,b), a role (@r) or all.

    Example: git coord send w1 schema merged
    """
    text = the_text(words, message, file, f"Your message to {to}.")
    seconds = duration(expires, "--expires")
    attachments = _attachments(attach)
    with opened(as_name) as coord:
        if attach and not flags["local"]:
            coord.repository.refuse_ignored(attach, "add --local")
        recipients = [name for name in to.split(",") if name]
        sent = coord.send(recipients, text, expires=seconds, attachments=attachments, key=key, **flags)
        _say_sent(coord, sent, as_json)


@command(short_help="answer a message")
@argument("message_id", metavar="ID")
@text_options
@option("--attach", "attach", multiple=True, metavar="FILE", help="Attach FILE.")
@common
def reply(
    message_id: str,
    words: tuple[str, ...],
    message: str | None,
    file: str | None,
    attach: tuple[str, ...],
    as_name: str | None,
    as_json: bool,
) -> None:
    """Answer a message, in its thread, to its sender.

    Example: git coord reply 3f9a1c77 done, see my branch
    """
    with opened(as_name) as coord:
        text = text_about(coord, words, message, file, f"Your answer to {message_id}.")
        if attach:
            coord.repository.refuse_ignored(attach, "send it with --local")
        _say_sent(coord, coord.messages.reply(message_id, text, attachments=_attachments(attach)), as_json)


@command(short_help="acknowledge a message")
@argument("message_id", metavar="ID")
@text_options
@common
def ack(
    message_id: str,
    words: tuple[str, ...],
    message: str | None,
    file: str | None,
    as_name: str | None,
    as_json: bool,
) -> None:
    """Acknowledge a message, or several: ID… [TEXT]. TEXT is an answer.

    Example: git coord ack 3f9a1c77 on it
    """
    with opened(as_name) as coord:
        ids, text = ids_and_text(coord, message_id, words, message, file)
        found = [coord.events.get(one).id for one in ids] if len(ids) > 1 else ids
        sent = [coord.messages.ack(one, text) for one in found]
        if as_json:
            documents = [receipt_json(coord, one) if one else NOTHING_SENT for one in sent]
            say_json(documents[0] if len(documents) == 1 else documents)
            return
        for message_id, answer in zip(ids, sent, strict=True):
            if answer is None:
                say(f"acked {message_id}")
            else:
                _say_sent(coord, answer, as_json)


def _attachments(files: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for file in files:
        name = os.path.basename(file)
        if name in found:
            raise UsageError(f"two attachments are called {name}", "rename one of them")
        try:
            found[name] = read_bytes(file)
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror}", "name a readable file") from None
    return found


NAMED = 20
"""Recipients that are named after a message was sent; the others are counted."""


def _say_sent(coord: Coord, sent: Sent, as_json: bool) -> None:
    if as_json:
        say_json(receipt_json(coord, sent))
        return
    shown = [_recipient(coord, r) for r in sent.recipients[:NAMED]]
    shown += [f"and {len(sent.recipients) - NAMED} more"] if len(sent.recipients) > NAMED else []
    say(f"{sent.id[:SHORT]} queued for " + ", ".join(shown))
    if sent.kept:
        remark(f"kept in this clone, as it has what looks like {sent.kept}; to let other clones see it, add {ALLOW}")
    if any(r.waits_for_sync for r in sent.recipients):
        say(_when(coord))


def _when(coord: Coord) -> str:
    """The line that says when other clones get the message."""
    if coord.remote.syncs_by_itself():
        return "other clones get it with the next sync, which is under way"
    return "other clones get it with the next sync: git coord sync"


def _recipient(coord: Coord, recipient: Any) -> str:
    last = f", last seen {ago(recipient.beat)}" if recipient.state in ("gone", "unknown") and recipient.beat else ""
    return f"{shown_name(coord, recipient.session)} ({recipient.state}{last})"


@command(short_help="print unread messages and mark them read")
@option("--peek", is_flag=True, help="Mark nothing read.")
@option("--all", "everything", is_flag=True, help="Read ones, too.")
@option("--again", is_flag=True, help="What was marked last, again.")
@option("--owed", is_flag=True, help="Those I owe an ack.")
@option("--mark-all", is_flag=True, help="Print nothing, mark all read.")
@option("--wait", is_flag=False, flag_value=FOR_EVER, metavar="[S]", help="Wait, S seconds at most.")
@option("--from", "sender", metavar="S", help="Only from this session.")
@limited
@common
def inbox(
    peek: bool,
    everything: bool,
    again: bool,
    owed: bool,
    mark_all: bool,
    wait: str | None,
    sender: str | None,
    limit: int,
    as_name: str | None,
    as_json: bool,
) -> int:
    """Print my unread messages, oldest first, and mark exactly those read.

    Example: git coord inbox --json
    """
    if mark_all:
        if peek or everything or again or owed or wait is not None:
            raise UsageError("--mark-all takes only --from beside it", "git coord inbox --mark-all")
        return _mark_all(as_name, sender, as_json)
    with opened(as_name, patience=None if wait is None else _patience(wait)) as coord:
        page: Inbox | None
        if wait is not None:
            page = coord.messages.wait(_patience(wait), sender=sender, output=sys.stdout.fileno())
        else:
            page = coord.messages.inbox(everything=everything, again=again, owed=owed, sender=sender, limit=limit)
        more = " --all --limit 1000" if everything else ""
        if page is not None and page.messages:
            show_page(coord, page, as_json, peek, more)
            return 0
        if page is not None:
            _remark_held(page)
        if as_json:
            say_json([])
        else:
            say("I owe no ack." if owed else "No messages." if everything or again else "No new messages.")
        return 0 if wait is None else 1


def _mark_all(as_name: str | None, sender: str | None, as_json: bool) -> int:
    """Mark all unread messages read without showing them. With --as, or where another process may be the session, nothing
    is marked."""
    with opened(as_name) as coord:
        if coord.identity.shared or coord.identity.observer:
            raise Refused(f"only {coord.identity.name} marks its mail read", "git coord whoami")
        unread = coord.messages.inbox(sender=sender, limit=ALL_OF_THEM).messages
        coord.messages.mark_read(unread)
        if as_json:
            say_json({"marked": len(unread)})
        else:
            say(f"{len(unread)} marked read")
    return 0


def _patience(wait: str) -> int | None:
    return None if wait == FOR_EVER else duration(wait, "--wait")


def show_page(coord: Coord, page: Inbox, as_json: bool, peek: bool = False, more: str = "") -> None:
    """Print a page of messages, flush, then mark exactly those read; with `peek`, or when only looking on, mark none."""
    signed = signatures_of(coord, [(m.id, clone_in(m.sender)) for m in page.messages])
    if as_json:
        say_json([message_json(coord, m) | verified_json(signed.get(m.id)) for m in page.messages])
    else:
        for message in page.messages:
            say(*_message_lines(coord, message, signed.get(message.id)))
        if page.remaining:
            say(f"({page.remaining} more: git coord inbox{more})")
    _remark_held(page)
    if signed:
        _remark_warnings(coord)
    if coord.identity.shared:
        remark(f"note: another process may speak for {coord.identity.name}; nothing was marked read (git coord whoami)")
    elif not peek:
        if not reached_reader():
            raise BrokenPipeError
        with at_least(MARKING):
            coord.messages.mark_read(page.messages)


def verified_text(signature: Signature) -> str:
    """The words for a signature beside an event of another clone."""
    if signature.state == "verified":
        return f"signed by {said(signature.by)}"
    if signature.state == "bad":
        return paint("BAD SIGNATURE", "31")
    if signature.state == "unknown":
        return f"signed by an unknown key {inert(signature.key)}".rstrip()
    if signature.state == "other-key":
        return paint(f"signed by {said(signature.by)} with a key that is not this clone's", "31")
    if signature.state == "old":
        return "signed by an older gitcoord; it counts once that clone upgrades"
    return paint("not signed", "31")


def _remark_held(page: Inbox) -> None:
    if page.held:
        what = f"{page.held} unsigned message{'s' if page.held > 1 else ''}"
        remark(f"note: {what} of other clones not shown (coord.requireSigned): git coord inbox --all")


def _remark_warnings(coord: Coord) -> None:
    for warning in coord.trust.warnings()[:SHOWN]:
        remark(f"warning: {warning.clone}: {warning.what}; if that is right: {warning.command}")


def _message_lines(coord: Coord, message: Message, signature: Signature | None = None) -> list[str]:
    short = message.id[:SHORT]
    marks = [paint("urgent", "31")] if message.urgent else []
    marks += [f"please ack: git coord ack {short}"] if message.needs_ack and message.state != "acked" else []
    marks += [f"in reply to {message.reply_to[:SHORT]}"] if message.reply_to and not message.notice else []
    sender = coord.trust.speaker(message)
    marks += [verified_text(signature)] if signature else []
    head = ", ".join([f"{paint(short, '33')} from {sender}", ago(message.at), *marks])
    files = [f"  attached: {showing(short, name)}" for name in message.attachments]
    return [head, *quoted(message.text).split("\n"), *files]


@command(short_help="what I sent and how far it got")
@option("--undelivered", is_flag=True, help="Only those somebody has not read.")
@option("--owed", is_flag=True, help="Only those that wait for a receipt.")
@option("--to", metavar="S", help="Only those to this session.")
@option("--since", metavar="T", help="2h, yesterday, a date.")
@limited
@common
def sent(
    undelivered: bool, owed: bool, to: str | None, since: str | None, limit: int, as_name: str | None, as_json: bool
) -> None:
    """My messages, newest first, with their state at each recipient: queued, expired, surfaced, read, acked.

    Example: git coord sent --undelivered
    """
    with opened(as_name) as coord:
        after = moment(since, "--since", time.time())
        found = coord.messages.sent(undelivered=undelivered, owed=owed, to=to, since=after, limit=limit)
        if as_json:
            say_json([sent_json(coord, m) for m in found])
            return
        for message in found:
            states = ", ".join(f"{shown_name(coord, d.session)} {d.state}" for d in message.recipients)
            waits = " (to be synced: git coord sync)" if message.waits_for_sync else ""
            say(f"{paint(message.id[:SHORT], '33')} {ago(message.at)}: {states}{waits}")
            say(f"  > {one_line(message.text)}")
        if not found:
            say("Nobody owes a receipt." if owed else "Everything was read." if undelivered else "Nothing sent.")
