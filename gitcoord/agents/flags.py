"""A session's files that the hook script looks at, in `coord/mail/`: `@` cannot be part of a session's name.

`NAME` says that something may be new (index/mailroom.py sets it), `NAME@taken` that a hook is about to show it,
`NAME@owed` that an ack is due, `NAME@waiting` that the session waits for its human, `NAME@forgot` that the model lost what it
was told, `NAME@idle` (when it is not empty) that its turn is over. `coord/marked` is as old as the last look at the refs, and
holds our clone id: a ref of another clone that is newer was not looked at yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from gitcoord.lean import NamedTuple, suppress
from gitcoord.log.clone import Clone
from gitcoord.system.files import (
    append_ours,
    make_directory,
    read_ours,
    remove_ours,
    rename_ours,
    replace_ours,
    touch_ours,
    write_ours,
)

SLACK = 1.0
"""Seconds by which `coord/marked` is older than the look: some shells compare times by whole seconds."""


class Marks(NamedTuple):
    """The marks of one session."""

    directory: str
    name: str

    def path(self, suffix: str = "") -> str:
        return os.path.join(self.directory, self.name + suffix)

    def open(self) -> None:
        """From now on whoever takes events in sets marks. To be done before the first look at what is there already."""
        with suppress(OSError):
            make_directory(self.directory)

    def take(self) -> None:
        """Before looking: what is marked from here on, is for the next look. Those left by a killed hook are kept."""
        with suppress(OSError):
            if not os.path.exists(self.path("@taken")):
                rename_ours(self.path(), self.path("@taken"))  # whoever writes to it at this moment, still does
            else:
                _append(self.path("@taken"), _lines(self.path("@more")))
                rename_ours(self.path(), self.path("@more"))

    def taken(self) -> list[str]:
        """After looking, when whoever set a mark that was taken has committed: what it says."""
        return list(dict.fromkeys([*_lines(self.path("@taken")), *_lines(self.path("@more"))]))

    def done(self) -> None:
        """All that was taken is shown."""
        for suffix in ("@more", "@taken"):
            with suppress(OSError):
                remove_ours(self.path(suffix))

    def again(self, lines: Sequence[str] = ()) -> None:
        """Something waits for the next look."""
        with suppress(OSError):
            _append(self.path(), lines)

    def owe(self, something: bool) -> None:
        """Whether an ack is due, which is looked at when the turn ends."""
        self._flag("@owed", something)

    def wait(self, waiting: bool) -> None:
        """Whether the session waits for its human, which the next step of its model ends."""
        self._flag("@waiting", waiting)

    def waits(self) -> bool:
        return os.path.exists(self.path("@waiting"))

    def _flag(self, suffix: str, up: bool) -> None:
        with suppress(OSError):
            if up:
                _append(self.path(suffix), ())
            else:
                remove_ours(self.path(suffix))

    def forget(self) -> None:
        """The model will have lost what it was told."""
        with suppress(OSError):
            _append(self.path("@forgot"), ())
            _append(self.path(), ())

    def recall(self) -> bool:
        """Whether it has, since this was last asked."""
        with suppress(OSError):
            return remove_ours(self.path("@forgot"))
        return False

    def set_idle(self, idle: bool) -> None:
        """Whether the session's turn is over."""
        with suppress(OSError):
            write_ours(self.path("@idle"), b"idle\n" if idle else b"")

    def is_idle(self) -> bool:
        return bool(_lines(self.path("@idle")))


def marks_of(clone: Clone, name: str) -> Marks:
    """The marks of a session of this clone."""
    return Marks(clone.path("mail"), name)


def stamp(clone: Clone, looked: float) -> None:
    """The refs as they were at `looked` (Unix seconds) are in the index, and marks are set for all they brought."""
    path, here = clone.path("marked"), clone.id
    with suppress(OSError):
        if _lines(path) != [here]:
            replace_ours(path, f"{here}\n".encode())
        touch_ours(path, looked - SLACK)


def _lines(path: str) -> list[str]:
    try:
        return read_ours(path).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _append(path: str, lines: Iterable[str]) -> None:
    append_ours(path, "".join(f"{line}\n" for line in lines).encode())
