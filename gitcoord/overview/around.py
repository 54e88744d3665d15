"""Work around a command: before it, tell of deaths; after it, start a look at the remote."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from gitcoord.features import deaths
from gitcoord.sessions.identity import Caller
from gitcoord.sessions.records import Record, Records


def notice_deaths(caller: Caller) -> Sequence[Record]:
    """Tell of sessions and jobs of this clone that have died, unless another process did already. Returns all records, if
    they still are as read; nothing if a death changed one."""
    seen = Records(caller.clone.repo.coord_dir).all()
    told = deaths.notice(caller.clone, me=lambda: caller.identity.name, seen=seen)
    return () if told else seen


def look_out(caller: Caller) -> None:
    """Start a fetch in the background of what other clones may have sent."""
    from gitcoord.sync import background

    background.after_look(caller.clone, waits=True)


def look_out_if_due(caller: Caller) -> None:
    """As `look_out`, if the last look is old enough."""
    look = caller.clone.path("look")
    if os.path.exists(look) and os.stat(look).st_mtime < time.time():
        from gitcoord.sync import background

        background.after_look(caller.clone)


def settle_refs(coord: Caller, why: str) -> None:
    """Repair refs of ours that point nowhere after a command failed, because they may be the reason, so that the next
    command works."""
    coord.clone.settle_lost(why)
