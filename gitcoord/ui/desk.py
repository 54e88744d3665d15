"""Keep the view up to date: read whenever something may have changed, do the acts of the person, and tell the face.

A `Coord` belongs to one thread, so each of four has its own: one that reads, one for slow git work, one that acts as the
person, and one that answers questions. Only the one that acts writes; the others leave no trace.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gitcoord import Coord
from gitcoord.errors import CoordError, Refused
from gitcoord.text import one_line
from gitcoord.ui import acts, details
from gitcoord.ui.facts import FURTHEST, NO_MERGES, PAGES, Facts, Merges, gather, gather_merges
from gitcoord.ui.model.screen import Screen, screen
from gitcoord.ui.tails import Tails

if TYPE_CHECKING:
    from gitcoord.sessions.identity import Identity

T = TypeVar("T")
Work = Callable[[Coord], None]
TICK = 15.0
"""Seconds after which states that depend on the clock (idle, gone) are read without being woken."""
MERGES_EVERY = 3.0
"""Seconds between two looks at the worktrees, at least."""
FILES_ANYWAY = 60.0
"""Seconds after which the worktrees are looked at without news of a change."""
DRAWN = 0.4
"""Seconds for the face to draw the first look, before git is asked for more."""
RETRY = 2.0
"""Seconds after which a repository that could not be read is tried again."""


class News(NamedTuple):
    """The content of a face: the last look that succeeded, and the error since then, empty if there is none."""

    screen: Screen | None
    wrong: str


NO_NEWS = News(None, "")


class Desk:
    """The view of one person on one repository."""

    def __init__(self, place: str, read_only: bool = False) -> None:
        self.place = place
        self.read_only = read_only
        self._onlooker: Identity | None = None
        self._seen = threading.Event()
        self.news = NO_NEWS
        self._begun = False
        self._tell: Callable[[News], None] = lambda _: None
        self._wrote: Callable[[str], None] = lambda _: None
        self._tails = Tails(lambda id: self._wrote(id))
        self._pages = dict(PAGES)
        self._facts: Facts | None = None
        self._merges: Merges = NO_MERGES
        self._wrong: dict[str, str] = {}
        self._busy = threading.Lock()
        self._over = threading.Event()
        self._dirty = threading.Event()
        self._wake: Callable[[], None] = lambda: None
        self._acting = _Worker(place, looks_on=False)
        self._asking = _Worker(place, looks_on=True)

    def check(self) -> None:
        """Check that the view can be opened. Raises CoordError if not, and for an agent."""
        with Coord.open(self.place, long_lived=False) as coord:
            self._onlooker = coord.sessions.user(looks_on=True)
            self.place = coord.worktree or self.place
        self._acting.place = self._asking.place = self.place

    def start(self, tell: Callable[[News], None], wrote: Callable[[str], None]) -> None:
        """Tell the face of the present state and of each change, from other threads; begin to look, unless that has begun.
        `wrote` is called with the id of a shown job when it has more output."""
        with self._busy:
            self._tell, self._wrote = tell, wrote
            if self.news != NO_NEWS:
                tell(self.news)
        self.begin()

    def begin(self) -> None:
        """Begin to look, so that a face that takes a while to load finds the first look done."""
        if self._begun:
            return
        self._begun = True
        for work in (self._look_on, self._look_deep):
            threading.Thread(target=self._again, args=(work,), daemon=True).start()

    def stop(self) -> None:
        """Stop looking; an act that has begun is finished first."""
        self._over.set()
        self._dirty.set()
        self._wake()
        self._tails.close()
        self._acting.close()
        self._asking.close()

    def act(self, name: str, arguments: Mapping[str, Any]) -> Future[str]:
        """Do an act as the person; the answer is a line for them, or a CoordError."""
        if self.read_only:
            raise Refused("this view is read-only (--read-only)", "start it without --read-only")
        return self._acting.submit(lambda coord: acts.perform(coord, name, arguments))

    def ask(self, kind: str, arguments: Mapping[str, Any]) -> Future[Any]:
        """Read one item in depth; the answer is rows, or a CoordError."""

        def look(coord: Coord) -> Any:
            if kind == "job" and isinstance(arguments.get("id"), str):
                self._tails.follow(coord, arguments["id"])
            return details.ask(coord, kind, arguments)

        return self._asking.submit(look)

    def more(self, page: str, whole: bool = False) -> None:
        """Read further back in a list that is read in part, or all of it. Asked again before that was shown, it does nothing:
        a face asks with each key and each turn of the wheel."""
        shown = self._facts.pages if self._facts else self._pages
        if page in self._pages and self._pages[page] < FURTHEST and (whole or shown.get(page) == self._pages[page]):
            self._pages[page] = FURTHEST if whole else min(FURTHEST, self._pages[page] * 3)
            self._wake()

    def look_again(self) -> None:
        """Look at once, also at the worktrees."""
        self._dirty.set()
        self._wake()

    # the threads that look

    def _again(self, work: Work) -> None:
        """Do some work with a `Coord` of its own; report failures, and try again until it succeeds."""
        while not self._over.is_set():
            try:
                with Coord.open(self.place) as coord:
                    coord.speak_as(self._onlooker or coord.sessions.user(looks_on=True))
                    self._work(coord, work)
            except (CoordError, OSError, sqlite3.Error) as error:
                self._complain(work, one_line(getattr(error, "what", str(error)), 300))
            self._over.wait(RETRY)

    def _work(self, coord: Coord, work: Work) -> None:
        try:
            work(coord)
        except (CoordError, OSError, sqlite3.Error):
            raise
        except Exception as error:
            self._complain(work, coord.repository.report(error, ["git coord", "ui"]))

    def _look_on(self, coord: Coord) -> None:
        with coord.events.vigil(tells=not self.read_only) as vigil:
            self._wake = vigil.wake
            while not self._over.is_set():
                self._put(self._look_on, facts=gather(coord, time.time(), self._pages))
                self._seen.set()
                if vigil.wait(TICK):
                    self._dirty.set()

    def _look_deep(self, coord: Coord) -> None:
        self._seen.wait(10 * RETRY)  # the quick part of a look comes first
        self._over.wait(DRAWN)
        while not self._over.is_set():
            self._dirty.clear()
            self._put(self._look_deep, merges=gather_merges(coord))
            self._over.wait(MERGES_EVERY)
            self._dirty.wait(FILES_ANYWAY)

    def _put(self, work: Work, facts: Facts | None = None, merges: Merges | None = None) -> None:
        """Keep the result of a look."""
        with self._busy:
            self._facts, self._merges = facts or self._facts, merges or self._merges
            self._wrong.pop(work.__name__, None)
            self._publish()

    def _complain(self, work: Work, what: str) -> None:
        with self._busy:
            self._wrong[work.__name__] = what
            self._publish()

    def _publish(self) -> None:
        """Tell the face, if something that it shows is different."""
        shown = screen(self._facts, self._merges) if self._facts else None
        news = News(shown, next(iter(self._wrong.values()), ""))
        if news != self.news and not self._over.is_set():
            self.news = news
            self._tell(news)


class _Worker:
    """A thread with a repository of its own, opened when it is first needed."""

    def __init__(self, place: str, looks_on: bool) -> None:
        self.place = place
        self._looks_on = looks_on
        self._coord: Coord | None = None
        self._thread = ThreadPoolExecutor(1)

    def submit(self, work: Callable[[Coord], T]) -> Future[T]:
        return self._thread.submit(self._work, work)

    def _work(self, work: Callable[[Coord], T]) -> T:
        """The thread. It finds the person's session anew each time, because acts change it."""
        if self._coord is None:
            self._coord = Coord.open(self.place)
        try:
            self._coord.speak_as(self._coord.sessions.user(looks_on=self._looks_on))
            return work(self._coord)
        except (OSError, sqlite3.Error):
            self._coord.close()
            self._coord = None
            raise

    def close(self) -> None:
        def shut() -> None:
            if self._coord is not None:
                self._coord.close()

        with suppress(RuntimeError):
            self._thread.submit(shut)
        self._thread.shutdown(wait=False)
