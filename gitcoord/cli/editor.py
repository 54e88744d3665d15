"""Ask for a text in the user's editor, as `git commit` does."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from gitcoord.errors import RepositoryError, UsageError
from gitcoord.sessions.identity import is_agent

HELP = """

# {what}
# Lines that begin with '#' are left out. Without a text nothing happens.
"""


def can_ask() -> bool:
    """Whether a person sits at the terminal: an agent with one would be stuck in the editor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and not is_agent(os.environ)


def ask(what: str) -> str:
    """Have a text written in the editor that git would use. Raises UsageError for none, RepositoryError without an editor."""
    found = subprocess.run(["git", "var", "GIT_EDITOR"], capture_output=True, text=True, errors="surrogateescape")
    if found.returncode:
        raise UsageError("the text is missing", "give it as words, with -m TEXT or with -F FILE")
    try:
        written = click.edit(HELP.format(what=what), editor=found.stdout.strip(), extension=".txt")
    except click.ClickException as error:
        raise RepositoryError(error.format_message(), "git config core.editor EDITOR") from error
    lines = [line.rstrip() for line in (written or "").splitlines() if not line.startswith("#")]
    text = "\n".join(lines).strip("\n")
    if not text:
        raise UsageError("the text is empty, so nothing was done", "give it as words, with -m TEXT or with -F FILE")
    return text
