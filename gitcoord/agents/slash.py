"""Slash commands for the human at an agent's prompt: `/sessions`, `/inbox`, `/note TEXT`, `/message NAME TEXT`.

Claude Code lets a hook answer such a command instead of the model, so it costs no request. The files only make the names
known to it. A file of the user's own with such a name stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from gitcoord.errors import RepositoryError
from gitcoord.lean import suppress
from gitcoord.system.files import read_bytes

COMMANDS = {
    "sessions": ("who works on this repository, where, on what", "sessions"),
    "inbox": ("the unread messages of this session, which stay unread", "inbox"),
    "note": ("leave a note for everybody: /note TEXT", "note"),
    "message": ("send a message: /message NAME TEXT", "send"),
}
"""By name: the description, and the verb with its options."""
MATCHER = "^(" + "|".join(COMMANDS) + ")$"
_MARK = b"<!-- gitcoord -->"


def words(command: str, name: str) -> list[str]:
    """The arguments for git-coord that a command of session `name` stands for; empty for a command that is not ours."""
    verb, _, rest = command.strip().partition(" ")
    rest = rest.strip()
    if verb == "note":
        return ["note", "-m", rest] if rest else []
    if verb == "message":
        to, _, text = rest.partition(" ")
        return ["send", to, "-m", text.strip()] if text.strip() else []
    if verb == "inbox":
        return ["inbox", "--as", name]
    return ["sessions", *(["--all"] if rest == "--all" else [])] if verb == "sessions" else []


def usage(command: str) -> str:
    """The text for a command without what it needs."""
    verb = command.strip().partition(" ")[0]
    return COMMANDS[verb][0] if verb in COMMANDS else ""


def install(home: str) -> None:
    """Put the files below a program's folder, in place of older ones. Raises RepositoryError."""
    for path, text in _files(home):
        if os.path.exists(path) and (not _is_ours(path) or read_bytes(path) == text):
            continue
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(text)
        except OSError as error:
            raise RepositoryError(f"cannot write {path}: {error.strerror}", "make it writable") from error


def uninstall(home: str) -> None:
    """Remove the files, and their folder if it is then empty."""
    for path, _ in _files(home):
        if os.path.exists(path) and _is_ours(path):
            os.unlink(path)
            with suppress(OSError):
                os.rmdir(os.path.dirname(path))


def _files(home: str) -> Iterator[tuple[str, bytes]]:
    for name, (about, verb) in COMMANDS.items():
        text = f"---\ndescription: {about}\n---\nRun `git coord {verb} $ARGUMENTS` and show its output.\n"
        yield os.path.join(home, "commands", f"{name}.md"), text.encode() + _MARK + b"\n"


def _is_ours(path: str) -> bool:
    return read_bytes(path).rstrip().endswith(_MARK)
