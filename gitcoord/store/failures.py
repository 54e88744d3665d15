"""Turn git's words about a failed fetch or push into errors.

git has no error codes for these failures, so its output is searched for known phrases, the most telling ones first.
"""

from __future__ import annotations

import re

from gitcoord.errors import RemoteError
from gitcoord.system.spawn import Result

AWAY = (
    "Could not resolve host", "Connection refused", "No route to host", "Network is unreachable", "Failed to connect",
    "timed out",
)  # fmt: skip
BROKE = (
    "Connection reset", "unexpected disconnect", "the remote end hung up", "early EOF", "Broken pipe",
    "Connection closed", "transfer closed", "unexpected EOF", "Empty reply", "curl 18", "curl 56", "curl 92",
)  # fmt: skip
NO_ENTRY = (
    "Authentication failed", "Permission denied", "terminal prompts disabled", "could not read Username", "DENIED",
    "Host key verification failed", "error: 401", "error: 403",
)  # fmt: skip
NO_WRITE = (
    "error: 403", "service not enabled", "not allowed to push", "write access", "read-only", "denied to", "DENIED",
    "not permitted", "forbidden",
)  # fmt: skip
BUSY = {"429": "too many requests", "502": "bad gateway", "503": "service unavailable", "504": "gateway timeout"}
"""Answers of a server that may change in a moment, by their HTTP code."""
FSCK = r"fsck error|error: object [0-9a-f]+: "
TOO_LARGE = r"attempting to allocate \d+ over limit"
DAMAGED = r"fsckObjects|bad pack|did not (?:receive|send) all|invalid object"
HASH = r"mismatched algorithms|not support this repository's hash algorithm|unknown object format|hash algorithm mismatch"
SIGPIPE = 141


class BadObjects(RemoteError):
    """The remote sent objects that do not pass git-fsck(1), or that need more memory than git may take; none of them was
    kept."""


class NotAtomic(RemoteError):
    """The remote does not support atomic pushes; it took none of the refs."""


class Busy(RemoteError):
    """The host answered that it is busy."""


class Limited(Busy):
    """The host answered that we ask too often."""


def sent_bad_objects(result: Result) -> bool:
    """Whether a fetch failed because the objects were bad. A pack that ends early does not count: the connection broke."""
    said = result.error_text
    if re.search(FSCK, said) or re.search(TOO_LARGE, said):
        return True
    return re.search(DAMAGED, said) is not None and not has(said, BROKE)


def has(said: str, phrases: tuple[str, ...]) -> bool:
    """Whether git printed one of these phrases."""
    return any(phrase in said for phrase in phrases)


def last_words(result: Result) -> str:
    """The most telling line of git's output: its own `fatal:`, or the line before the one that only says that the
    connection ended."""
    lines = [line.strip() for line in result.error_text.splitlines() if line.strip()]
    useful = [line for line in lines if not re.match(r"(hint:|and the repository exists|Please make sure|warning:)", line)]
    told = [line for line in useful if "Could not read from remote repository" not in line] or useful
    line = next((one for one in told if re.match(r"(?i)(fatal|remote|error):", one)), told[-1] if told else "")
    if line.endswith(":") and line != told[-1]:
        line += " " + told[-1].rpartition("errno=")[2]
    line = re.sub(r"(?i)^((fatal|error|remote):? *)+", "", line).removeprefix("unable to access ")
    return line[:300] or ("it closed the connection" if result.code == SIGPIPE else f"git ended with {result.code}")


def is_busy(result: Result) -> bool:
    """Whether another attempt in a moment may succeed."""
    code = _HTTP.search(result.error_text) if result.code else None
    return code is not None and code[1] in BUSY


_HTTP = re.compile(r"(?:error: |HTTP )(\d{3})\b")


def unreachable(name: str, result: Result) -> RemoteError:
    """The error for a remote that did not answer, with a hint."""
    said = result.error_text
    if is_busy(result) and (code := _HTTP.search(said)):
        what = f"{name} answers HTTP {code[1]} ({BUSY[code[1]]})"
        kind = Limited if code[1] == "429" else Busy
        return kind(what, "try again in a minute: git coord sync; local commands work meanwhile")
    if re.search(HASH, said):
        hint = f"git coord remote set URL, of a repository with the object format of this one (git ls-remote {name} shows ids)"
        return RemoteError(f"{name} and this repository have different object formats (SHA-1 and SHA-256)", hint)
    if has(said, NO_ENTRY):
        return RemoteError(f"{name} denies access: {last_words(result)}", f"git ls-remote {name}")
    if has(said, AWAY):
        return RemoteError(f"{name} cannot be reached: {last_words(result)}", "try again later; local commands work meanwhile")
    if has(said, BROKE) or result.code == SIGPIPE:
        what = f"{name} cannot be reached: the connection broke: {last_words(result)}"
        return RemoteError(what, "try again later; local commands work meanwhile")
    return RemoteError(f"{name} is not a readable repository: {last_words(result)}", f"git ls-remote {name}")


def unwritable(name: str, prefix: str, result: Result) -> RemoteError:
    """The error for a push that failed as a whole, with a hint."""
    said, low = result.error_text, result.error_text.lower()
    refused = any(phrase.lower() in low for phrase in NO_WRITE)
    failed = unreachable(name, result)
    if isinstance(failed, Busy) or re.search(HASH, said):
        return failed
    if (has(said, AWAY + BROKE) or result.code == SIGPIPE) and not refused:
        return failed
    if refused:
        return refuses(name, prefix, last_words(result))
    if has(said, NO_ENTRY):  # reading may need no login where writing does
        return RemoteError(f"{name} denies pushes: {last_words(result)}", f"git push --dry-run {name}")
    return RemoteError(f"{name} rejected the push: {last_words(result)}", f"git push --dry-run {name}")


def refuses(name: str, prefix: str, why: str) -> RemoteError:
    """The error for a host that rejects our refs; the hint says what to do instead (docs/sync.md)."""
    hint = "use a repository of its own: git config coord.remote URL"
    if not prefix.startswith("refs/heads/"):
        hint += "; or, where only branches can be pushed: git config coord.remotePrefix refs/heads/coord/"
    return RemoteError(f"{name} rejects coordination refs: {why}", hint)
