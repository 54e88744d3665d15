"""One writer among many, run as a process: sends, and notes each acknowledged message with its seconds.

python writer.py REPO NAME COUNT ACK_FILE
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from gitcoord import Coord


def main(repo: str, name: str, count: int, ack_file: str) -> None:
    acks = os.open(ack_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with Coord.open(repo, as_name=name) as coord:
        done = len(Path(ack_file).read_text().splitlines())
        for number in range(done, count):
            began = time.perf_counter()
            oid = coord.send("sink", f"{name} {number}").id
            os.write(acks, f"{oid} {time.perf_counter() - began:.6f}\n".encode())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
