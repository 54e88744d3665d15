"""Remotes that are some milliseconds away, by file, ssh and HTTP, without a network: each connection waits first."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.measure import git

TRANSPORTS = ("file", "ssh", "http")
Set = Callable[[Path], object]
"""Makes a clone reach the remote, which it calls `origin`."""


@contextmanager
def remote(how: str, hub: Path, delay: float) -> Iterator[Set]:
    """The bare repository `hub`, reached by one of TRANSPORTS, `delay` seconds away."""
    if how == "http":
        with _http(hub.parent, delay) as url:
            yield lambda clone: git(clone, "remote", "add", "origin", f"{url}/{hub.name}")
    elif how == "ssh":
        yield lambda clone: _by_ssh(clone, hub, delay)
    else:
        yield lambda clone: _by_file(clone, hub, delay)


def _by_file(clone: Path, hub: Path, delay: float) -> None:
    git(clone, "remote", "add", "origin", str(hub))
    for kind in ("upload", "receive"):
        git(clone, "config", f"remote.origin.{kind}pack", f"sleep {delay}; git-{kind}-pack")


def _by_ssh(clone: Path, hub: Path, delay: float) -> None:
    """A program in place of ssh that runs the command here. A real connection takes three or four ways there and back."""
    program = hub.parent / f"ssh{delay}"
    program.write_text(f'#!/bin/sh\nfor last; do :; done\nsleep {4 * delay}\nexec sh -c "$last"\n')
    program.chmod(0o755)
    git(clone, "remote", "add", "origin", f"ssh://host{hub}")
    git(clone, "config", "core.sshCommand", str(program))
    git(clone, "config", "ssh.variant", "ssh")


@contextmanager
def _http(root: Path, delay: float) -> Iterator[str]:
    """git http-backend behind a small server; each request waits."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            environ = {
                **os.environ, "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "somebody",
                "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query, "REMOTE_ADDR": "127.0.0.1",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": self.headers.get("Content-Length", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }  # fmt: skip
            time.sleep(delay)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            ran = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False)
            head, _, content = ran.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split()[0]))
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
