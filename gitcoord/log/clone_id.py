"""The id of this clone, which names our refs, and how a copy is told from `mv`, mounts and network shares.

`coord/clone` has the id, a random secret, and the places from which this clone was reached. Another path, other inode
numbers or another machine may mean a copy, but a mount and a share have them as well. A copy is proven if one of the known
places has a `coord/` with our id and our secret, and a file that we make in ours does not appear there. Then the clone
there is another one, and we take a new id. Without that proof a clone keeps its id; a copy on another machine is found at
the remote (`sync.new_clone_id`).
"""

from __future__ import annotations

import os

from gitcoord import lean_json as json
from gitcoord.errors import UsageError
from gitcoord.lean import Any, NamedTuple, suppress
from gitcoord.log.journal import Journal
from gitcoord.names import is_name, slug
from gitcoord.store.ref_names import owner
from gitcoord.store.repository import Repository
from gitcoord.system.files import names_in, open_ours, read_if_there, read_ours, remove_ours
from gitcoord.system.lock import write_whole
from gitcoord.system.process import machine_id

MAX_PLACES = 8
"""Places that are remembered, the latest last."""


class ClonePlace(NamedTuple):
    """A place from which a clone was reached: the git directory that its worktrees share, by its name there."""

    machine: str
    path: str
    inode: int


class KnownClone(NamedTuple):
    """The content of `coord/clone`. A process that knows the secret can write in this clone's name, so it never leaves
    the directory."""

    id: str
    secret: str = ""
    places: tuple[ClonePlace, ...] = ()
    former: tuple[str, ...] = ()

    @property
    def key(self) -> bytes:
        return self.secret.encode()


def read_clone_id(repo: Repository) -> str | None:
    """The id of this clone, or None while it has none (nothing was ever written here, or this is a fresh copy).

    Raises Unreadable.
    """
    known = read_known(repo)
    return known.id if known else None


def read_known(repo: Repository) -> KnownClone | None:
    """As `read_clone_id`, with the secret, which is empty if there is none yet."""
    pinned = repo.setting("clone")
    if pinned:
        return (_known(repo) or KnownClone(pinned))._replace(id=_checked(pinned))
    known = _known(repo)
    return known if known is not None and not _is_copy(repo, known) else None


def settle_clone_id(repo: Repository) -> KnownClone:
    """The id of this clone and its secret, made if missing. Call it under the write lock.

    In a copy, the files about the original's sessions in `coord/` are deleted: the sessions belong to the other clone now,
    and its log is history. Raises Unreadable, Unwritable.
    """
    pinned, known, here = repo.setting("clone"), _known(repo), _place(repo)
    if pinned:
        _checked(pinned)
        if known is None:
            known = _save(repo, KnownClone(pinned, _secret(), (here,)))
        return known._replace(id=pinned)
    if known is None or _is_copy(repo, known):
        if known is not None:
            _forget_sessions(repo.coord_dir)
        return _save(repo, KnownClone(fresh_id(repo), _secret(), (here,)))
    if here not in known.places or not known.secret or _load(repo) is None:
        others = [place for place in known.places if place[:2] != here[:2]]  # a share has new numbers with each mount
        return _save(repo, known._replace(secret=known.secret or _secret(), places=(*others, here)[-MAX_PLACES:]))
    return known


def renewed(repo: Repository, old: str) -> KnownClone:
    """A new identity, because the `old` id turned out to be in use elsewhere; not written yet."""
    return KnownClone(fresh_id(repo), _secret(), (_place(repo),), (*former_ids(repo), old))


def renew_clone_id(repo: Repository, known: KnownClone) -> None:
    """Take another id for good; to be called under the write lock."""
    _save(repo, known)


def former_ids(repo: Repository) -> list[str]:
    """The ids that this clone gave up. Raises Unreadable."""
    known = _load(repo)
    return list(known.former) if known else []


def fresh_id(repo: Repository) -> str:
    """An id that no clone has."""
    return f"{slug(repo.config.get('user.name', ''), 'user', 20)}-{os.urandom(4).hex()}"


def _secret() -> str:
    return os.urandom(16).hex()


def _checked(pinned: str) -> str:
    if not is_name(pinned):
        raise UsageError(f"coord.clone={pinned!a} is not a valid clone id", "git config coord.clone NAME-12345678")
    return pinned


def _place(repo: Repository) -> ClonePlace:
    try:
        inode = os.stat(repo.coord_dir).st_ino
    except OSError:
        inode = 0
    return ClonePlace(machine_id(), repo.common_dir, inode)


# tell a copy from another way to the same files


def _is_copy(repo: Repository, known: KnownClone) -> bool:
    """Whether the clone that `known` describes has other files than ours. Asked once for each new place."""
    here = _place(repo)
    if here in known.places:
        return False
    return any(_lives_elsewhere(repo.coord_dir, place.path, known) for place in known.places if place.path != here.path)


def _lives_elsewhere(ours: str, path: str, known: KnownClone) -> bool:
    theirs = os.path.join(path, "coord")
    try:
        if os.path.samestat(os.stat(ours), os.stat(theirs)):
            return False
        found = _parse(read_ours(os.path.join(theirs, "clone")))
    except OSError:
        return False  # no clone is there any more, or we cannot see it
    return found is not None and (found.id, found.secret) == (known.id, known.secret) and not _leads_to(ours, theirs)


def _leads_to(ours: str, theirs: str) -> bool:
    """Whether both paths lead to the same directory, though their numbers differ: a file made in one appears in the other.
    If we may not make a file, we cannot write anything else either, and the answer is yes."""
    name = f"door.{os.urandom(8).hex()}"  # a new name each time: shares remember for seconds that a name was missing
    made = os.path.join(ours, name)
    try:
        os.close(open_ours(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except OSError:
        return True
    try:
        return os.path.exists(os.path.join(theirs, name))
    finally:
        with suppress(OSError):
            remove_ours(made)


# read and write the file


def _known(repo: Repository) -> KnownClone | None:
    """The content of the file; if it is lost or damaged, the id whose logs the journal notes, because the rest can be made
    again."""
    known = _load(repo)
    if known is None:
        owners = {owner(ref) for ref in Journal(repo.coord_dir).tips()}
        known = KnownClone(owners.pop()) if len(owners) == 1 else None
    return known


def _load(repo: Repository) -> KnownClone | None:
    data = read_if_there(os.path.join(repo.coord_dir, "clone"))
    return _parse(data) if data else None


def _parse(data: bytes) -> KnownClone | None:
    """Parse the file of this version, or of an earlier one with a single place and no secret."""
    try:
        found: dict[str, Any] = json.loads(data)
        places = found["places"] if "places" in found else [[found[key] for key in ClonePlace._fields]]
        known = KnownClone(
            found["id"],
            found.get("secret", ""),
            tuple(ClonePlace(*place) for place in places),
            tuple(name for name in found.get("former", ()) if isinstance(name, str) and is_name(name)),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    whole = isinstance(known.id, str) and is_name(known.id) and isinstance(known.secret, str)
    return known if whole and all(map(_is_place, known.places)) else None


def _is_place(place: ClonePlace) -> bool:
    return isinstance(place.machine, str) and isinstance(place.path, str) and isinstance(place.inode, int)


def _save(repo: Repository, known: KnownClone) -> KnownClone:
    """Write the file, once for each new place, and sync it: if the id is lost, so is the way to all that was written under
    it."""
    latest = known.places[-1]._asdict()  # for earlier versions
    facts = {"id": known.id, "secret": known.secret, "places": known.places, **latest}
    facts |= {"former": known.former} if known.former else {}
    write_whole(os.path.join(repo.coord_dir, "clone"), json.dumps(facts) + "\n", durable=True)
    return known


def _forget_sessions(coord_dir: str) -> None:
    sessions = [f"sessions/{name}" for name in names_in(os.path.join(coord_dir, "sessions")) if name.endswith(".json")]
    beats = [f"beats/{name}" for name in names_in(os.path.join(coord_dir, "beats"))]
    for name in (*sessions, *beats, "superseded"):
        with suppress(OSError):
            remove_ours(os.path.join(coord_dir, name))
