"""The skill: a file that teaches a model when and how to use `git coord`, in the folder where its program looks.

It is installed and removed with the program's hooks (install.py). `git coord skill` prints the same text for AGENTS.md.
"""

from __future__ import annotations

import os

from gitcoord.errors import RepositoryError
from gitcoord.lean import suppress
from gitcoord.system.files import read_bytes

NAME = "git-coord"
FILE = "SKILL.md"
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PLACES = (os.path.join(_PACKAGE, "skill"), os.path.join(_PACKAGE, os.pardir, "plugin", "skills", NAME))
"""The places of the skill: in the installation, or in a checkout, where the Claude Code plugin has it."""


def whole() -> bytes:
    """The skill's file."""
    place = next((place for place in _PLACES if os.path.exists(os.path.join(place, FILE))), _PLACES[0])
    return read_bytes(os.path.join(place, FILE))


def text() -> str:
    """The skill without its front matter, as a part of other instructions to a model."""
    return whole().decode().split("---\n", 2)[2].lstrip("\n")


def path_in(skills: str) -> str:
    """The path of the skill below a program's folder of skills (`~/.claude/skills`)."""
    return os.path.join(skills, NAME, FILE)


def is_installed(skills: str) -> bool:
    """Whether the skill is there as this version has it."""
    try:
        return read_bytes(path_in(skills)) == whole()
    except OSError:
        return False


def install(skills: str) -> bool:
    """Put the skill below `skills`, in place of an older one; False if it is there already. Raises RepositoryError."""
    if is_installed(skills):
        return False
    path = path_in(skills)
    if os.path.exists(path) and not _is_ours(path):
        raise RepositoryError(f"gitcoord did not write {path}", "move it away, or leave out the skill")
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(whole())
    except OSError as error:
        raise RepositoryError(f"cannot write {path}: {error.strerror}", "make it writable") from error
    return True


def uninstall(skills: str) -> bool:
    """Remove the skill and the folders that are then empty; False if it is not there, or not ours."""
    path = path_in(skills)
    if not os.path.exists(path) or not _is_ours(path):
        return False
    os.unlink(path)
    with suppress(OSError):
        os.rmdir(os.path.dirname(path))
        os.rmdir(skills)
    return True


def _is_ours(path: str) -> bool:
    """Whether a file is this skill, of any version."""
    return read_bytes(path).startswith(f"---\nname: {NAME}\n".encode())
