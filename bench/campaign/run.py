"""The command: episodes, one after the other, until the time is over or a check fails."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from bench.campaign import checks, harm
from bench.campaign.harm import Ground
from bench.campaign.work import NAMES
from bench.measure import isolate

EPISODE = 15.0
"""Seconds of work and damage before everything is checked."""
TMPFS = "24m"


def main(args: list[str]) -> int:
    """Run the command; exit 1 if a check fails."""
    options = _options(args)
    seed, until = options.seed, time.monotonic() + options.minutes * 60
    episodes = done = 0
    while time.monotonic() < until:
        length = min(EPISODE, max(3.0, until - time.monotonic() - 2))
        failed, deeds = _episode(f"{seed}.{options.episode + episodes}", length, options)
        episodes, done = episodes + 1, done + deeds
        if failed:
            number = options.episode + episodes - 1
            more = f" --harm {options.harm}" if options.harm else ""
            print(
                f"to repeat it: python -m bench campaign --minutes {options.minutes:g} --seed {seed} --episode {number}{more}"
            )
            return 1
    print(f"seed {seed}: {episodes} episodes, {done} deeds acknowledged, nothing lost")
    return 0


def _options(args: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--episode", type=int, default=0, help="begin with this one")
    parser.add_argument("--harm", choices=("upkeep", "losses", "journal"), help="only this kind of harm, and upkeep")
    parser.add_argument("--keep", type=Path, help="where the repository of a failure is kept (default: where it was made)")
    return parser.parse_args(args)


def _episode(seed: str, length: float, options: argparse.Namespace) -> tuple[bool, int]:
    chance = Random(seed)
    place = Path(tempfile.mkdtemp(prefix="gitcoord-campaign-"))
    isolate(place / "home")
    with _small_disk(place, chance.random() < 0.3) as where:
        ground = harm.make(where, chance)
        names = _harms(chance, options.harm)
        history = _work(ground, names, seed, length)
        said = checks.told(sorted(place.glob("said-*")))
        found = checks.all_of(ground, said)
        if found:
            _report(seed, found, history, place, options.keep, where)
    if not found:
        shutil.rmtree(place, ignore_errors=True)
    return bool(found), sum(not {"refused", "crash"} & deed.keys() for deed in said)


def _harms(chance: Random, kind: str | None) -> dict[str, harm.Harm]:
    drawn = "journal" if chance.random() < 0.3 else "losses"
    return harm.UPKEEP | {"upkeep": {}, "losses": harm.LOSSES, "journal": harm.JOURNAL}[kind or drawn]


@contextmanager
def _small_disk(place: Path, wanted: bool) -> Iterator[Path]:
    """A small file system of its own, if we may mount one."""
    where = place / "ground"
    where.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS}", "none", str(where)]
    mounted = wanted and shutil.which("mount") and not subprocess.run(argv, capture_output=True, check=False).returncode
    try:
        yield where
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(where)], check=False)


def _work(ground: Ground, harms: dict[str, harm.Harm], seed: str, length: float) -> list[str]:
    """Run workers beside the damage; returns the harms in their order."""
    chance, until, history = ground.chance, time.monotonic() + length, []
    running = [_start(ground, number, seed) for number in range(len(NAMES))]
    try:
        while time.monotonic() < until:
            time.sleep(chance.random() * 0.5)
            if chance.random() < 0.2:
                number = chance.randrange(len(NAMES))
                _kill(running[number])
                running[number] = _start(ground, number, seed)
                history.append(f"kill {NAMES[number]}")
            name = chance.choice(list(harms))
            history.append(name)
            harms[name](ground)
    finally:
        for process in running:
            _kill(process)
    return history


def _start(ground: Ground, number: int, seed: str) -> subprocess.Popen[bytes]:
    skew = ground.chance.choice(("0", "0", "0", "-90000", "7200"))
    said = ground.place.parent / f"said-{number}"
    name = NAMES[number]
    argv = [sys.executable, "-m", "bench.campaign.work", str(ground.place / name), name, seed, str(said), skew]
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    with (ground.place.parent / f"stderr-{number}").open("ab") as errors:
        return subprocess.Popen(argv, cwd=root, env=environ, stdout=errors, stderr=errors, start_new_session=True)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker, with its children or without: either may survive the other."""
    with_children = process.pid % 2 == 0
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL) if with_children else process.kill()
    process.wait()


def _report(seed: str, found: list[str], history: list[str], place: Path, keep: Path | None, where: Path) -> None:
    target = place / "kept" if keep is None else keep / f"campaign-{seed}"
    shutil.copytree(where, target, symlinks=True, dirs_exist_ok=True, ignore_dangling_symlinks=True)
    print(f"episode {seed}: {len(found)} things do not hold; the repository is kept in {target}")
    print(*(f"  {line}" for line in found[:20]), sep="\n")
    print(f"  harm: {' '.join(history)}")
    print(f"  the next write said: {(where / 'next-write.txt').read_text().strip()}")
    (target / "campaign.json").write_text(json.dumps({"seed": seed, "found": found, "harm": history}, indent=1))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
