"""The public guard: coordination is not published by accident.

Before the first push to a URL we ask, as a stranger would, whether everybody can read it; if so, nothing goes there until
`coord.allowPublic` is set. That it was not readable is remembered for the URL; that it was, is asked again.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gitcoord.errors import RemoteError, RepositoryError
from gitcoord.log.clone import Clone
from gitcoord.store import anonymous, transport
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole


def guard(clone: Clone, remote: str, listing: Mapping[str, int]) -> None:
    """`check_public` for a remote by its name, or by its URL."""
    if listing and not clone.repo.flag("allowpublic"):
        check_public(clone, transport.remote_url(clone.repo, remote), listing)


def check_public(clone: Clone, remote_url: str, listing: Mapping[str, int]) -> None:
    """Raises RemoteError where everybody could read what is about to go to `remote_url`, unless `coord.allowPublic`.

    `listing` says what that is: how many of each type. Also raised when it cannot be found out.
    """
    url = without_password(remote_url)
    if clone.repo.flag("allowpublic") or _is_private(clone, url):
        return
    found = anonymous.is_public(clone.repo, remote_url)
    if found is False:
        _remember(clone, url)
        return
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(listing.items()))
    if found is None:
        raise RemoteError(
            f"cannot find out whether everybody can read {url}; not sent: {what}",
            "try again; or, if they may: git config coord.allowPublic true",
        )
    raise RemoteError(
        f"everybody can read {url}; not sent: {what}",
        "use a private repository: git config coord.remote URL; or, if they may: git config coord.allowPublic true",
    )


def without_password(url: str) -> str:
    """A URL as it can be shown and kept: without user and password."""
    return re.sub(r"^([a-z][a-z0-9+.-]*://)[^/@]*@", r"\1", url, flags=re.IGNORECASE)


def _known(clone: Clone) -> dict[str, Any]:
    try:
        return dict(json.loads(read_ours(_path(clone))))
    except (OSError, ValueError, TypeError):
        return {}


def _is_private(clone: Clone, url: str) -> bool:
    return _known(clone).get(url) == "private"


def _remember(clone: Clone, url: str) -> None:
    with suppress(RepositoryError):
        write_whole(_path(clone), json.dumps({**_known(clone), url: "private"}, sort_keys=True) + "\n")


def _path(clone: Clone) -> str:
    return os.path.join(clone.repo.coord_dir, "public")
