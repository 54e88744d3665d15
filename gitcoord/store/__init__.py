"""Store: the one door to git's objects and refs, and to everything else that git keeps.

This room may use `system` and the rooms below. Begin with `contract`, which says what a store promises. Two
implementations keep it: `plumbing` runs git itself (a process costs 1.5 ms, right for one-shot commands, and it serves
every repository that git can open), `libgit2` goes through pygit2 (its import costs 60 ms, right for long-lived
processes and bulk reads). Never delete or rename a ref through libgit2: that has reverted users' branches.
"""

from __future__ import annotations

import os

from gitcoord.errors import UsageError
from gitcoord.store.contract import Store
from gitcoord.store.repository import Repository


def open_store(repo: Repository, long_lived: bool = False) -> Store:
    """Choose the door: libgit2 for a long-lived process where it can open the repository, plumbing otherwise.

    `GIT_COORD_STORE=plumbing|libgit2` forces one; with `libgit2` forced, a repository that it cannot open is an error.
    """
    forced = repo.environ.get("GIT_COORD_STORE") or os.environ.get("GIT_COORD_STORE", "")
    if forced not in ("", "plumbing", "libgit2"):
        raise UsageError(f"GIT_COORD_STORE={forced} is not a store", "unset it, or set it to plumbing or libgit2")
    if forced == "libgit2" or (long_lived and forced != "plumbing"):
        store = _open_libgit2(repo, forced == "libgit2")
        if store is not None:
            return store
    from gitcoord.store.plumbing import PlumbingStore

    return PlumbingStore(repo)


def _open_libgit2(repo: Repository, required: bool) -> Store | None:
    try:
        from gitcoord.store.libgit2 import Libgit2Store, why_not
    except ImportError:
        if required:
            raise UsageError("pygit2 is not installed", "pip install pygit2, or unset GIT_COORD_STORE") from None
        return None
    reason = why_not(repo)
    if reason is None:
        return Libgit2Store(repo)
    if required:
        raise UsageError(f"libgit2 cannot serve this repository: {reason}", "unset GIT_COORD_STORE")
    return None
