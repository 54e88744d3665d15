"""No event that a clone can write crashes a command, takes a line of its output, or hides in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clones import clone_id
from conftest import git
from hostile import MALLORY, bases, chain, commit, payloads, schemas, wrong_in

from gitcoord import Coord
from gitcoord.agents import HARNESSES, MOMENTS, load
from gitcoord.cli import run
from gitcoord.store import open_store, packing
from gitcoord.store.objects import GitObject

PATIENCE = 60.0
"""Seconds for one command over two thousand hostile events, on a busy machine."""


def put(where: Path, ref: str, objects: list[GitObject]) -> None:
    """Write objects past every check of ours, and a ref."""
    with Coord.open(where) as coord:
        store = open_store(coord.clone.repo, False)
        packing.write_all(store, objects)
    git(where, "update-ref", ref, objects[-1].oid)


@pytest.fixture
def attacked(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone whose session `w` was sent hostile values for every field of every schema, and unknown fields."""
    with Coord.open(repo, as_name="w") as coord:
        coord.sessions.join()
        box = f"w@{coord.clone.id}"
    now = int(time.time()) - 60
    first = chain(iter([("task", "a task\n\nEVIL words", {}), ("message", "hello", {"to": [box]}),
                        ("job.start", "build started", {"name": "build", "key": "ab"})]), at=now)  # fmt: skip
    of = bases(box, first[0].oid, first[1].oid, first[2].oid)
    rest = []
    parent = first[-1].oid
    for lc, (kind, text, data) in enumerate(payloads(of), 10):
        rest.append(commit(kind, text, data, lc, parent, at=now))
        parent = rest[-1].oid
    put(repo, f"refs/coord/log/{MALLORY}/0001", [*first, *rest])
    shown = [data for kind, _, data in payloads(of) if kind == "presence"]
    for number, data in enumerate(shown):
        name = f"s{number}"
        put_presence(repo, name, {**data, "session": name} if data["session"] == "m" else data, now)
    monkeypatch.chdir(repo)
    monkeypatch.setenv("GIT_COORD_SESSION", "w")
    return repo


_presences: dict[str, GitObject] = {}


def put_presence(where: Path, name: str, data: dict[str, Any], now: int) -> None:
    _presences[f"refs/coord/sessions/{MALLORY}/{name}"] = commit("presence", "x\nEVIL", data, 5, None, name, at=now)


@pytest.fixture(autouse=True)
def presences(repo: Path) -> Iterator[None]:
    _presences.clear()
    yield


def write_presences(where: Path) -> None:
    with Coord.open(where) as coord:
        packing.write_all(open_store(coord.clone.repo, False), list(_presences.values()))
    lines = "".join(f"create {ref} {item.oid}\n" for ref, item in _presences.items())
    import subprocess

    subprocess.run(["git", "-C", str(where), "update-ref", "--stdin"], input=lines.encode(), check=True)


def commands(where: Path) -> list[list[str]]:
    """Every verb that shows something, on the hostile events."""
    with Coord.open(where, as_name="w") as coord:
        ids = coord.clone.read(lambda db: dict(db.execute("SELECT type, min(id) FROM events GROUP BY type").fetchall()))
    message, task, job = (ids[kind][:12] for kind in ("message", "task", "job.start"))
    return [
        ["status"], ["status", "--short"], ["brief"], ["brief", "--budget", "100000"], ["inbox", "--peek", "--limit", "1000"],
        ["inbox", "--all", "--limit", "1000"], ["thread", message], ["search", "x", "--limit", "1000"],
        ["log", "--limit", "10000"], ["notes", "--limit", "1000"], ["notes", "--path", "readme.txt"], ["sent"],
        ["tasks", "--all"], ["board"], ["task", "show", task], ["locks"], ["check", "readme.txt"],
        ["sessions", "--all"], ["sessions", f"m@{MALLORY}"], ["whoami"], ["jobs", "--all"], ["job", "show", job],
        ["state", "show", "--session", f"m@{MALLORY}"], ["state", "show"], ["conflicts"], ["trust"], ["doctor"],
        ["task", "claim", "0" * 40], ["lock", "readme.txt"], ["send", "x\nEVIL", "hi"], ["unlock", "x\nEVIL"],
        ["check", "x\nEVIL"], ["wait", "x\nEVIL"], ["task", "next"], ["alloc", "x\nEVIL"], ["job", "log", job],
        ["job", "kill", job], ["send", "@all", "hello all"], ["inbox"], ["sent"],
    ]  # fmt: skip


def test_every_type_of_event_has_a_base() -> None:
    assert bases("w@x", "0", "1", "2").keys() == schemas().keys()


def test_every_command_over_every_hostile_value(attacked: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_presences(attacked)
    wrong = []
    for args in commands(attacked):
        for more in ([], ["--json"]):
            began = time.monotonic()
            code = run([*args, *more])
            out, err = capfd.readouterr()
            took = time.monotonic() - began
            wrong += [(args, more, found) for found in wrong_in(out + err)]
            if code not in (0, 1, 2, 3, 4) or "Traceback" in err or took > PATIENCE:
                wrong.append((args, more, f"exit {code} after {took:.0f} s: {err}"))
            if more and code == 0:
                for text in strings(json.loads(out)):
                    wrong += [(args, more, found) for found in wrong_in(text) if "raw" in found]
    assert not wrong[:20]
    with Coord.open(attacked) as coord:
        reasons = coord.clone.read(lambda db: [reason for (reason,) in db.execute("SELECT reason FROM strange")])
    assert not [reason for reason in reasons if "its fold failed" in reason], "what a schema lets pass, a fold can take"
    assert len(reasons) > 500


def test_every_tool_over_every_hostile_value(attacked: Path) -> None:
    from gitcoord.mcp import server, tools

    write_presences(attacked)
    wrong = []
    with Coord.open(attacked, as_name="w") as coord:
        for tool in tools.TOOLS:
            for action, verb in tool.verbs.items():
                for arguments in ({}, {"paths": ["readme.txt"]}, {"show": "sessions"}, {"which": "all"}, {"id": "x\nEVIL"}):
                    try:
                        result = server._result(verb(coord, arguments))
                    except Exception as error:
                        from gitcoord.errors import CoordError

                        assert isinstance(error, CoordError), (tool.name, action, arguments, error)
                        result = server._result({"error": error.what, "hint": error.hint or ""}, is_error=True)
                    (block,) = result.content
                    wrong += [(tool.name, action, found) for found in wrong_in(block.text)]  # type: ignore[union-attr]
                    assert "\n" not in block.text  # type: ignore[union-attr]
        page = coord.messages.inbox(limit=100)
        (block,) = server._result(tools.told(coord, page)).content
        wrong += wrong_in(block.text, "")  # type: ignore[union-attr]
    assert page.messages and not wrong[:20]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def knows(harness: str, moment: str, document: dict[str, Any]) -> bool:
    """Whether a program has this moment."""
    try:
        load(harness).read(moment, document)
    except KeyError:
        return False
    return True


@pytest.mark.parametrize("harness", HARNESSES)
def test_every_moment_of_a_hook(
    attacked: Path, harness: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gitcoord.agents.__main__ import main

    write_presences(attacked)
    monkeypatch.setenv("GIT_COORD_DIR", str(attacked / ".git" / "coord"))
    path = str(attacked / "readme.txt")
    document = {"session_id": "c1", "conversation_id": "c1", "cwd": str(attacked), "tool_input": {"file_path": path},
                "tool_name": "Edit", "toolName": "edit", "source": "startup", "path": path, "file_path": path}  # fmt: skip
    said = 0
    for moment in [moment for moment in MOMENTS if moment not in ("wake", "end") and knows(harness, moment, document)]:
        monkeypatch.setenv("GIT_COORD_HEAD", json.dumps(document))  # as the script hands on what it has read
        assert main([harness, moment]) in (0, 2)
        out, err = capfd.readouterr()
        texts = [*strings(json.loads(out))] if out.startswith("{") else [out]
        for text in (*texts, err):
            assert wrong_in(text) == [], (moment, text)
            said += len(text)
        assert not (attacked / ".git" / "coord" / "agents" / "@error").exists(), moment
    assert said > 100
    assert clone_id(attacked)
