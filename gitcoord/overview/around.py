"""What happens around a command: before it the dead are told of, after it the remote is looked at."""

from __future__ import annotations

import os
import time

from gitcoord.errors import CoordError
from gitcoord.features import deaths
from gitcoord.lean import suppress
from gitcoord.sessions.identity import Caller


def notice_deaths(caller: Caller) -> None:
    """Tell of sessions and jobs of this clone that died meanwhile, unless somebody did already."""
    deaths.notice(caller.clone, me=lambda: caller.identity.name)


def look_out(caller: Caller) -> None:
    """Have fetched what another clone may have sent, in the background."""
    from gitcoord.sync import background

    background.after_look(caller.clone)


def look_out_if_due(caller: Caller) -> None:
    """As `look_out`, if nobody looked for a while."""
    look = caller.clone.path("look")
    if os.path.exists(look) and os.stat(look).st_mtime < time.time():
        look_out(caller)


def settle_refs(coord: Caller) -> None:
    """A command failed: a ref of ours that leads nowhere may be why. It is settled, so that the next command goes on."""
    from gitcoord.log import boot

    with suppress(CoordError):
        if any(boot.lost_refs(coord.clone.store, coord.clone.store.tips())):
            coord.clone.mend(boot.settle_refs)
