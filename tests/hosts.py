"""Hosts of a bare repository, on loopback: each can be stopped and started, says how many connections it had, and knows
what a clone needs to get in."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import servers
from conftest import Ran, git, make_repo

from gitcoord import Coord

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
GITOLITE = shutil.which("gitolite")
PEOPLE = ("ada", "bob")


class Host:
    """A host that serves a bare repository `project.git` by path: the plainest of all."""

    kind = "path"
    missing = ""
    """The program without which this host cannot be, if it is not here."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = place / "host"
        self.root.mkdir()
        self.child: subprocess.Popen[bytes] | None = None
        self.log = place / "host.log"
        self.log.touch()
        (place / "gitconfig").touch()  # never /dev/null: git would rename a lock file over it
        self.port = servers.free_port()
        self.prepare()
        self.bare = self.make_bare()

    def prepare(self) -> None:
        """Prepare the files for the first start."""

    def make_bare(self, name: str = "project") -> Path:
        bare = self.root / f"{name}.git"
        git(self.place, "init", "-q", "--bare", str(bare))
        return bare

    def url(self, name: str = "project") -> str:
        return str(self.root / f"{name}.git")

    def settings(self, user: str) -> dict[str, str]:
        """The configuration of a clone of `user`."""
        return {}

    def argv(self) -> list[str]:
        return []

    def start(self) -> None:
        with self.log.open("ab") as log:
            env = {**os.environ, "HOME": str(self.place), "GIT_CONFIG_GLOBAL": str(self.place / "gitconfig")}
            self.child = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        servers._await_port(self.port, lambda: self.child is not None and self.child.poll() is None)

    def stop(self) -> None:
        if self.child is not None:
            self.child.terminate()
            self.child.wait()
            self.child = None

    def connections(self) -> int:
        """The number of connections, from the host's own log."""
        return self.lines_with("")

    def lines_with(self, words: str) -> int:
        return sum(words in line for line in self.log.read_text(errors="replace").splitlines())


class PathHost(Host):
    """Stopped, it is elsewhere. Its connections are the programs of git's that serve one."""

    def start(self) -> None:
        away = self.root.with_name("away")
        if away.exists():
            away.rename(self.root)

    def stop(self) -> None:
        self.root.rename(self.root.with_name("away"))

    def settings(self, user: str) -> dict[str, str]:
        script = f"f() {{ echo served >>'{self.log}'; git-upload-pack \"$@\"; }}; f"
        return {"remote.origin.uploadpack": script, "remote.origin.receivepack": script.replace("upload-pack", "receive-pack")}


class DaemonHost(Host):
    kind = "daemon"

    def url(self, name: str = "project") -> str:
        return f"git://127.0.0.1:{self.port}/{name}.git"

    def settings(self, user: str) -> dict[str, str]:
        return {"coord.allowPublic": "true"}

    def argv(self) -> list[str]:
        listen = ["--listen=127.0.0.1", f"--port={self.port}", "--reuseaddr", "--verbose", "--log-destination=stderr"]
        exports = [f"--base-path={self.root}", "--export-all", "--enable=receive-pack", "--informative-errors"]
        return [str(exec_path() / "git-daemon"), *listen, *exports, str(self.root)]

    def connections(self) -> int:
        return self.lines_with("Request ")


class ReadOnlyDaemon(DaemonHost):
    def argv(self) -> list[str]:
        return [word for word in super().argv() if word != "--enable=receive-pack"]


class HttpHost(Host):
    kind = "http"
    missing = "" if servers.LIGHTTPD else "lighttpd"
    auth = ""
    extra = ""
    """More lines of the server's configuration."""

    def make_bare(self, name: str = "project") -> Path:
        bare = super().make_bare(name)
        git(bare, "config", "http.receivepack", "true")
        return bare

    def url(self, name: str = "project") -> str:
        return f"http://127.0.0.1:{self.port}/git/{name}.git"

    def settings(self, user: str) -> dict[str, str]:
        return {"coord.allowPublic": "true"}

    def argv(self) -> list[str]:
        backend = exec_path() / "git-http-backend"
        (self.place / "users").write_text("".join(f"{name}:{servers.PASSWORD}\n" for name in PEOPLE))
        text = servers.CONFIG.format(
            root=self.root, port=self.port, logs=self.place, backend=backend, auth=self.auth.format(logs=self.place)
        )
        config = self.place / "lighttpd.conf"
        config.write_text(text + self.extra)
        assert servers.LIGHTTPD
        return [servers.LIGHTTPD, "-D", "-f", str(config)]

    def connections(self) -> int:
        """Each begins with what is there; one that was answered 401 goes on with the password. Stopping writes the log."""
        if self.child is None or not (log := self.place / "access.log").exists():
            return 0
        self.stop()
        self.start()
        lines = log.read_text().splitlines()
        return sum("/info/refs" in line and " 401 " not in line for line in lines)


class Forbidding(HttpHost):
    """A host like the proxies of some sandboxes: fetches pass, pushes are answered 403."""

    extra = """$HTTP["querystring"] =~ "git-receive-pack" { url.access-deny = ("") }
$HTTP["url"] =~ "git-receive-pack$" { url.access-deny = ("") }
server.modules += ("mod_access")
"""


class PasswordHost(HttpHost):
    kind = "http with a password"
    auth = servers.AUTH

    def settings(self, user: str, password: str = servers.PASSWORD) -> dict[str, str]:
        return {"credential.helper": f"!f() {{ echo username={user}; echo password={password}; }}; f"}


class SshHost(Host):
    kind = "ssh"
    missing = "" if SSHD else "sshd (openssh-server)"

    def prepare(self) -> None:
        for name in (*PEOPLE, "host", "stranger"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.key(name))], check=True)
        public = self.key("host").with_suffix(".pub").read_text()
        (self.place / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}")
        if os.getuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)
        self.let_in()

    def let_in(self) -> None:
        self.keys = self.place / "authorized_keys"
        self.keys.write_text("".join(self.key(name).with_suffix(".pub").read_text() for name in PEOPLE))

    def key(self, name: str) -> Path:
        return self.place / f"key-{name}"

    def url(self, name: str = "project") -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{self.root}/{name}.git"

    def settings(self, user: str) -> dict[str, str]:
        options = f"-o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile='{self.place}/known_hosts'"
        options += " -o GlobalKnownHostsFile=none -o KexAlgorithms=curve25519-sha256"  # the quickest
        return {"core.sshCommand": f"ssh -F none -i '{self.key(user)}' {options}"}

    def argv(self) -> list[str]:
        config = self.place / "sshd_config"
        config.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.key('host')}\nAuthorizedKeysFile {self.keys}\nPidFile none\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f'SetEnv HOME={self.place} GIT_CONFIG_NOSYSTEM=1 "PATH={os.environ["PATH"]}"\n'
        )
        assert SSHD
        return [SSHD, "-D", "-e", "-f", str(config)]

    def connections(self) -> int:
        return self.lines_with("Accepted publickey")


GITOLITE_CONF = """\
repo project
    RW+ = ada bob
repo readonly
    RW+ = ada
    R   = bob
repo leaseless
    -   refs/coord/lease/ = bob
    RW+ = ada bob
"""


class GitoliteHost(SshHost):
    """gitolite on the sshd above, for a user whose home is this place."""

    kind = "gitolite"
    missing = SshHost.missing or ("" if GITOLITE else "gitolite (gitolite3)")

    def let_in(self) -> None:
        admin = self.place / "ada.pub"
        shutil.copy(self.key("ada").with_suffix(".pub"), admin)
        self.gitolite("setup", "-pk", str(admin))
        shutil.copy(self.key("bob").with_suffix(".pub"), self.place / ".gitolite/keydir/bob.pub")
        self.gitolite_conf(GITOLITE_CONF)
        self.gitolite("trigger", "POST_COMPILE")
        self.keys = self.place / ".ssh/authorized_keys"

    def gitolite_conf(self, text: str = "") -> str:
        """The access rules; with `text`, from now on these."""
        file = self.place / ".gitolite/conf/gitolite.conf"
        if text:
            file.write_text(text)
            self.gitolite("compile")
        return file.read_text()

    def gitolite(self, *args: str) -> None:
        env = {**os.environ, "HOME": str(self.place), "GIT_CONFIG_GLOBAL": str(self.place / "gitconfig")}
        done = subprocess.run([str(GITOLITE), *args], env=env, cwd=self.place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def make_bare(self, name: str = "project") -> Path:
        return self.place / f"repositories/{name}.git"

    def url(self, name: str = "project") -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}/{name}"


KINDS: tuple[type[Host], ...] = (PathHost, DaemonHost, HttpHost, PasswordHost, SshHost, GitoliteHost)


def exec_path() -> Path:
    return Path(subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip())


@contextmanager
def running(kind: type[Host], place: Path) -> Iterator[Host]:
    """A host of this kind, started; the test is skipped where a program is missing."""
    if kind.missing:
        pytest.skip(f"no {kind.kind} here: {kind.missing} is not installed")
    place.mkdir(exist_ok=True)
    host = kind(place)
    try:
        host.start()
        yield host
    finally:
        if host.child is not None:
            host.stop()


def make_clone(place: Path, host: Host, user: str, name: str = "project", settings: Mapping[str, str] | None = None) -> Path:
    """A clone of `user` with a session of that name, set up to get in at the host."""
    where = make_repo(place / user)
    git(where, "remote", "add", "origin", host.url(name))
    for key, value in {
        "user.name": f"{user.capitalize()} Example",
        **(host.settings(user) if settings is None else settings),
    }.items():
        git(where, "config", key, value)
    git(where, "fetch", "-q", "origin")
    if not git(where, "branch", "-r"):
        git(where, "push", "-q", "origin", "main")
    with Coord.open(where) as coord:
        coord.sessions.join(user)
    return where


# clones for tests


def clones(tmp_path: Path, host: Host) -> tuple[Path, Path]:
    """Clones of ada and bob, which have met."""
    pair = make_clone(tmp_path, host, "ada"), make_clone(tmp_path, host, "bob")
    sync(*pair, pair[0])
    return pair


def sync(*places: Path) -> None:
    for where in places:
        with Coord.open(where) as coord:
            assert coord.remote.sync().refused == ()


def say(where: Path, to: str, text: str, **attachments: bytes) -> None:
    with Coord.open(where) as coord:
        coord.send(to, text, attachments=attachments)


def texts(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        return [message.text for message in coord.messages.receive().messages]


def ledger(where: Path) -> list[str]:
    with Coord.open(where) as coord:
        return [delivery.state for delivery in coord.messages.sent()[0].recipients]


def is_one_line(ran: Ran, start: str, code: int = 4) -> None:
    """Whether an error has the usual form: one line, and a hint."""
    assert ran.code == code and ran.out == "", ran
    lines = ran.err.splitlines()
    assert len(lines) == 2 and lines[0].startswith(start) and lines[1].startswith("hint: "), ran
    assert "\x1b" not in lines[0] and len(lines[0]) < 250


def git_bytes(where: Path, *args: str) -> bytes:
    return subprocess.run(["git", "-C", str(where), *args], capture_output=True, check=True).stdout


def refs_at(host: Host, clone: str) -> list[str]:
    return [ref for ref in git(host.bare, "for-each-ref", "--format=%(refname)", "refs/coord").splitlines() if clone in ref]


def users_refs(where: Path) -> str:
    refs = git(where, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    tracked = "refs/coord/", "refs/remotes/origin/coord/"  # the latter where the user's own refspecs ask for them
    return "\n".join(ref for ref in refs if not ref.startswith(tracked))
