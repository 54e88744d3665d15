"""The web view, served to a test: by the real program, or in this process with made-up facts."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import uvicorn
from forkserver import Program

from gitcoord.ui.web.gate import Door
from gitcoord.ui.web.pages import application


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: str


class Visitor:
    """Speaks HTTP to a server by hand, with the cookie that its link gave."""

    def __init__(self, host: str, port: int, cookie: str = "", path: str = "", room: str = "") -> None:
        self.host, self.port, self.cookie, self.path, self.room = host, port, cookie, path, room

    @property
    def called(self) -> str:
        return f"{self.host}:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str | None) -> Answer:
        """One request. `headers` by their names with `_` for `-`; None leaves out what would be said."""
        said: dict[str, str | None] = {"host": self.called, "cookie": self.cookie or None}
        if method == "POST":
            said |= {
                "origin": f"http://{self.called}",
                "sec-fetch-site": "same-origin",
                "x-gitcoord": "1",
                "content-type": "application/json",
                "content-length": str(len(body or b"")),
            }
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        path = path if path.startswith("/enter?") else f"{self.room}{path}"
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in said.items() if v is not None), "connection: close"]
        with self._connect() as sock:
            sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
            answer = http.client.HTTPResponse(sock, method=method)
            answer.begin()
            return Answer(answer.status, answer.headers, answer.read().decode())

    def post(self, path: str, name: str, /, **given: Any) -> Answer:
        return self.ask("POST", path, json.dumps({"name": name, "given": given}).encode())

    def news(self) -> Iterator[tuple[str, Any]]:
        """The events of the stream, as they come."""
        with self._connect() as sock:
            sock.sendall(f"GET {self.room}/news HTTP/1.1\r\nhost: {self.called}\r\ncookie: {self.cookie}\r\n\r\n".encode())
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            assert answer.status == 200, answer.status
            name = ""
            while line := answer.readline().decode():
                if line.startswith("event: "):
                    name = line[7:].strip()
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])

    def _connect(self) -> socket.socket:
        if self.path:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(30)
            sock.connect(self.path)
            return sock
        return socket.create_connection(("127.0.0.1", self.port), 30)

    def enter(self, link: str) -> Answer:
        """Follow the link, and keep the cookie."""
        there = urlsplit(link)
        answer = self.ask("GET", f"{there.path}?{there.query}")
        self.room = (answer.headers.get("location") or "").rstrip("/")
        self.cookie = (answer.headers.get("set-cookie") or self.cookie).partition(";")[0]
        return answer


@contextmanager
def in_process(desk: Any) -> Iterator[tuple[Visitor, Door]]:
    """A server in a thread of this process, and somebody who was let in."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    door = Door((f"127.0.0.1:{port}", f"localhost:{port}"), f"gitcoord_{port}")
    config = uvicorn.Config(application(desk, door), log_level="critical", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Visitor("127.0.0.1", port, f"{door.cookie}={door.key()}", room=door.room), door
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


class Served(NamedTuple):
    program: Program
    link: str

    def visitor(self) -> Visitor:
        """Somebody who followed the link."""
        there = urlsplit(self.link)
        visitor = Visitor(there.hostname or "", there.port or 0)
        assert visitor.enter(self.link).status == 303
        return visitor


@contextmanager
def serve(where: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """The real program, until the end of the block."""
    argv = ["-m", "gitcoord", "ui", "--web", *options]
    program = Program(argv, where, {**os.environ, **(env or {})}, "gitcoord.ui.web.serving")
    try:
        link = program.stdout.readline().strip()
        assert re.match(r"http://", link), link + program.stderr.read()
        yield Served(program, link)
    finally:
        program.terminate()
        with suppress(Exception):
            program.wait(10)
        program.kill()
        program.close()
