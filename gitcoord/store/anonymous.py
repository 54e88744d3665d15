"""Look at a remote as a stranger would: without credentials, cookies, headers or certificates of this user."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gitcoord.lean import NamedTuple, re
from gitcoord.store.repository import Repository

PATIENCE = 20.0
"""Seconds after which a remote counts as not answering."""
_NETWORK_SETTINGS = r"^http\.(.*\.)?(proxy|sslcainfo|sslcapath|sslverify|sslbackend|version)$"
"""Settings that are needed to reach the host at all; all others of `http.*` could give us access."""
_SECRET_VARIABLES = ("GIT_SSL_CERT", "GIT_SSL_KEY", "GIT_ASKPASS", "SSH_ASKPASS", "GIT_PROXY_SSL_CERT", "NETRC")
_NOT_FOUND = "' not found"
_REFUSED = (
    "could not read Username", "terminal prompts disabled", "Authentication failed", _NOT_FOUND, "returned error: 401"
)  # fmt: skip
"""git's words for a repository that its host does not show to a stranger."""
_FORBIDDEN = "returned error: 403"
"""The same by https; for http:// these may be the words of a proxy."""


def is_public(repo: Repository, url: str) -> bool | None:
    """Whether anybody can read the repository at `url` (the URL after git's rewriting); None if unknown.

    git:// has no credentials, so it is public. For ssh the same host is asked by https, because hosts publish repositories
    there; if it does not answer, the repository may be published elsewhere. Local paths, and hosts that only this machine
    or this network can reach, are not public.
    """
    if re.match(r"git://", url, re.IGNORECASE):
        return True
    if re.match(r"https?://", url, re.IGNORECASE):
        return _answers(repo, re.sub(r"://[^/]*@", "://", url, count=1))
    place = _ssh_place(url)
    if re.match(r"[a-z0-9]+::", url, re.IGNORECASE) or (
        not place.host and re.match(r"(?!file:)[\w.+-]+://", url, re.IGNORECASE)
    ):
        return None  # only a remote helper of the user's can reach it
    if not place.host:
        return False
    host = _real_host(repo, place)
    if _is_near(host):
        return False
    found = [_answers(repo, f"https://{name}/{place.path}", by_ssh=True) for name in _web_hosts(host)]
    return True if True in found else None if None in found else False


class _Place(NamedTuple):
    """The destination of ssh: user, host, port (each empty if not given), and the path there."""

    user: str
    host: str
    port: str
    path: str


def _ssh_place(url: str) -> _Place:
    """The place that an ssh URL, or `user@host:path`, names; empty for a local path."""
    bracketed = re.fullmatch(r"(?:([^@\[\]]*)@)?\[(?:([^@\]]*)@)?([^\]:]+)(?::(\d*))?\]:(.*)", url)
    if bracketed:  # [user@host:port]:path, with which git knows a port without ssh://
        before, inside, *rest = (part or "" for part in bracketed.groups())
        return _Place(before or inside, rest[0], rest[1], rest[2].lstrip("/"))
    match = re.match(r"(?:git\+|)ssh(?:\+git|)://(?:([^/@]*)@)?(\[[^\]]*\]|[^/:]+)(?::(\d*))?/(.*)", url, re.IGNORECASE)
    if match is None and (match := re.match(r"(?:([^/@:]*)@)?(\[[^\]]*\]|[^/:@\\]{2,})()?:(?!//)(.*)", url)) is None:
        return _Place("", "", "", "")
    user, host, port, path = (part or "" for part in match.groups())
    return _Place(user, host.strip("[]"), port, path.lstrip("/"))


def _real_host(repo: Repository, place: _Place) -> str:
    """The host that ssh connects to: `ssh -G` knows the aliases of the user's configuration."""
    import subprocess

    if place.host.startswith("-") or place.user.startswith("-"):
        return place.host
    port = ["-p", place.port] if place.port else []
    argv = [*_ssh(repo), "-G", *port, "--", f"{place.user}@{place.host}" if place.user else place.host]
    try:
        done = subprocess.run(
            argv, env=repo.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, start_new_session=True
        )
    except (OSError, subprocess.TimeoutExpired):
        return place.host
    found = re.search(rb"^hostname (\S+)$", done.stdout, re.MULTILINE) if done.returncode == 0 else None
    return os.fsdecode(found[1]) if found else place.host


def _ssh(repo: Repository) -> list[str]:
    """The user's ssh with its options, where that is OpenSSH by its name."""
    import shlex

    said = repo.environ.get("GIT_SSH_COMMAND") or os.fsdecode(repo.git("config", "core.sshCommand").out).strip()
    try:
        words = shlex.split(said) or [repo.environ.get("GIT_SSH") or "ssh"]
    except ValueError:
        return ["ssh"]
    return words if os.path.basename(words[0]) == "ssh" else ["ssh"]


def _web_hosts(host: str) -> list[str]:
    """The web hosts of an ssh host: several have a separate name for ssh over port 443."""
    plain = re.sub(r"^(?:ssh|altssh)\.", "", host)
    return [f"[{name}]" if ":" in name else name for name in dict.fromkeys((plain, host))]


def _is_near(host: str) -> bool:
    """Whether only this machine, or a private network, reaches the host: by its address, or by a name without a domain
    that stands for such addresses alone."""
    import ipaddress
    import socket

    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        if "." in host:
            return False
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return all(not ipaddress.ip_address(address).is_global for address in found)


def _answers(repo: Repository, url: str, by_ssh: bool = False) -> bool | None:
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
    return _refusal(done.stderr.decode("utf-8", "replace"), url, by_ssh)


def _refusal(said: str, url: str, by_ssh: bool = False) -> bool | None:
    """False if git's error `said` means that the host refused a stranger; None if it means anything else. The path of a
    URL can contain any words. What a remote is called by ssh (`by_ssh`) may have another path on the web, so that nothing is
    found at this one says nothing."""
    said = said.replace(url, "")
    refused = [*_REFUSED, _FORBIDDEN] if url.lower().startswith("https:") else list(_REFUSED)
    if by_ssh:
        refused.remove(_NOT_FOUND)
    return False if any(words in said for words in refused) else None


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
