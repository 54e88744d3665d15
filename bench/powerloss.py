"""Simulate power losses: bytes that were not synced reach the disk in part, or not at all.

A round writes messages, takes what is on the disk then for safe (it is older than any cache), writes more of them, and
cuts the power: each file that changed since, and was not synced (strace(1) tells), is as it was, gone, without a byte, full
of zeros, or whole, by chance. Then one command of ours runs, and git fsck looks at the repository.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench.measure import Row, at_least, at_most, git
from gitcoord import Coord

WRITER = """
import sys
from gitcoord import Coord
with Coord.open(sys.argv[1], as_name="a", long_lived=sys.argv[4] == "long") as coord:
    coord.sessions.join()
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        coord.messages.send("a", f"message {number}")
        print(f"message {number}", flush=True)
"""
_SYNCED = re.compile(r"\bf(?:data)?sync\(\d+<([^>]*)>\)\s+= 0")
_MOVED = re.compile(r'\b(?:rename|link)(?:at2?)?\((?:\w+<([^>]*)>, )?"([^"]*)", (?:\w+<([^>]*)>, )?"([^"]*)".*= 0')


class Loss(NamedTuple):
    """The losses: acknowledged messages from before the last seconds, and from them; and whether git was well after one
    command of ours."""

    old_lost: int
    new: int
    new_lost: int
    well: bool
    said: str


def lose_power(where: Path, seed: int, fsync: bool, old: int = 20, new: int = 20) -> Loss:
    """One round, in a fresh repository below `where`."""
    chance = Random(seed)
    repo = where / f"power-{seed}-{fsync}"
    repo.mkdir(parents=True)
    git(repo, "init", "-q")
    git(repo, "commit", "-q", "--allow-empty", "-m", "first")
    git(repo, "config", "coord.fsync", str(fsync).lower())
    door = chance.choice(["long", "short"])
    _write(repo, 0, old, door)
    safe = where / f"safe-{seed}-{fsync}"
    shutil.copytree(repo / ".git", safe, symlinks=True)
    acknowledged, synced = _write(repo, old, old + new, door, trace=where / f"trace-{seed}" if fsync else None)
    _cut(repo / ".git", safe, synced, chance)
    (repo / ".git/coord/boots").unlink(missing_ok=True)  # the machine starts anew
    ran = subprocess.run([sys.executable, "-m", "gitcoord", "inbox", "--peek"], cwd=repo, capture_output=True, text=True)
    fsck = subprocess.run(["git", "-C", repo, "fsck", "--strict", "--no-dangling"], capture_output=True, text=True)
    gc = subprocess.run(["git", "-C", repo, "gc", "-q"], capture_output=True, text=True)
    said = "".join([*(ran.stderr if ran.returncode else ""), fsck.stdout, fsck.stderr, gc.stderr])
    with Coord.open(repo) as coord:
        left = {event.text for event in coord.events.log(kind="message", limit=old + new)}
    lost = [text for text in acknowledged if text not in left]
    before = sum(f"message {number}" not in left for number in range(old))
    return Loss(before, len(acknowledged), len(lost), ran.returncode == fsck.returncode == gc.returncode == 0, said)


def _write(repo: Path, first: int, end: int, door: str, trace: Path | None = None) -> tuple[list[str], set[str]]:
    """Write messages; returns those that were acknowledged, and the paths that were synced."""
    argv: list[str] = [sys.executable, "-c", WRITER, str(repo), str(first), str(end), door]
    if trace:
        argv = ["strace", "-f", "-qq", "-y", "-s", "4096", "-o", str(trace), "-e", "trace=fsync,fdatasync,/rename,/link", *argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.splitlines(), _synced(trace.read_text(errors="replace").splitlines()) if trace else set()


def _synced(lines: Sequence[str]) -> set[str]:
    """The paths whose bytes were synced, by the names that they had in the end."""
    found: set[str] = set()
    for line in lines:
        if match := _SYNCED.search(line):
            found.add(match[1])
        elif match := _MOVED.search(line):
            at, name, to, new = match.groups()
            old_path, new_path = (str(Path(at or "/", name)), str(Path(to or "/", new)))
            (found.add if old_path in found else found.discard)(new_path)
    return found


def _cut(now: Path, safe: Path, synced: set[str], chance: Random) -> None:
    """Change a git directory as a power loss would."""
    for path in sorted(path for path in now.rglob("*") if path.is_file()):
        before = safe / path.relative_to(now)
        content = path.read_bytes()
        if str(path) in synced or (before.exists() and before.read_bytes() == content):
            continue
        path.chmod(0o644)
        if before.exists():
            path.write_bytes(_torn(before.read_bytes(), content, chance))
        elif (kept := _torn(None, content, chance)) is None:
            path.unlink()
        else:
            path.write_bytes(kept)
    for before in sorted(path for path in safe.rglob("*") if path.is_file()):
        path = now / before.relative_to(safe)
        if not path.exists() and path.parent.is_dir() and chance.random() < 0.3 and not path.name.endswith(".lock"):
            shutil.copy2(before, path)  # its removal did not reach the disk


def _torn(before: bytes | None, content: bytes, chance: Random) -> bytes:
    """The bytes of a file that were not synced; of one that only grew, at least those that were there before."""
    if before is not None and content.startswith(before):
        more = content[len(before) :]
        return before + chance.choice([b"", more[: len(more) // 2], b"\0" * len(more)])
    choices = [b"", b"", b"", b"\0" * len(content), content]
    return chance.choice([*choices, *([before] * 3 if before is not None else [])])


def losses(where: Path, rounds: int) -> list[Row]:
    """Measure the losses without coord.fsync, and with it."""
    rows = []
    for fsync in (False, True):
        if fsync and shutil.which("strace") is None:
            continue
        found = [lose_power(where, seed, fsync) for seed in range(rounds)]
        name = "power loss, with coord.fsync" if fsync else "power loss"
        old_lost, new_lost, new = (sum(getattr(loss, key) for loss in found) for key in ("old_lost", "new_lost", "new"))
        well = sum(loss.well for loss in found)
        rows.append(at_most(f"{name}: lost of what was acknowledged before the last seconds", old_lost, 0, "events"))
        lost = f"{new_lost} of {new}"
        rows.append(
            Row(
                f"{name}: lost of what was acknowledged in them",
                lost,
                "",
                "",
                "0" if fsync else "",
                new_lost == 0 if fsync else None,
            )
        )
        rows.append(at_least(f"{name}: git fsck and gc are well after one command", well, rounds, "rounds"))
    return rows
