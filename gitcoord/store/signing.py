"""Signed commits: git makes them with the user's own program and key, and the same programs check them.

git checks an ssh signature as of the committer's date, which is a counter here, so that check is repeated as of the
author's. `git verify-commit` judges any other signature (openpgp, x509).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from gitcoord.errors import RepositoryError
from gitcoord.lean import NamedTuple, suppress
from gitcoord.store.objects import Oid
from gitcoord.store.repository import Repository
from gitcoord.system.spawn import Result, run

GOOD, UNKNOWN, BAD = "verified", "unknown", "bad"
_HEADER = re.compile(rb"^gpgsig(?:-sha256)? ([^\n]*\n(?: [^\n]*\n)*)", re.MULTILINE)
_PERSON = r"(.*) <(.*)> (\d+) \+0000"
_SSH = b"-----BEGIN SSH SIGNATURE-----"
PATIENCE = 30.0
"""Seconds that a signature may take when no person may be asked for a passphrase."""
_SILENT = {"SSH_ASKPASS_REQUIRE": "never", "GPG_TTY": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""}


class Signature(NamedTuple):
    """The verdict on a signature: `state` is `verified` (by the principal or user id `by`), `unknown` (made with a `key`
    that this machine does not know or cannot check) or `bad`."""

    state: str
    by: str = ""
    key: str = ""


def wants_signatures(repo: Repository) -> bool:
    """Whether this user signs: `coord.sign`, else `commit.gpgSign`."""
    return repo.flag("sign", repo.boolean("commit.gpgsign"))


def sign(repo: Repository, raw: bytes, prompt: bool = True) -> bytes:
    """The commit `raw` with a signature, stored as an object. Raises RepositoryError with git's own words.

    Without `prompt` no program may ask for a passphrase. No ref names the object yet.
    """
    head, _, message = raw.partition(b"\n\n")
    fields = dict(line.split(" ", 1) for line in head.decode().split("\n"))
    env = {**_identity("AUTHOR", fields["author"]), **_identity("COMMITTER", fields["committer"])}
    parent = ["-p", fields["parent"]] if "parent" in fields else []
    args = ["-c", "i18n.commitEncoding=UTF-8", "commit-tree", "-S", *parent, fields["tree"]]
    done = repo.git(*args, stdin=message, env=env) if prompt else _unasked(repo, args, message, env)
    if done.code:
        lines = [line for line in done.error_text.splitlines() if line.strip()] or ["git commit-tree failed"]
        why = lines[-1].removeprefix("fatal: ").removeprefix("error: ")
        raise RepositoryError(f"cannot sign: {why}", "make 'git commit -S' work, or: git config coord.sign false")
    signed = repo.git("cat-file", "commit", done.out.decode().strip()).out
    if split(signed)[0] != raw:
        raise RepositoryError("git changed what it signed", "git config coord.sign false")
    return signed


def _unasked(repo: Repository, args: list[str], stdin: bytes, env: dict[str, str]) -> Result:
    """Run without a terminal or display, so that no program can ask a person; one that asks all the same is ended."""
    import subprocess

    argv = ["git", f"--git-dir={repo.common_dir}", *args]
    everything = {**repo.env, **env, **_SILENT}
    try:
        done = subprocess.run(
            argv, input=stdin, env=everything, capture_output=True, timeout=PATIENCE, start_new_session=True, check=False
        )
    except subprocess.TimeoutExpired:
        return Result(1, b"", b"it took too long")
    return Result(done.returncode, done.stdout, done.stderr)


def _identity(who: str, line: str) -> dict[str, str]:
    match = re.fullmatch(_PERSON, line)
    assert match is not None  # `event.encode` wrote it
    return {f"GIT_{who}_NAME": match[1], f"GIT_{who}_EMAIL": match[2], f"GIT_{who}_DATE": f"@{match[3]} +0000"}


def split(raw: bytes) -> tuple[bytes, bytes]:
    """A raw commit without its signature, and the signature; empty if it has none."""
    head, blank, message = raw.partition(b"\n\n")
    match = _HEADER.search(head + b"\n")
    if match is None:
        return raw, b""
    lines = head + b"\n"
    rest = (lines[: match.start()] + lines[match.end() :]).removesuffix(b"\n")
    return rest + blank + message, match[1].replace(b"\n ", b"\n")


def verify(repo: Repository, oid: Oid, raw: bytes, at: int) -> Signature | None:
    """Judge the signature of a commit as of `at` (Unix seconds); None if it has none."""
    payload, signature = split(raw)
    if not signature:
        return None
    return _verify_ssh(repo, payload, signature, at) if signature.startswith(_SSH) else _verify_by_git(repo, oid)


def fingerprint(repo: Repository) -> str:
    """A value that changes when a verdict may change: from the settings, and from the allowed and revoked keys."""
    import hashlib

    files = (_file(repo, "gpg.ssh.allowedSignersFile"), _file(repo, "gpg.ssh.revocationFile"))
    parts = [repo.git("config", "--get-regexp", r"^gpg\.").out, *map(_content, files), _keyring(repo.environ)]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _keyring(environ: Mapping[str, str]) -> bytes:
    """The time of the last change of openpgp keys and of the trust in them."""
    home = environ.get("GNUPGHOME") or os.path.join(environ.get("HOME", ""), ".gnupg")
    found = []
    for name in ("pubring.kbx", "pubring.gpg", "trustdb.gpg", "public-keys.d/pubring.db"):
        with suppress(OSError):
            found.append(f"{name} {os.stat(os.path.join(home, name)).st_mtime_ns}")
    return "\n".join(found).encode()


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def _setting(repo: Repository, key: str, *options: str) -> str:
    argv = ["git", f"--git-dir={repo.git_dir}", "config", *options, "--get", key]
    return os.fsdecode(run(argv, repo.env).out).removesuffix("\n")


def _file(repo: Repository, key: str) -> str:
    """The file that a setting names, relative to the worktree as git has it; empty if it is unset."""
    path = _setting(repo, key, "--type=path")
    return os.path.join(repo.worktree or repo.common_dir, path) if path else ""


def _verify_ssh(repo: Repository, payload: bytes, signature: bytes, at: int) -> Signature:
    from tempfile import TemporaryDirectory

    program = _setting(repo, "gpg.ssh.program", "--type=path") or "ssh-keygen"
    with TemporaryDirectory(prefix="gitcoord-") as directory:
        file = os.path.join(directory, "signature")
        with open(file, "wb") as out:
            out.write(signature)
        try:
            return _judge_ssh(repo, program, file, payload, at)
        except OSError:  # no such program
            return Signature(UNKNOWN)


def _judge_ssh(repo: Repository, program: str, file: str, payload: bytes, at: int) -> Signature:
    valid = run([program, "-Y", "check-novalidate", "-n", "git", "-s", file], repo.env, payload)
    named = re.search(rb"with \S+ key (SHA256:\S+)", valid.out)
    if valid.code or named is None:
        return Signature(BAD)
    key = named[1].decode()
    allowed, revoked = _file(repo, "gpg.ssh.allowedSignersFile"), _file(repo, "gpg.ssh.revocationFile")
    if not allowed:
        return Signature(UNKNOWN, key=key)
    when = f"-Overify-time={time.strftime('%Y%m%d%H%M%S', time.localtime(at))}"
    found = run([program, "-Y", "find-principals", "-f", allowed, "-s", file, when], repo.env)
    principals = found.out.decode("utf-8", "replace").splitlines() if found.code == 0 else []
    for principal in principals:
        command = [program, "-Y", "verify", "-n", "git", "-f", allowed, "-I", principal, "-s", file, when]
        if run([*command, *(["-r", revoked] if revoked else [])], repo.env, payload).code == 0:
            return Signature(GOOD, principal, key)
    return Signature(BAD if principals else UNKNOWN, key=key)  # a known principal, but the signature is bad: the key is revoked


def _verify_by_git(repo: Repository, oid: Oid) -> Signature:
    done = repo.git("verify-commit", "--raw", oid)
    said = done.error_text
    user = re.search(r"^\[GNUPG:\] (?:GOOD|EXP|EXPKEY|REVKEY)SIG \S+ (.*)$", said, re.MULTILINE)
    valid = re.search(r"^\[GNUPG:\] VALIDSIG (\S+)", said, re.MULTILINE)
    # the fingerprint, where the signature has it (gpg 2.2.7): a known key is named by it, too
    missing = re.search(r"^\[GNUPG:\] ERRSIG(?: \S+){6} (\w{40,})", said, re.MULTILINE)
    missing = missing or re.search(r"^\[GNUPG:\] (?:ERRSIG|NO_PUBKEY) (\S+)", said, re.MULTILINE)
    if done.code == 0 and valid:
        return Signature(GOOD, user[1] if user else valid[1], valid[1])
    revoked = re.search(r"^\[GNUPG:\] (?:REVKEYSIG|KEYREVOKED)\b", said, re.MULTILINE)
    if missing or (valid and not revoked) or "[GNUPG:]" not in said:  # expired, or less trusted than required
        return Signature(UNKNOWN, key=missing[1] if missing else valid[1] if valid else "")
    return Signature(BAD, key=valid[1] if valid else "")
