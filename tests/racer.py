"""One session among many, run as a process: it obeys its standard input and prints the results.

python racer.py REPO NAME
"""

from __future__ import annotations

import sys

from gitcoord import Coord, Refused


def act(coord: Coord, verb: str, *args: str) -> str:
    if verb == "claim":
        try:
            return f"won {coord.tasks.claim(args[0]).id}"
        except Refused as error:
            return f"lost {error.what}"
    if verb == "drain":
        taken = iter(lambda: coord.tasks.next(claim=True), None)
        return " ".join(task.id for task in taken if task)
    return " ".join(str(coord.numbers.allocate(args[0]).number) for _ in range(int(args[1])))


def main(repo: str, name: str) -> None:
    with Coord.open(repo, as_name=name) as coord:
        coord.sessions.join()
        print("ready", flush=True)
        for line in sys.stdin:
            print(act(coord, *line.split()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
