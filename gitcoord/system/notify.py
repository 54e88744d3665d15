"""Run `coord.notify`, a command of the user's, for news that cannot wait.

The shell runs the command with a short line as its argument (and in GIT_COORD_NOTIFY) and the facts as one JSON
document on its standard input. gitcoord does not wait for it: it may be slow, fail or be missing.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitcoord import lean_json as json
from gitcoord.lean import Any, suppress

MAX_LINE = 200
_SCRIPT = 'exec 3<&0; (eval "$GIT_COORD_COMMAND \\"\\$1\\"" <&3 3<&-) &'
"""The shell ends at once, so that the command has no parent that waits for it. The line is passed as an argument and never
evaluated. A shell takes standard input away from background commands, hence descriptor 3."""


def notify(command: str, environ: Mapping[str, str], line: str, facts: Mapping[str, Any]) -> None:
    """Run `command`, the value of `coord.notify`; nothing if it is empty."""
    if not command:
        return
    import tempfile

    flat = " ".join("".join(c if c.isprintable() else " " for c in line).split())[:MAX_LINE]
    environ = {**environ, "GIT_COORD_COMMAND": command, "GIT_COORD_NOTIFY": flat}
    with suppress(OSError, ValueError), tempfile.TemporaryFile() as document:
        document.write(json.dumps({**facts, "line": flat}).encode() + b"\n")
        document.seek(0)
        _spawn(["/bin/sh", "-c", _SCRIPT, "sh", flat], environ, document.fileno())


def _spawn(argv: list[str], environ: Mapping[str, str], stdin: int) -> None:
    """Start it in a session of its own, without a terminal and without our open files."""
    import subprocess

    program = subprocess.Popen(
        argv, env=environ, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    program.wait()
