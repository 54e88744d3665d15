"""Which clone this is: the id that names our refs, and how `mv`, `cp -a` and bind mounts are told apart."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from gitcoord.errors import UsageError
from gitcoord.names import is_name, slug
from gitcoord.store.repository import Repository
from gitcoord.system.files import names_in, read_ours, remove_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.process import machine_id


class Fingerprint(NamedTuple):
    """Where a clone lives. `mv` and bind mounts keep the inode, a copy has another inode at another place."""

    machine: str
    path: str
    inode: int

    def is_other_than(self, other: Fingerprint) -> bool:
        """Both the place and the inode differ: this is a copy of the clone that `other` describes."""
        return (self.machine, self.path) != (other.machine, other.path) and self.inode != other.inode


def read_clone_id(repo: Repository) -> str | None:
    """The id of this clone, or None while it has none (nothing was ever written here, or this is a fresh copy)."""
    pinned = repo.setting("clone")
    if pinned:
        return _checked(pinned)
    known = _load(os.path.join(repo.coord_dir, "clone"))
    if known is None or _fingerprint(repo).is_other_than(known[1]):
        return None
    return known[0]


def settle_clone_id(repo: Repository) -> str:
    """The id of this clone, made if there is none; to be called under the write lock. Raises RepositoryError.

    In a copy, what `coord/` knew of the original's sessions goes: they are that other clone's now, its log is history.
    """
    pinned = repo.setting("clone")
    if pinned:
        return _checked(pinned)
    path = os.path.join(repo.coord_dir, "clone")
    here = _fingerprint(repo)
    known = _load(path)
    if known is None or here.is_other_than(known[1]):
        fresh = fresh_id(repo)
        if known is not None:
            _forget_sessions(repo.coord_dir)
        _save(path, fresh, here)
        return fresh
    if known[1] != here:
        _save(path, known[0], here, former_ids(repo))
    return known[0]


def renew_clone_id(repo: Repository, fresh: str, old: str) -> None:
    """Take the id `fresh`, because the old one turned out to be in use elsewhere; to be called under the write lock."""
    path = os.path.join(repo.coord_dir, "clone")
    _save(path, fresh, _fingerprint(repo), [*former_ids(repo), old])


def former_ids(repo: Repository) -> list[str]:
    """The ids that this clone gave up."""
    try:
        former = json.loads(read_ours(os.path.join(repo.coord_dir, "clone"))).get("former", [])
        return [name for name in former if isinstance(name, str) and is_name(name)]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def fresh_id(repo: Repository) -> str:
    """An id that no clone has."""
    return f"{slug(repo.config.get('user.name', ''), 'user', 20)}-{os.urandom(4).hex()}"


def _checked(pinned: str) -> str:
    if not is_name(pinned):
        raise UsageError(f"coord.clone={pinned!a} is no valid clone id", "git config coord.clone NAME-12345678")
    return pinned


def _fingerprint(repo: Repository) -> Fingerprint:
    return Fingerprint(machine_id(), repo.common_dir, _inode(repo.coord_dir))


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _load(path: str) -> tuple[str, Fingerprint] | None:
    try:
        data: Mapping[str, object] = json.loads(read_ours(path))
        name, machine, where, inode = (data[key] for key in ("id", "machine", "path", "inode"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not (isinstance(name, str) and isinstance(machine, str) and isinstance(where, str) and isinstance(inode, int)):
        return None
    return (name, Fingerprint(machine, where, inode)) if is_name(name) else None


def _forget_sessions(coord_dir: str) -> None:
    sessions = [f"sessions/{name}" for name in names_in(os.path.join(coord_dir, "sessions")) if name.endswith(".json")]
    beats = [f"beats/{name}" for name in names_in(os.path.join(coord_dir, "beats"))]
    for name in (*sessions, *beats, "superseded"):
        with suppress(OSError):
            remove_ours(os.path.join(coord_dir, name))


def _save(path: str, name: str, here: Fingerprint, former: Sequence[str] = ()) -> None:
    facts: dict[str, object] = {"id": name, "machine": here.machine, "path": here.path, "inode": here.inode}
    facts |= {"former": list(former)} if former else {}
    write_whole(path, json.dumps(facts) + "\n")
