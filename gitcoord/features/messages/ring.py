"""Run `coord.notify` for urgent mail to a person of this clone (`system.notify`)."""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord.log.clone import Clone
from gitcoord.log.event import Event
from gitcoord.log.trust import held_back
from gitcoord.names import name_in
from gitcoord.sessions.mailboxes import display
from gitcoord.system.notify import notify


def mail(clone: Clone, events: Iterable[Event]) -> None:
    """Run the command for new urgent mail to a person of this clone, except mail that is kept back. gitcoord's own notices
    do not count."""
    if not clone.repo.setting("notify"):
        return
    found = [event for event in events if _is_for_a_person(clone, event)]
    held = held_back(clone, [event.id for event in found])
    for event in (event for event in found if event.id not in held):
        facts = {"kind": "message", "id": event.id, "from": event.sender, "text": event.text}
        line = f"{display(event.sender, clone.id)}: {event.text}"
        notify(clone.repo.setting("notify"), clone.repo.environ, line, facts)


def _is_for_a_person(clone: Clone, event: Event) -> bool:
    if event.type != "message" or event.data.get("urgent") is not True or event.data.get("notice"):
        return False
    return any(_is_person(clone, box) for box in event.data.get("to", ()) if isinstance(box, str))


def _is_person(clone: Clone, box: str) -> bool:
    from gitcoord.sessions.identity import person_name
    from gitcoord.sessions.records import Records

    if not clone.has(box):
        return False
    name = name_in(box)
    record = Records(clone.repo.coord_dir).get(name)
    return record.person if record else name == person_name(clone.repo)
