"""Programs that start in a few milliseconds: a process that has loaded gitcoord once forks a copy of itself for each.

A forked program is a process like any other, with its own streams, environment, working directory, session and exit code.
So it leaves nothing behind in the tests' process. Only Python's start and the loading of modules are skipped, which are
nine tenths of a command. Use `sys.executable` in tests about these, or about what a process looks like from outside.

`python forkserver.py FD` is the server: it serves the socket FD until the other end closes it.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

NUMBER = struct.Struct("!i")
LIBRARIES = ("click", "pathlib", "pathspec", "pygit2", "sqlite3", "subprocess")

# the server


def serve(sock: socket.socket) -> None:
    """Fork a program for each request, and tell of its end on the descriptor that came with the request."""
    running: dict[int, int] = {}
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([sock, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _reap(running)
        if sock in ready and not _start_one(sock, running):
            return


def _reap(running: dict[int, int]) -> None:
    for pid in list(running):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            with suppress(BrokenPipeError):
                os.write(running[pid], NUMBER.pack(os.waitstatus_to_exitcode(status)))
            os.close(running.pop(pid))


def _start_one(sock: socket.socket, running: dict[int, int]) -> bool:
    head, fds, _, _ = socket.recv_fds(sock, NUMBER.size, 4, socket.MSG_WAITALL)
    if not head:
        return False
    request = json.loads(sock.recv(*NUMBER.unpack(head), socket.MSG_WAITALL))
    for name in request["loaded"]:
        import_module(name)
    pid = os.fork()
    if not pid:
        _become(request, fds, sock)
    running[pid] = fds.pop()
    for fd in fds:
        os.close(fd)
    return True


def _become(request: dict[str, Any], fds: Sequence[int], sock: socket.socket) -> NoReturn:
    """Be the program of a request, to its end."""
    code: object = 1
    try:
        os.setsid()
        sock.sendall(NUMBER.pack(os.getpid()))  # from now on it can be told from its server
        _take_place(request, fds)
        _run(request["argv"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


def _take_place(request: dict[str, Any], fds: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, fd in enumerate(fds[:3]):
        os.dup2(fd, number)
    os.closerange(3, 256)
    os.chdir(request["where"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    _open_streams()
    _find_configuration()


def _open_streams() -> None:
    """As Python opens them in the locale C.UTF-8."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        errors = "surrogateescape" if fd < 2 else "backslashreplace"
        lines = 1 if fd == 2 or os.isatty(fd) else -1
        stream = open(fd, "w" if fd else "r", lines, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _find_configuration() -> None:
    """libgit2 looked for the user's configuration when it was loaded; it belongs elsewhere now."""
    import pygit2
    from pygit2.enums import ConfigLevel

    home = os.environ.get("HOME", "")
    pygit2.settings.search_path[ConfigLevel.GLOBAL] = home
    pygit2.settings.search_path[ConfigLevel.XDG] = os.path.join(os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config", "git")


def _run(argv: list[str]) -> None:
    """Run as `python ARGV` would: `-m gitcoord …`, `-c CODE …` or a file."""
    if argv[:2] == ["-m", "gitcoord"]:
        import gitcoord.cli

        sys.argv = [os.path.join(os.path.dirname(gitcoord.__file__), "__main__.py"), *argv[2:]]
        gitcoord.cli.main()
    elif argv[0] == "-c":
        sys.argv = ["-c", *argv[2:]]
        exec(compile(argv[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = argv
        sys.path.insert(0, os.path.dirname(argv[0]))
        runpy.run_path(argv[0], run_name="__main__")


def _load() -> None:
    from pkgutil import walk_packages

    import gitcoord

    ours = (module.name for module in walk_packages(gitcoord.__path__, "gitcoord."))
    for name in (*LIBRARIES, *ours):
        large = name.startswith(("gitcoord.mcp", "gitcoord.ui.terminal", "gitcoord.ui.web"))  # their libraries are
        if not large and not name.endswith("__main__"):
            import_module(name)
    gc.collect()
    gc.freeze()


# what tests use


class Program:
    """A forked program that leads a session of its own, with pipes to its streams; used as `subprocess.Popen` is."""

    def __init__(self, argv: Sequence[str], where: Path, env: Mapping[str, str] | None = None, *loaded: str) -> None:
        """Run `python ARGV` in the directory `where`; all programs from now on have the modules `loaded`, too."""
        self.args = list(argv)
        self.returncode: int | None = None
        into, outof, errors, status = pipes = [os.pipe() for _ in range(4)]
        theirs = [into[0], outof[1], errors[1], status[1]]
        request = {
            "argv": self.args,
            "where": str(where),
            "env": dict(os.environ if env is None else env),
            "loaded": loaded,
            "umask": _umask(),
        }
        try:
            self.pid = _ask(request, theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        self._status = pipes[3][0]
        self.stdin, self.stdout, self.stderr = _text(into[1], "w"), _text(outof[0], "r"), _text(errors[0], "r")

    def communicate(self, stdin: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write to it, read to the end of its streams, await its end; raises TimeoutExpired."""
        said: dict[str, str] = {}
        deadline = None if timeout is None else time.monotonic() + timeout
        helpers = [
            threading.Thread(target=lambda: said.update(out=_rest(self.stdout)), daemon=True),
            threading.Thread(target=lambda: said.update(err=_rest(self.stderr)), daemon=True),
            threading.Thread(target=self._feed, args=(stdin or "",), daemon=True),
        ]
        for helper in helpers:
            helper.start()
        for helper in helpers:
            helper.join(None if deadline is None else max(0, deadline - time.monotonic()))
            if helper.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        self.close()
        return said["out"], said["err"]

    def close(self) -> None:
        """Close its streams."""
        for stream in (self.stdin, self.stdout, self.stderr):
            with suppress(BrokenPipeError):
                stream.close()

    def _feed(self, text: str) -> None:
        if text:
            with suppress(BrokenPipeError):
                self.stdin.write(text)
        with suppress(BrokenPipeError):
            self.stdin.close()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or the negative number of the signal that ended it; raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = NUMBER.unpack(os.read(self._status, NUMBER.size))[0]
            os.close(self._status)
        return self.returncode

    def poll(self) -> int | None:
        """As `wait`, at once; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _rest(stream: IO[str]) -> str:
    return "" if stream.closed else stream.read()


def _text(fd: int, mode: str) -> IO[str]:
    return open(fd, mode, encoding="utf-8")


_asking = threading.Lock()


def _umask() -> int:
    present = os.umask(0o077)
    os.umask(present)
    return present


def _ask(request: dict[str, Any], fds: list[int]) -> int:
    """Have the server fork the program of a request; its pid."""
    body = json.dumps(request).encode()
    with _asking:
        server = _server()
        socket.send_fds(server, [NUMBER.pack(len(body))], fds)
        server.sendall(body)
        answer = server.recv(NUMBER.size, socket.MSG_WAITALL)
    return int(NUMBER.unpack(answer)[0])


@cache
def _server() -> socket.socket:
    """The server of this process, which ends with it."""
    ours, theirs = socket.socketpair()
    argv = [sys.executable, __file__, str(theirs.fileno())]
    subprocess.Popen(
        argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    theirs.close()
    return ours


if __name__ == "__main__":
    _load()
    serve(socket.socket(fileno=int(sys.argv[1])))
