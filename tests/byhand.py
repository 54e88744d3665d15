"""Clones of one project that exchange their coordination by plain git, through a bare repository."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from pathlib import Path

from clones import clone_id
from conftest import copy_of, git, make_repo
from templates import LASTS

from gitcoord import Coord


def make_clones(tmp_path: Path, *names: str) -> list[Path]:
    """A clone for each name, of a bare repository `remote.git`; each has a session of its user's name, `ada` and so on."""

    def make(place: Path) -> None:
        seed = make_repo(place / "seed")
        git(place, "clone", "-q", "--bare", str(seed), "remote.git")
        for name in names:
            git(place, "clone", "-q", "remote.git", name)
            git(place / name, "config", "user.name", f"{name.capitalize()} Example")
            git(place / name, "config", "user.email", f"{name}@example.org")
            with Coord.open(place / name) as coord:
                coord.sessions.join(name)

    copy_of(("by hand", *names), make, tmp_path, LASTS)
    return [tmp_path / name for name in names]


def write_object(where: Path, kind: str, data: bytes) -> str:
    """Write a loose object into a repository with SHA-1, whatever it says, as `git hash-object --literally` does."""
    raw = b"%s %d\0%s" % (kind.encode(), len(data), data)
    oid = hashlib.sha1(raw).hexdigest()
    place = (where / ".git" if (where / ".git").is_dir() else where) / "objects" / oid[:2] / oid[2:]
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(zlib.compress(raw, 1))
    return oid


def push(where: Path) -> None:
    """As docs/format.md says it is done by hand."""
    own = clone_id(where)
    refs = [f"refs/coord/log/{own}/*", f"+refs/coord/presence/{own}:refs/coord/presence/{own}"]
    git(where, "push", "-q", "origin", *(refs[:1] if not git(where, "for-each-ref", f"refs/coord/presence/{own}") else refs))


def fetch(where: Path, check: bool = True) -> None:
    own = clone_id(where)
    wanted = ["refs/coord/log/*:refs/coord/log/*", "+refs/coord/presence/*:refs/coord/presence/*"]
    git(where, "fetch", "-q", "origin", *wanted, f"^refs/coord/log/{own}/*", f"^refs/coord/presence/{own}", check=check)


def exchange(*clones: Path) -> None:
    """All push, then all fetch."""
    for where in clones:
        push(where)
    for where in clones:
        fetch(where)


def make_key(directory: Path, name: str) -> Path:
    """An ssh key without a passphrase."""
    file = directory / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file)], check=True)
    return file


def sign_with(where: Path, key: Path) -> None:
    git(where, "config", "gpg.format", "ssh")
    git(where, "config", "user.signingkey", str(key))
    git(where, "config", "commit.gpgsign", "true")


def allow(where: Path, file: Path, **signers: Path) -> None:
    """`allow(repo, file, ada=key)`: ada@example.org may sign with that key."""
    lines = [f"{name}@example.org {key.with_suffix('.pub').read_text()}" for name, key in signers.items()]
    file.write_text("".join(lines))
    git(where, "config", "gpg.ssh.allowedSignersFile", str(file))
