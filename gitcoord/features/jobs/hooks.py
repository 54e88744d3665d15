"""The hooks of jobs (`Hooks`)."""

from __future__ import annotations

from gitcoord.features.jobs import start
from gitcoord.log.clone import Clone
from gitcoord.log.index.feature import Hooks

HOOKS: Hooks[Clone] = Hooks(renamed=start.go_on)
