"""The paths that each session has changed, for the agents' hook script, which has no Python: lines in
`coord/touched/<session>`.

The script appends what its session edits; the process that writes a session's presence replaces the file by the paths
changed then. `@foreign` has the paths of all other clones' sessions. The folder exists once a hook of an agent program has
run. `coord/names/<session>` has the last component of each, by which the script finds them in a shell command.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from gitcoord import lean_json as json
from gitcoord.errors import RepositoryError
from gitcoord.lean import sqlite3, suppress
from gitcoord.names import same_clone
from gitcoord.system.files import append_ours, contents_of, make_directory, names_in, read_ours, remove_ours
from gitcoord.system.lock import write_whole

FOREIGN = "@foreign"
LOCKS = "@locks"
"""Ends the name of the file with words of a session's locks, in `coord/names`."""


def open_folder(coord_dir: str) -> bool:
    """Make the folders, if they are missing; returns whether one is new."""
    folders = [os.path.join(coord_dir, name) for name in ("touched", "names")]
    if all(map(os.path.isdir, folders)):
        return False
    with suppress(OSError):
        for folder in folders:
            make_directory(folder)
    return all(map(os.path.isdir, folders))


def paths_of(coord_dir: str, name: str) -> tuple[str, ...]:
    """The paths that `name` has changed, relative to the worktree's root."""
    try:
        return _paths(read_ours(os.path.join(coord_dir, "touched", name)))
    except OSError:
        return ()


def all_paths(coord_dir: str) -> dict[str, tuple[str, ...]]:
    """The paths that each session has changed, by its name."""
    return {name: _paths(raw) for name, raw in contents_of(os.path.join(coord_dir, "touched"), "").items()}


def _paths(raw: bytes) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.fsdecode(raw).splitlines()))


def add(coord_dir: str, name: str, paths: Iterable[str]) -> bool:
    """Note paths that were just changed; returns whether any of them is new."""
    known = paths_of(coord_dir, name)
    fresh = [path for path in dict.fromkeys(paths) if path not in known and "\n" not in path]
    with suppress(OSError):
        if fresh:
            append_ours(os.path.join(coord_dir, "touched", name), b"".join(os.fsencode(path) + b"\n" for path in fresh))
            append_ours(os.path.join(coord_dir, "names", name), b"".join(os.fsencode(_last(p)) + b"\n" for p in fresh))
    return bool(fresh)


def keep(coord_dir: str, name: str, paths: Iterable[str]) -> None:
    """Replace the paths of `name`. Call it under the write lock. A failure is harmless."""
    plain = dict.fromkeys(p for p in paths if "\n" not in p)
    is_known = not plain or os.path.exists(os.path.join(coord_dir, "names", name))
    if not is_known or tuple(plain) != paths_of(coord_dir, name):
        _write(coord_dir, "touched", name, plain)
        _write(coord_dir, "names", name, dict.fromkeys(map(_last, plain)))


def keep_locks(coord_dir: str, words: Mapping[str, Iterable[str]]) -> None:
    """Replace the words of all locks, by the session that holds them: a command with one of them may concern the lock."""
    with suppress(OSError):
        known = [file.removesuffix(LOCKS) for file in names_in(os.path.join(coord_dir, "names")) if file.endswith(LOCKS)]
        for name in {*known, *words}:
            _write(coord_dir, "names", name + LOCKS, words.get(name, ()))


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _write(coord_dir: str, folder: str, name: str, lines: Iterable[str]) -> None:
    """Replace the lines of one file, if its folder exists; without a line there is no file."""
    path = os.path.join(coord_dir, folder, name)
    if not os.path.isdir(os.path.dirname(path)):
        return
    with suppress(OSError, RepositoryError, UnicodeEncodeError):
        text = "".join(f"{line}\n" for line in lines)
        if text:
            write_whole(path, text)
        else:
            remove_ours(path)


def keep_foreign(db: sqlite3.Connection, coord_dir: str, here: str) -> None:
    """Note the paths that other clones' sessions published."""
    found: set[str] = set()
    for clone, text in db.execute("SELECT clone, data FROM presence"):
        files = None if same_clone(clone, here) else json.loads(text).get("files")
        rows = files if isinstance(files, list) else []
        found |= {row[0] for row in rows if isinstance(row, list) and row and isinstance(row[0], str)}
    keep(coord_dir, FOREIGN, sorted(found))
