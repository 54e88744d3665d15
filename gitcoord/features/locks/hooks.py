"""The hooks of locks (`Hooks`)."""

from __future__ import annotations

from gitcoord.features.locks import leased, take
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks
from gitcoord.sync.leases import LeaseKind

_LEASES = LeaseKind(leased.KIND, leased.finished, leased.is_pending, leased.settle)
HOOKS: Hooks[Clone] = Hooks(parting=take.farewell, parted=take.keep_marker, leases=_LEASES)
