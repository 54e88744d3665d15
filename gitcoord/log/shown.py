"""Compose the commit that shows the sessions of this clone to others: all of them in one, which replaces the one before."""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.lean import Any, sqlite3
from gitcoord.log.event import Draft, canonical_json

ROOM = 256 * 1024
"""Bytes for all sessions: half of what a commit may have. Where they do not fit, fewer changed files are shown."""
FEWER_FILES = (20, 5, 0)
MOST = 1000
"""Sessions that are shown; of more, those whose facts are the newest."""
NAMED = 20
"""Sessions that the text of the commit names, for people."""

Sessions = Mapping[str, Mapping[str, Any]]


def own(db: sqlite3.Connection, clone: str) -> dict[str, dict[str, Any]]:
    """The facts of our sessions as they are shown now, by name, each with its time."""
    rows = db.execute("SELECT name, data, at FROM presence WHERE clone = ?", (clone,))
    return {name: fact(json.loads(data), at) for name, data, at in rows}


def fact(data: Mapping[str, Any], at: int) -> dict[str, Any]:
    """The facts of a session as they stand in the commit: without its name."""
    return {**{key: value for key, value in data.items() if key != "session"}, "at": at}


def draft(sessions: Sessions, clone: str) -> Draft:
    """The commit with these sessions."""
    newest = sorted(sessions, key=lambda name: (-sessions[name]["at"], name))[:MOST]
    fitting = _fitting({name: sessions[name] for name in sorted(newest)})
    lines = [_line(name, facts) for name, facts in fitting.items()]
    more = [f"and {len(lines) - NAMED} more"] if len(lines) > NAMED else []
    return Draft("presences", "\n".join([*lines[:NAMED], *more]), {"sessions": fitting}, author=clone)


def _line(name: str, facts: Mapping[str, Any]) -> str:
    return f"{name} is {facts['state']}" + (f" on {facts['branch']}" if facts.get("branch") else "")


def _fitting(sessions: Sessions) -> Sessions:
    for most in FEWER_FILES:
        if len(canonical_json(sessions)) <= ROOM:
            break
        sessions = {name: _with_files(facts, most) for name, facts in sessions.items()}
    return sessions


def _with_files(facts: Mapping[str, Any], most: int) -> Mapping[str, Any]:
    return {**facts, "files": facts["files"][:most]} if facts.get("files") else facts
