"""The files of a session that the hook script looks at, in `coord/mail/`. No session name contains `@`.

`NAME` says that something may be new (index/mailroom.py sets it), `NAME@taken` that a hook is about to show it,
`NAME@owed` that an ack is due, `NAME@waiting` that the session waits for its human, `NAME@forgot` that the model has
lost what it was told, `NAME@idle` (when it is not empty) that its turn is over. `coord/marked` is as old as the last
look at the refs, and contains our clone id, so that the script finds refs of other clones that are newer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

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

EACH, ALL, HOUR = 50, 200, 3600.0
"""Items of one other clone, and of all, whose words hooks show within an hour: a clone that sends without end must not fill
the context of a model."""
SLACK = 1.0
"""Seconds by which `coord/marked` is older than the look: some shells compare times by whole seconds."""


class Marks(NamedTuple):
    """The marks of one session."""

    directory: str
    name: str

    def path(self, suffix: str = "") -> str:
        return os.path.join(self.directory, self.name + suffix)

    def open(self) -> None:
        """Let every process that reads events set marks from now on. Call it before the first look at earlier events."""
        with suppress(OSError):
            make_directory(self.directory)

    def take(self) -> None:
        """Take the marks before looking: later marks are for the next look. Those that a killed hook left are kept."""
        with suppress(OSError):
            if not os.path.exists(self.path("@taken")):
                rename_ours(self.path(), self.path("@taken"))  # a process that is writing to it at this moment still does
            else:
                _append(self.path("@taken"), _lines(self.path("@more")))
                rename_ours(self.path(), self.path("@more"))

    def taken(self) -> list[str]:
        """The lines of the taken marks; call it after the processes that set them have committed."""
        return list(dict.fromkeys([*_lines(self.path("@taken")), *_lines(self.path("@more"))]))

    def done(self) -> None:
        """Remove the marks that were taken: everything is shown."""
        for suffix in ("@more", "@taken"):
            with suppress(OSError):
                remove_ours(self.path(suffix))

    def again(self, lines: Sequence[str] = ()) -> None:
        """Set the mark again: something waits for the next look."""
        with suppress(OSError):
            _append(self.path(), lines)

    def owe(self, something: bool) -> None:
        """Note whether an ack is due; the hook at the end of a turn looks at it."""
        self._flag("@owed", something)

    def wait(self, waiting: bool) -> None:
        """Note whether the session waits for its human; the next step of its model ends that."""
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
        """Note that the model is about to lose what it was told."""
        with suppress(OSError):
            _append(self.path("@forgot"), ())
            _append(self.path(), ())

    def recall(self) -> bool:
        """Whether the model has lost what it was told, since the last call."""
        with suppress(OSError):
            return remove_ours(self.path("@forgot"))
        return False

    def room(self, now: float) -> Callable[[str], int]:
        """A function: of how many more items of another clone the words may be shown within this hour."""
        shown = [other for _, other in self._others(now)]
        return lambda other: min(EACH - shown.count(other), ALL - len(shown))

    def show(self, others: Mapping[str, int], now: float) -> None:
        """Note that the words of so many items of other clones are shown."""
        if others:
            fresh = [(now, other) for other, count in others.items() for _ in range(count)]
            lines = "".join(f"{at:.1f} {other}\n" for at, other in [*self._others(now), *fresh])
            with suppress(OSError):
                write_ours(self.path("@others"), lines.encode())

    def _others(self, now: float) -> list[tuple[float, str]]:
        """The times of the items of this hour, and their clones."""
        found: list[tuple[float, str]] = []
        with suppress(ValueError):
            for line in _lines(self.path("@others")):
                at, _, other = line.partition(" ")
                found += [(float(at), other)] if 0 <= now - float(at) < HOUR else []
        return found

    def set_idle(self, idle: bool) -> None:
        """Note whether the session's turn is over."""
        with suppress(OSError):
            write_ours(self.path("@idle"), b"idle\n" if idle else b"")

    def is_idle(self) -> bool:
        return bool(_lines(self.path("@idle")))


def marks_of(clone: Clone, name: str) -> Marks:
    """The marks of a session of this clone."""
    return Marks(clone.path("mail"), name)


def stamp(clone: Clone, looked: float) -> None:
    """Note that the refs as they were at `looked` (Unix seconds) are in the index, and that marks are set for all of
    it."""
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
