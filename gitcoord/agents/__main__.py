"""`python -E -P -m gitcoord.agents PROGRAM MOMENT`: `hooks/agent-hook` starts it when there is something to do.

When anything fails here, the agent continues as if there were no hook: exit 0, no output. `coord/agents/@error` keeps
the reason. A Python that cannot even start writes to standard error and exits with a code of its own; the script passes
on neither. Therefore output for the agent program goes to the descriptor GIT_COORD_SAY, and a refusal is the code
REFUSED.
"""

from __future__ import annotations

import os
import select
import sys
import time

from gitcoord import lean_json as json
from gitcoord.errors import CoordError, UsageError
from gitcoord.lean import Any, suppress

PATIENCE = 8.0
"""Seconds for which an agent's hook waits for a lock; programs give their hooks ten and more."""
MAX_DOCUMENT = 64 << 20
"""Bytes of a document that are read: a program may hand us a file that it writes."""
SILENCE = 2.0
"""Seconds of silence after which an incomplete document counts as ended."""


def main(argv: list[str]) -> int:
    """Run a hook; returns the exit code for the agent program."""
    try:
        harness, moment = argv
        return _call(harness, moment, _document())
    except Exception as error:
        _note_error(argv, error)
        return 0


def _document() -> dict[str, Any]:
    """The program's document; the script may have read the beginning of it. A program may keep our standard input open:
    the document ends as soon as it is complete."""
    data = os.fsencode(os.environ.pop("GIT_COORD_HEAD", ""))
    deadline = time.monotonic() + PATIENCE
    while (document := _whole(data)) is None and len(data) < MAX_DOCUMENT and (more := _next_piece(deadline)):
        data += more
    if document is None and data.strip():
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            raise UsageError("the document on standard input is not JSON") from None
    return document if isinstance(document, dict) else {}


def _whole(data: bytes) -> Any:
    """The document, if it is complete; otherwise None."""
    if data.rstrip()[-1:] != b"}":
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _next_piece(deadline: float) -> bytes:
    """The next bytes on standard input; none at its end, or after a while."""
    ready, _, _ = select.select([0], [], [], max(0.0, min(SILENCE, deadline - time.monotonic())))
    return os.read(0, 1 << 16) if ready else b""


def _call(harness_name: str, moment: str, document: dict[str, Any]) -> int:
    from gitcoord.agents import Answer, handlers, load
    from gitcoord.agents.binding import open_for
    from gitcoord.system.lock import at_most
    from gitcoord.text import block

    harness = load(harness_name)
    call = harness.read(moment, document)
    code = 0

    def say(answer: Answer) -> None:
        nonlocal code
        if answer == Answer():
            return
        output = harness.say(call, Answer(*map(block, answer)))
        for fd, text in ((1, output.stdout), (2, output.stderr)):
            if text:
                _write(_stream(fd), text.encode("utf-8", "replace"))
        code = output.code

    with at_most(None if moment == "wake" else PATIENCE), open_for(harness, call) as hook:
        handlers.run(hook, say)
    return code


def _stream(fd: int) -> int:
    said = os.environ.get("GIT_COORD_SAY", "")
    return int(said) if fd == 2 and said.isdigit() else fd


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _note_error(argv: list[str], error: Exception) -> None:
    """Keep the last failure for `git coord hooks status`, in the directory that the script found."""
    where = os.environ.get("GIT_COORD_DIR", "")
    with suppress(Exception):
        from gitcoord.store.discovery import find_repository
        from gitcoord.system.files import make_directory, replace_ours

        here = find_repository().coord_dir  # git has to accept it: the script's word is not enough
        if os.path.isdir(where) and os.path.samefile(here, where):
            make_directory(os.path.join(here, "agents"))
            text = f"{int(time.time())} {' '.join(argv)}\n{_told(error, argv, here)}"
            replace_ours(os.path.join(here, "agents", "@error"), text.encode("utf-8", "replace"))


def _told(error: Exception, argv: list[str], coord_dir: str) -> str:
    if isinstance(error, (CoordError, OSError)):
        import traceback

        return "".join(traceback.format_exception(error)[-12:])
    from gitcoord.agents import HARNESSES, MOMENTS
    from gitcoord.system import reports

    return reports.tell(error, ["hook", *(word for word in argv if word in HARNESSES or word in MOMENTS)], lambda: coord_dir)


if __name__ == "__main__":
    status = main(sys.argv[1:])
    if status and os.environ.get("GIT_COORD_SAY"):
        from gitcoord.system.background import REFUSED

        status = REFUSED
    os._exit(status)  # all is written; taking the interpreter apart costs 10 ms
