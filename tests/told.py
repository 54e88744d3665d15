"""A replacement of the desk: made-up facts for a face to show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from made import BUSY, MERGES

from gitcoord.errors import CoordError, Refused
from gitcoord.ui.desk import News
from gitcoord.ui.facts import Facts, Merges
from gitcoord.ui.model.screen import screen


class Told:
    """A replacement of the desk: it shows the facts that a test gives it, and remembers the acts and questions."""

    def __init__(self, facts: Facts = BUSY, merges: Merges = MERGES, read_only: bool = False) -> None:
        self.read_only = read_only
        self.facts, self.merges = facts, merges
        self.acts: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.furthered: list[str] = []
        self.answers: dict[str, Any] = {}
        self.fails: CoordError | None = None
        self.tell: Callable[[News], None] = lambda _: None
        self.wrote: Callable[[str], None] = lambda _: None

    def start(self, tell: Callable[[News], None], wrote: Callable[[str], None]) -> None:
        self.tell, self.wrote = tell, wrote
        self.show(self.facts)

    def show(self, facts: Facts, wrong: str = "") -> None:
        self.facts = facts
        self.tell(News(screen(facts, self.merges), wrong))

    def stop(self) -> None: ...

    def act(self, name: str, arguments: Mapping[str, Any]) -> Future[str]:
        self.acts.append((name, dict(arguments)))
        return _done(f"{name} is done", self.fails)

    def ask(self, kind: str, arguments: Mapping[str, Any]) -> Future[Any]:
        self.asked.append((kind, dict(arguments)))
        return _done(self.answers.get(kind), None if kind in self.answers else Refused("nothing is known"))

    def more(self, page: str, whole: bool = False) -> None:
        self.furthered.append(f"all {page}" if whole else page)

    def look_again(self) -> None: ...


def _done(result: Any, error: Exception | None) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error) if error else future.set_result(result)
    return future
