"""`python -m bench`: measure in a throw-away directory and print the table; `python -m bench campaign`: do damage and
check."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import (
    agents,
    counted,
    hostile,
    latency,
    live_view,
    many,
    powerloss,
    reading,
    soak,
    startup,
    syncing,
    tokens,
    users_git,
    writing,
)
from bench.measure import Row, isolate, table


def sections(full: bool) -> dict[str, Callable[[Path], list[Row]]]:
    """The measurements by name. `full` takes the sizes that the budgets name."""
    rounds = 40 if full else 15
    return {
        "oneshot": lambda where: startup.one_shots(where, rounds),
        "history": lambda where: startup.history(where, rounds, 1_000_000 if full else 100_000),
        "append": lambda where: writing.alone(where, 10_000 if full else 2_000),
        "writers": lambda where: writing.together(where, 32, 500 if full else 50),
        "beats": lambda where: writing.heartbeats(where, 100_000 if full else 5_000),
        "disk": lambda where: writing.disk(where, 10_000 if full else 2_000),
        "rebuild": lambda where: reading.rebuild(where, 1_000_000 if full else 100_000),
        "wake": lambda where: reading.wake_up(where, 100 if full else 30),
        "tokens": tokens.read_by_agents,
        "hooks": lambda where: agents.hooks(where, rounds, 100_000 if full else 10_000),
        "sync": lambda where: syncing.exchanges(
            where, rounds, (1, 100, 1000) if full else (1, 100), (1, 100, 10_000) if full else (1, 100)
        ),
        "many": lambda where: many.crowd(where, 7 if full else 3, 10, 1000 if full else 200),
        "most": lambda where: many.crowd(where, 5 if full else 3, 10, 5000 if full else 300),
        "latency": lambda where: latency.deliveries(where, 40 if full else 8, (0.05, 0.2)),
        "agreement": lambda where: syncing.agreement(where, 5, 10_000 if full else 500),
        "hostile": lambda where: hostile.attacks(where / "hostile", 1 if full else 8),
        "powerloss": lambda where: powerloss.losses(where / "powerloss", 30 if full else 8),
        "soak": lambda where: soak.soak(where, 60_000 if full else 5_000, rounds),
        "ui": lambda where: live_view.view(where, *((7, 100_000, 500, 2_000) if full else (3, 10_000, 50, 200))),
        "git": lambda where: users_git.slowed(where, rounds, 100_000, 50),
    }


def main() -> None:
    if sys.argv[1:2] == ["campaign"]:
        from bench.campaign import run

        sys.exit(run.main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes that the budgets name (some minutes)")
    parser.add_argument("--quick", action="store_true", help="only what noise does not touch, against bench/allowed.json")
    parser.add_argument("--allow", action="store_true", help="with --quick: what is counted now is allowed from now on")
    parser.add_argument("names", nargs="*", help=f"only these: {', '.join(sections(False))}")
    options = parser.parse_args()
    chosen = {name: work for name, work in sections(options.full).items() if not options.names or name in options.names}
    if options.quick:
        chosen = {"counted": lambda where: counted.quick(where, options.allow)}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="gitcoord-bench-") as place:
        isolate(Path(place, "home"))
        for name, work in chosen.items():
            print(f"{name} …", file=sys.stderr, flush=True)
            rows += work(Path(place))
    version = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    print(f"Python {platform.python_version()}, git {version}, {platform.system()}\n\n{table(rows)}")
    sys.exit(any(row.ok is False for row in rows))


if __name__ == "__main__":
    main()
