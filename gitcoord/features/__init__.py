"""The features there are. Adding one is adding a module and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord.log.index.feature import Feature


def load() -> Sequence[Feature]:
    """Imported only when something is to be folded: a read with nothing new needs none of them."""
    from gitcoord.features import deaths, notes, numbers, state
    from gitcoord.features.jobs import jobs
    from gitcoord.features.locks import locks
    from gitcoord.features.messages import inbox
    from gitcoord.features.overlaps import notices
    from gitcoord.features.tasks import fold as tasks
    from gitcoord.log import trust
    from gitcoord.sessions import mailboxes

    return (
        mailboxes.FEATURE,
        inbox.FEATURE,
        notes.FEATURE,
        tasks.FEATURE,
        numbers.FEATURE,
        state.FEATURE,
        locks.FEATURE,
        notices.FEATURE,
        jobs.FEATURE,
        deaths.FEATURE,
        trust.FEATURE,
    )
