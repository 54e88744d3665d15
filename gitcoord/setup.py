"""Install and remove: `init` installs hooks and registers worktrees, `purge` removes every trace of gitcoord."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from gitcoord.errors import without_password
from gitcoord.lean import suppress
from gitcoord.log import mend
from gitcoord.log.clone import Clone
from gitcoord.log.clone_id import read_clone_id
from gitcoord.sessions.housekeeping import expect_all
from gitcoord.store import graphs
from gitcoord.store import hooks as githooks
from gitcoord.store.contract import Tips
from gitcoord.store.hooks import Hook
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE, belongs_to, is_aside, is_ours
from gitcoord.sync import remotes
from gitcoord.system.lock import unwritable
from gitcoord.system.spawn import run


@dataclass(frozen=True, slots=True)
class Initialized:
    """The result of `init`: the clone's id, the placeholders it registered, the state of the hooks, and the remote
    to sync with, if the user named one or others coordinate there already."""

    clone: str
    expected: tuple[str, ...]
    hooks: tuple[Hook, ...]
    remote: str
    remote_is_set: bool = False
    """Whether `coord.remote` names it, so that `git coord sync` needs no name."""


def init(clone: Clone, hooks: bool = True) -> Initialized:
    """Install the git hooks and register a placeholder for each linked worktree without a session. Idempotent.

    Raises RepositoryError where the repository cannot be written.
    """
    with clone.locked():
        name = clone.settled_id()
        expected = tuple(record.name for record in expect_all(clone))
    found = githooks.install(clone.repo) if hooks else githooks.status(clone.repo)
    return Initialized(name, expected, tuple(found), _remote(clone), bool(clone.repo.setting("remote")))


def _remote(clone: Clone) -> str:
    """The remote to sync with, found without using the network."""
    known, there = remotes.load(clone.repo), remotes.tracked(clone.repo)
    return without_password(clone.repo.setting("remote") or (known.remote if known else "") or (there[0] if there else ""))


@dataclass(frozen=True, slots=True)
class Traces:
    """Everything that gitcoord has put into a repository."""

    refs: dict[str, Oid]
    broken: tuple[str, ...]
    hooks: tuple[Hook, ...]
    settings: tuple[str, ...]
    files: str
    """Our directory, empty if there is none."""


def traces(clone: Clone, everyone: bool = False) -> Traces:
    """The traces that `purge` would remove: this clone's refs, or with `everyone` also those fetched from other clones."""
    tips = clone.store.tips()
    mine = read_clone_id(clone.repo)
    refs = {ref: oid for ref, oid in tips.refs.items() if _is_purged(ref, mine, everyone)}
    broken = tuple(ref for ref in tips.broken if _is_purged(ref, mine, everyone))
    hooks = tuple(hook for hook in githooks.status(clone.repo) if hook.how != "none")
    files = clone.repo.coord_dir if os.path.isdir(clone.repo.coord_dir) else ""
    return Traces(refs, broken, hooks, _settings(clone), files)


def _is_purged(ref: str, mine: str | None, everyone: bool) -> bool:
    if ref.startswith(NAMESPACE + "lease/"):
        return everyone
    return (is_ours(ref) and (everyone or belongs_to(ref, mine or ""))) or is_aside(ref, mine or "")


def _settings(clone: Clone) -> tuple[str, ...]:
    argv = ["git", f"--git-dir={clone.repo.common_dir}", "config", "--local", "-z", "--name-only", "--get-regexp", r"^coord\."]
    return tuple(dict.fromkeys(os.fsdecode(run(argv, clone.repo.env).out).split("\0")[:-1]))


def purge(clone: Clone, everyone: bool = False) -> Traces:
    """Remove our refs, hooks, settings and files; the objects go with git's next gc. Returns what was removed.

    The hooks go first, so that nothing of ours starts meanwhile. Raises RepositoryError; then run it again.
    """
    found = traces(clone, everyone)
    githooks.uninstall(clone.repo)
    with clone.locked() as fd:
        for ref, oid in clone.store.tips().refs.items():
            if ref in found.refs:
                clone.store.move(ref, None, oid, fd)
        graphs.release(clone.repo, everything=True)
        if found.broken:
            mend.drop_broken(clone.store, Tips({}, found.broken), fd)
        for key in found.settings:
            run(["git", f"--git-dir={clone.repo.common_dir}", "config", "--local", "--unset-all", key], clone.repo.env)
        clone.close()
        _remove_files(clone)
    return found


def _remove_files(clone: Clone) -> None:
    """Delete the folder in one step, because others may be writing into it, and what an interrupted purge left."""
    here, aside = clone.repo.coord_dir, f"{clone.repo.coord_dir}.purged"
    try:
        with suppress(FileNotFoundError):
            os.rename(here, f"{aside}{os.getpid()}")
        for name in os.listdir(clone.repo.common_dir):
            if name.startswith(os.path.basename(aside)):
                shutil.rmtree(os.path.join(clone.repo.common_dir, name))
    except OSError as error:
        raise unwritable(here, error) from error
    for top in ("refs/coord", "logs/refs/coord"):
        for folder, _, _ in os.walk(os.path.join(clone.repo.common_dir, top), topdown=False):
            with suppress(OSError):
                os.rmdir(folder)  # only empty ones: others may contain refs that are not ours
