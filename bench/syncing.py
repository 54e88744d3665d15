"""Measure syncs: with nothing new, beside git-ls-remote; with many events; with many clones; and whether clones agree in
the end."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any

from bench.ground import EMPTY_TREE, text
from bench.measure import PROGRAM, Row, git, interleaved, ratio, timed
from gitcoord import Coord, CoordError
from gitcoord.log.event import Draft, Envelope, encode

DELAY = 0.2
"""Seconds that a host far away takes to answer."""
OWN_VIEW = {"meta", "tips", "events", "strange", "presence", "heard"}
"""Tables that are about one clone: how far it has read, and when."""


def exchanges(where: Path, rounds: int, clones: tuple[int, ...], events: tuple[int, ...]) -> list[Row]:
    """Syncs through a bare repository by path, at which so many other clones have a log."""
    rows = []
    for number in clones:
        hub = _hub(where / f"hub{number}", number)
        ada, bob = (clone_of(hub, where / f"{name}{number}", name) for name in ("ada", "bob"))
        rows += _nothing_new(ada, rounds, number)
        rows += [row for count in events for row in _much_new(ada, bob, count, number)]
    return rows


def _hub(path: Path, clones: int) -> Path:
    git(path.parent, "init", "-q", "--bare", str(path))
    subprocess.run(
        ["git", "-C", str(path), "fast-import", "--quiet"], input=b"".join(_logs(clones)), check=True, capture_output=True
    )
    git(path, "pack-refs", "--all")
    return path


def _logs(clones: int) -> Iterator[bytes]:
    """A log of one event each."""
    for number in range(clones):
        name = f"bench-{number:08x}"
        envelope = Envelope(1, name, "ada@example.org", "Ada Lovelace <ada@example.org>", 1_700_000_000)
        draft = Draft("join", "writer joined", {"session": "writer"}, author="writer")
        head, _, message = encode(draft, envelope, EMPTY_TREE, None).partition(b"\n\n")
        author, committer = head.split(b"\n")[-2:]
        ref = f"refs/coord/log/{name}/0001".encode()
        yield b"commit %s\n%s\n%s\ndata %d\n%s\n" % (ref, author, committer, len(message), message)


def clone_of(hub: Path, path: Path, name: str, sync: bool = True) -> Path:
    """A clone with one session, which has synced with `hub`."""
    git(path.parent, "init", "-q", str(path))
    git(path, "remote", "add", "origin", str(hub))
    git(path, "config", "user.name", f"{name.capitalize()} Example")
    git(path, "config", "coord.autosync", "false")
    with Coord.open(path) as coord:
        coord.sessions.join(name)
        if sync:
            coord.remote.sync()
    return path


def _nothing_new(ada: Path, rounds: int, clones: int) -> list[Row]:
    """Measure a sync with nothing new: with a remote on this disk, where starting Python takes most of the time, and with a
    slow one."""
    sync, look = [*PROGRAM, "sync"], ["git", "ls-remote", "origin"]
    interleaved([look, sync], [ada, ada], 2)
    at_hand = interleaved([look, sync], [ada, ada], rounds)
    git(ada, "config", "remote.origin.uploadpack", f"sleep {DELAY}; git-upload-pack")
    far = interleaved([look, sync], [ada, ada], rounds)
    git(ada, "config", "--unset", "remote.origin.uploadpack")
    behind = f"`sync` with nothing new, {clones:,} other clones"
    return [
        ratio(f"{behind}: remote {DELAY * 1000:.0f} ms away", far[1], far[0], 1.3),
        _figure(f"{behind}: remote on this disk", at_hand[1], f"{at_hand[0]:.1f} ms", f"{at_hand[1] / at_hand[0]:.2f} x"),
    ]


def _much_new(ada: Path, bob: Path, events: int, clones: int) -> list[Row]:
    with Coord.open(ada) as sender, Coord.open(bob) as receiver:
        author = sender.identity.name
        drafts = [Draft("note", text(number), {"paths": []}, author=author) for number in range(events)]
        sender.clone.append(lambda db: drafts)
        sent = timed(lambda: _expect(sender.remote.sync().sent, events))
        received = timed(lambda: _expect(receiver.remote.sync().received, events))
    what = f"{events:,} new events, {clones:,} other clones"
    return [_figure(f"send {what}", sent * 1000), _figure(f"receive {what}", received * 1000)]


def _expect(crossed: int, events: int) -> None:
    if crossed < events:
        raise SystemExit(f"{crossed} of {events} events crossed")


def _figure(what: str, milliseconds: float, baseline: str = "", result: str = "") -> Row:
    return Row(what, f"{milliseconds:,.1f} ms", baseline, result, "", None)


# a long day of several clones


def agreement(where: Path, clones: int, events: int) -> list[Row]:
    """Let clones write and sync at random, until enough events are written: then all must see the same."""
    hub = _hub(where / "hub", 0)
    places = [clone_of(hub, where / f"clone{number}", f"w{number}") for number in range(clones)]
    chance = Random(events)
    with ExitStack() as stack:
        everybody = [stack.enter_context(Coord.open(place)) for place in places]
        seconds = timed(lambda: _live(everybody, chance, events))
        _settle(everybody)
        views = [_view(coord) for coord in everybody]
    different = sorted({table for view in views for table in views[0] if view[table] != views[0][table]})
    if different:
        raise SystemExit(f"after {events} events the clones differ in: {', '.join(different)}")
    written = len(views[0]["events"])
    figure = f"{written / seconds:,.0f} events/s"
    return [Row(f"{clones} clones, {written:,} events, random syncs: all tables equal", figure, "", "", "equal", True)]


def _live(everybody: list[Coord], chance: Random, events: int) -> None:
    names = [coord.identity.name for coord in everybody]
    while _written(everybody) < events:
        for _ in range(50):
            coord = chance.choice(everybody)
            with suppress(CoordError):  # refusals are part of the day: a claim that another has, an unknown name
                _act(coord, chance, names)
        chance.choice(everybody).sync()


def _written(everybody: list[Coord]) -> int:
    query = "SELECT count(*) FROM events WHERE local = 0 AND clone = ?"
    return sum(coord.clone.read(lambda db, of=coord.clone.id: db.execute(query, (of,)).fetchone()[0]) for coord in everybody)


def _act(coord: Coord, chance: Random, names: list[str]) -> None:
    match chance.randrange(8):
        case 0 | 1:
            coord.send(chance.choice(names), text(chance.randrange(10**6)))
        case 2:
            coord.messages.receive()
        case 3:
            coord.notes.add(text(chance.randrange(10**6)), ["readme.txt"])
        case 4:
            coord.tasks.add(f"task {chance.randrange(10**6)}")
        case 5:
            coord.tasks.next(claim=True, offline=chance.random() < 0.9)
        case 6:
            held = coord.tasks.list(mine=True)
            if held:
                coord.tasks.done(chance.choice(held).id, "done")
        case _:
            coord.state.set(chance.choice("abc"), text(chance.randrange(10**6)))


def _settle(everybody: list[Coord]) -> None:
    for _ in range(8):
        reports = [coord.remote.sync() for coord in everybody]
        if not any(report.sent or report.received for report in reports):
            return
    raise SystemExit("the clones never come to rest")


def _view(coord: Coord) -> dict[str, list[tuple[Any, ...]]]:
    """The tables that the folds made of the shared events."""

    def ask(db: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        tables = {name for (name,) in db.execute(query)} - OWN_VIEW
        found = {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in tables}
        columns = "id, type, lc, clone, author, at, text, data"
        return {**found, "events": db.execute(f"SELECT {columns} FROM events WHERE local = 0 ORDER BY lc, id").fetchall()}

    return coord.clone.read(ask)
