"""`coord.trust`: whose word counts, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from gitcoord.api.facade import Facade

if TYPE_CHECKING:
    from gitcoord.log.trust import Doubt, Signer
    from gitcoord.store.signing import Signature


class Trust(Facade):
    """Signatures of other clones, and the keys that they are known for."""

    __slots__ = ()

    def signatures(self, ids: Iterable[str]) -> dict[str, Signature]:
        """What events of other clones are worth, by id: `verified` (by whom), `unknown`, `bad` or `unsigned`.

        Empty where nobody signs, unless `coord.requireSigned` is set; events of this clone are never in it.
        """
        from gitcoord.log import trust

        return trust.signatures(self._clone, ids)

    def held_back(self, ids: Iterable[str]) -> set[str]:
        """Those of the events that `coord.requireSigned` keeps from being shown unasked."""
        from gitcoord.log.trust import held_back

        return held_back(self._clone, list(ids))

    def held_tasks(self) -> set[str]:
        """The tasks that `coord.requireSigned` keeps from being shown unasked."""
        from gitcoord.features.tasks.ready import held_tasks

        return set(held_tasks(self._clone))

    def signers(self) -> list[Signer]:
        """The other clones: what their newest checkpoint is worth, the key each is known for, and what is wrong."""
        from gitcoord.log import trust

        return trust.signers(self._clone)

    def warnings(self) -> list[Doubt]:
        """What has to be said unasked: a log that was tampered with, a key that changed, a signer that stopped signing."""
        from gitcoord.log import trust

        return trust.warnings(self._clone)

    def accept(self, clone: str) -> Signer:
        """Take a clone as it signs now. Raises UsageError for one that is not known."""
        from gitcoord.log import trust

        return trust.accept(self._clone, clone)
