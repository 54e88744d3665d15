"""Wake the calls that wait. They share one watch of a repository, and hold no thread while they sleep."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast

import anyio
import anyio.to_thread

from gitcoord.store.repository import Repository
from gitcoord.store.watch import LOOK_ANYWAY, EndWatch, RefWatch


class Bell:
    """A bell that rings in the server's own thread and can be set from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def set(self) -> None:
        """Ring. It has the name of `threading.Event.set`, which watches call. A server that has ended has no caller to
        wake."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, seconds: float, pids: Sequence[int]) -> None:
        """Sleep until it rings, one of `pids` ends, or the time is over."""
        with EndWatch(cast(threading.Event, self), pids), anyio.move_on_after(min(seconds, LOOK_ANYWAY)):
            await self._rung.wait()
        self._rung.clear()


class Tower:
    """One watch of a repository, while calls wait for it; it rings the bells of all of them."""

    def __init__(self) -> None:
        self._bells: dict[str, list[Bell]] = {}
        self._watches: dict[str, RefWatch] = {}
        self._busy = anyio.Lock()

    @asynccontextmanager
    async def bell(self, repo: Repository) -> AsyncIterator[Bell]:
        """A bell that rings whenever refs of ours may have moved."""
        place, bell = repo.common_dir, Bell()
        async with self._busy:
            if place not in self._watches:
                watch = RefWatch(repo)
                watch.changed = cast(threading.Event, _All(self._bells.setdefault(place, [])))
                self._watches[place] = await anyio.to_thread.run_sync(watch.__enter__)
            self._bells[place].append(bell)
        try:
            yield bell
        finally:
            with anyio.CancelScope(shield=True):
                async with self._busy:
                    self._bells[place].remove(bell)
                    if not self._bells[place]:
                        await anyio.to_thread.run_sync(self._watches.pop(place).__exit__, None, None, None)


class _All:
    def __init__(self, bells: list[Bell]) -> None:
        self._bells = bells

    def set(self) -> None:
        """Called by the watch, in its thread."""
        for bell in tuple(self._bells):
            bell.set()
