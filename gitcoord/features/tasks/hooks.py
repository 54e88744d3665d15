"""The hooks of tasks (`Hooks`)."""

from __future__ import annotations

from gitcoord.features.tasks import lost, settling, standing
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks
from gitcoord.sync.leases import LeaseKind

_LEASES = LeaseKind(standing.KIND, standing.finished, settling.is_pending, settling.settle, settling.tell)
HOOKS: Hooks[Clone] = Hooks(arrived=lost.tell_holders, renamed=settling.renamed, leases=_LEASES)
