"""Remember the leases that this clone has asked for and got no answer about: `coord/asked`, one nonce on each line.

While a nonce is in it, its claim is shown as tentative. Only the holder of the link writes the file.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from gitcoord.lean import TYPE_CHECKING, suppress
from gitcoord.system.files import read_ours, remove_ours
from gitcoord.system.lock import write_whole

if TYPE_CHECKING:
    from gitcoord.log.clone import Clone

MOST = 1000
"""Number of nonces that are kept, the latest ones: each sync asks about all of them."""


def waiting(clone: Clone) -> frozenset[str]:
    """The nonces that have had no answer."""
    path = clone.path("asked")
    if not os.path.exists(path):
        return frozenset()
    with suppress(OSError):
        return frozenset(read_ours(path).decode("ascii", "replace").split())
    return frozenset()


def ask(clone: Clone, nonce: str) -> None:
    """Note that a lease is about to be asked for. Raises Unwritable."""
    _write(clone, [*sorted(waiting(clone)), nonce])


def answered(clone: Clone, nonces: Collection[str]) -> None:
    """Forget nonces about which the remote has answered."""
    left = waiting(clone) - {*nonces}
    if left != waiting(clone):
        _write(clone, sorted(left))


def _write(clone: Clone, nonces: list[str]) -> None:
    if nonces:
        write_whole(clone.path("asked"), "".join(f"{nonce}\n" for nonce in nonces[-MOST:]))
    else:
        with suppress(OSError):
            remove_ours(clone.path("asked"))
