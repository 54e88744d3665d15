"""Find the events about a task that are void because of a lease, in any order of arrival. Leases are given at the remote,
one after the other. So a claim with a lease counts before all events that its author had not seen; it is void if another
lease replaced the lease that it names. An event that ends such a claim must name it, and the events of the clone that made
the claim count before those of others. All this follows from the events of the task alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gitcoord.log.event import Event
from gitcoord.log.trust import is_owners

ENDS = ("task.done", "task.drop", "task.release")
"""Types that end a claim, rather than only change it."""


def claims_with_lease(event: Event) -> bool:
    """Whether an event claims its task by a lease."""
    return event.type in ("task.claim", "task.settle") and bool(event.data.get("lease"))


def fences(event: Event) -> bool:
    """Whether an event can make another one void, in any order of arrival."""
    return bool(event.data.get("replaces") or event.data.get("void"))


def void(events: Sequence[Event]) -> dict[str, str]:
    """The void events of a task, each with the event that made it void; `events` are in total order."""
    found: dict[str, str] = {claim: event.id for event in events if event.data.get("void") for claim in _named(event)}
    leased = [event for event in events if claims_with_lease(event)]
    by_nonce: dict[str, list[str]] = {}
    for event in leased:
        by_nonce.setdefault(event.data["lease"], []).append(event.id)
    for event in leased:
        if event.id not in found:  # a claim that got no lease replaced none
            for claim in _unseen(event, by_nonce):
                found.setdefault(claim, event.id)
    last = next((event for event in reversed(leased) if event.id not in found), None)
    return {**_outspoken(events, last), **found} if last else found


def _named(event: Event) -> Sequence[str]:
    named: Sequence[str] = event.data.get("supersedes", ())
    return named


def _unseen(event: Event, by_nonce: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The claims whose leases `event` replaced without its author having seen them. A claim that it names was valid until
    then."""
    for nonce in event.data.get("replaces", ()):
        for claim in by_nonce.get(nonce, ()):
            if claim != event.id and claim not in _named(event):
                yield claim


def _outspoken(events: Sequence[Event], claim: Event) -> Mapping[str, str]:
    """Others' events about a claim that its own clone has ended, if neither author had seen the other's event."""
    about = [event for event in events if event.type in (*ENDS, "task.block") and claim.id in _named(event)]
    own = next((event for event in about if is_owners(event, claim) and event.type in ENDS), None)
    return {event.id: own.id for event in about if not is_owners(event, claim)} if own else {}
