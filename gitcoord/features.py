"""The features there are. Adding one is adding a module and a line here."""

from __future__ import annotations

from collections.abc import Sequence

from gitcoord.index.feature import Feature


def load() -> Sequence[Feature]:
    """Imported only when something is to be folded: a read with nothing new needs none of them."""
    from gitcoord import deaths, jobs, locks, mailboxes, messages, notes, overlaps, sequences, state, trust
    from gitcoord.tasks import fold as tasks

    return (
        mailboxes.FEATURE,
        messages.FEATURE,
        notes.FEATURE,
        tasks.FEATURE,
        sequences.FEATURE,
        state.FEATURE,
        locks.FEATURE,
        overlaps.FEATURE,
        jobs.FEATURE,
        deaths.FEATURE,
        trust.FEATURE,
    )
