"""What tasks do when something happens in a room below."""

from __future__ import annotations

from gitcoord.features.tasks import settling, standing
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks
from gitcoord.sync.leases import Kind

HOOKS: Hooks[Clone] = Hooks(leases=Kind(standing.KIND, standing.finished, settling.is_pending, settling.settle, settling.tell))
