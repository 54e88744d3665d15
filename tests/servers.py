"""Git servers on loopback, for as long as a test needs them: git daemon, and git http-backend behind lighttpd."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LIGHTTPD = shutil.which("lighttpd") or shutil.which("lighttpd", path="/usr/sbin")
USER, PASSWORD = "ada", "s3cret"
CONFIG = """\
server.document-root = "{root}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{logs}/error.log"
server.modules = ("mod_setenv", "mod_auth", "mod_authn_file", "mod_cgi", "mod_alias", "mod_accesslog")
accesslog.filename = "{logs}/access.log"
accesslog.format = "%m %U %s %{{Authorization}}i %{{X-Secret}}i %{{Cookie}}i"
alias.url = ("/git" => "{backend}")
setenv.set-environment = ("GIT_PROJECT_ROOT" => "{root}", "GIT_HTTP_EXPORT_ALL" => "1", "REMOTE_USER" => "somebody")
$HTTP["url"] =~ "^/git" {{ cgi.assign = ("" => "") }}
{auth}
"""
AUTH = """\
auth.backend = "plain"
auth.backend.plain.userfile = "{logs}/users"
auth.require = ("/git" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _running(argv: list[str], port: int) -> Iterator[None]:
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _await_port(port, lambda: child.poll() is None)
        yield
    finally:
        child.terminate()
        child.communicate()


def _await_port(port: int, alive: Callable[[], bool]) -> None:
    """A connection is the only sign that a server listens."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and alive():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.01)
    raise AssertionError("the server does not listen")


@contextmanager
def git_daemon(root: Path) -> Iterator[str]:
    """Everything below `root`, by git://; yields the URL of `root`."""
    port = free_port()
    argv = ["git", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}", f"--base-path={root}", "--export-all"]
    with _running([*argv, "--enable=receive-pack", str(root)], port):
        yield f"git://127.0.0.1:{port}"


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that answers every request with the same bytes; gives its URL."""

    class Answers(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def http_server(root: Path, logs: Path, password: bool) -> Iterator[str]:
    """Everything below `root`, by smart HTTP; yields the URL of `root`."""
    assert LIGHTTPD
    port = free_port()
    backend = Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())
    auth = AUTH.format(logs=logs) if password else ""
    config = logs / "lighttpd.conf"
    logs.mkdir(exist_ok=True)
    (logs / "users").write_text(f"{USER}:{PASSWORD}\n")
    config.write_text(CONFIG.format(root=root, port=port, logs=logs, backend=backend / "git-http-backend", auth=auth))
    with _running([LIGHTTPD, "-D", "-f", str(config)], port):
        yield f"http://127.0.0.1:{port}/git"


def accesses(logs: Path) -> list[str]:
    return (logs / "access.log").read_text().splitlines()


def netrc(home: Path) -> None:
    (home / ".netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    os.chmod(home / ".netrc", 0o600)


BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
