"""Check the promises after an episode. Each check returns a line for each promise that does not hold."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.campaign.harm import OTHER, Ground
from gitcoord import Coord
from gitcoord.features import REGISTRY
from gitcoord.features.messages.fold import LEDGER
from gitcoord.log.index import Index

NEXT_WRITE = 6.0
"""Seconds within which the next command has to write, after any kill."""
_VOLATILE = {"heard", "meta", "strange", "intake", "newly_signed"}
"""Tables that depend on how an index was made, and one that a command empties as it begins."""


def told(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The events that workers reported as acknowledged; a line that a kill cut off does not count."""
    found = []
    for file in files:
        for line in file.read_text().splitlines() if file.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def next_write(ground: Ground) -> Iterator[str]:
    """Run the first command after the damage. It gets more time by what an idle command takes on this machine."""
    argv = [sys.executable, "-m", "gitcoord"]
    began = time.monotonic()
    subprocess.run([*argv, "help"], cwd=ground.main, capture_output=True, check=False)
    slow = 20 * (time.monotonic() - began)
    began = time.monotonic()
    env = {**os.environ, "GIT_COORD_SESSION": "w0"}
    done = subprocess.run([*argv, "note", "afterwards"], cwd=ground.main, env=env, capture_output=True, text=True)
    took = time.monotonic() - began
    (ground.place / "next-write.txt").write_text(done.stdout + done.stderr)
    if done.returncode:
        yield f"the next write failed: {done.returncode} {done.stderr.strip()}"
    if took > NEXT_WRITE + slow:
        yield f"the next write took {took:.1f} s"


def others_word(ground: Ground, said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The acknowledged deeds that have to be in `main` now: all of its own, and all but local events of the other clone once
    both have synced. A full disk may keep the other clone's from the remote."""
    argv = [sys.executable, "-m", "gitcoord", "sync", "origin"]
    synced = [subprocess.run(argv, cwd=ground.place / name, capture_output=True, check=False) for name in (OTHER, "main")]
    came = not any(done.returncode for done in synced)
    return [deed for deed in said if deed["by"] != OTHER or (came and not deed.get("local"))]


def after_doctor(ground: Ground) -> Iterator[str]:
    """Check that `doctor --fix` and the refresh repair damage that no command has to read, such as a torn presence or
    lease. A sync comes first, because `doctor` reports a failed one, as after a full disk."""
    subprocess.run([sys.executable, "-m", "gitcoord", "sync", "origin"], cwd=ground.main, capture_output=True, check=False)
    done = subprocess.run(
        [sys.executable, "-m", "gitcoord", "doctor", "--fix"], cwd=ground.main, capture_output=True, text=True
    )
    if done.returncode:
        yield f"doctor --fix left something: {done.stdout.strip()} {done.stderr.strip()}"


def crashes(said: list[dict[str, Any]]) -> Iterator[str]:
    for deed in said:
        if "crash" in deed:
            yield f"{deed['by']} {deed['deed']}: {deed['crash']}"


def acknowledged(ground: Ground, said: list[dict[str, Any]]) -> Iterator[str]:
    """Check that every acknowledged event exists once, every number was given once, and read messages are read."""
    with Coord.open(ground.main, as_name="w0") as coord:
        ids = Counter(oid for (oid,) in coord.clone.read(lambda db: db.execute("SELECT id FROM events").fetchall()))
        texts = Counter(t for (t,) in coord.clone.read(lambda db: db.execute("SELECT text FROM events").fetchall()))
        states = dict(
            coord.clone.read(lambda db: db.execute("SELECT message, max(state) FROM deliveries GROUP BY 1").fetchall())
        )
    wanted = [(deed, oid) for deed in said for oid in deed.get("ids", ())]
    missing = [(deed, oid) for deed, oid in wanted if ids[oid] != 1]
    if missing:
        yield f"{len(missing)} of {len(wanted)} acknowledged events are not there, the first: {missing[0]}"
    yield from (f"said {texts[d['text']]} times: {d['text'][:40]}" for d in said if "text" in d and texts[d["text"]] != 1)
    numbers = Counter((kind, deed[kind]) for deed in said for kind in ("number", "spaced") if kind in deed)
    yield from (f"the number {number} was given {times} times" for number, times in numbers.items() if times > 1)
    yield from (f"`run -- true` gave {deed['ran']}" for deed in said if deed.get("ran"))
    read = [oid for deed in said for oid in deed.get("read", ()) if deed["by"] != OTHER or ids[oid]]  # it has local mail
    unread = [oid for oid in read if states.get(oid, 0) < LEDGER.index("read")]
    if unread:
        yield f"{len(unread)} messages were read and are not marked so: {unread[0]}"


def chains(ground: Ground) -> Iterator[str]:
    """Check that git can walk every log to its root, and finds no error anywhere."""
    walk = subprocess.run(
        ["git", "rev-list", "--objects", "--glob=refs/coord/*"], cwd=ground.main, capture_output=True, text=True
    )
    if walk.returncode:
        yield f"a log cannot be walked: {walk.stderr.strip()[:300]}"
    fsck = subprocess.run(["git", "fsck", "--strict", "--no-dangling"], cwd=ground.main, capture_output=True, text=True)
    if fsck.returncode or fsck.stdout.strip():
        yield f"git fsck: {fsck.returncode} {(fsck.stdout + fsck.stderr).strip()[:300]}"


def users_own(ground: Ground) -> Iterator[str]:
    """Check that branches, HEAD, index and work tree are as the user left them."""
    found = dict(
        line.split()
        for line in ground.git("for-each-ref", "--format=%(refname:short) %(objectname)", "refs/heads").splitlines()
    )
    if found != ground.branches:
        yield f"the user's branches: {found}, expected {ground.branches}"
    if status := ground.git("status", "--porcelain"):
        yield f"git status: {status}"


def index_equals_a_rebuild(ground: Ground) -> Iterator[str]:
    """Check that the index equals a new one, table by table, except the order in which events came."""
    with Coord.open(ground.main, as_name="w0") as coord, tempfile.TemporaryDirectory() as fresh:
        coord.clone.read(lambda db: None)
        tips = coord.clone.store.tips()
        rebuilt = Index(fresh, REGISTRY, frozenset(), lambda: coord.clone.id)
        rebuilt.query(coord.clone.store, tips, lambda db: None)
        grown, anew = coord.clone.read(contents), contents(rebuilt.db)
        rebuilt.close()
    for table in sorted(grown.keys() | anew.keys()):
        more, fewer = grown.get(table, set()) - anew.get(table, set()), anew.get(table, set()) - grown.get(table, set())
        if more or fewer:
            first = [*more, *fewer][:2]
            yield f"table {table}: {len(more)} rows only in the grown index, {len(fewer)} only in the new one: {first}"


def contents(db: sqlite3.Connection) -> dict[str, set[tuple[object, ...]]]:
    """Every table as a set of rows, without columns that depend on when and how events were read."""
    names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")]
    found = {}
    for name in names:
        left_out = ("seq", "seen", *(("id", "lc") if name == "presence" else ()))  # of the commit that had these facts first
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})") if row[1] not in left_out]
        if name not in _VOLATILE:
            here = " WHERE clone NOT IN (SELECT substr(ref, 21) FROM heard)" if name == "presence" else ""
            found[name] = set(db.execute(f"SELECT {', '.join(columns)} FROM {name}{here}"))
    return found


def ledger(ground: Ground) -> Iterator[str]:
    """Check that every message has a state for each of its recipients, and for no other session."""
    with Coord.open(ground.main, as_name="w0") as coord:
        rows = coord.clone.read(
            lambda db: db.execute(
                "SELECT e.id, e.data, (SELECT count(*) FROM deliveries d WHERE d.message = e.id AND d.addressed = 1)"
                " FROM events e WHERE e.type = 'message'"
            ).fetchall()
        )
    for oid, data, count in rows:
        if len(set(json.loads(data).get("to", ()))) != count:
            yield f"{oid} has {count} deliveries: {data[:200]}"


def all_of(ground: Ground, said: list[dict[str, Any]]) -> list[str]:
    """Run all checks; the next write comes first, because every later command could repair something."""
    found = [*next_write(ground), *after_doctor(ground), *crashes(said)]
    found += acknowledged(ground, others_word(ground, said))
    found += [line for check in (chains, users_own, index_equals_a_rebuild, ledger) for line in check(ground)]
    return found
