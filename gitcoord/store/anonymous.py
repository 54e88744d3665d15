"""Looking at a remote as a stranger does: without credentials, cookies, headers or certificates of this user's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from gitcoord.store.repository import Repository

PATIENCE = 20.0
"""Seconds after which a remote counts as one that does not answer."""
_NETWORK_SETTINGS = r"^http\.(.*\.)?(proxy|sslcainfo|sslcapath|sslverify|sslbackend|version)$"
"""What it takes to get there at all; everything else of `http.*` could let us in."""
_SECRET_VARIABLES = ("GIT_SSL_CERT", "GIT_SSL_KEY", "GIT_ASKPASS", "SSH_ASKPASS", "GIT_PROXY_SSL_CERT", "NETRC")
_NOT_OURS = ("could not read Username", "terminal prompts disabled", "Authentication failed", "not found", "403", "401")


def is_public(repo: Repository, url: str) -> bool | None:
    """Whether anybody can read the repository at `url`; None if that cannot be told.

    git:// knows no credentials. What is reached by ssh is asked for at the same host by https, because that is where
    hosts publish it. Local paths, and hosts without a domain, are not public.
    """
    url = _resolved(repo, url)
    if re.match(r"git://", url, re.IGNORECASE):
        return True
    if re.match(r"https?://", url, re.IGNORECASE):
        return _answers(repo, re.sub(r"://[^/@]*@", "://", url, count=1))
    host, path = _ssh_place(url)
    if "." not in host or re.fullmatch(r"[\d.]+", host):
        return False
    return _answers(repo, f"https://{host}/{path}") or False


def _resolved(repo: Repository, url: str) -> str:
    """`url.*.insteadOf` is the user's: what is asked is what git would talk to."""
    done = repo.git("ls-remote", "--get-url", url)
    return os.fsdecode(done.out).strip() if done.code == 0 else url


def _ssh_place(url: str) -> tuple[str, str]:
    """Host and path of an ssh URL, or of `user@host:path`; empty for a local path."""
    match = re.match(r"(?:git\+|)ssh(?:\+git|)://(?:[^/@]*@)?([^/:]+)(?::\d+)?/(.*)", url, re.IGNORECASE)
    match = match or re.match(r"(?:[^/@:]*@)?([^/:@\\]{2,}):(?!//)(.*)", url)
    return (match[1], match[2].lstrip("/")) if match else ("", "")


def _answers(repo: Repository, url: str) -> bool | None:
    import subprocess
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="gitcoord-") as nowhere:
        env = {
            **_environment(repo),
            "HOME": nowhere,
            "XDG_CONFIG_HOME": nowhere,
            "GIT_CEILING_DIRECTORIES": os.path.dirname(nowhere),
        }
        argv = ["git", "-C", nowhere, "-c", "credential.helper=", *_network_settings(repo), "ls-remote", "--heads", "--", url]
        try:
            done = subprocess.run(
                argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, start_new_session=True
            )
        except subprocess.TimeoutExpired:
            return None
    if done.returncode == 0:
        return True
    said = done.stderr.decode("utf-8", "replace")
    return False if any(words in said for words in _NOT_OURS) else None


def _environment(repo: Repository) -> dict[str, str]:
    dropped = (*_SECRET_VARIABLES, "GIT_ALLOW_PROTOCOL")
    kept = {key: value for key, value in repo.online_env.items() if key not in dropped and not key.startswith("GIT_CONFIG")}
    blind = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ASKPASS": ""}
    return {**kept, **blind, "SSH_ASKPASS": "", "GCM_INTERACTIVE": "never"}


def _network_settings(repo: Repository) -> Iterator[str]:
    done = repo.git("config", "-z", "--get-regexp", _NETWORK_SETTINGS)
    for entry in os.fsdecode(done.out).split("\0")[:-1]:
        key, _, value = entry.partition("\n")
        yield from ("-c", f"{key}={value}")
