"""Names that become ref components: sessions, clones, roles; and the spelling of a mailbox."""

from __future__ import annotations

from gitcoord.errors import UsageError

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALLOWED = _FIRST | frozenset("._-")
_RESERVED = frozenset(["con", "nul", "aux", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))])
"""Names that no file can have on Windows, with any ending."""
MAX_NAME = 40
EVERYBODY = "all"
OURS = frozenset(
    [EVERYBODY, "everybody", "everyone", "nobody", "somebody", "someone", "me", "you", "gitcoord", "git-coord", "message"]
)
"""Reserved names: everybody, nobody in particular, gitcoord itself (as a sender), a condition of `wait`. No session or
role can be called so."""


def is_name(text: str) -> bool:
    """Whether `text` is a valid session name: a valid ref component on every system, lower case only."""
    return (
        0 < len(text) <= MAX_NAME
        and text[0] in _FIRST
        and _ALLOWED.issuperset(text)
        and not text.endswith((".", ".lock"))
        and ".." not in text
        and text.partition(".")[0] not in _RESERVED
    )


def session_name(text: str) -> str:
    """`text` as a new session's name. Raises UsageError, with the nearest valid name as a hint."""
    if not is_name(text) or text in OURS:
        shown = ascii(text[:60])
        nearest = slug(text, "")
        hint = f"use {nearest}" if nearest else "use lower-case letters, digits, '.', '_' and '-'"
        raise UsageError(f"{shown} is not a valid session name", hint)
    return text


def slug(text: str, default: str, limit: int = 40) -> str:
    """The nearest name to `text` that a session or role may have, or `default` when nothing of it is left."""
    if not text.isascii():
        import unicodedata

        text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = "".join(c if c in _ALLOWED else "-" for c in text.lower()).split("-")
    parts = "-".join(filter(None, words)).strip("-._").split(".")
    name = ".".join(filter(None, parts))[:limit].strip("-._").removesuffix(".lock")
    return f"{name}-1" if name in OURS else name if is_name(name) else default


def mailbox(name: str, clone: str) -> str:
    """The full spelling of a session: `name@clone`."""
    return f"{name}@{clone}"


def split_mailbox(box: str) -> tuple[str, str]:
    """`name@clone` as a pair; the clone is empty for a bare name."""
    name, _, clone = box.partition("@")
    return name, clone


def name_in(box: str) -> str:
    """The session's name in a mailbox."""
    return box.partition("@")[0]


def clone_in(box: str) -> str:
    """The clone's id in a mailbox; empty for a bare name."""
    return box.partition("@")[2]


def same_clone(one: str, other: str | None) -> bool:
    """Whether two ids name one clone. Only for what is local; whose word counts is decided in `log/trust` alone."""
    return one == other


def lives_in(box: str, clone: str) -> bool:
    """Whether a mailbox belongs to a session of a clone."""
    return clone_in(box) == clone
