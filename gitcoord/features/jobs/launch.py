"""Start a job that outlives its terminal, its session and its agent program: its supervisor has no parent of ours.

`launch` starts this module as a program in a session of its own. The program forks and ends at once, so that no walk
down the process tree and no signal to a group of the caller's reaches the supervisor.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

from gitcoord import lean_json as json
from gitcoord.errors import CoordError, Refused, RepositoryError, UsageError
from gitcoord.features.jobs.files import log_path
from gitcoord.features.jobs.start import Spec, StartedJob, watched_process
from gitcoord.lean import Any, NamedTuple
from gitcoord.log.clone import Clone
from gitcoord.sessions.identity import Identity
from gitcoord.system.background import ISOLATED


class Launched(NamedTuple):
    """A job in the background. `failed` is what a shell returns for a command that cannot be started, else 0."""

    id: str
    pid: int
    log: str
    failed: int = 0


def launch(clone: Clone, me: Identity, spec: Spec, cwd: str) -> Launched:
    """Start a job and return as soon as its command runs. Raises CoordError if it could not begin."""
    watched_process(spec)
    caller = [me.name, me.rule, me.harness, me.harness_id, me.person, me.shared]
    order = {"spec": spec, "me": caller, "cwd": cwd, "allows_secrets": clone.allows_secrets}
    program = subprocess.Popen(
        [sys.executable, *ISOLATED, "-m", "gitcoord", "hook", "job"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=cwd,
        env=dict(clone.repo.environ),
        start_new_session=True,
    )
    said, _ = program.communicate(json.dumps(order).encode())
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        raise RepositoryError("the supervisor ended before the command began", "git coord run -- CMD, to see why") from None
    if "error" in answer:
        kind = {1: Refused, 2: UsageError}.get(answer["code"], RepositoryError)
        raise kind(answer["error"], answer["hint"])
    return Launched(**answer)


def serve(open_clone: Callable[[str], Clone]) -> None:
    """The program that `launch` starts: read the order from standard input, leave our parent, begin, answer on standard
    output, supervise."""
    if sys.platform == "win32":
        raise NotImplementedError
    order = json.loads(sys.stdin.buffer.read())
    if os.fork():
        os._exit(0)
    answer = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.close(null)
    try:
        _supervise(open_clone(order["cwd"]), order, answer)
    except CoordError as error:
        _say(answer, {"error": error.what, "hint": error.hint, "code": error.exit_code})
    except OSError as error:
        _say(answer, {"error": str(error), "hint": None, "code": 3})


def _supervise(clone: Clone, order: dict[str, Any], answer: int) -> None:
    if sys.platform == "win32":
        raise NotImplementedError
    from gitcoord.features.jobs import supervise
    from gitcoord.sessions.records import Records

    clone.allows_secrets = order["allows_secrets"]
    argv, job_name, notify, session, publish, watch_pid = order["spec"]
    spec = Spec(tuple(argv), job_name, tuple(notify), session, publish, watch_pid)
    name, rule, harness, harness_id, person, shared = order["me"]
    me = Identity(name, rule, Records(clone.repo.coord_dir).get(name), harness, harness_id, person, shared)

    def started(begun: StartedJob, failed: int) -> None:
        pid = begun.running.command.pid if begun.running.command else 0
        path = log_path(clone.repo.coord_dir, begun.running.key)
        _say(answer, {"id": begun.id, "pid": pid, "log": str(path), "failed": failed})

    try:
        supervise.run(clone, me, spec, order["cwd"], detached=True, started=started)
    finally:
        clone.close()


def _say(answer: int, value: dict[str, Any]) -> None:
    """Answer the process that started us, once, so that it continues."""
    try:
        os.write(answer, json.dumps(value).encode())
        os.close(answer)
    except OSError:
        pass  # answered already, or nobody waits any more
