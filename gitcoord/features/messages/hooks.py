"""The hooks of messages (`Hooks`)."""

from __future__ import annotations

from gitcoord.features.messages import ring
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks

HOOKS: Hooks[Clone] = Hooks(arrived=ring.mail)
