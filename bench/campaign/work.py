"""One session of a campaign, run as a process: does random things, and notes the acknowledged events.

python -m bench.campaign.work WORKTREE NAME SEED ACKNOWLEDGED [SKEW]
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from gitcoord import Coord, CoordError
from gitcoord.features.messages.ledger import is_local

NAMES = ("w0", "w1", "w2", "w3", "other")
"""Sessions: four of the damaged clone, and one of another clone."""
_NUMBERS = count(1)
PATHS = ("a.txt", "b.txt", "src/*", "docs/")


class Worker:
    """The deeds of one session. Each returns its result: ids, a number, the messages read."""

    def __init__(self, coord: Coord, name: str, chance: Random) -> None:
        self.coord = coord
        self.name = name
        self.chance = chance

    def text(self) -> str:
        """A text that is used once in a campaign."""
        return f"{self.name} {os.getpid()} {next(_NUMBERS)} " + "x" * self.chance.choice((0, 10, 3000))

    def send(self) -> dict[str, Any]:
        text, to = self.text(), self.chance.choice(NAMES)
        options = {"urgent": self.chance.random() < 0.2, "local": self.chance.random() < 0.2}
        sent = self.coord.send(to, text, queue=True, **options).id
        return {"text": text, "ids": [sent], "to": to, "local": options["local"]}

    def note(self) -> dict[str, Any]:
        text = self.text()
        return {"text": text, "ids": [self.coord.notes.add(text, [self.chance.choice(("a.txt", "b.txt"))])]}

    def attach(self) -> dict[str, Any]:
        text = self.text()
        sent = self.coord.send(self.name, text, attachments={"data.bin": self.chance.randbytes(2000)})
        return {"text": text, "ids": [sent.id]}

    def read(self) -> dict[str, Any]:
        return {"read": [message.id for message in self.coord.messages.receive().messages]}

    def answer(self) -> dict[str, Any]:
        page = self.coord.inbox().messages
        if not page:
            return {}
        text = self.text()
        return {"text": text, "ids": [self.coord.messages.reply(page[0].id, text).id], "local": self._is_local(page[0].id)}

    def _is_local(self, oid: str) -> bool:
        return self.coord.clone.read(lambda db: is_local(db, oid))

    def file_task(self) -> dict[str, Any]:
        return {"ids": [self.coord.tasks.add(self.text()[:60], priority=self.chance.randrange(5)).id]}

    def take_task(self) -> dict[str, Any]:
        task = self.coord.tasks.next(claim=True)
        if task and self.chance.random() < 0.6:
            self.coord.tasks.done(task.id)
            return {"done": task.id}
        return {"claimed": task.id} if task else {}

    def any_task(self) -> str:
        """One of the tasks that are not over; empty if there is none."""
        found = self.coord.tasks.list()
        return self.chance.choice(found).id if found else ""

    def claim(self) -> dict[str, Any]:
        return (
            {"claimed": self.coord.tasks.claim(task, offline=self.chance.random() < 0.3).id}
            if (task := self.any_task())
            else {}
        )

    def change_task(self) -> dict[str, Any]:
        task, how = self.any_task(), self.chance.choice(("comment", "edit", "block", "release", "drop", "reopen"))
        if not task:
            return {}
        if how == "edit":
            self.coord.tasks.edit(task, title=self.text()[:60], priority=self.chance.randrange(5))
        elif how in ("comment", "block"):
            getattr(self.coord.tasks, how)(task, self.text()[:200])
        else:
            getattr(self.coord.tasks, how)(task)
        return {how: task}

    def ack(self) -> dict[str, Any]:
        page = self.coord.messages.inbox(everything=True, limit=3).messages
        return {"read": [page[0].id]} if page and self.coord.messages.ack(page[0].id) else {}

    def run(self) -> dict[str, Any]:
        return {"ran": self.coord.jobs.run(["true"])}

    def lock(self) -> dict[str, Any]:
        return {"ids": [self.coord.locks.take([self.chance.choice(PATHS)]).id]}

    def unlock(self) -> dict[str, Any]:
        self.coord.locks.release(everything=True)
        return {}

    def number_taken(self) -> dict[str, Any]:
        return {"number": self.coord.numbers.allocate("numbers").number}

    def number_with_gaps(self) -> dict[str, Any]:
        return {"spaced": self.coord.numbers.allocate("spaced", gaps=True).number}

    def remember(self) -> dict[str, Any]:
        self.coord.state.set("where", value := self.text())
        return {"state": value}

    def sync(self) -> dict[str, Any]:
        self.coord.remote.sync("origin", quiet=True)
        return {}

    def tidy(self) -> dict[str, Any]:
        self.coord.repository.gc(400 * 86400.0)
        return {}

    def look(self) -> dict[str, Any]:
        self.coord.overview.brief()
        self.coord.sessions.list()
        self.coord.events.search("x")
        return {}


DEEDS = {
    "send": 8, "note": 3, "attach": 1, "read": 4, "answer": 2, "file_task": 2, "take_task": 3, "claim": 1, "change_task": 2,
    "ack": 1, "run": 0.3, "lock": 2, "unlock": 1, "number_taken": 3, "number_with_gaps": 1, "remember": 2, "sync": 0.4,
    "tidy": 0.1, "look": 1,
}  # fmt: skip


def main(where: str, name: str, seed: str, acknowledged: str, skew: str = "0") -> None:
    if float(skew):
        real = time.time
        time.time = lambda: real() + float(skew)  # a wrong clock
    os.environ["GIT_COORD_SESSION"] = name
    chance = Random(f"{seed} {name} {os.getpid()}")
    file = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def tell(kind: str, **facts: Any) -> None:
        os.write(file, json.dumps({"deed": kind, "by": name, **facts}).encode() + b"\n")

    while True:
        with Coord.open(where, long_lived=chance.random() < 0.5) as coord:
            worker = Worker(coord, name, chance)
            for _ in range(chance.randrange(1, 30)):
                _one(worker, chance.choices(list(DEEDS), list(DEEDS.values()))[0], tell)


def _one(worker: Worker, kind: str, tell: Callable[..., None]) -> None:
    try:
        tell(kind, **getattr(worker, kind)())
    except CoordError as error:
        tell(kind, refused=error.what, code=error.exit_code)
    except Exception:
        tell(kind, crash=traceback.format_exc()[-3000:])


if __name__ == "__main__":
    main(*sys.argv[1:])
