"""A session that is killed with SIGKILL at a step of a claim or a sync: before or after each call that changes something.

python dier.py REPO STEP claim|alloc|lock ARG
python dier.py REPO STEP sync
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from gitcoord import Coord, leases
from gitcoord.clone import Clone
from gitcoord.store import transport
from gitcoord.store.plumbing import PlumbingStore

STEPS = [
    (transport, "start_look"), (transport, "answer"), (transport, "fetch"), (transport, "push"), (Clone, "write_alone"),
    (Clone, "point"),
    (Clone, "append"), (PlumbingStore, "move"), (leases, "change"),
]  # fmt: skip


def main(repo: str, step: int, verb: str, arg: str = "") -> None:
    left = [step]

    def tick() -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    def wrap(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            tick()
            result = function(*args, **kwargs)
            tick()
            return result

        return call

    with Coord.open(repo, as_name="w", long_lived=False) as coord:
        _ = coord.identity
        for place, name in STEPS:
            setattr(place, name, wrap(getattr(place, name)))
        if verb == "claim":
            coord.tasks.claim(arg)
        elif verb == "lock":
            coord.locks.take([arg], everywhere=True)
        elif verb == "sync":
            coord.sync()
        else:
            print(coord.alloc(arg).number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5])
