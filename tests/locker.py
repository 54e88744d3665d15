"""A process that locks and unlocks as it is told: `locker.py REPO NAME`, one command a line, one answer a line."""

from __future__ import annotations

import sys

from gitcoord import Coord, Refused


def main(repo: str, name: str) -> None:
    with Coord.open(repo, as_name=name) as coord:
        for line in sys.stdin:
            verb, *patterns = line.split()
            try:
                if verb == "unlock":
                    coord.locks.release(everything=True)
                else:
                    coord.locks.take(patterns, wait=0 if verb == "lock" else None)
                print("done", flush=True)
            except Refused as error:
                print(error.what, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
