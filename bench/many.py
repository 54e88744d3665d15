"""Measure one clone among very many: hundreds or thousands of clones at one remote, each with some sessions."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.ground import EMPTY_TREE
from bench.measure import PROGRAM, Row, at_most, git, interleaved, ratio, timed
from bench.syncing import clone_of
from gitcoord.log.event import Draft, Envelope, encode
from gitcoord.log.index.presence import draft

READS = (["status"], ["sessions"], ["brief"], ["inbox"])


def crowd(where: Path, rounds: int, few: int, many: int, sessions: int = 5, most: float = 2.0) -> list[Row]:
    """Commands and syncs with `many` clones at the remote, beside those with `few`."""
    rows: list[Row] = []
    small, large = (_ready(where, number, sessions, rows) for number in (few, many))
    what = f"{many:,} clones of {sessions} sessions"
    for words in READS:
        command = [*PROGRAM, *words]
        interleaved([command, command], [small, large], 1)
        base, ours = interleaved([command, command], [small, large], rounds)
        rows.append(ratio(f"`{' '.join(words)}` among {what}, beside {few}", ours, base, 2.0))
        rows.append(at_most(f"`{' '.join(words)}` among {what}", ours / 1000, most, "s"))
    rows += _syncs(large, rounds, what, most)
    return rows


def _ready(where: Path, clones: int, sessions: int, rows: list[Row]) -> Path:
    """A clone that has synced with a remote of so many others; the first sync is measured beside a plain fetch."""
    hub = hub_of(where / f"crowd{clones}", clones, sessions)
    plain = where / f"plain{clones}"
    git(where, "init", "-q", str(plain))
    specs = [f"refs/coord/{kind}/*:refs/coord/{kind}/*" for kind in ("log", "presence")]
    base = timed(lambda: git(plain, "fetch", "-q", str(hub), *specs))
    path = clone_of(hub, where / f"ada{clones}", "ada", sync=False)
    first = timed(lambda: subprocess.run([*PROGRAM, "sync"], cwd=path, check=True, capture_output=True))
    rows.append(ratio(f"first sync with {clones:,} clones, beside a plain fetch", first * 1000, base * 1000, 3.0))
    return path


def _syncs(path: Path, rounds: int, what: str, most: float) -> list[Row]:
    sync, look = [*PROGRAM, "sync"], ["git", "ls-remote", "origin"]
    interleaved([look, sync], [path, path], 1)
    base, nothing = interleaved([look, sync], [path, path], rounds)
    spent = []
    for number in range(rounds):
        subprocess.run([*PROGRAM, "note", f"note {number}"], cwd=path, check=True, capture_output=True)
        began = time.perf_counter()
        subprocess.run(sync, cwd=path, check=True, capture_output=True)
        spent.append(time.perf_counter() - began)
    everybody = timed(lambda: subprocess.run([*PROGRAM, "send", "all", "hello"], cwd=path, check=True, capture_output=True))
    return [
        at_most(f"`sync` with nothing new, {what} (git ls-remote: {base:.0f} ms)", nothing / 1000, most, "s"),
        at_most(f"`sync` of one event, {what}", sorted(spent)[len(spent) // 2], most, "s"),
        at_most(f"`send all`, {what}", everybody, most, "s"),
        _fetch(path),
    ]


def _fetch(path: Path) -> Row:
    """The user's fetch with nothing new, without and with all this."""
    other = path.parent / f"{path.name}-other"
    git(path.parent, "init", "-q", str(other))
    bare = path.parent / f"{path.name}-code.git"
    git(path.parent, "init", "-q", "--bare", str(bare))
    git(other, "commit", "-q", "--allow-empty", "-m", "x")
    git(other, "push", "-q", str(bare), "HEAD:main")
    for place in (other, path):
        git(place, "remote", "add", "code", str(bare))
        git(place, "fetch", "-q", "code")
    command = ["git", "fetch", "-q", "code"]
    base, ours = interleaved([command, command], [other, path], 15)
    return ratio(f"the user's `git fetch`, {path.name}", ours, base, 1.05)


def hub_of(path: Path, clones: int, sessions: int) -> Path:
    """A remote of so many clones, each with a log that its sessions have joined, and their presence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    git(path.parent, "init", "-q", "--bare", str(path))
    stream = b"".join(_history(clones, sessions))
    subprocess.run(["git", "-C", str(path), "fast-import", "--quiet"], input=stream, check=True, capture_output=True)
    git(path, "pack-refs", "--all")
    return path


def _history(clones: int, sessions: int) -> Iterator[bytes]:
    now = int(time.time())
    facts = {"state": "active", "ttl": 900, "at": now, "branch": "main", "focus": "the parser", "files": [["src/a.py", now]]}
    for number in range(clones):
        name = f"bench-{number:08x}"
        for lc in range(1, sessions + 1):
            join = Draft("join", f"w{lc} joined", {"session": f"w{lc}"}, author=f"w{lc}")
            yield _commit(f"refs/coord/log/{name}/0001", join, name, lc, now)
        shown = draft({f"w{lc}": facts for lc in range(1, sessions + 1)}, name)
        yield _commit(f"refs/coord/presence/{name}", shown, name, sessions + 1, now)


def _commit(ref: str, what: Draft, clone: str, lc: int, now: int) -> bytes:
    envelope = Envelope(lc, clone, "ada@example.org", "Ada Lovelace <ada@example.org>", now)
    head, _, message = encode(what, envelope, EMPTY_TREE, None).partition(b"\n\n")
    author, committer = head.split(b"\n")[-2:]
    return b"commit %s\n%s\n%s\ndata %d\n%s\n" % (ref.encode(), author, committer, len(message), message)
