"""Send each open page the sections that differ from what it has."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from gitcoord.ui.desk import News
from gitcoord.ui.model.offers import ANYWHERE, OFFERS
from gitcoord.ui.model.screen import plain

BEAT_EVERY = 15.0
"""Seconds after which a quiet server sends a sign of life, with its time."""


class Hub:
    """The newest look, and the pages that wait for the next."""

    def __init__(self, read_only: bool) -> None:
        self._hello = json.dumps({"offers": plain(dict(OFFERS)), "anywhere": plain(ANYWHERE), "read_only": read_only})
        self._parts: dict[str, str] = {}
        self._pages: dict[asyncio.Event, set[str]] = {}
        """The bell of each page, and the jobs with new output of which the page was not told yet."""
        self._over = False

    def put(self, news: News) -> None:
        """Tell all pages of a new look, in the server's own thread."""
        if news.screen is not None:
            self._parts = {name: json.dumps(plain(value)) for name, value in news.screen._asdict().items()}
        self._parts["wrong"] = json.dumps(news.wrong)
        self._ring()

    def wrote(self, job: str) -> None:
        """Tell the pages that show a job's output to read it again."""
        for growing in self._pages.values():
            growing.add(job)
        self._ring()

    def end(self) -> None:
        """End the streams of all pages."""
        self._over = True
        self._ring()

    def _ring(self) -> None:
        for bell in self._pages:
            bell.set()

    async def stream(self) -> AsyncIterator[str]:
        """Server-sent events for one page, as long as it listens."""
        bell = asyncio.Event()
        growing = self._pages.setdefault(bell, set())
        sent: dict[str, str] = {}
        try:
            yield _event("hello", self._hello)
            while not self._over:
                bell.clear()
                for name, value in self._parts.items():
                    if sent.get(name) != value:
                        sent[name] = value
                        yield _event(name, value)
                while growing:
                    yield _event("wrote", json.dumps(growing.pop()))
                yield _event("beat", json.dumps(time.time()))
                with suppress(TimeoutError):
                    await asyncio.wait_for(bell.wait(), BEAT_EVERY)
        finally:
            self._pages.pop(bell, None)


def _event(name: str, value: str) -> str:
    return f"event: {name}\ndata: {value}\n\n"
