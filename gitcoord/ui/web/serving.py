"""Serve the view: the address it listens at, the link that lets its person in, and its end."""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
import sys
import threading
import webbrowser
from contextlib import suppress

import uvicorn

from gitcoord.errors import RepositoryError
from gitcoord.store.discovery import find_repository
from gitcoord.system.files import read_ours, write_ours
from gitcoord.ui.desk import Desk
from gitcoord.ui.web.gate import Door
from gitcoord.ui.web.options import Options
from gitcoord.ui.web.pages import application

HERE = "127.0.0.1"


def serve(desk: Desk, options: Options) -> None:
    """Serve until interrupted. Raises RepositoryError for a port or path that is taken."""
    listening = _at_path(options.socket) if options.socket else _at_port(options.port)
    try:
        door, base = _door(listening, options, _room(desk.place))
        _invite(door, base, options)
        config = uvicorn.Config(
            application(desk, door), log_level="critical", access_log=False, server_header=False, http="h11", ws="none",
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()
        if options.socket:
            with suppress(OSError):
                os.unlink(options.socket)


def _at_port(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HERE, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise RepositoryError(f"port {port} cannot be used: {error.strerror}", "git coord ui --web takes a free one") from None
    return listening


def _at_path(path: str) -> socket.socket:
    """A socket that only its owner can open; a file left by an earlier server is replaced."""
    if not hasattr(socket, "AF_UNIX"):
        raise RepositoryError("this system has no sockets in files", "git coord ui --web")
    _clear(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listening.bind(path)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise RepositoryError(f"{path} cannot be used: {error.strerror or error}", "name another path") from None
    finally:
        os.umask(before)
    return listening


def _clear(path: str) -> None:
    if sys.platform == "win32":  # Windows has no such sockets
        return
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(path):
            os.unlink(path)


def _room(place: str) -> str:
    """The path below which the view is: known to this user alone, and the same after a restart, so that open pages find it
    again."""
    path = os.path.join(find_repository(place).coord_dir, "view")
    with suppress(OSError):
        known = read_ours(path).decode("ascii", "replace").strip()
        if re.fullmatch(r"[\w-]{20,40}", known, re.ASCII):
            return known
    fresh = secrets.token_urlsafe(16)
    with suppress(OSError):
        write_ours(path, f"{fresh}\n".encode(), private=True)
    return fresh


def _door(listening: socket.socket, options: Options, room: str) -> tuple[Door, str]:
    """The names by which a browser may call the server."""
    if options.socket:
        return Door((HERE, "localhost"), "gitcoord_socket", room), "http://localhost:PORT"
    port = listening.getsockname()[1]
    return Door((f"{HERE}:{port}", f"localhost:{port}"), f"gitcoord_{port}", room), f"http://{HERE}:{port}"


def _invite(door: Door, base: str, options: Options) -> None:
    """Print the link; at a terminal, Enter prints another."""

    def link() -> str:
        return f"{base}/enter?token={door.invite()}"

    first = link()
    print(first)
    if options.socket:
        print(f"(forward a port of yours to the socket: ssh -L PORT:{os.path.abspath(options.socket)} HOST)")
    print(
        "The link is yours alone and works once. "
        + ("Enter prints another, " if sys.stdin.isatty() else "")
        + "Ctrl-C ends it."
    )
    sys.stdout.flush()
    if options.opens and not options.socket:
        threading.Thread(target=webbrowser.open, args=(first,), daemon=True).start()
    if sys.stdin.isatty():
        threading.Thread(target=_print_on_enter, args=(link,), daemon=True).start()


def _print_on_enter(link: object) -> None:
    assert callable(link)
    with suppress(OSError, ValueError):
        for _ in sys.stdin:
            print(link(), flush=True)
