"""The hooks of overlaps (`Hooks`)."""

from __future__ import annotations

from gitcoord.features.overlaps import notices
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks

HOOKS: Hooks[Clone] = Hooks(presence_changed=notices.notice, parting=notices.forget)
