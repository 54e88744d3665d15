"""Go on past an attachment that the host rejects: the log continues in a new epoch, which carries the message without it.

An event names the one before it, so nothing could be sent after such a message. The whole log has to fit into one push
for that; the host is asked first, by a commit that no reader reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitcoord import lean_json as json
from gitcoord.errors import RefMoved
from gitcoord.lean import suppress
from gitcoord.log import epoch, rollover
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft, Event
from gitcoord.log.ground import Ground
from gitcoord.names import mailbox
from gitcoord.store import packing, transport
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import aside_name
from gitcoord.store.transport import How, Update

if TYPE_CHECKING:
    from gitcoord.sync.link import Link


def go_on(link: Link, ref: str, event: Event, why: str) -> bool:
    """Continue the log at `ref` without the attachments of `event`, which the host rejected with the words `why`, and tell
    its author and its recipients. Returns False if it has none, or if the host rejects the rest, too."""
    files = event.data.get("attachments", ())
    tip = link.clone.store.tips().refs.get(ref)
    if not files or tip is None or not _is_taken(link, ref, tip, event.id):
        return False
    names = ", ".join(map(str, files))
    clone = link.clone

    def begin(ground: Ground, tips: Tips) -> Sequence[str]:
        at = tips.refs[ref]
        commits = list(rollover.events_of(ground.store, at))
        with suppress(RefMoved):  # it is kept already
            ground.store.move(aside_name(ref, at), at, None, ground.fd)
        rollover.begin(ground, ref, commits, f"The log continues here without {names}, which a host rejected", {event.id})
        return [f"{link.remote.name} rejects {names} ({why}): the message {event.id[:10]} goes without"]

    clone.mend(begin)
    clone.append(lambda db: [_notice(clone, event, names, link.remote.name, why)])
    return True


def _is_taken(link: Link, ref: str, tip: Oid, left_out: Oid) -> bool:
    """Ask the host whether it takes the log, without some attachments, in one push."""
    clone = link.clone
    commits = list(rollover.events_of(clone.store, tip))
    without = rollover.left_out_before(clone.store, tip, commits) | {left_out}
    objects = epoch.carry(clone.store, commits, clone.repo.object_format, without)
    draft = rollover.carrying(clone.settled_id(), "The next epoch of this log, on trial", {"carried": len(commits)})
    trial = clone.pen.root(ref, draft, 1, objects[-1].oid)
    packing.write_all(clone.store, [*clone.pen.tree({}), *objects, trial])
    name = f"refs/coord/aside/{clone.id}/on-its-way"
    (outcome,) = transport.push(clone.repo, link.remote, [Update(name, trial.oid, How.REPLACE)], link.quiet)
    if outcome.state == "done":
        transport.push(clone.repo, link.remote, [Update(name, None)], link.quiet)
    return outcome.state == "done"


def _notice(clone: Clone, event: Event, names: str, remote: str, why: str) -> Draft:
    text = f"{names} of this message did not get past {remote} ({why}). Its text did."
    boxes = list(dict.fromkeys([mailbox(event.author, clone.id), *event.data.get("to", ())]))
    data = {"to": boxes, "notice": "attachment", "about": event.id, "reply_to": event.id}
    data |= {"thread": event.data.get("thread") or event.id}
    return Draft("message", text, json.loads(json.dumps(data)), author=event.author)
