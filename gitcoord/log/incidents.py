"""Remember misdeeds of other clones, which an honest clone never commits, until the user has accepted them.

One small JSON file in `coord/` has one line for each clone, with the latest incident of each kind.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from gitcoord import lean_json as json
from gitcoord.errors import RepositoryError
from gitcoord.lean import NamedTuple, re, suppress
from gitcoord.names import is_name
from gitcoord.store.objects import Oid
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole

LIMIT = 100
"""Clones remembered; more are noise that somebody makes on purpose."""


class Alarm(NamedTuple):
    """An incident of `clone`, and when it was first noticed (Unix seconds). It is over when the user accepts it, or when a
    sync finds that the clone's logs contain all commits of `missed` again, if there are any."""

    clone: str
    what: str
    at: float
    missed: tuple[Oid, ...] = ()


def note(coord_dir: str, clone: str, what: str, now: float, missed: tuple[Oid, ...] = ()) -> None:
    """Remember an incident; the same one again adds only what is missed. If the file cannot be written, it is only not
    remembered."""
    found = {alarm.clone: alarm for alarm in read(coord_dir)}
    last = found.get(clone)
    if last is not None and last.what == what:
        now, missed = last.at, tuple(dict.fromkeys((*last.missed, *missed)))
    if not is_name(clone) or (last is None and len(found) >= LIMIT) or found.get(clone) == Alarm(clone, what, now, missed):
        return
    found[clone] = Alarm(clone, what, now, missed)
    _write(coord_dir, found)


def read(coord_dir: str) -> list[Alarm]:
    """All incidents, by clone; a damaged file counts as empty."""
    try:
        rows = json.loads(read_ours(_path(coord_dir)))
        return sorted(_alarm(*row) for row in rows if is_name(str(row[0])))
    except (OSError, ValueError, TypeError):
        return []


def _alarm(clone: object, what: object, at: float, missed: Iterable[object] = ()) -> Alarm:
    return Alarm(str(clone), str(what), float(at), tuple(Oid(oid) for oid in map(str, missed) if _ID.fullmatch(oid)))


_ID = re.compile("[0-9a-f]{40}(?:[0-9a-f]{24})?")


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
