"""What happens around a command: before it, tell of deaths; after it, start a look at the remote."""

from __future__ import annotations

import os
import time

from gitcoord.features import deaths
from gitcoord.sessions.identity import Caller


def notice_deaths(caller: Caller) -> None:
    """Tell of sessions and jobs of this clone that have died, unless another process did already."""
    deaths.notice(caller.clone, me=lambda: caller.identity.name)


def look_out(caller: Caller) -> None:
    """Start a fetch in the background of what other clones may have sent."""
    from gitcoord.sync import background

    background.after_look(caller.clone)


def look_out_if_due(caller: Caller) -> None:
    """As `look_out`, if the last look is old enough."""
    look = caller.clone.path("look")
    if os.path.exists(look) and os.stat(look).st_mtime < time.time():
        look_out(caller)


def settle_refs(coord: Caller, why: str) -> None:
    """A command failed: a ref of ours that leads nowhere may be why. It is settled, so that the next command goes on."""
    coord.clone.settle_lost(why)
