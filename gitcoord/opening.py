"""Open a clone: the one place that knows both the rooms below and the features that hook into them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gitcoord.features import REGISTRY
from gitcoord.log.clone import Clone
from gitcoord.store.discovery import find_repository


def open_clone(path: str | os.PathLike[str] = ".", environ: Mapping[str, str] | None = None, long_lived: bool = True) -> Clone:
    """Open the repository that git finds from `path`.

    `long_lived` prefers libgit2, which is quicker for many calls and slower for one. Raises RepositoryError.
    """
    return Clone(find_repository(path, environ), REGISTRY, long_lived, _after_write)


def _after_write(clone: Clone) -> None:
    """Send new events in the background. Loaded only if events were written and there is a remote."""
    from gitcoord.sync import background

    background.after_write(clone)
