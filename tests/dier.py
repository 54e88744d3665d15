"""A session that is killed with SIGKILL at a step of a claim or a sync: before or after each call that changes something.

python dier.py REPO STEP claim|alloc|lock ARG
python dier.py REPO STEP sync
"""

from __future__ import annotations

import os
import signal
import sys

from steps import stopping

from gitcoord import Coord


def main(repo: str, step: int, verb: str, arg: str = "") -> None:
    with Coord.open(repo, as_name="w", long_lived=False) as coord:
        _ = coord.identity
        for place, name, instead in stopping(step, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            setattr(place, name, instead)
        if verb == "claim":
            coord.tasks.claim(arg)
        elif verb == "lock":
            coord.locks.take([arg], everywhere=True)
        elif verb == "sync":
            coord.remote.sync()
        else:
            print(coord.numbers.allocate(arg).number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:5])
