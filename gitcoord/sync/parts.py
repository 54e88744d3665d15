"""Send a log in parts if a host rejects it for its size, up to an event that is too large by itself.

An event names the one before it, so none can be sent after such an event. The log goes on without its attachments
(`left_behind`), or the user is told which event has to be taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gitcoord.errors import RemoteError
from gitcoord.log.event import Event, decode
from gitcoord.store import transport
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import is_log
from gitcoord.store.transport import Outcome, Update
from gitcoord.sync import left_behind

if TYPE_CHECKING:
    from gitcoord.sync.link import Link

_SIZE = r"(?i)exceeds|too (?:large|big)|unpacker error|size limit|maximum"


def is_about_size(why: str) -> bool:
    """Whether a host may take a smaller part of a log than it was offered."""
    return re.search(_SIZE, why) is not None


def push(link: Link, there: Mapping[str, Oid], updates: Sequence[Update]) -> list[Outcome]:
    """Push `updates`, logs in as many parts as needed. Raises RemoteError for an event that the host rejects by itself; the
    events before it have been sent then."""
    outcomes = []
    for update in updates:
        if update.new is not None and is_log(update.ref):
            outcomes.append(_log(link, there.get(update.ref), update, update.new))
        else:
            outcomes += transport.push(link.clone.repo, link.remote, [update], link.quiet)
    return outcomes


def _log(link: Link, known: Oid | None, update: Update, tip: Oid) -> Outcome:
    left = [oid for oid, _ in link.clone.store.chain(tip, known)]
    step = len(left)
    while left:
        step = min(step, len(left))
        (outcome,) = transport.push(link.clone.repo, link.remote, [update._replace(new=left[step - 1])], link.quiet)
        if outcome.state == "done":
            left, step = left[step:], step * 2
        elif outcome.state != "refused" or not is_about_size(outcome.why):
            return outcome
        elif step == 1:
            item = next(iter(link.clone.store.read(left[:1])))
            event = decode(left[0], item.data)
            if left_behind.go_on(link, update.ref, event, outcome.why):
                return outcome._replace(state="moved")
            raise _too_large(link, event, len(item.data), len(left) - 1, outcome.why)
        else:
            step = step // 2
    return Outcome(update.ref, "done")


def _too_large(link: Link, event: Event, size: int, later: int, why: str) -> RemoteError:
    files = [str(name) for name in event.data.get("attachments", ())]
    what = f" with {', '.join(files[:3])}" if files else f" of {size:,} bytes"
    behind = f"; {later} later event{'s wait' if later > 1 else ' waits'} for it" if later else ""
    short = event.id[:10]
    return RemoteError(
        f"{link.remote.name} rejects the {event.type} {short} of {event.author}{what}: {why}{behind}",
        f"git coord redact {short} takes it out, and what is behind it goes; or raise the limit of the host",
    )
