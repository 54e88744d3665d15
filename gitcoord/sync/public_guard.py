"""The public guard, which keeps coordination from being published by accident.

Before the first push to a URL we ask, as a stranger would, whether everybody can read it. If so, nothing is sent until
`coord.allowPublic` is set. If we cannot find out, nothing is sent either, until the user says that the remote is
private: by `git coord sync --yes-private`, or by its name or URL in `coord.privateRemote`. For each URL we remember
that it was not readable, and what the user said; every other answer is asked for again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.errors import RemoteError, RepositoryError, without_password
from gitcoord.lean import Any, suppress
from gitcoord.log.clone import Clone
from gitcoord.store import anonymous, transport
from gitcoord.system.files import read_ours
from gitcoord.system.lock import write_whole
from gitcoord.text import shell_word

REFUSED, TOLD = "refused", "told"
"""The reasons why a URL counts as private: it refused a stranger, or the user said so."""


def guard(clone: Clone, remote: str, listing: Mapping[str, int]) -> None:
    """`check_public` for a remote by its name, or by its URL: for every place that it is pushed to."""
    if not listing or clone.repo.flag("allowpublic"):
        return
    private = clone.repo.setting("privateremote").split()
    for url in transport.push_urls(clone.repo, remote):
        if not {remote, url, without_password(url)} & set(private):
            check_public(clone, url, listing, remote)


def vouch(clone: Clone, remote: str) -> None:
    """Note that the user says that the remote is private. Raises RepositoryError."""
    for url in transport.push_urls(clone.repo, remote):
        _remember(clone, without_password(url), TOLD)


def check_public(clone: Clone, remote_url: str, listing: Mapping[str, int], remote: str = "") -> None:
    """Refuse to send to a public remote, unless `coord.allowPublic` is set. Raises RemoteError if everybody can read
    `remote_url`, or if that cannot be found out. `listing` counts what would be sent by type; `remote` is the user's name
    for it."""
    url = without_password(remote_url)
    if clone.repo.flag("allowpublic") or _known(clone).get(url) in (REFUSED, TOLD):
        return
    found = anonymous.is_public(clone.repo, remote_url)
    if found is False:
        with suppress(RepositoryError):
            _remember(clone, url, REFUSED)
        return
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(listing.items()))
    if found is None:
        name = shell_word(without_password(remote or url))
        raise RemoteError(
            f"cannot find out whether everybody can read {url}; not sent: {what}",
            f"if it is private: git coord sync {name} --yes-private; else allow it: git config coord.allowPublic true",
        )
    raise RemoteError(
        f"everybody can read {url}; not sent: {what}",
        "use a private repository: git config coord.remote URL; or allow it: git config coord.allowPublic true",
    )


def _known(clone: Clone) -> dict[str, Any]:
    try:
        return dict(json.loads(read_ours(_path(clone))))
    except (OSError, ValueError, TypeError):
        return {}


def _remember(clone: Clone, url: str, why: str) -> None:
    write_whole(_path(clone), json.dumps({**_known(clone), url: why}, sort_keys=True) + "\n")


def _path(clone: Clone) -> str:
    return os.path.join(clone.repo.coord_dir, "public")
