"""The coordination remote, and the facts that are remembered of it in `coord/remote`, never in the user's configuration.

Before the first sync nothing is remembered, and only `sync` looks for a remote.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.errors import RepositoryError, UsageError, without_password
from gitcoord.lean import TYPE_CHECKING, Any, NamedTuple, re, suppress
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE, belongs_to, is_log
from gitcoord.store.repository import Repository
from gitcoord.store.transport import Remote, remote_names, remote_url
from gitcoord.system.files import read_ours, touch_ours
from gitcoord.system.lock import write_whole
from gitcoord.text import shell_word

if TYPE_CHECKING:
    import sqlite3

    from gitcoord.log.clone import Clone

PREFIX = r"refs/[A-Za-z0-9][A-Za-z0-9._/-]*/"
PUSHES_A_MINUTE = 4
LIMITED = 3600.0
"""Seconds during which a host that answered with a limit gets few pushes."""
LOOK_EVERY = 60.0
"""Seconds after which a command that only reads starts a look at the remote in the background."""
BACKOFF, LONGEST = 30.0, 900.0
"""Seconds for which a remote that did not answer is left alone, at first and at most."""


class KnownRemote(NamedTuple):
    """The facts that this clone remembers of its coordination remote. Times are Unix seconds."""

    remote: str
    url: str
    prefix: str
    at: float
    """The time of the last sync that succeeded."""
    ours: Mapping[str, Oid]
    """Our refs as the remote has them."""
    pushes: tuple[float, ...] = ()
    """The times of our recent pushes."""
    error: str = ""
    """The reason why the last attempt failed; empty if it succeeded."""
    failing: str = ""
    """The remote that `error` is about."""
    tried: float = 0.0
    refused: Mapping[str, str] = {}
    """The kinds of refs that the remote rejects (`rejected`), and its words."""
    refused_at: float = 0.0

    def is_of(self, name: str) -> bool:
        """Whether this is about the remote `name`, with or without a password."""
        return self.remote == without_password(name)


def load(repo: Repository) -> KnownRemote | None:
    """The facts remembered; None before the first sync that succeeded. An unreadable file counts as missing."""
    try:
        data: dict[str, Any] = json.loads(read_ours(_path(repo)))
        return KnownRemote(**{**data, "pushes": tuple(data.get("pushes", ()))})
    except (OSError, ValueError, TypeError):
        return None


def current(repo: Repository) -> KnownRemote:
    """As `load`, for the remote of the next sync, of which nothing may be known yet."""
    known = load(repo)
    name = repo.setting("remote") or (known.remote if known else "")
    error = known.error if known and known.failing in ("", without_password(name)) else ""
    if astray := _set_by_hand(repo, known):
        error = f"coord.remote was changed by hand: {astray[1]}"
    if known is not None and known.is_of(name):
        return known._replace(error=error)
    return KnownRemote(name, name, NAMESPACE, 0.0, {}, error=error)


def failed(repo: Repository, name: str, why: str) -> None:
    """Note why a sync failed, with the remote of the last sync or with one that was set instead."""
    known = load(repo)
    if known is not None and (known.is_of(name) or name == repo.setting("remote")):
        save(repo, known._replace(error=why, failing=name, tried=time.time()))
    elif known is None:
        facts = {"remote": without_password(name), "error": without_password(why)}
        with suppress(OSError, RepositoryError):
            write_whole(_first_path(repo), json.dumps(facts) + "\n")


def first_failure(repo: Repository) -> tuple[str, str] | None:
    """The remote of a first sync that failed, and why; None if none failed, or one succeeded since."""
    if is_connected(repo) or not os.path.exists(_first_path(repo)):
        return None
    try:
        found = json.loads(read_ours(_first_path(repo)))
        return str(found["remote"]), str(found["error"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _first_path(repo: Repository) -> str:
    return os.path.join(repo.coord_dir, "remote.failed")


def renamed_to(repo: Repository, name: str) -> str:
    """The new name of a remote that the user has renamed, found by its URL; empty if it was not renamed."""
    from gitcoord.store.transport import push_urls

    known = load(repo)
    names = remote_names(repo)
    if known is None or not known.is_of(name) or name in names or os.path.exists(name):
        return ""
    return next((each for each in names if without_password(push_urls(repo, each)[0]) == known.url), "")


def save(repo: Repository, known: KnownRemote) -> None:
    """Write the facts, without passwords; and, for the hooks' script, the time of the next look as the time of
    `coord/look`. After a failure the wait is as long as the failure has lasted, within bounds. Raises RepositoryError."""
    known = known._replace(remote=without_password(known.remote), url=without_password(known.url))
    known = known._replace(failing=without_password(known.failing), error=without_password(known.error))
    write_whole(_path(repo), json.dumps(known._asdict(), sort_keys=True) + "\n")
    pause = min(LONGEST, max(BACKOFF, known.tried - known.at)) if known.error else LOOK_EVERY
    with suppress(OSError):
        touch_ours(os.path.join(repo.coord_dir, "look"), time.time() + pause)


def is_due(repo: Repository) -> bool:
    """Whether the next look at the remote is due; costs a look at one file."""
    try:
        return time.time() > os.stat(os.path.join(repo.coord_dir, "look")).st_mtime
    except OSError:
        return False


def _path(repo: Repository) -> str:
    return os.path.join(repo.coord_dir, "remote")


def is_connected(repo: Repository) -> bool:
    """Whether there is a coordination remote; costs a look at one file."""
    return os.path.exists(_path(repo)) or bool(repo.setting("remote"))


def connected(repo: Repository) -> Remote | None:
    """The coordination remote, if there is one: the one that the user set, otherwise that of the last sync. Raises
    UsageError."""
    known = load(repo)
    if astray := _set_by_hand(repo, known):
        raise UsageError(*astray)
    name = repo.setting("remote") or (known.remote if known else "")
    if not name and _is_host(repo):
        return Remote(repo.common_dir)
    return _with_prefix(repo, name, known) if name else None


def left_behind(repo: Repository) -> Remote | None:
    """The remote that has the claims of this clone, whatever the user set since; None if none has."""
    known = load(repo)
    return _with_prefix(repo, known.remote, known) if known and _set_by_hand(repo, known) else connected(repo)


def _set_by_hand(repo: Repository, known: KnownRemote | None) -> tuple[str, str] | None:
    """A message and a command for the user if `coord.remote` was set to another place than the one that has the claims of
    this clone: they would stay there, and both places would hand out the same tasks and numbers."""
    name = repo.setting("remote")
    if not name or known is None or not known.at or known.is_of(name) or without_password(name) == known.url:
        return None
    if without_password(remote_url(repo, name)) == known.url:
        return None
    told = without_password(name)
    what = f"coord.remote is {told} now, but the claims of this clone are at {known.remote}"
    return what, f"git coord remote set {shell_word(told)}, or: git config coord.remote {shell_word(known.remote)}"


def is_visit(repo: Repository, remote: Remote) -> bool:
    """Whether a remote is not the one that has the claims of this clone."""
    known = load(repo)
    told = "" if _set_by_hand(repo, known) else repo.setting("remote")
    return not (told == remote.name if told else known is None or known.is_of(remote.name))


def decides(repo: Repository) -> bool:
    """Whether leases decide claims: at the coordination remote, or in this repository, if it is the remote of others."""
    return is_connected(repo) or _is_host(repo)


def _is_host(repo: Repository) -> bool:
    """Whether other clones have leases here, because this repository is their remote."""
    return bool(repo.git("for-each-ref", "--count=1", "--format=%(refname)", f"{NAMESPACE}lease/").out)


def choose(repo: Repository, name: str | None, cwd: str) -> Remote:
    """The remote for a sync. Raises UsageError if none is named and none is obvious."""
    known = load(repo)
    if name is None:
        if astray := _set_by_hand(repo, known):
            raise UsageError(*astray)
        name = repo.setting("remote") or (known.remote if known else "") or _only_one(repo)
    elif name not in remote_names(repo) and os.path.exists(os.path.join(cwd, name)):
        name = os.path.abspath(os.path.join(cwd, name))
    if known and name == known.url:
        name = known.remote
    if name.startswith("-") or not name.isprintable():
        raise UsageError(f"{name!a} is not a remote", "git remote")
    return _with_prefix(repo, name, known)


def _only_one(repo: Repository) -> str:
    names = remote_names(repo)
    if len(names) == 1:
        return names[0]
    if "origin" in names:
        return "origin"
    if not names:
        raise UsageError("this repository has no remote", "git coord sync URL, or git remote add origin URL")
    raise UsageError(f"which remote: {', '.join(names[:8])}?", f"git coord sync {shell_word(names[0])}")


def _with_prefix(repo: Repository, name: str, known: KnownRemote | None) -> Remote:
    """The remote with its prefix: the setting, otherwise the one that was found there before."""
    told = repo.setting("remotePrefix")
    if not told:
        return Remote(name, known.prefix if known and known.is_of(name) else NAMESPACE)
    prefix = told if told.endswith("/") else told + "/"
    if re.fullmatch(PREFIX, prefix) is None or ".." in prefix or "//" in prefix:
        raise UsageError(
            f"coord.remotePrefix={told!a} is not a prefix of refs", "git config coord.remotePrefix refs/heads/coord/"
        )
    return Remote(name, prefix)


def discover(listing: Mapping[str, Oid]) -> str | None:
    """The prefix below which a clone keeps coordination at a remote, from its refs; None if there is none."""
    found: dict[str, int] = {}
    for ref in listing:
        prefix, _, rest = ref.partition("log/") if ref.startswith(NAMESPACE) else ref.rpartition("coord/log/")
        if rest and is_log(f"{NAMESPACE}log/{rest}"):
            prefix = prefix if ref.startswith(NAMESPACE) else f"{prefix}coord/"
            found[prefix] = found.get(prefix, 0) + 1
    if NAMESPACE in found:
        return NAMESPACE
    return max(sorted(found), key=lambda prefix: found[prefix], default=None)


def tracked(repo: Repository) -> tuple[str, str] | None:
    """A remote at which a clone keeps coordination in branches, and its prefix there, as far as the user's own fetch
    brought them; None if there is none. Uses no network."""
    listing = repo.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/remotes").out.decode("utf-8", "replace")
    refs = {ref: Oid(oid) for ref, _, oid in (line.partition(" ") for line in listing.splitlines())}
    for name in sorted(remote_names(repo), key=len, reverse=True):
        start = f"refs/remotes/{name}/"
        found = discover({f"refs/heads/{ref[len(start) :]}": oid for ref, oid in refs.items() if ref.startswith(start)})
        if found:
            return name, found
    return None


def wants_autosync(repo: Repository) -> bool:
    """Whether commands sync by themselves: after the first sync, unless the user disabled it."""
    return repo.flag("autosync", True) and os.path.exists(_path(repo))


def is_well(repo: Repository) -> bool:
    """Whether the last sync with the coordination remote succeeded."""
    known = load(repo)
    return known is not None and not known.error


def limits_us(repo: Repository) -> None:
    """Note that the host answered that we ask too often: for an hour, we push rarely."""
    with suppress(OSError):
        touch_ours(os.path.join(repo.coord_dir, "limited"))


def _is_limited(repo: Repository, now: float) -> bool:
    try:
        return 0 <= now - os.stat(os.path.join(repo.coord_dir, "limited")).st_mtime < LIMITED
    except OSError:
        return False


def pushes_left(repo: Repository, known: KnownRemote, now: float) -> float:
    """Seconds until the host allows one more push; 0 if it does now, or if no limit is known."""
    if not _is_limited(repo, now):
        return 0.0
    recent = sorted(at for at in known.pushes if 0 <= now - at < 60)
    return 0.0 if len(recent) < PUSHES_A_MINUTE else 60 - (now - recent[-PUSHES_A_MINUTE])


def waiting(db: sqlite3.Connection, clone: Clone, known: KnownRemote) -> int:
    """The number of events of this clone that the remote does not have yet."""
    return int(db.execute(f"SELECT count(*) FROM events WHERE {_UNSENT}", _unsent(clone, known)).fetchone()[0])


def is_waiting(db: sqlite3.Connection, clone: Clone, oid: str) -> bool:
    """Whether the coordination remote does not have an event of ours yet; true where there is no remote."""
    known = load(clone.repo)
    if known is None:
        return True
    query = f"SELECT 1 FROM events WHERE id = ? AND {_UNSENT}"
    return db.execute(query, (oid, *_unsent(clone, known))).fetchone() is not None


_UNSENT = (
    "clone = ? AND local = 0 AND lc > (SELECT coalesce(max(lc), 0) FROM events WHERE id IN (SELECT value FROM json_each(?)))"
)


def _unsent(clone: Clone, known: KnownRemote) -> tuple[str, str]:
    tips = [oid for ref, oid in known.ours.items() if is_log(ref) and belongs_to(ref, clone.id)]
    return clone.id, json.dumps(tips)
