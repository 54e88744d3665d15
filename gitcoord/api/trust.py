"""`coord.trust`: whose word counts, and why."""

from __future__ import annotations

from collections.abc import Iterable

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING

if TYPE_CHECKING:
    from gitcoord.features.messages.inbox import Message
    from gitcoord.log.trust import Doubt, Signer
    from gitcoord.store.signing import Signature


class Trust(Facade):
    """Signatures of other clones, and the keys that they are known for.

    Example:

        ids = [event.id for event in coord.events.log()]
        coord.trust.signatures(ids)
        coord.trust.held_back(ids)
        coord.trust.held_tasks()
        coord.trust.warnings()
        [coord.trust.speaker(message) for message in coord.inbox().messages if not coord.trust.is_the_user(message.sender)]
        for signer in coord.trust.signers():
            coord.trust.accept(signer.clone)
    """

    __slots__ = ()

    def signatures(self, ids: Iterable[str]) -> dict[str, Signature]:
        """The signatures of events of other clones, by id: `verified` (with the signer), `unknown`, `bad` or `unsigned`.

        Empty if no clone signs, unless `coord.requireSigned` is set; events of this clone are never in it.
        """
        from gitcoord.log import trust

        return trust.signatures(self._clone, ids)

    def held_back(self, ids: Iterable[str]) -> set[str]:
        """Those of the events that `coord.requireSigned` keeps back."""
        from gitcoord.log import trust

        return trust.held_back(self._clone, ids)

    def held_tasks(self) -> set[str]:
        """The tasks that `coord.requireSigned` keeps back."""
        from gitcoord.features.tasks.ready import held_tasks

        return set(held_tasks(self._clone))

    def speaker(self, message: Message) -> str:
        """The author of a message, for people: gitcoord itself for its notices, otherwise the session."""
        from gitcoord.features.messages.inbox import notifier
        from gitcoord.sessions.identity import spoken_name

        return notifier(self._clone, message) if message.notice else spoken_name(self._clone, message.sender)

    def is_the_user(self, box: str) -> bool:
        """Whether a mailbox is that of this repository's own user."""
        from gitcoord.sessions.identity import person_name

        return box == f"{person_name(self._clone.repo)}@{self._clone.id}"

    def signers(self) -> list[Signer]:
        """The other clones: the signature of their newest checkpoint, the key each is known for, and what is wrong."""
        from gitcoord.log import trust

        return trust.signers(self._clone)

    def warnings(self) -> list[Doubt]:
        """Warnings for the user: a log that was tampered with, a key that changed, a signer that stopped signing."""
        from gitcoord.log import trust

        return trust.warnings(self._clone)

    def accept(self, clone: str) -> Signer:
        """Accept a clone's present key. Raises UsageError for an unknown clone."""
        from gitcoord.log import trust

        return trust.accept(self._clone, clone)
