"""Remember misdeeds of other clones, which an honest clone never commits, until the user has accepted them.

One small JSON file in `coord/` has one line for each clone, with the latest incident of each kind.
"""

from __future__ import annotations

import os

from gitcoord import lean_json as json
from gitcoord.errors import RepositoryError
from gitcoord.lean import NamedTuple, suppress
from gitcoord.names import is_name
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole

LIMIT = 100
"""Clones remembered; more are noise that somebody makes on purpose."""


class Alarm(NamedTuple):
    """An incident of `clone`, and when it was first noticed (Unix seconds)."""

    clone: str
    what: str
    at: float


def note(coord_dir: str, clone: str, what: str, now: float) -> None:
    """Remember an incident; the same one again changes nothing. If the file cannot be written, it is only not
    remembered."""
    found = {alarm.clone: alarm for alarm in read(coord_dir)}
    if not is_name(clone) or (clone in found and found[clone].what == what) or len(found) >= LIMIT:
        return
    found[clone] = Alarm(clone, what, now)
    _write(coord_dir, found)


def read(coord_dir: str) -> list[Alarm]:
    """All incidents, by clone; a damaged file counts as empty."""
    try:
        rows = json.loads(read_ours(_path(coord_dir)))
        return sorted(Alarm(str(clone), str(what), float(at)) for clone, what, at in rows if is_name(str(clone)))
    except (OSError, ValueError, TypeError):
        return []


def clear(coord_dir: str, clone: str) -> bool:
    """Forget the incidents of a clone; returns whether there were any."""
    found = {alarm.clone: alarm for alarm in read(coord_dir)}
    if found.pop(clone, None) is None:
        return False
    _write(coord_dir, found)
    return True


def _path(coord_dir: str) -> str:
    return os.path.join(coord_dir, "alarms")


def _write(coord_dir: str, found: dict[str, Alarm]) -> None:
    with suppress(OSError, RepositoryError):
        write_whole(_path(coord_dir), json.dumps(sorted(found.values())) + "\n")
