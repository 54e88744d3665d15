"""What tasks do when something happens in a room below them."""

from __future__ import annotations

from gitcoord.features.tasks import leased, lost
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks
from gitcoord.sync.leases import Kind

HOOKS: Hooks[Clone] = Hooks(
    arrived=lost.tell_holders, leases=Kind(leased.KIND, leased.finished, leased.is_pending, leased.settle)
)
