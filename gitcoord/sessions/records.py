"""The private records of this clone's sessions: worktree, process, the agent program's id, beats. They are never in git.

One JSON file for each session in `coord/sessions/`, replaced atomically under the write lock; a beat is the time of a
file in `coord/beats/`.
"""

from __future__ import annotations

import os

from gitcoord import lean_json as json
from gitcoord.lean import Any, NamedTuple, suppress
from gitcoord.names import is_name
from gitcoord.sessions import touched
from gitcoord.sessions.awake import Sleeps
from gitcoord.system import process as processes
from gitcoord.system.files import contents_of, make_directory, read_ours, remove_ours, times_in, touch_ours
from gitcoord.system.lock import unwritable, write_whole
from gitcoord.system.process import Process

_SEEN = ("touched", "removed", "beat", "asleep")
"""Fields that are not in a record's file."""


class Record(NamedTuple):
    """A session of this clone. Times are Unix seconds; paths of `editing` are relative to the worktree's root."""

    name: str
    git_dir: str = ""
    """The worktree's own git directory, which stays when the worktree moves; empty for a person. The file has it relative
    to the common directory, so that the session stays with its worktree when the whole repository moves."""
    worktree: str = ""
    process: Process | None = None
    harness: str = ""
    harness_id: str = ""
    role: str = ""
    focus: str = ""
    person: bool = False
    expected: bool = False
    waiting: bool = False
    left: float | None = None
    joined: float = 0.0
    editing: dict[str, float] = {}  # never changed in place
    gone: float = 0.0
    """The time at which others were told that it is gone; 0 again when it joins."""
    published: float = 0.0
    """The time at which the presence commit was last written."""
    touched: tuple[str, ...] = ()
    """Paths that its hooks saw it change, not yet known to be clean again; from a file of its own (touched.py)."""
    removed: bool = False
    """Whether its worktree was removed, with the git directory. Found when the record is read, never stored."""
    beat: float = 0.0
    """The time of its last sign of life; 0 if never. Found when the record is read, never stored."""
    asleep: float = 0.0
    """Seconds that the machine slept since its last beat. Found when the record is read, never stored."""


def is_plain_id(harness_id: str) -> bool:
    """Whether an agent program's id is usable as a file name."""
    return 0 < len(harness_id) <= 200 and harness_id.isascii() and harness_id.replace("-", "").replace("_", "").isalnum()


class Records:
    """The records of one clone, read on demand."""

    def __init__(self, coord_dir: str) -> None:
        self._coord_dir = coord_dir
        self._common_dir = os.path.dirname(coord_dir)
        self.sleeps = Sleeps(coord_dir)
        self.directory = os.path.join(coord_dir, "sessions")
        self.beats = os.path.join(coord_dir, "beats")
        self.agents = os.path.join(coord_dir, "agents")

    def all(self) -> list[Record]:
        """Every record, oldest first; each folder is read once, because a clone may have hundreds of sessions."""
        beats, paths = times_in(self.beats), touched.all_paths(self._coord_dir)
        removed: dict[str, bool] = {}
        found = []
        for file, raw in contents_of(self.directory, ".json").items():
            name = file.removesuffix(".json")
            seen = (beats.get(name, 0.0), paths.get(name, ()), removed)
            if is_name(name) and (record := self._record(name, raw, *seen)):
                found.append(record)
        return sorted(found, key=lambda r: (r.joined, r.name))

    def get(self, name: str) -> Record | None:
        """The record of `name`, or None; an unreadable one counts as missing."""
        if not is_name(name):
            return None
        try:
            raw = read_ours(self._file(name))
        except OSError:
            return None
        return self._record(name, raw, self.beat(name), touched.paths_of(self._coord_dir, name), {})

    def _record(self, name: str, raw: bytes, beat: float, paths: tuple[str, ...], removed: dict[str, bool]) -> Record | None:
        """A record from its file and the files beside it. `removed` caches which git directories are gone."""
        try:
            data: dict[str, Any] = json.loads(raw)
            where = self._absolute(data.get("git_dir", ""))
            if where not in removed:
                removed[where] = self._is_removed(where)
            facts: dict[str, Any] = {"name": name, "git_dir": where, "process": processes.from_json(data.get("process"))}
            facts |= {"touched": paths, "removed": removed[where], "beat": beat, "asleep": self.sleeps.since(beat)}
            return Record(**{**data, **facts})
        except (ValueError, TypeError, AttributeError):
            return None

    def _file(self, name: str) -> str:
        return os.path.join(self.directory, f"{name}.json")

    def _beat_file(self, name: str) -> str:
        return os.path.join(self.beats, name)

    def _absolute(self, git_dir: str) -> str:
        return os.path.normpath(os.path.join(self._common_dir, git_dir)) if git_dir else ""

    def _is_removed(self, git_dir: str) -> bool:
        """Whether the git directory of a linked worktree is gone, while the repository exists."""
        inside = git_dir.startswith(os.path.join(self._common_dir, "worktrees") + os.sep)
        return inside and not os.path.isdir(git_dir) and os.path.isdir(self._common_dir)

    def _relative(self, git_dir: str) -> str:
        inside = git_dir.startswith(self._common_dir + os.sep) or git_dir == self._common_dir
        return os.path.relpath(git_dir, self._common_dir) if inside else git_dir

    def put(self, record: Record) -> Record:
        """Write a record. Call it under the write lock. Raises RepositoryError."""
        try:
            make_directory(self.directory)
        except OSError as error:
            raise unwritable(self.directory, error) from error
        write_whole(self._file(record.name), json.dumps(self._to_json(record), sort_keys=True) + "\n")
        if record.harness_id and self.name_of(record.harness_id) != record.name:
            self._name_agent(record.harness_id, record.name)
        return record

    def name_of(self, harness_id: str) -> str:
        """The last session of an agent program's id; empty if none."""
        try:
            return read_ours(os.path.join(self.agents, harness_id)).decode().strip() if is_plain_id(harness_id) else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def _name_agent(self, harness_id: str, name: str) -> None:
        """Note the session of an agent program's id, for its shells. The note outlives the session, because the
        conversation may be resumed."""
        if is_plain_id(harness_id):
            with suppress(OSError):
                make_directory(self.agents)
            write_whole(os.path.join(self.agents, harness_id), name + "\n")

    def remove(self, name: str) -> None:
        """Forget a session of this clone, with its beat."""
        for path in (self._file(name), self._beat_file(name)):
            with suppress(OSError):
                remove_ours(path)
        touched.keep(self._coord_dir, name, ())

    def rename(self, record: Record, name: str) -> Record:
        """Move a record and its beat to a new name."""
        beat = self.beat(record.name)
        renamed = self.put(record._replace(name=name))
        self.remove(record.name)
        self.touch(name, beat)
        return renamed

    def touch(self, name: str, at: float | None = None) -> None:
        """Give a beat. A failure (a read-only repository) is harmless."""
        path = self._beat_file(name)
        with suppress(OSError):
            try:
                touch_ours(path, at)
            except FileNotFoundError:
                make_directory(self.beats)
                touch_ours(path, at)

    def beat(self, name: str) -> float:
        """The time of the session's last sign of life; 0 if never."""
        try:
            return os.stat(self._beat_file(name)).st_mtime
        except OSError:
            return 0.0

    def _to_json(self, record: Record) -> dict[str, Any]:
        process = record.process.to_json() if record.process else None
        facts = {key: value for key, value in record._asdict().items() if key not in _SEEN}
        return {**facts, "git_dir": self._relative(record.git_dir), "process": process}
