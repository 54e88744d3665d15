"""What tasks do when something happens in a room below."""

from __future__ import annotations

from gitcoord.features.tasks import leased
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks
from gitcoord.sync.leases import Kind

HOOKS: Hooks[Clone] = Hooks(leases=Kind(leased.KIND, leased.finished, leased.is_pending, leased.settle))
