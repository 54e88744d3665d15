"""Features: what people and agents use coordination for. Each has its event types, its fold and its verbs in one place.

A feature may use `sync` and the rooms below, and the feature `messages`, but no other feature. Begin with `notes`, the
smallest. To add one, add a module with a `FEATURE`, and a line here and in `log/trust/rules`.
"""

from __future__ import annotations

from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Entry, Registry

REGISTRY: Registry[Clone] = Registry(
    Entry("gitcoord.sessions.mailboxes", "join leave rename presence presences"),
    Entry(
        "gitcoord.features.messages.fold",
        "message receipt adopt",
        "gitcoord.features.messages.hooks",
        "arrived",
    ),
    Entry("gitcoord.features.notes", "note"),
    Entry(
        "gitcoord.features.tasks.fold",
        "task task.claim task.settle task.release task.block task.done task.drop task.reopen task.edit task.comment",
        "gitcoord.features.tasks.hooks",
        "renamed arrived leases",
    ),
    Entry("gitcoord.features.numbers", "alloc"),
    Entry("gitcoord.features.state", "state"),
    Entry(
        "gitcoord.features.locks.fold",
        "lock lock.wait unlock",
        "gitcoord.features.locks.hooks",
        "parting parted leases",
    ),
    Entry(
        "gitcoord.features.overlaps.fold",
        "overlap",
        "gitcoord.features.overlaps.hooks",
        "presence_changed parting",
    ),
    Entry(
        "gitcoord.features.jobs.fold",
        "job.start job.detail job.end job.lost",
        "gitcoord.features.jobs.hooks",
        "renamed",
    ),
    Entry("gitcoord.features.deaths", "gone", "gitcoord.features.deaths", "before_sync parting"),
)
"""All features. Their modules are only named here: a command imports those whose events it reads."""
